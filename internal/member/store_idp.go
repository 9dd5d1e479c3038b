package member

import (
	"context"
	"slices"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const groupColumns = `i.idp_group_name, i.created_at`

func scanGroup(s db.Scanner) (Group, error) {
	var g Group
	return g, s.Scan(&g.Name, db.OrZero(&g.CreatedAt))
}

// insertGroup reports whether the name is new.
func insertGroup(ctx context.Context, tx *db.Tx, g Group) (bool, error) {
	n, err := db.Exec(ctx, tx, `INSERT INTO idp_groups (idp_group_name, created_at) VALUES ($1, $2) ON CONFLICT (idp_group_name) DO NOTHING`,
		g.Name, g.CreatedAt.UnixMilli())
	return n == 1, err
}

const oneGroup = `SELECT ` + groupColumns + ` FROM idp_groups i WHERE i.idp_group_name = $1`

// lockGroup holds a group until the transaction ends: its roles change and it goes only for whoever does.
func lockGroup(ctx context.Context, tx *db.Tx, name string) (Group, error) {
	return db.One(ctx, tx, scanGroup, oneGroup+rowLock(tx, " FOR UPDATE"), name)
}

// readGroup reads a group with its roles.
func readGroup(ctx context.Context, q db.Querier, name string) (Group, error) {
	g, err := db.One(ctx, q, scanGroup, oneGroup, name)
	if err != nil {
		return g, err
	}
	one := []Group{g}
	err = fillGroupRoles(ctx, q, one)
	return one[0], err
}

func groupsQuery(r page.Request) (string, []any) {
	var w db.Where
	if r.After != nil {
		w.Add("i.idp_group_name > ?", r.After...)
	}
	where := w.SQL()
	limit := w.Limit(r.Limit(), r.Skip)
	return `SELECT ` + groupColumns + ` FROM idp_groups i` + where + ` ORDER BY i.idp_group_name ` + limit, w.Args()
}

// groupsInQuery is the list of groups that hold a role in an organization, or with OrgID "" in the enterprise.
func groupsInQuery(p GroupsParams) (string, []any) {
	var w db.Where
	w.Add("g.org_id = ?", p.OrgID)
	if p.Page.After != nil {
		w.Add("g.idp_group_name > ?", p.Page.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", p.Page.Limit())
	return `SELECT ` + groupColumns + ` FROM idp_group_roles g JOIN idp_groups i ON i.idp_group_name = g.idp_group_name` + where +
		` ORDER BY g.idp_group_name ` + limit, w.Args()
}

// fillGroupRoles reads the roles of all groups of one page at once.
func fillGroupRoles(ctx context.Context, q db.Querier, groups []Group) error {
	if len(groups) == 0 {
		return nil
	}
	names, at := make([]string, len(groups)), make(map[string]int, len(groups))
	for i, g := range groups {
		names[i], at[g.Name] = g.Name, i
	}
	var w db.Where
	w.In("g.idp_group_name", names)
	return eachAssignment(ctx, q, `SELECT g.idp_group_name, g.org_id, `+roleColumns+`, '' FROM idp_group_roles g
		JOIN roles r ON r.role_id = g.role_id`+w.SQL()+` ORDER BY g.idp_group_name, g.org_id`, w.Args(), func(name, _ string, a RoleAssignment) {
		g := &groups[at[name]]
		g.Roles = append(g.Roles, a)
	})
}

func groupInUse(ctx context.Context, tx *db.Tx, name string) (bool, error) {
	n, err := db.One(ctx, tx, db.Int, `SELECT CASE WHEN EXISTS (SELECT 1 FROM idp_group_roles WHERE idp_group_name = $1)
		OR EXISTS (SELECT 1 FROM idp_group_members WHERE idp_group_name = $1) THEN 1 ELSE 0 END`, name)
	return n == 1, err
}

func deleteGroup(ctx context.Context, tx *db.Tx, name string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM idp_groups WHERE idp_group_name = $1`, name)
	return err
}

func insertGroupRole(ctx context.Context, tx *db.Tx, p GroupRoleParams, at int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO idp_group_roles (idp_group_name, org_id, role_id, created_at) VALUES ($1, $2, $3, $4)`,
		p.Group, p.OrgID, p.RoleID, at)
	return err
}

func updateGroupRole(ctx context.Context, tx *db.Tx, p GroupRoleParams) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE idp_group_roles SET role_id = $1 WHERE idp_group_name = $2 AND org_id = $3`, p.RoleID, p.Group, p.OrgID)
}

func deleteGroupRole(ctx context.Context, tx *db.Tx, orgID, name string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM idp_group_roles WHERE idp_group_name = $1 AND org_id = $2`, name, orgID)
}

// lockRegistered gives those of the names that are registered, once each, and keeps them so until the transaction ends. A provider may
// send hundreds of names, so they are asked for in portions.
func lockRegistered(ctx context.Context, tx *db.Tx, names []string) ([]string, error) {
	var out []string
	for some := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(names))), 500) {
		var w db.Where
		w.In("i.idp_group_name", some)
		found, err := db.All(ctx, tx, db.Text, `SELECT i.idp_group_name FROM idp_groups i`+w.SQL()+` ORDER BY i.idp_group_name`+
			rowLock(tx, " FOR SHARE"), w.Args()...)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func groupsOf(ctx context.Context, q db.Querier, userID string) ([]string, error) {
	return db.All(ctx, q, db.Text, `SELECT idp_group_name FROM idp_group_members WHERE user_id = $1 ORDER BY idp_group_name`, userID)
}

func insertGroupMember(ctx context.Context, tx *db.Tx, userID, name string, at int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO idp_group_members (user_id, idp_group_name, created_at) VALUES ($1, $2, $3)`, userID, name, at)
	return err
}

func deleteGroupMember(ctx context.Context, tx *db.Tx, userID, name string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM idp_group_members WHERE user_id = $1 AND idp_group_name = $2`, userID, name)
	return err
}

func leaveGroups(ctx context.Context, tx *db.Tx, userID string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM idp_group_members WHERE user_id = $1`, userID)
	return err
}
