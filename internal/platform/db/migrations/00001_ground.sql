-- +goose Up

-- One text for both engines. The SQLite rendering turns BIGINT into INTEGER, BYTEA into BLOB, DOUBLE PRECISION into REAL and makes
-- every table STRICT. Times are Unix milliseconds, booleans 0 or 1, JSON is TEXT.

CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

-- A data key per organization ('' is the enterprise), wrapped by the keeper.
CREATE TABLE data_keys (
	org_id     TEXT PRIMARY KEY,
	wrapped    BYTEA NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE organizations (
	org_id                TEXT PRIMARY KEY,
	name                  TEXT NOT NULL,
	max_cycle_acu_limit   BIGINT,
	max_session_acu_limit BIGINT,
	created_at            BIGINT NOT NULL,
	updated_at            BIGINT NOT NULL,
	deleted_at            BIGINT
);
CREATE INDEX organizations_page ON organizations (created_at, org_id) WHERE deleted_at IS NULL;
CREATE INDEX organizations_deleted ON organizations (org_id) WHERE deleted_at IS NOT NULL;

CREATE TABLE users (
	user_id    TEXT PRIMARY KEY,
	email      TEXT NOT NULL,
	name       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT
);
CREATE UNIQUE INDEX users_email ON users (email) WHERE deleted_at IS NULL;

CREATE TABLE roles (
	role_id     TEXT PRIMARY KEY,
	role_name   TEXT NOT NULL,
	role_type   TEXT NOT NULL CHECK (role_type IN ('enterprise', 'org')),
	permissions TEXT NOT NULL,
	is_builtin  BIGINT NOT NULL,
	created_at  BIGINT NOT NULL
);

CREATE TABLE service_users (
	service_user_id TEXT PRIMARY KEY,
	name            TEXT NOT NULL,
	org_id          TEXT, -- null: enterprise scope
	created_at      BIGINT NOT NULL,
	expires_at      BIGINT,
	deleted_at      BIGINT
);
CREATE INDEX service_users_page ON service_users (created_at, service_user_id);

-- Direct roles. org_id '' is the enterprise role; at most one each per principal and organization.
CREATE TABLE role_assignments (
	principal_id   TEXT NOT NULL,
	org_id         TEXT NOT NULL,
	principal_kind TEXT NOT NULL CHECK (principal_kind IN ('service_user', 'user')),
	role_id        TEXT NOT NULL REFERENCES roles (role_id),
	created_at     BIGINT NOT NULL,
	PRIMARY KEY (principal_id, org_id)
);
CREATE INDEX role_assignments_org ON role_assignments (org_id, principal_kind, principal_id);

CREATE TABLE api_keys (
	api_key_id   TEXT PRIMARY KEY,
	principal_id TEXT NOT NULL,
	name         TEXT NOT NULL,
	hash         BYTEA NOT NULL UNIQUE,
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT,
	revoked_at   BIGINT,
	last_used_at BIGINT
);
CREATE INDEX api_keys_principal ON api_keys (principal_id, created_at, api_key_id);

-- What every process must forget from its cache of subjects. kind is key, principal or all.
CREATE TABLE access_changes (
	change_id  TEXT PRIMARY KEY,
	kind       TEXT NOT NULL,
	subject_id TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE INDEX access_changes_time ON access_changes (created_at, change_id);

CREATE TABLE audit_entries (
	audit_log_id      TEXT PRIMARY KEY,
	created_at        BIGINT NOT NULL,
	action            TEXT NOT NULL,
	org_id            TEXT,
	user_id           TEXT,
	user_email        TEXT,
	service_user_id   TEXT,
	service_user_name TEXT,
	request_id        TEXT,
	data              TEXT NOT NULL
);
CREATE INDEX audit_entries_time ON audit_entries (created_at, audit_log_id);
CREATE INDEX audit_entries_org ON audit_entries (org_id, created_at, audit_log_id);
CREATE INDEX audit_entries_action ON audit_entries (action, created_at, audit_log_id);

CREATE TABLE idempotency_keys (
	principal_id TEXT NOT NULL,
	method       TEXT NOT NULL,
	path         TEXT NOT NULL,
	name         TEXT NOT NULL,
	body_hash    BYTEA NOT NULL,
	status       BIGINT, -- null while the first request runs
	answer       BYTEA,  -- encrypted; null where the answer shows a secret once
	created_at   BIGINT NOT NULL,
	PRIMARY KEY (principal_id, method, path, name)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE sessions (
	session_id                 TEXT PRIMARY KEY,
	org_id                     TEXT NOT NULL,
	title                      TEXT,
	status                     TEXT NOT NULL,
	status_detail              TEXT,
	status_reason              TEXT,
	created_at                 BIGINT NOT NULL,
	updated_at                 BIGINT NOT NULL,
	user_id                    TEXT,
	service_user_id            TEXT,
	playbook_id                TEXT,
	child_playbook_id          TEXT,
	parent_session_id          TEXT,
	child_session_ids          TEXT NOT NULL,
	schedule_id                TEXT,
	automation_id              TEXT,
	origin                     TEXT NOT NULL,
	category                   TEXT,
	subcategory                TEXT,
	devin_mode                 TEXT,
	platform                   TEXT,
	agent                      TEXT NOT NULL,
	tags                       TEXT NOT NULL,
	repos                      TEXT NOT NULL,
	session_links              TEXT NOT NULL,
	knowledge_ids              TEXT, -- null: all available, []: none
	secret_ids                 TEXT, -- null: all available, []: none
	pull_requests              TEXT NOT NULL,
	is_archived                BIGINT NOT NULL,
	resumable                  BIGINT NOT NULL,
	bypass_approval            BIGINT NOT NULL,
	structured_output          TEXT,
	structured_output_schema   TEXT,
	structured_output_required BIGINT NOT NULL,
	max_acu_limit              BIGINT,
	acu_micros                 BIGINT NOT NULL,
	run_acu_micros             BIGINT NOT NULL, -- since the last user message
	metered_at                 BIGINT,          -- metered up to here; null while nobody works
	interval_start             BIGINT,          -- when the running interval of work began
	idle_since                 BIGINT,          -- since when the session waits for somebody
	turn_command               BIGINT,          -- the command whose turn is running; null between turns
	last_seq                   BIGINT NOT NULL,
	last_command               BIGINT NOT NULL,
	acked_command              BIGINT NOT NULL,
	num_user_messages          BIGINT NOT NULL,
	num_devin_messages         BIGINT NOT NULL,
	ended_at                   BIGINT,
	outpost_id                 TEXT NOT NULL
);
CREATE INDEX sessions_org ON sessions (org_id, is_archived, created_at, session_id);
CREATE INDEX sessions_all ON sessions (is_archived, created_at, session_id);
CREATE INDEX sessions_updated ON sessions (org_id, updated_at, session_id);
CREATE INDEX sessions_parent ON sessions (parent_session_id, created_at) WHERE parent_session_id IS NOT NULL;
CREATE INDEX sessions_playbook ON sessions (org_id, playbook_id, created_at, session_id) WHERE playbook_id IS NOT NULL;
CREATE INDEX sessions_schedule ON sessions (schedule_id, created_at, session_id) WHERE schedule_id IS NOT NULL;
CREATE INDEX sessions_user ON sessions (org_id, user_id, created_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_service_user ON sessions (org_id, service_user_id, created_at, session_id) WHERE service_user_id IS NOT NULL;
CREATE INDEX sessions_idle ON sessions (idle_since) WHERE idle_since IS NOT NULL;
CREATE INDEX sessions_live ON sessions (org_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_waiting ON sessions (status) WHERE status IN ('new', 'claimed', 'resuming');

CREATE TABLE session_tags (
	session_id TEXT NOT NULL,
	tag        TEXT NOT NULL,
	org_id     TEXT NOT NULL,
	created_at BIGINT NOT NULL, -- the session's
	PRIMARY KEY (session_id, tag)
);
CREATE INDEX session_tags_find ON session_tags (org_id, tag, created_at, session_id);

CREATE TABLE session_repos (
	session_id TEXT NOT NULL,
	repo       TEXT NOT NULL,
	org_id     TEXT NOT NULL,
	created_at BIGINT NOT NULL, -- the session's
	PRIMARY KEY (session_id, repo)
);
CREATE INDEX session_repos_find ON session_repos (org_id, repo, created_at, session_id);

CREATE TABLE session_secrets (
	session_id TEXT NOT NULL,
	position   BIGINT NOT NULL,
	name       TEXT NOT NULL,
	sealed     BYTEA NOT NULL,
	sensitive  BIGINT NOT NULL,
	PRIMARY KEY (session_id, position)
);

-- Everything a session does, numbered without gaps. payload and raw are blob keys.
CREATE TABLE session_events (
	session_id TEXT NOT NULL,
	seq        BIGINT NOT NULL,
	event_id   TEXT NOT NULL,
	type       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	data       TEXT NOT NULL,
	payload    TEXT,
	raw        TEXT,
	PRIMARY KEY (session_id, seq)
);
CREATE INDEX session_events_messages ON session_events (session_id, seq) WHERE type IN ('message', 'user_message');

-- What a worker is told, numbered without gaps.
CREATE TABLE session_commands (
	session_id TEXT NOT NULL,
	number     BIGINT NOT NULL,
	kind       TEXT NOT NULL,
	data       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (session_id, number)
);

CREATE TABLE attachments (
	attachment_id TEXT PRIMARY KEY,
	org_id        TEXT NOT NULL,
	session_id    TEXT,
	name          TEXT NOT NULL,
	content_type  TEXT,
	size          BIGINT NOT NULL,
	blob          TEXT NOT NULL,
	source        TEXT NOT NULL CHECK (source IN ('devin', 'user')),
	created_at    BIGINT NOT NULL
);
CREATE INDEX attachments_session ON attachments (session_id, created_at, attachment_id) WHERE session_id IS NOT NULL;

CREATE TABLE outposts (
	outpost_id  TEXT PRIMARY KEY,
	name        TEXT NOT NULL,
	platform    TEXT,
	description TEXT,
	created_at  BIGINT NOT NULL,
	deleted_at  BIGINT
);
CREATE UNIQUE INDEX outposts_name ON outposts (name) WHERE deleted_at IS NULL;

-- One row a session. phase parked: the session waits for somebody and holds no worker; ended: a tombstone for watchers.
CREATE TABLE queue (
	session_id     TEXT PRIMARY KEY,
	org_id         TEXT NOT NULL,
	outpost_id     TEXT NOT NULL,
	kind           TEXT NOT NULL CHECK (kind IN ('new', 'resume')),
	phase          TEXT NOT NULL CHECK (phase IN ('pending', 'claimed', 'parked', 'ended')),
	session_status TEXT NOT NULL,
	platform       TEXT,
	acceptor_id    TEXT,
	last_acceptor  TEXT,
	fence          BIGINT NOT NULL,
	token_hash     BYTEA,
	claim_deadline BIGINT,
	lease_until    BIGINT,
	last_batch     BIGINT NOT NULL,
	secrets_given  BIGINT NOT NULL, -- the fence under which they were released
	enqueued_at    BIGINT NOT NULL,
	created_at     BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL
);
CREATE INDEX queue_pending ON queue (outpost_id, org_id, enqueued_at, session_id) WHERE phase = 'pending';
CREATE INDEX queue_oldest ON queue (enqueued_at) WHERE phase = 'pending';
CREATE INDEX queue_leases ON queue (lease_until) WHERE phase = 'claimed';
CREATE INDEX queue_claimed ON queue (outpost_id, acceptor_id) WHERE phase = 'claimed';
CREATE INDEX queue_watch ON queue (outpost_id, updated_at, session_id);
CREATE UNIQUE INDEX queue_token ON queue (token_hash) WHERE token_hash IS NOT NULL;

-- Per outpost and organization: how many wait, and whose turn it is. Written with the queue.
CREATE TABLE queue_lanes (
	outpost_id TEXT NOT NULL,
	org_id     TEXT NOT NULL,
	pending    BIGINT NOT NULL,
	served_at  BIGINT NOT NULL,
	PRIMARY KEY (outpost_id, org_id)
);
CREATE INDEX queue_lanes_next ON queue_lanes (outpost_id, served_at, org_id) WHERE pending > 0;

CREATE TABLE hypervisors (
	hypervisor_id  TEXT PRIMARY KEY,
	name           TEXT NOT NULL,
	outpost_id     TEXT NOT NULL,
	version        TEXT NOT NULL,
	platform       TEXT NOT NULL,
	capacity       BIGINT NOT NULL,
	in_use         BIGINT NOT NULL,
	created_at     BIGINT NOT NULL,
	last_heartbeat BIGINT NOT NULL,
	drain          BIGINT NOT NULL, -- asked for by an operator
	draining       BIGINT NOT NULL, -- said by the worker
	instance       TEXT NOT NULL -- names the worker's process
);
CREATE INDEX hypervisors_page ON hypervisors (created_at, hypervisor_id);

CREATE TABLE worker_keys (
	worker_key_id TEXT PRIMARY KEY,
	name          TEXT NOT NULL,
	hash          BYTEA NOT NULL UNIQUE,
	outposts      TEXT NOT NULL, -- JSON list of outpost ids
	orgs          TEXT,          -- JSON list of organization ids; null: every one
	created_at    BIGINT NOT NULL,
	expires_at    BIGINT,
	revoked_at    BIGINT,
	last_used_at  BIGINT
);

CREATE TABLE repositories (
	name       TEXT PRIMARY KEY,
	url        TEXT NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE agents (
	name       TEXT PRIMARY KEY,
	command    TEXT NOT NULL, -- JSON list
	sealed_env BYTEA,         -- JSON object, encrypted
	binds      TEXT NOT NULL, -- JSON list of host paths
	modes      TEXT NOT NULL, -- JSON list of devin_mode values it serves
	orgs       TEXT,          -- JSON list of organization ids; null: every one
	is_default BIGINT NOT NULL,
	created_at BIGINT NOT NULL
);

-- The ledger: one row for each interval of work. Its end moves with every report until the work stops.
CREATE TABLE usage_entries (
	session_id      TEXT NOT NULL,
	started_at      BIGINT NOT NULL,
	org_id          TEXT NOT NULL,
	user_id         TEXT,
	service_user_id TEXT,
	product         TEXT NOT NULL,
	fence           BIGINT NOT NULL,
	ended_at        BIGINT NOT NULL,
	acu_micros      BIGINT NOT NULL,
	PRIMARY KEY (session_id, started_at)
);

-- Roll-ups by day, written with the ledger. scope is enterprise, organization, user, service_user or session; org_id '' stands for all.
CREATE TABLE usage_daily (
	scope      TEXT NOT NULL,
	scope_id   TEXT NOT NULL,
	org_id     TEXT NOT NULL,
	product    TEXT NOT NULL,
	day        BIGINT NOT NULL, -- start of the bucket
	acu_micros BIGINT NOT NULL,
	PRIMARY KEY (scope, scope_id, org_id, day, product)
);

-- +goose Down
SELECT 1;
