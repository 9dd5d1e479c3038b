package forge

import (
	"context"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const permissionColumns = `git_permission_id, org_id, git_connection_id, scope, value, folded, read_only, created_at`

func scanPermission(s db.Scanner) (Permission, error) {
	var p Permission
	var readOnly, at int64
	err := s.Scan(&p.ID, &p.OrgID, &p.ConnectionID, &p.Scope, &p.Value, &p.folded, &readOnly, &at)
	p.ReadOnly, p.CreatedAt = readOnly == 1, db.Time(at)
	return p, err
}

func listPermissions(ctx context.Context, q db.Querier, orgID string, r page.Request) ([]Permission, error) {
	var w db.Where
	w.Add("org_id = ?", orgID)
	if r.After != nil {
		w.Add("(created_at, git_permission_id) > (?, ?)", r.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", r.Limit())
	return db.All(ctx, q, scanPermission,
		`SELECT `+permissionColumns+` FROM git_permissions`+where+` ORDER BY created_at, git_permission_id `+limit, w.Args()...)
}

// allPermissions gives every permission of an organization: operators grant groups and prefixes, so these are few.
func allPermissions(ctx context.Context, q db.Querier, orgID string) ([]Permission, error) {
	return db.All(ctx, q, scanPermission, `SELECT `+permissionColumns+` FROM git_permissions WHERE org_id = $1 ORDER BY created_at, git_permission_id`, orgID)
}

// permissionsOn gives an organization's permissions on one connection.
func permissionsOn(ctx context.Context, q db.Querier, orgID, connectionID string) ([]Permission, error) {
	return db.All(ctx, q, scanPermission, `SELECT `+permissionColumns+` FROM git_permissions WHERE org_id = $1 AND git_connection_id = $2`,
		orgID, connectionID)
}

func findPermission(ctx context.Context, q db.Querier, orgID, id string) (Permission, error) {
	return db.One(ctx, q, scanPermission, `SELECT `+permissionColumns+` FROM git_permissions WHERE git_permission_id = $1 AND org_id = $2`, id, orgID)
}

// insertPermission gives false when the organization has one of the same scope and value already.
func insertPermission(ctx context.Context, tx *db.Tx, p Permission) (bool, error) {
	n, err := db.Exec(ctx, tx, `INSERT INTO git_permissions (`+permissionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (org_id, git_connection_id, scope, folded) DO NOTHING`,
		p.ID, p.OrgID, p.ConnectionID, string(p.Scope), p.Value, p.folded, db.Bool(p.ReadOnly), p.CreatedAt.UnixMilli())
	return n == 1, err
}

func setReadOnly(ctx context.Context, tx *db.Tx, orgID, id string, readOnly bool) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE git_permissions SET read_only = $1 WHERE git_permission_id = $2 AND org_id = $3`, db.Bool(readOnly), id, orgID)
}

func removePermission(ctx context.Context, tx *db.Tx, orgID, id string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM git_permissions WHERE git_permission_id = $1 AND org_id = $2`, id, orgID)
}

// lockPermissions keeps two changes of an organization's permissions apart, also of one that has none yet.
func lockPermissions(ctx context.Context, tx *db.Tx, orgID string) error {
	if tx.Engine() != db.Postgres {
		return nil // one writer at a time
	}
	_, err := db.All(ctx, tx, db.Text, `SELECT org_id FROM organizations WHERE org_id = $1 FOR NO KEY UPDATE`, orgID)
	return err
}

// bound is what a session means by a repository's name.
type bound struct{ name, connectionID, path string }

func scanBound(s db.Scanner) (bound, error) {
	var b bound
	err := s.Scan(&b.name, &b.connectionID, &b.path)
	return b, err
}

func boundOf(ctx context.Context, q db.Querier, sessionID string) (map[string]bound, error) {
	rows, err := db.All(ctx, q, scanBound, `SELECT repo, git_connection_id, path FROM session_git WHERE session_id = $1`, sessionID)
	out := make(map[string]bound, len(rows))
	for _, b := range rows {
		out[b.name] = b
	}
	return out, err
}
