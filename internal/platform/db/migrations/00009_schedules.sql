-- +goose Up

-- next_run_at is null while nothing is to happen: paused, over or deleted. version grows with every change of what a schedule is and
-- with every run, so that no run starts from what was read before a change.
CREATE TABLE schedules (
	schedule_id          TEXT PRIMARY KEY,
	org_id               TEXT NOT NULL,
	name                 TEXT NOT NULL,
	prompt               TEXT NOT NULL,
	playbook_id          TEXT,
	schedule_type        TEXT NOT NULL CHECK (schedule_type IN ('recurring', 'one_time')),
	frequency            TEXT,
	interval_count       BIGINT NOT NULL,
	scheduled_at         BIGINT,
	enabled              BIGINT NOT NULL,
	agent                TEXT NOT NULL,
	platform             TEXT,
	tags                 TEXT, -- JSON list, or null
	bypass_approval      BIGINT NOT NULL,
	target_session_id    TEXT,
	notify_on            TEXT NOT NULL CHECK (notify_on IN ('always', 'failure', 'never')),
	slack_channel_id     TEXT,
	slack_team_id        TEXT,
	run_as_user_id       TEXT, -- null: the bot
	created_by           TEXT,
	last_edited_by       TEXT,
	created_at           BIGINT NOT NULL,
	updated_at           BIGINT NOT NULL,
	deleted_at           BIGINT,
	version              BIGINT NOT NULL,
	next_run_at          BIGINT,
	last_executed_at     BIGINT,
	last_session_id      TEXT,
	consecutive_failures BIGINT NOT NULL,
	last_error_at        BIGINT,
	last_error_message   TEXT,
	failed_session_id    TEXT,  -- the last session whose end in error was counted
	failure_mailed_at    BIGINT
);
CREATE INDEX schedules_due ON schedules (next_run_at, schedule_id) WHERE next_run_at IS NOT NULL;
CREATE INDEX schedules_page ON schedules (org_id, created_at, schedule_id) WHERE deleted_at IS NULL;

-- +goose Down
SELECT 1;
