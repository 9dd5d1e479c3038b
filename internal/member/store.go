package member

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

// kindServiceUser is the principal_kind of a service user; a person's is kindPerson.
const kindServiceUser = "service_user"

const liveOrg = `SELECT 1 FROM organizations WHERE org_id = $1 AND deleted_at IS NULL`

func readOrg(ctx context.Context, q db.Querier, orgID string) error {
	_, err := db.One(ctx, q, db.Int, liveOrg, orgID)
	return err
}

// lockOrg needs a lock on PostgreSQL only: on SQLite there is one writer.
func lockOrg(ctx context.Context, tx *db.Tx, orgID string) error {
	query := liveOrg
	if tx.Engine() == db.Postgres {
		query += ` FOR SHARE`
	}
	_, err := db.One(ctx, tx, db.Int, query, orgID)
	return err
}

// insertOrg is for the first organization only; org owns the table.
func insertOrg(ctx context.Context, tx *db.Tx, orgID, name string, maxSession *int64, at int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO organizations (org_id, name, max_session_acu_limit, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $4)`, orgID, name, maxSession, at)
	return err
}

const roleColumns = `r.role_id, r.role_name, r.role_type, r.permissions, r.is_builtin`

func scanRole(s db.Scanner) (access.Role, error) {
	var r access.Role
	var perms string
	var builtin int64
	if err := s.Scan(&r.ID, &r.Name, &r.Scope, &perms, &builtin); err != nil {
		return r, err
	}
	r.Builtin = builtin == 1
	set, err := parsePermissions(perms)
	r.Permissions = set
	return r, err
}

// parsed keeps what permission texts mean: a page of members joins the same few roles again and again, and reading a text costs more than
// the row that it comes with. Roles are few; should they not be, it starts over.
var parsed struct {
	sync.RWMutex
	sets map[string]access.Set
}

const maxParsed = 1000

func parsePermissions(text string) (access.Set, error) {
	parsed.RLock()
	set, ok := parsed.sets[text]
	parsed.RUnlock()
	if ok {
		return set, nil
	}
	var names []string
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return 0, fmt.Errorf("permissions of a role: %w", err)
	}
	set = access.SetNamed(names)
	parsed.Lock()
	defer parsed.Unlock()
	if parsed.sets == nil || len(parsed.sets) >= maxParsed {
		parsed.sets = map[string]access.Set{}
	}
	parsed.sets[text] = set
	return set, nil
}

func readRole(ctx context.Context, q db.Querier, roleID string) (access.Role, error) {
	return db.One(ctx, q, scanRole, oneRole, roleID)
}

func listRoles(ctx context.Context, q db.Querier, r page.Request) ([]access.Role, error) {
	var w db.Where
	if r.After != nil {
		w.Add("r.role_id > ?", r.After...)
	}
	where := w.SQL()
	limit := w.Limit(r.Limit(), r.Skip)
	return db.All(ctx, q, scanRole, `SELECT `+roleColumns+` FROM roles r`+where+` ORDER BY r.role_id `+limit, w.Args()...)
}

// upsertRole reports whether the role is new or different from what was stored.
func upsertRole(ctx context.Context, tx *db.Tx, r access.Role, at int64) (bool, error) {
	perms, err := json.Marshal(r.Permissions.Names())
	if err != nil {
		return false, err
	}
	n, err := db.Exec(ctx, tx, `INSERT INTO roles (role_id, role_name, role_type, permissions, is_builtin, created_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (role_id) DO UPDATE SET role_name = excluded.role_name, permissions = excluded.permissions
		WHERE roles.permissions <> excluded.permissions OR roles.role_name <> excluded.role_name`,
		r.ID, r.Name, string(r.Scope), string(perms), db.Bool(r.Builtin), at)
	return n > 0, err
}

const serviceUserColumns = `service_user_id, name, org_id, created_at, expires_at, deleted_at`

func scanServiceUser(s db.Scanner) (ServiceUser, error) {
	var u ServiceUser
	return u, s.Scan(&u.ID, &u.Name, db.OrEmpty(&u.OrgID), db.OrZero(&u.CreatedAt), db.OrZero(&u.ExpiresAt), db.OrZero(&u.DeletedAt))
}

func insertServiceUser(ctx context.Context, tx *db.Tx, u ServiceUser) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO service_users (service_user_id, name, org_id, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5)`, u.ID, u.Name, db.Null(u.OrgID), u.CreatedAt.UnixMilli(), db.NullMillis(u.ExpiresAt))
	return err
}

