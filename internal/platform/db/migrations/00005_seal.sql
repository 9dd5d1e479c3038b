-- +goose Up

-- stamp is the writer's proof that Gantry wrote the entry. number and link come with the seal: entries are numbered from 1 without
-- gaps in the order in which they were sealed, and each link covers the one before. Null until then.
ALTER TABLE audit_entries ADD COLUMN stamp BYTEA;
ALTER TABLE audit_entries ADD COLUMN number BIGINT;
ALTER TABLE audit_entries ADD COLUMN link BYTEA;
CREATE UNIQUE INDEX audit_entries_number ON audit_entries (number) WHERE number IS NOT NULL;
CREATE INDEX audit_entries_fresh ON audit_entries (created_at, audit_log_id) WHERE number IS NULL;

-- An organization's entries of one action; by the action alone they would be looked for among everybody's.
CREATE INDEX audit_entries_org_action ON audit_entries (org_id, action, created_at, audit_log_id);

-- One row: the last sealed entry. Whoever changes it is the one that seals.
CREATE TABLE audit_head (
	id        BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	number    BIGINT NOT NULL,
	link      BYTEA, -- null before the first
	sealed_at BIGINT NOT NULL
);
INSERT INTO audit_head (id, number, sealed_at) VALUES (1, 0, 0);

-- +goose Down
SELECT 1;
