-- +goose Up

-- The session tags that an organization allows, and the one that untagged sessions get.
CREATE TABLE org_tags (
	org_id TEXT NOT NULL,
	tag    TEXT NOT NULL,
	PRIMARY KEY (org_id, tag)
);
ALTER TABLE organizations ADD COLUMN default_tag TEXT;

-- What local agents may use in a cycle. max_cycle_acu_limit is what sessions may.
ALTER TABLE organizations ADD COLUMN max_cycle_local_acu_limit BIGINT;
CREATE INDEX organizations_limited ON organizations (org_id) WHERE max_cycle_acu_limit IS NOT NULL AND deleted_at IS NULL;

-- Groups of organizations with a limit that they share. An organization is in one of them at most.
CREATE TABLE org_groups (
	name           TEXT PRIMARY KEY,
	max_cycle_acus BIGINT
);
CREATE TABLE org_group_members (
	org_id     TEXT PRIMARY KEY,
	group_name TEXT NOT NULL REFERENCES org_groups (name)
);
CREATE INDEX org_group_members_group ON org_group_members (group_name, org_id);

-- What a person may use in a cycle, in every organization together. user_id '' is everybody who has no limit of their own.
CREATE TABLE user_acu_limits (
	user_id         TEXT PRIMARY KEY,
	cycle_acu_limit BIGINT,
	billing_org_id  TEXT
);

-- The enterprise's roll-up by day, kept apart from usage_daily so that a year of it lies together. Every metered report writes a row
-- here, so the rows are split: sessions that report at the same time rarely wait for one another.
CREATE TABLE usage_enterprise (
	day        BIGINT NOT NULL, -- start of the bucket
	product    TEXT NOT NULL,
	shard      BIGINT NOT NULL,
	acu_micros BIGINT NOT NULL,
	PRIMARY KEY (day, product, shard)
);
INSERT INTO usage_enterprise (day, product, shard, acu_micros)
	SELECT day, product, 0, SUM(acu_micros) FROM usage_daily WHERE scope = 'organization' GROUP BY day, product;

-- What a person or service user used in all organizations.
INSERT INTO usage_daily (scope, scope_id, org_id, product, day, acu_micros)
	SELECT scope, scope_id, '', product, day, SUM(acu_micros) FROM usage_daily
	WHERE scope IN ('user', 'service_user') AND org_id <> '' GROUP BY scope, scope_id, product, day;

-- What an organization used in a cycle, so that a group's sum reads one row for each member.
CREATE TABLE usage_cycles (
	org_id     TEXT NOT NULL,
	cycle      BIGINT NOT NULL, -- start of the cycle
	acu_micros BIGINT NOT NULL,
	PRIMARY KEY (org_id, cycle)
);

-- How much of a session's total somebody has acknowledged, in millionths of an ACU: the limit on the total counts from there.
ALTER TABLE sessions ADD COLUMN acknowledged_micros BIGINT NOT NULL DEFAULT 0;

-- +goose Down
SELECT 1;