// readServiceUser reads a service user, deleted or not, with its roles.
func readServiceUser(ctx context.Context, q db.Querier, serviceUserID string) (ServiceUser, error) {
	u, err := db.One(ctx, q, scanServiceUser, `SELECT `+serviceUserColumns+` FROM service_users WHERE service_user_id = $1`, serviceUserID)
	if err != nil {
		return u, err
	}
	us := []ServiceUser{u}
	err = fillRoles(ctx, q, us)
	return us[0], err
}

func listServiceUsers(ctx context.Context, q db.Querier, p ListParams, now int64) ([]ServiceUser, error) {
	query, args := serviceUsersQuery(p, now)
	return db.All(ctx, q, scanServiceUser, query, args...)
}

func serviceUsersQuery(p ListParams, now int64) (string, []any) {
	var w db.Where
	switch {
	case p.own:
		w.Add(`org_id = ?`, p.OrgID)
		w.Add(`NOT EXISTS (SELECT 1 FROM api_keys k WHERE k.principal_id = service_user_id AND k.form = 'service')`)
	case p.OrgID != "":
		w.Add(`service_user_id IN (SELECT b.service_user_id FROM service_users b WHERE b.org_id = ? UNION
			SELECT a.principal_id FROM role_assignments a WHERE a.org_id = ? AND a.principal_kind = '`+kindServiceUser+`')`, p.OrgID, p.OrgID)
	}
	if !p.IncludeInactive {
		w.Add("deleted_at IS NULL AND (expires_at IS NULL OR expires_at > ?)", now)
	}
	if p.Page.After != nil {
		w.Add("(created_at, service_user_id) > (?, ?)", p.Page.After...)
	}
	where := w.SQL()
	limit := w.Limit(p.Page.Limit(), p.Page.Skip)
	return `SELECT ` + serviceUserColumns + ` FROM service_users` + where + ` ORDER BY created_at, service_user_id ` + limit, w.Args()
}

// fillRoles reads the roles of all service users of one page at once.
func fillRoles(ctx context.Context, q db.Querier, us []ServiceUser) error {
	if len(us) == 0 {
		return nil
	}
	ids := make([]string, len(us))
	for i, u := range us {
		ids[i] = u.ID
	}
	roles, err := assignmentsOf(ctx, q, ids)
	for i := range us {
		us[i].Roles = roles[us[i].ID]
	}
	return err
}

func deleteServiceUser(ctx context.Context, tx *db.Tx, serviceUserID string, at int64) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE service_users SET deleted_at = $1 WHERE service_user_id = $2 AND deleted_at IS NULL`, at, serviceUserID)
}

// serviceUsersOf gives the live service users that are bound to an organization, without their roles.
func serviceUsersOf(ctx context.Context, tx *db.Tx, orgID string) ([]ServiceUser, error) {
	return db.All(ctx, tx, scanServiceUser, `SELECT `+serviceUserColumns+` FROM service_users
		WHERE org_id = $1 AND deleted_at IS NULL ORDER BY created_at, service_user_id`, orgID)
}

func endOrg(ctx context.Context, tx *db.Tx, orgID string, at int64) error {
	for _, statement := range []string{
		`UPDATE api_keys SET revoked_at = $1 WHERE revoked_at IS NULL
			AND principal_id IN (SELECT service_user_id FROM service_users WHERE org_id = $2)`,
		`UPDATE service_users SET deleted_at = $1 WHERE org_id = $2 AND deleted_at IS NULL`,
	} {
		if _, err := db.Exec(ctx, tx, statement, at, orgID); err != nil {
			return err
		}
	}
	for _, statement := range []string{
		`DELETE FROM role_assignments WHERE org_id = $1`,
		`DELETE FROM idp_group_roles WHERE org_id = $1`,
	} {
		if _, err := db.Exec(ctx, tx, statement, orgID); err != nil {
			return err
		}
	}
	return nil
}

func insertAssignment(ctx context.Context, tx *db.Tx, principalID, kind, orgID, roleID string, at int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at)
		VALUES ($1, $2, $3, $4, $5)`, principalID, orgID, kind, roleID, at)
	return err
}

func updateAssignment(ctx context.Context, tx *db.Tx, principalID, orgID, roleID string) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE role_assignments SET role_id = $1 WHERE principal_id = $2 AND org_id = $3`, roleID, principalID, orgID)
}

func deleteAssignment(ctx context.Context, tx *db.Tx, principalID, orgID string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM role_assignments WHERE principal_id = $1 AND org_id = $2`, principalID, orgID)
}
