-- +goose Up

-- SQLite keeps a table in the order of its rows' coming unless it is told otherwise: the days of one group, a year of them, would lie in
-- as many places, and each of these long keys twice. So its tables of metrics are made anew, in the order of their keys; PostgreSQL has
-- none such.
-- sqlite: CREATE TABLE metric_days_by_key (
-- sqlite: 	org_id            TEXT NOT NULL,
-- sqlite: 	user_id           TEXT NOT NULL,
-- sqlite: 	service_user_id   TEXT NOT NULL,
-- sqlite: 	playbook_id       TEXT NOT NULL,
-- sqlite: 	day               BIGINT NOT NULL,
-- sqlite: 	shard             BIGINT NOT NULL,
-- sqlite: 	sessions          BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	with_playbook     BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	with_search       BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	searches          BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	acu_micros        BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_webapp     BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_slack      BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_teams      BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_api        BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_linear     BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_jira       BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_automation BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_cli        BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_desktop    BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_code_scan  BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	origin_other      BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	size_xs           BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	size_s            BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	size_m            BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	size_l            BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	size_xl           BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	merged_xs         BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	merged_s          BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	merged_m          BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	merged_l          BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	merged_xl         BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	prs_open          BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	prs_merged        BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	prs_closed        BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	taken_open        BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	taken_merged      BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	taken_closed      BIGINT NOT NULL DEFAULT 0,
-- sqlite: 	PRIMARY KEY (org_id, user_id, service_user_id, playbook_id, day, shard)
-- sqlite: ) STRICT, WITHOUT ROWID;
-- sqlite: INSERT INTO metric_days_by_key SELECT * FROM metric_days ORDER BY org_id, user_id, service_user_id, playbook_id, day, shard;
-- sqlite: DROP TABLE metric_days;
-- sqlite: ALTER TABLE metric_days_by_key RENAME TO metric_days;

-- sqlite: CREATE TABLE metric_categories_by_key (
-- sqlite: 	org_id      TEXT NOT NULL,
-- sqlite: 	day         BIGINT NOT NULL,
-- sqlite: 	category    TEXT NOT NULL,
-- sqlite: 	subcategory TEXT NOT NULL,
-- sqlite: 	sessions    BIGINT NOT NULL,
-- sqlite: 	acu_micros  BIGINT NOT NULL,
-- sqlite: 	PRIMARY KEY (org_id, day, category, subcategory)
-- sqlite: ) STRICT, WITHOUT ROWID;
-- sqlite: INSERT INTO metric_categories_by_key SELECT * FROM metric_categories ORDER BY org_id, day, category, subcategory;
-- sqlite: DROP TABLE metric_categories;
-- sqlite: ALTER TABLE metric_categories_by_key RENAME TO metric_categories;

-- sqlite: CREATE TABLE metric_people_by_key (
-- sqlite: 	org_id   TEXT NOT NULL,
-- sqlite: 	period   TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'ever')),
-- sqlite: 	began    BIGINT NOT NULL,
-- sqlite: 	user_id  TEXT NOT NULL,
-- sqlite: 	sessions BIGINT NOT NULL,
-- sqlite: 	searches BIGINT NOT NULL,
-- sqlite: 	PRIMARY KEY (org_id, period, began, user_id)
-- sqlite: ) STRICT, WITHOUT ROWID;
-- sqlite: INSERT INTO metric_people_by_key SELECT * FROM metric_people ORDER BY org_id, period, began, user_id;
-- sqlite: DROP TABLE metric_people;
-- sqlite: ALTER TABLE metric_people_by_key RENAME TO metric_people;
-- sqlite: CREATE INDEX metric_people_days ON metric_people (org_id, user_id, began) WHERE period = 'day';

-- sqlite: CREATE TABLE metric_active_by_key (
-- sqlite: 	org_id   TEXT NOT NULL,
-- sqlite: 	period   TEXT NOT NULL,
-- sqlite: 	began    BIGINT NOT NULL,
-- sqlite: 	sessions BIGINT NOT NULL,
-- sqlite: 	searches BIGINT NOT NULL,
-- sqlite: 	users    BIGINT NOT NULL,
-- sqlite: 	PRIMARY KEY (org_id, period, began, sessions, searches)
-- sqlite: ) STRICT, WITHOUT ROWID;
-- sqlite: INSERT INTO metric_active_by_key SELECT * FROM metric_active ORDER BY org_id, period, began, sessions, searches;
-- sqlite: DROP TABLE metric_active;
-- sqlite: ALTER TABLE metric_active_by_key RENAME TO metric_active;

-- sqlite: CREATE TABLE metric_gaps_by_key (
-- sqlite: 	org_id   TEXT NOT NULL,
-- sqlite: 	day      BIGINT NOT NULL,
-- sqlite: 	last_day BIGINT NOT NULL,
-- sqlite: 	users    BIGINT NOT NULL,
-- sqlite: 	PRIMARY KEY (org_id, day, last_day)
-- sqlite: ) STRICT, WITHOUT ROWID;
-- sqlite: INSERT INTO metric_gaps_by_key SELECT * FROM metric_gaps ORDER BY org_id, day, last_day;
-- sqlite: DROP TABLE metric_gaps;
-- sqlite: ALTER TABLE metric_gaps_by_key RENAME TO metric_gaps;

-- How many people did anything in a period at all: the period's name with "any" before it. Those above a threshold are these without the few
-- below it, so that a list of periods costs what its periods cost, however many people there are.
INSERT INTO metric_active (org_id, period, began, sessions, searches, users)
	SELECT org_id, 'any ' || period, began, 0, 0, SUM(users) FROM metric_active WHERE period IN ('day', 'week', 'month') GROUP BY org_id, period, began
	ORDER BY org_id, period, began
	ON CONFLICT (org_id, period, began, sessions, searches) DO UPDATE SET users = excluded.users;

-- The enterprise's own days. '' is common in each of the four columns and all four together are rare, which PostgreSQL can't know of columns
-- that it takes for independent: it would read the whole table. Its statistics of them together hold nothing so rare.
CREATE INDEX metric_days_enterprise ON metric_days (day) WHERE org_id = '' AND user_id = '' AND service_user_id = '' AND playbook_id = '';
-- postgres: DROP STATISTICS metric_days_groups;

-- +goose Down
SELECT 1;
