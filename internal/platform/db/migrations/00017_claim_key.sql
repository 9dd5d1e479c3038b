-- +goose Up

-- The worker key that a claim was made with: the claim ends with it. Null for the embedded worker's and for claims by API keys.
ALTER TABLE queue ADD COLUMN claim_key TEXT;
CREATE INDEX queue_claim_key ON queue (claim_key, session_id) WHERE phase = 'claimed' AND claim_key IS NOT NULL;

-- +goose Down
SELECT 1;
