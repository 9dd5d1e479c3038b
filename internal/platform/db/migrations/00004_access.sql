-- +goose Up

-- Who holds a role, before it is deleted. The IP access list itself is the row ip_access_list of settings.
CREATE INDEX role_assignments_role ON role_assignments (role_id, principal_kind);
CREATE INDEX idp_group_roles_role ON idp_group_roles (role_id);

-- An organization's own service users.
CREATE INDEX service_users_org ON service_users (org_id, created_at, service_user_id) WHERE org_id IS NOT NULL;

-- JSON list of the CIDR ranges from which a worker's key is good; null: from anywhere.
ALTER TABLE worker_keys ADD COLUMN ip_ranges TEXT;

-- The same of the worker key that a claim was made with: its connect token is good from there only.
ALTER TABLE queue ADD COLUMN ip_ranges TEXT;

-- +goose Down
SELECT 1;
