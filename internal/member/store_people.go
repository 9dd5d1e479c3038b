package member

import (
	"context"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

// kindPerson is the principal_kind of a person.
const kindPerson = "user"

const personColumns = `u.user_id, u.email, u.name, u.created_at`

func scanPerson(s db.Scanner) (Person, error) {
	var p Person
	return p, s.Scan(&p.ID, &p.Email, &p.Name, db.OrZero(&p.CreatedAt))
}

// insertPerson reports whether the address was free.
func insertPerson(ctx context.Context, tx *db.Tx, p Person, key string) (bool, error) {
	n, err := db.Exec(ctx, tx, `INSERT INTO users (user_id, email, email_key, name, created_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`, p.ID, p.Email, key, p.Name, p.CreatedAt.UnixMilli())
	return n == 1, err
}

const livePerson = `SELECT ` + personColumns + ` FROM users u WHERE u.user_id = $1 AND u.deleted_at IS NULL`

func readLivePerson(ctx context.Context, q db.Querier, userID string) (Person, error) {
	return db.One(ctx, q, scanPerson, livePerson, userID)
}

// lockPerson reads a member and holds them until the transaction ends, so that they aren't removed and their roles and groups change only
// for whoever does.
func lockPerson(ctx context.Context, tx *db.Tx, userID string) (Person, error) {
	return db.One(ctx, tx, scanPerson, livePerson+rowLock(tx, " FOR UPDATE"), userID)
}

// lockPeople is lockPerson for those of many addresses who are there.
func lockPeople(ctx context.Context, tx *db.Tx, keys []string) ([]Person, error) {
	var w db.Where
	w.Add("u.deleted_at IS NULL")
	w.In("u.email_key", keys)
	return db.All(ctx, tx, scanPerson, `SELECT `+personColumns+` FROM users u`+w.SQL()+` ORDER BY u.user_id`+rowLock(tx, " FOR UPDATE"), w.Args()...)
}

// rowLock is a lock on what a statement reads. Only PostgreSQL needs one: on SQLite there is one writer.
func rowLock(tx *db.Tx, lock string) string {
	if tx.Engine() == db.Postgres {
		return lock
	}
	return ""
}

// deletePerson gives the member that it removed.
func deletePerson(ctx context.Context, tx *db.Tx, userID string, at int64) (Person, error) {
	return db.One(ctx, tx, scanPerson, `UPDATE users SET deleted_at = $1 WHERE user_id = $2 AND deleted_at IS NULL
		RETURNING user_id, email, name, created_at`, at, userID)
}

func deleteAssignments(ctx context.Context, tx *db.Tx, principalID string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM role_assignments WHERE principal_id = $1`, principalID)
	return err
}

// upsertAssignment gives a role or changes the one that is there.
func upsertAssignment(ctx context.Context, tx *db.Tx, principalID, kind, orgID, roleID string, at int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (principal_id, org_id) DO UPDATE SET role_id = excluded.role_id`,
		principalID, orgID, kind, roleID, at)
	return err
}

// peopleQuery is the list of an enterprise's members, oldest first, or of an organization's: those with a direct role there, by id.
func peopleQuery(p PeopleParams) (string, []any) {
	if p.Email != "" {
		return addressQuery(p)
	}
	var w db.Where
	from, order, after := `users u`, `u.created_at, u.user_id`, `(u.created_at, u.user_id) > (?, ?)`
	if p.OrgID != "" {
		from, order, after = `role_assignments a JOIN users u ON u.user_id = a.principal_id`, `a.principal_id`, `a.principal_id > ?`
		w.Add("a.org_id = ? AND a.principal_kind = '"+kindPerson+"'", p.OrgID)
	}
	w.Add("u.deleted_at IS NULL")
	if p.Page.After != nil {
		w.Add(after, p.Page.After...)
	}
	where := w.SQL()
	limit := w.Limit(p.Page.Limit(), p.Page.Skip)
	return `SELECT ` + personColumns + ` FROM ` + from + where + ` ORDER BY ` + order + ` ` + limit, w.Args()
}

// countPeople says how long the list of peopleQuery is.
func countPeople(ctx context.Context, q db.Querier, p PeopleParams) (int64, error) {
	if p.OrgID == "" {
		return db.One(ctx, q, db.Int, `SELECT COUNT(*) FROM users WHERE deleted_at IS NULL`)
	}
	return db.One(ctx, q, db.Int, `SELECT COUNT(*) FROM role_assignments WHERE org_id = $1 AND principal_kind = '`+kindPerson+`'`, p.OrgID)
}

// addressQuery finds the one member with an address, in an organization only if they hold a direct role there.
func addressQuery(p PeopleParams) (string, []any) {
	var w db.Where
	w.Add("u.email_key = ? AND u.deleted_at IS NULL", emailKey(p.Email))
	if p.OrgID != "" {
		w.Add("EXISTS (SELECT 1 FROM role_assignments a WHERE a.principal_id = u.user_id AND a.org_id = ?)", p.OrgID)
	}
	return `SELECT ` + personColumns + ` FROM users u` + w.SQL(), w.Args()
}

func peoplePosition(orgID string) func(Person) page.Position {
	if orgID != "" {
		return func(p Person) page.Position { return page.Position{p.ID} }
	}
	return func(p Person) page.Position { return page.Position{p.CreatedAt.UnixMilli(), p.ID} }
}

