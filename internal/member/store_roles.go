package member

import (
	"context"

	"gantry/internal/access"
	"gantry/internal/platform/db"
)

// lockRole reads a role and keeps it from being changed or deleted before the transaction ends. SQLite has one writer anyway.
func lockRole(ctx context.Context, tx *db.Tx, roleID, lock string) (access.Role, error) {
	query := oneRole
	if tx.Engine() == db.Postgres {
		query += lock
	}
	return db.One(ctx, tx, scanRole, query, roleID)
}

const oneRole = `SELECT ` + roleColumns + ` FROM roles r WHERE r.role_id = $1`

// dead finds a role that a service user kept who was deleted before roles went with them.
const dead = `EXISTS (SELECT 1 FROM service_users s WHERE s.service_user_id = role_assignments.principal_id AND s.deleted_at IS NOT NULL)`

// roleUse counts who holds a role, directly or as a group.
func roleUse(ctx context.Context, q db.Querier, roleID string) (use, error) {
	return db.One(ctx, q, func(s db.Scanner) (use, error) {
		var u use
		return u, s.Scan(&u.people, &u.serviceUsers, &u.groups)
	}, `SELECT
			(SELECT COUNT(DISTINCT principal_id) FROM role_assignments WHERE role_id = $1 AND principal_kind = 'user'),
			(SELECT COUNT(DISTINCT principal_id) FROM role_assignments WHERE role_id = $1 AND principal_kind = 'service_user'
				AND NOT `+dead+`),
			(SELECT COUNT(DISTINCT idp_group_name) FROM idp_group_roles WHERE role_id = $1)`, roleID)
}

func deleteRole(ctx context.Context, tx *db.Tx, roleID string) error {
	if _, err := db.Exec(ctx, tx, `DELETE FROM role_assignments WHERE role_id = $1 AND `+dead, roleID); err != nil {
		return err
	}
	_, err := db.Exec(ctx, tx, `DELETE FROM roles WHERE role_id = $1`, roleID)
	return err
}
