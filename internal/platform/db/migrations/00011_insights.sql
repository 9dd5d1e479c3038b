-- +goose Up

-- The analysis of a session, at most one. A session that went on may be analysed again: while that runs, or when it failed, analysis
-- is still the earlier one.
CREATE TABLE session_insights (
	session_id  TEXT PRIMARY KEY,
	org_id      TEXT NOT NULL,
	state       TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
	generation  BIGINT NOT NULL, -- one more with every start
	messages    BIGINT NOT NULL, -- of the conversation when it was started
	started_at  BIGINT NOT NULL,
	finished_at BIGINT,
	analysis    TEXT             -- null until one was made
);

-- +goose Down
SELECT 1;