// idpPeopleQuery is the list of people who hold a role through a group, by id: in an organization, or with OrgID "" anywhere. It walks
// from one id to the next by the index, so that a page costs the same however many people there are. SQLite takes CROSS JOIN as an order.
func idpPeopleQuery(p PeopleParams) (string, []any) {
	if p.Email != "" {
		return idpAddressQuery(p)
	}
	args := []any{""}
	if len(p.Page.After) == 1 {
		args[0] = p.Page.After[0]
	}
	// next is the first id after another one.
	next := func(after string) string {
		return `(SELECT m.user_id FROM idp_group_members m WHERE m.user_id > ` + after + ` AND EXISTS (SELECT 1 FROM idp_group_roles g
			WHERE g.idp_group_name = m.idp_group_name) ORDER BY m.user_id LIMIT 1)`
	}
	limit := "$2"
	if p.OrgID != "" {
		next = func(after string) string {
			return `(SELECT MIN((SELECT m.user_id FROM idp_group_members m WHERE m.idp_group_name = g.idp_group_name AND m.user_id > ` + after +
				` ORDER BY m.user_id LIMIT 1)) FROM idp_group_roles g WHERE g.org_id = $2)`
		}
		args, limit = append(args, p.OrgID), "$3"
	}
	args = append(args, p.Page.Limit())
	return `WITH RECURSIVE walk (user_id, n) AS (
			SELECT ` + next("$1") + `, 1
			UNION ALL
			SELECT ` + next("walk.user_id") + `, walk.n + 1 FROM walk WHERE walk.user_id IS NOT NULL AND walk.n < ` + limit + `
		) SELECT ` + personColumns + ` FROM walk CROSS JOIN users u WHERE u.user_id = walk.user_id AND u.deleted_at IS NULL ORDER BY walk.n`, args
}

func idpAddressQuery(p PeopleParams) (string, []any) {
	args, in := []any{emailKey(p.Email)}, ""
	if p.OrgID != "" {
		args, in = append(args, p.OrgID), ` AND g.org_id = $2`
	}
	return `SELECT ` + personColumns + ` FROM users u WHERE u.email_key = $1 AND u.deleted_at IS NULL
		AND EXISTS (SELECT 1 FROM idp_group_members m JOIN idp_group_roles g ON g.idp_group_name = m.idp_group_name
			WHERE m.user_id = u.user_id` + in + `)`, args
}

// fillDirect reads the direct roles of all people of one page at once.
func fillDirect(ctx context.Context, q db.Querier, people []Person) error {
	if len(people) == 0 {
		return nil
	}
	ids, _ := indexed(people)
	direct, err := assignmentsOf(ctx, q, ids)
	for i := range people {
		people[i].Roles = direct[people[i].ID]
	}
	return err
}

// fillGroups reads the roles that all people of one page hold through groups at once.
func fillGroups(ctx context.Context, q db.Querier, people []Person) error {
	if len(people) == 0 {
		return nil
	}
	ids, at := indexed(people)
	var w db.Where
	w.In("m.user_id", ids)
	return eachAssignment(ctx, q, `SELECT m.user_id, g.org_id, `+roleColumns+`, g.idp_group_name FROM idp_group_members m
		JOIN idp_group_roles g ON g.idp_group_name = m.idp_group_name JOIN roles r ON r.role_id = g.role_id`+w.SQL()+
		` ORDER BY m.user_id, g.org_id, g.idp_group_name`, w.Args(), func(userID, group string, a RoleAssignment) {
		p := &people[at[userID]]
		p.GroupRoles = append(p.GroupRoles, GroupRole{Group: group, RoleAssignment: a})
	})
}

func indexed(people []Person) (ids []string, at map[string]int) {
	ids, at = make([]string, len(people)), make(map[string]int, len(people))
	for i, p := range people {
		ids[i], at[p.ID] = p.ID, i
	}
	return ids, at
}

// assignmentsOf reads the direct roles of several principals at once, the enterprise's first.
func assignmentsOf(ctx context.Context, q db.Querier, principals []string) (map[string][]RoleAssignment, error) {
	var w db.Where
	w.In("a.principal_id", principals)
	out := make(map[string][]RoleAssignment, len(principals))
	err := eachAssignment(ctx, q, `SELECT a.principal_id, a.org_id, `+roleColumns+`, '' FROM role_assignments a
		JOIN roles r ON r.role_id = a.role_id`+w.SQL()+` ORDER BY a.principal_id, a.org_id`, w.Args(), func(id, _ string, a RoleAssignment) {
		out[id] = append(out[id], a)
	})
	return out, err
}

// eachAssignment runs a query for roles: holder, organization, the role's columns, and the group that it comes through.
func eachAssignment(ctx context.Context, q db.Querier, query string, args []any, f func(holder, group string, a RoleAssignment)) error {
	type row struct {
		holder, group string
		RoleAssignment
	}
	rows, err := db.All(ctx, q, func(s db.Scanner) (row, error) {
		var r row
		var perms string
		var builtin int64
		err := s.Scan(&r.holder, &r.OrgID, &r.Role.ID, &r.Role.Name, &r.Role.Scope, &perms, &builtin, &r.group)
		if err == nil {
			r.Role.Builtin = builtin == 1
			r.Role.Permissions, err = parsePermissions(perms)
		}
		return r, err
	}, query, args...)
	for _, r := range rows {
		f(r.holder, r.group, r.RoleAssignment)
	}
	return err
}
