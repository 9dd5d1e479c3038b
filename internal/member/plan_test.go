package member

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/page"
)

// fillPlan gives the planner people, groups and roles of many organizations to reckon with.
func fillPlan(t *testing.T, d *db.DB) {
	t.Helper()
	const numbers = `WITH RECURSIVE seq (i) AS (SELECT 1 UNION ALL SELECT seq.i + 1 FROM seq WHERE seq.i < 1000) `
	for _, s := range []string{
		numbers + `INSERT INTO roles (role_id, role_name, role_type, permissions, is_builtin, created_at)
			SELECT 'r' || i, 'r', 'org', '[]', 0, 0 FROM seq WHERE i <= 300`,
		numbers + `INSERT INTO users (user_id, email, email_key, name, created_at) SELECT 'u' || i, 'u' || i, 'u' || i, '', i FROM seq`,
		numbers + `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at)
			SELECT 'u' || i, 'o' || (i % 20), 'user', 'r' || (i % 300 + 1), 0 FROM seq`,
		numbers + `INSERT INTO idp_groups (idp_group_name, created_at) SELECT 'g' || i, 0 FROM seq WHERE i <= 100`,
		numbers + `INSERT INTO idp_group_roles (idp_group_name, org_id, role_id, created_at)
			SELECT 'g' || i, 'o' || (i % 20), 'r' || i, 0 FROM seq WHERE i <= 100`,
		numbers + `INSERT INTO idp_group_members (user_id, idp_group_name, created_at) SELECT 'u' || i, 'g' || (i % 100 + 1), 0 FROM seq`,
		`ANALYZE`,
	} {
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, s)
			return err
		}))
	}
}

// Every page and every look at a credential reads an index, wherever in the list it begins, and sorts nothing but itself.
func TestListsOfMembersAndCredentialsReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.EachClock(t, clock.Clock{}, func(t *testing.T, d *db.DB) {
		fillPlan(t, d)
		type q struct {
			name, index string
			// pageSort says that the query sorts what is a page already.
			pageSort bool
			query    string
			args     []any
		}
		first, deep, deepID := page.Request{First: 100}, page.Request{First: 100, After: page.Position{int64(7), "u7"}}, page.Request{First: 100, After: page.Position{"u7"}}
		of := func(name, index string, sorts bool) func(string, []any) q {
			return func(query string, args []any) q { return q{name, index, sorts, query, args} }
		}
		for _, c := range []q{
			of("people", "users_page", false)(peopleQuery(PeopleParams{Page: first})),
			of("people, deep", "users_page", false)(peopleQuery(PeopleParams{Page: deep})),
			of("an address", "users_email_key", false)(peopleQuery(PeopleParams{Email: "u7", Page: first})),
			of("an organization's people", "role_assignments_org", false)(peopleQuery(PeopleParams{OrgID: "o7", Page: first})),
			of("an organization's people, deep", "role_assignments_org", false)(peopleQuery(PeopleParams{OrgID: "o7", Page: deepID})),
			of("an address in an organization", "users_email_key", false)(peopleQuery(PeopleParams{OrgID: "o7", Email: "u7", Page: first})),
			of("people through groups", "idp_group_members", true)(idpPeopleQuery(PeopleParams{Page: first})),
			of("people through groups, deep", "idp_group_members", true)(idpPeopleQuery(PeopleParams{Page: deepID})),
			of("an organization's people through groups", "idp_group_members_group", true)(idpPeopleQuery(PeopleParams{OrgID: "o7", Page: first})),
			of("an organization's people through groups, deep", "idp_group_members_group", true)(idpPeopleQuery(PeopleParams{OrgID: "o7", Page: deepID})),
			of("an address through groups", "users_email_key", false)(idpPeopleQuery(PeopleParams{OrgID: "o7", Email: "u7", Page: first})),
			of("groups", "idp_groups", false)(groupsQuery(page.Request{First: 100, After: page.Position{"g"}})),
			of("groups with a role", "idp_group_roles_org", false)(groupsInQuery(GroupsParams{OrgID: "o7", Page: page.Request{First: 100, After: page.Position{"g"}}})),
			of("an organization's own service users", "service_users_org", false)(serviceUsersQuery(ListParams{OrgID: "o7", Page: deep, own: true}, 5)),
			of("a credential", "api_keys", false)(credentialQuery, []any{[]byte{0}}),
			of("a browser", "browser_sessions", false)(browserQuery, []any{[]byte{0}}),
			of("browsers that are over", "browser_sessions_expiry", false)(sweepBrowsersQuery, []any{7}),
			of("somebody's own keys", "api_keys_principal", false)(ownKeysQuery, []any{"u7"}),
			of("a person's roles", "idp_group_members", false)(personGrants, []any{"u7"}),
			of("a person's live keys", "api_keys_personal", false)(keysOfPerson("u7").query(), []any{"u7"}),
			of("the live keys of a group's people", "api_keys_personal", true)(keysOfGroup("g7").query(), []any{"g7"}),
			of("the live keys of who holds a role", "api_keys_personal", true)(keysOfRole("r7").query(), []any{"r7"}),
			of("the live personal keys of an organization", "api_keys_", true)(keysOfOrg("o7").query(), []any{"o7"}),
		} {
			plan := dbtest.Plan(t, d, c.query, c.args...)
			require.Contains(t, plan, c.index, "%s\n%s", c.name, plan)
			bad := []string{"Seq Scan", "SCAN u\n", "SCAN m\n", "SCAN g\n", "SCAN a\n", "SCAN k\n", "SCAN r\n", "AUTOMATIC"}
			if !c.pageSort {
				bad = append(bad, "TEMP B-TREE", "Sort ")
			}
			for _, b := range bad {
				require.NotContains(t, plan, b, "%s\n%s", c.name, plan)
			}
		}
	})
}
