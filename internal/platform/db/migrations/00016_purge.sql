-- +goose Up

-- How far the data of a deleted organization is gone. purge_stage: 0 nothing is, 1 its secrets are, 2 all is that doesn't stay.
-- purge_place says where to go on, and until purge_until a replica is at it, or waits after a failure.
ALTER TABLE organizations ADD COLUMN purge_stage BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organizations ADD COLUMN purge_place TEXT;
ALTER TABLE organizations ADD COLUMN purge_until BIGINT;
CREATE INDEX organizations_purge ON organizations (purge_stage, deleted_at, org_id)
	WHERE deleted_at IS NOT NULL AND purge_stage < 2;

-- What an organization has, where no index knew it yet.
CREATE INDEX attachments_org ON attachments (org_id, attachment_id);
CREATE INDEX schedules_deleted ON schedules (org_id, schedule_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX session_insights_org ON session_insights (org_id, session_id);
CREATE INDEX api_keys_org ON api_keys (org_id, principal_id, api_key_id) WHERE org_id IS NOT NULL;

-- The live keys of people on the older versions: they end with their person's access to the organization.
CREATE INDEX api_keys_personal ON api_keys (principal_id, api_key_id) WHERE form = 'personal' AND revoked_at IS NULL;

-- +goose Down
SELECT 1;
