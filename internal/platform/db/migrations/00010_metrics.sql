-- +goose Up

-- What the metrics are answered from: counters by UTC day, written in the transaction of the fact (package rollup).

-- A session's size class as it is counted, and whether the counters know of the session at all: rows of an older release are counted
-- afterwards.
ALTER TABLE sessions ADD COLUMN size TEXT NOT NULL DEFAULT 'xs';
ALTER TABLE sessions ADD COLUMN counted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sessions_uncounted ON sessions (session_id) WHERE counted = 0;

-- One row for a day (its start) and everything it may be asked by: org_id '' is the enterprise, '' in the other three is anybody and
-- any playbook. The enterprise's rows are split over shards, so that its organizations don't wait for one another. Sessions count on
-- the day of their creation, pull requests on the day they were first reported.
CREATE TABLE metric_days (
	org_id            TEXT NOT NULL,
	user_id           TEXT NOT NULL,
	service_user_id   TEXT NOT NULL,
	playbook_id       TEXT NOT NULL,
	day               BIGINT NOT NULL,
	shard             BIGINT NOT NULL,
	sessions          BIGINT NOT NULL DEFAULT 0,
	with_playbook     BIGINT NOT NULL DEFAULT 0,
	with_search       BIGINT NOT NULL DEFAULT 0,
	searches          BIGINT NOT NULL DEFAULT 0,
	acu_micros        BIGINT NOT NULL DEFAULT 0,
	origin_webapp     BIGINT NOT NULL DEFAULT 0,
	origin_slack      BIGINT NOT NULL DEFAULT 0,
	origin_teams      BIGINT NOT NULL DEFAULT 0,
	origin_api        BIGINT NOT NULL DEFAULT 0,
	origin_linear     BIGINT NOT NULL DEFAULT 0,
	origin_jira       BIGINT NOT NULL DEFAULT 0,
	origin_automation BIGINT NOT NULL DEFAULT 0,
	origin_cli        BIGINT NOT NULL DEFAULT 0,
	origin_desktop    BIGINT NOT NULL DEFAULT 0,
	origin_code_scan  BIGINT NOT NULL DEFAULT 0,
	origin_other      BIGINT NOT NULL DEFAULT 0,
	size_xs           BIGINT NOT NULL DEFAULT 0,
	size_s            BIGINT NOT NULL DEFAULT 0,
	size_m            BIGINT NOT NULL DEFAULT 0,
	size_l            BIGINT NOT NULL DEFAULT 0,
	size_xl           BIGINT NOT NULL DEFAULT 0,
	merged_xs         BIGINT NOT NULL DEFAULT 0, -- sessions with a merged pull request
	merged_s          BIGINT NOT NULL DEFAULT 0,
	merged_m          BIGINT NOT NULL DEFAULT 0,
	merged_l          BIGINT NOT NULL DEFAULT 0,
	merged_xl         BIGINT NOT NULL DEFAULT 0,
	prs_open          BIGINT NOT NULL DEFAULT 0, -- authored by the agent
	prs_merged        BIGINT NOT NULL DEFAULT 0,
	prs_closed        BIGINT NOT NULL DEFAULT 0,
	taken_open        BIGINT NOT NULL DEFAULT 0, -- of others, that the agent pushed to
	taken_merged      BIGINT NOT NULL DEFAULT 0,
	taken_closed      BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (org_id, user_id, service_user_id, playbook_id, day, shard)
);
-- '' is common in each of the four, and all four together are rare. PostgreSQL, which takes columns for independent, would read the
-- whole table for the enterprise's few rows.
-- postgres: CREATE STATISTICS metric_days_groups (mcv) ON org_id, user_id, service_user_id, playbook_id FROM metric_days;

CREATE TABLE metric_categories (
	org_id      TEXT NOT NULL, -- '': the enterprise
	day         BIGINT NOT NULL,
	category    TEXT NOT NULL,
	subcategory TEXT NOT NULL, -- its shown name
	sessions    BIGINT NOT NULL,
	acu_micros  BIGINT NOT NULL,
	PRIMARY KEY (org_id, day, category, subcategory)
);

-- What each person did in a period: day, week (from Monday), month, or ever (began 0).
CREATE TABLE metric_people (
	org_id   TEXT NOT NULL, -- '': the enterprise
	period   TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'ever')),
	began    BIGINT NOT NULL,
	user_id  TEXT NOT NULL,
	sessions BIGINT NOT NULL,
	searches BIGINT NOT NULL,
	PRIMARY KEY (org_id, period, began, user_id)
);
CREATE INDEX metric_people_days ON metric_people (org_id, user_id, began) WHERE period = 'day';

-- How many people did exactly so much in a period, so that those above a threshold are counted without looking at each.
CREATE TABLE metric_active (
	org_id   TEXT NOT NULL,
	period   TEXT NOT NULL,
	began    BIGINT NOT NULL,
	sessions BIGINT NOT NULL,
	searches BIGINT NOT NULL,
	users    BIGINT NOT NULL,
	PRIMARY KEY (org_id, period, began, sessions, searches)
);

-- How many people were active on a day and on last_day before it (-1: never). Those active in a range are those whose last active day
-- lies before the range, summed over its days: each person once.
CREATE TABLE metric_gaps (
	org_id   TEXT NOT NULL,
	day      BIGINT NOT NULL,
	last_day BIGINT NOT NULL,
	users    BIGINT NOT NULL,
	PRIMARY KEY (org_id, day, last_day)
);

-- The enterprise's lists of sessions, narrowed to what few of them have.
CREATE INDEX sessions_user_all ON sessions (user_id, created_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_service_user_all ON sessions (service_user_id, created_at, session_id) WHERE service_user_id IS NOT NULL;
CREATE INDEX sessions_playbook_all ON sessions (playbook_id, created_at, session_id) WHERE playbook_id IS NOT NULL;
CREATE INDEX sessions_automation ON sessions (automation_id, created_at, session_id) WHERE automation_id IS NOT NULL;
CREATE INDEX session_tags_all ON session_tags (tag, created_at, session_id);
CREATE INDEX session_repos_all ON session_repos (repo, created_at, session_id);

-- +goose Down
SELECT 1;
