-- +goose Up

-- Pull requests of which a session printed the address after it had pushed, and that a provider is asked about. pushed is a JSON list of the
-- branches that the session pushed to. branch is what the provider says it brings in ('' from another repository), null before it said.
-- counted is 1 once it is one of the session's. next_at is when it is asked about next, null for never; whoever asks puts it off first.
CREATE TABLE session_pulls (
	session_id TEXT NOT NULL,
	url        TEXT NOT NULL,
	pushed     TEXT NOT NULL,
	branch     TEXT,
	counted    BIGINT NOT NULL,
	since      BIGINT NOT NULL,
	next_at    BIGINT,
	PRIMARY KEY (session_id, url)
);
CREATE INDEX session_pulls_due ON session_pulls (next_at, session_id, url) WHERE next_at IS NOT NULL;

-- Until quiet_until nobody asks the provider about pull requests: it wants a pause, or is away.
ALTER TABLE git_connections ADD COLUMN quiet_until BIGINT;

-- +goose Down
SELECT 1;
