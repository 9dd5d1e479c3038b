-- +goose Up

-- The keys of the older API versions: form is '' for cog_, service for apk_, personal for apk_user_. org_id is where an older key was made.
ALTER TABLE api_keys ADD COLUMN form TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN org_id TEXT;
CREATE INDEX api_keys_older ON api_keys (created_at, api_key_id) WHERE form <> '';

-- What an idempotent request of v1 asked for, and the session that it got.
CREATE TABLE session_requests (
	org_id       TEXT NOT NULL,
	principal_id TEXT NOT NULL,
	hash         BYTEA NOT NULL,
	session_id   TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	PRIMARY KEY (org_id, principal_id, hash)
);

-- Which repositories an organization wants indexed.
CREATE TABLE indexed_repositories (
	org_id     TEXT NOT NULL,
	name       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (org_id, name)
);

-- +goose Down
SELECT 1;
