-- +goose Up

-- An organization's secrets. A deleted one is gone with its value; the audit log keeps that it was there.
CREATE TABLE secrets (
	secret_id    TEXT PRIMARY KEY,
	org_id       TEXT NOT NULL,
	name         TEXT NOT NULL, -- the contract's key
	secret_type  TEXT NOT NULL CHECK (secret_type IN ('cookie', 'key-value', 'totp')),
	note         TEXT,
	is_sensitive BIGINT NOT NULL,
	sealed       BYTEA NOT NULL,
	created_by   TEXT NOT NULL,
	created_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX secrets_name ON secrets (org_id, name);
CREATE INDEX secrets_page ON secrets (org_id, created_at, secret_id);

-- Which of them a session was started with: a JSON list of secret ids, oldest first. No row is none.
CREATE TABLE session_org_secrets (
	session_id TEXT PRIMARY KEY,
	secret_ids TEXT NOT NULL
);

-- The same data key wrapped by the keeper that is to follow, while the outer key is rotated.
ALTER TABLE data_keys ADD COLUMN rewrapped BYTEA;
CREATE INDEX data_keys_unwrapped ON data_keys (org_id) WHERE rewrapped IS NULL;

-- +goose Down
SELECT 1;
