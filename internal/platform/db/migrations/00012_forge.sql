-- +goose Up

-- A git connection: an account at a provider, or for plain git a host whose repositories an operator lists. The token is sealed under
-- the enterprise's key. listed_at is when the provider last told all its repositories. Until listing_until nobody else asks it: somebody is
-- at it, or it failed (list_error) just now; list_refused says that it refused, and wasn't away.
CREATE TABLE git_connections (
	git_connection_id TEXT PRIMARY KEY,
	name              TEXT NOT NULL,
	provider_type     TEXT NOT NULL,
	host              TEXT NOT NULL,
	base_url          TEXT NOT NULL, -- '' for plain git
	username          TEXT NOT NULL,
	known_hosts       TEXT NOT NULL,
	sealed_token      BYTEA,
	built_in          BIGINT NOT NULL,
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL,
	listed_at         BIGINT,
	listing_until     BIGINT,
	list_error        TEXT,
	list_refused      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX git_connections_page ON git_connections (created_at, git_connection_id);

-- What a connection shows: a provider's answer, kept, or an operator's list. folded is the path as it is compared, search the path in
-- lower case.
CREATE TABLE git_repositories (
	git_connection_id      TEXT NOT NULL,
	folded                 TEXT NOT NULL,
	path                   TEXT NOT NULL,
	search                 TEXT NOT NULL,
	url                    TEXT NOT NULL,
	provider_repository_id TEXT NOT NULL,
	description            TEXT,
	language               TEXT,
	last_updated_at        BIGINT,
	seen_at                BIGINT NOT NULL,
	created_at             BIGINT NOT NULL,
	PRIMARY KEY (git_connection_id, folded)
);

-- What an organization may use of a connection. folded is the value as it is compared: a group's ends with a slash.
CREATE TABLE git_permissions (
	git_permission_id TEXT PRIMARY KEY,
	org_id            TEXT NOT NULL,
	git_connection_id TEXT NOT NULL,
	scope             TEXT NOT NULL CHECK (scope IN ('repo', 'group', 'prefix')),
	value             TEXT NOT NULL,
	folded            TEXT NOT NULL,
	read_only         BIGINT NOT NULL,
	created_at        BIGINT NOT NULL
);
CREATE UNIQUE INDEX git_permissions_scope ON git_permissions (org_id, git_connection_id, scope, folded);
CREATE INDEX git_permissions_page ON git_permissions (org_id, created_at, git_permission_id);
CREATE INDEX git_permissions_connection ON git_permissions (git_connection_id);

-- Which connection's repository a session means by a name. Sessions of earlier releases have none: they mean the operator's list.
CREATE TABLE session_git (
	session_id        TEXT NOT NULL,
	repo              TEXT NOT NULL,
	git_connection_id TEXT NOT NULL,
	path              TEXT NOT NULL,
	PRIMARY KEY (session_id, repo)
);

-- What operators listed so far becomes the built-in connection, which every organization may use.
INSERT INTO git_connections (git_connection_id, name, provider_type, host, base_url, username, known_hosts, built_in, created_at, updated_at)
	VALUES ('git-connection-00000000000000000000000000000000', 'listed', 'git', '*', '', '', '', 1, 0, 0);
INSERT INTO git_repositories (git_connection_id, folded, path, search, url, provider_repository_id, seen_at, created_at)
	SELECT 'git-connection-00000000000000000000000000000000', name, name, LOWER(name), url, name, created_at, created_at FROM repositories;
DROP TABLE repositories;

-- +goose Down
SELECT 1;
