-- +goose Up

-- Addresses are compared without case; email keeps the case in which the address was first given.
ALTER TABLE users ADD COLUMN email_key TEXT;
UPDATE users SET email_key = lower(email);
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE deleted_at IS NULL;
CREATE INDEX users_page ON users (created_at, user_id) WHERE deleted_at IS NULL;

CREATE TABLE idp_groups (
	idp_group_name TEXT PRIMARY KEY,
	created_at     BIGINT NOT NULL
);

-- Roles that everybody in a group holds. org_id '' is the enterprise role; at most one each per group and organization.
CREATE TABLE idp_group_roles (
	idp_group_name TEXT NOT NULL REFERENCES idp_groups (idp_group_name),
	org_id         TEXT NOT NULL,
	role_id        TEXT NOT NULL REFERENCES roles (role_id),
	created_at     BIGINT NOT NULL,
	PRIMARY KEY (idp_group_name, org_id)
);
CREATE INDEX idp_group_roles_org ON idp_group_roles (org_id, idp_group_name);

-- Who is in a group, as the identity provider last said.
CREATE TABLE idp_group_members (
	user_id        TEXT NOT NULL REFERENCES users (user_id),
	idp_group_name TEXT NOT NULL REFERENCES idp_groups (idp_group_name),
	created_at     BIGINT NOT NULL,
	PRIMARY KEY (user_id, idp_group_name)
);
CREATE INDEX idp_group_members_group ON idp_group_members (idp_group_name, user_id);

-- +goose Down
SELECT 1;
