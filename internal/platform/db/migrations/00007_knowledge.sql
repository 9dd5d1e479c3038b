-- +goose Up

-- Folders of notes, per scope: org_id '' is the enterprise. is_live says that the folder and every one around it is switched on.
CREATE TABLE knowledge_folders (
	folder_id  TEXT PRIMARY KEY,
	org_id     TEXT NOT NULL,
	parent_id  TEXT,          -- null at the root
	name       TEXT NOT NULL,
	path       TEXT NOT NULL, -- of the names from the root: /guides/go
	is_enabled BIGINT NOT NULL,
	is_live    BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX knowledge_folders_path ON knowledge_folders (path, org_id);
CREATE INDEX knowledge_folders_org ON knowledge_folders (org_id);

-- What is long comes last, so that a look at the rest needn't pass it. folded is what a search looks through: name, trigger and body
-- in lower case, because the engines don't agree on the lower case of letters beyond ASCII.
CREATE TABLE knowledge_notes (
	note_id      TEXT PRIMARY KEY,
	org_id       TEXT NOT NULL, -- '' is the enterprise
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	folder_id    TEXT,
	is_enabled   BIGINT NOT NULL,
	pinned_repo  TEXT,
	macro        TEXT,
	name         TEXT NOT NULL,
	trigger_text TEXT NOT NULL,
	size         BIGINT NOT NULL, -- bytes of body
	hash         TEXT NOT NULL,   -- of body
	body         TEXT NOT NULL,
	folded       TEXT NOT NULL
);
CREATE INDEX knowledge_notes_org ON knowledge_notes (org_id, created_at, note_id);
CREATE INDEX knowledge_notes_all ON knowledge_notes (created_at, note_id);
CREATE INDEX knowledge_notes_folder ON knowledge_notes (folder_id, created_at, note_id) WHERE folder_id IS NOT NULL;
CREATE INDEX knowledge_notes_pin ON knowledge_notes (pinned_repo, created_at, note_id) WHERE pinned_repo IS NOT NULL;
CREATE UNIQUE INDEX knowledge_notes_macro ON knowledge_notes (org_id, macro) WHERE macro IS NOT NULL;

CREATE TABLE playbooks (
	playbook_id              TEXT PRIMARY KEY,
	org_id                   TEXT NOT NULL, -- '' is the enterprise
	created_at               BIGINT NOT NULL,
	updated_at               BIGINT NOT NULL,
	created_by               TEXT NOT NULL,
	updated_by               TEXT NOT NULL,
	macro                    TEXT,
	title                    TEXT NOT NULL,
	size                     BIGINT NOT NULL, -- bytes of body
	hash                     TEXT NOT NULL,   -- of body
	structured_output_schema TEXT,
	body                     TEXT NOT NULL
);
CREATE INDEX playbooks_org ON playbooks (org_id, created_at, playbook_id);
CREATE UNIQUE INDEX playbooks_macro ON playbooks (org_id, macro) WHERE macro IS NOT NULL;

-- The texts of notes and playbooks as sessions were given them: kept once per organization, whatever becomes of the note.
CREATE TABLE session_texts (
	org_id TEXT NOT NULL, -- the session's
	hash   TEXT NOT NULL,
	body   TEXT NOT NULL,
	PRIMARY KEY (org_id, hash)
);

-- Which notes a session was given, with which of its messages and why: chosen, pinned, trigger or macro.
CREATE TABLE session_notes (
	session_id  TEXT NOT NULL,
	note_id     TEXT NOT NULL,
	command     BIGINT NOT NULL, -- the message's number
	position    BIGINT NOT NULL,
	org_id      TEXT NOT NULL,   -- the session's
	access_type TEXT NOT NULL CHECK (access_type IN ('org', 'enterprise')),
	name        TEXT NOT NULL,
	reason      TEXT NOT NULL,
	size        BIGINT NOT NULL,
	hash        TEXT NOT NULL,
	PRIMARY KEY (session_id, note_id)
);

-- Which playbooks came with which message: one may come again with a later one. reason is chosen, macro or parent.
CREATE TABLE session_playbooks (
	session_id  TEXT NOT NULL,
	command     BIGINT NOT NULL,
	position    BIGINT NOT NULL,
	playbook_id TEXT NOT NULL,
	org_id      TEXT NOT NULL, -- the session's
	access_type TEXT NOT NULL CHECK (access_type IN ('org', 'enterprise')),
	title       TEXT NOT NULL,
	reason      TEXT NOT NULL,
	size        BIGINT NOT NULL,
	hash        TEXT NOT NULL,
	PRIMARY KEY (session_id, command, position)
);

-- +goose Down
SELECT 1;
