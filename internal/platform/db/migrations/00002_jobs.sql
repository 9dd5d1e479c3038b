-- +goose Up

-- What must happen after a transaction, at least once: mail, insights. A row is a job that isn't done; run_at is when it is due, and
-- while somebody works on it, when somebody else may take it over.
CREATE TABLE jobs (
	job_id     TEXT PRIMARY KEY,
	kind       TEXT NOT NULL,
	unique_key TEXT,
	args       TEXT NOT NULL,
	attempt    BIGINT NOT NULL,
	run_at     BIGINT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (run_at, job_id);
CREATE UNIQUE INDEX jobs_key ON jobs (kind, unique_key) WHERE unique_key IS NOT NULL;

-- +goose Down
SELECT 1;
