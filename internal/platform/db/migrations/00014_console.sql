-- +goose Up

-- Browsers that are signed in to the console. Neither the browser's token nor the key that it was opened with is kept: only their
-- hashes, the key's being the one that it is looked up by with every request.
CREATE TABLE browser_sessions (
	token_hash BYTEA PRIMARY KEY,
	key_hash   BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX browser_sessions_expiry ON browser_sessions (expires_at);

-- +goose Down
SELECT 1;
