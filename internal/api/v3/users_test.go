package v3_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/db"
)

// Roles as the contract writes them.
var (
	enterpriseMember = map[string]any{"role_id": "account_member", "role_name": "Member", "role_type": "enterprise"}
	enterpriseAdmin  = map[string]any{"role_id": "account_admin", "role_name": "Admin", "role_type": "enterprise"}
	orgMember        = map[string]any{"role_id": "org_member", "role_name": "Organization Member", "role_type": "org"}
)

// list sends a request that answers a bare array.
func (o *office) list(want int, method, path, body string) []map[string]any {
	o.t.Helper()
	a := kittest.Do(o.t, o.h, method, path, o.admin, body)
	require.Equal(o.t, want, a.Status, a.Body)
	var out []map[string]any
	require.NoError(o.t, json.Unmarshal([]byte(a.Body), &out), a.Body)
	return out
}

// signIn has the identity provider say a person's groups.
func (o *office) signIn(userID string, groups ...string) {
	o.t.Helper()
	require.NoError(o.t, o.members.SyncGroups(o.t.Context(), access.As("test", access.ManageAccountMembership), userID, groups))
}

// person makes a member with an id of the identity provider's, as their first sign-in will.
func (o *office) person(userID, email string) {
	o.t.Helper()
	require.NoError(o.t, o.db.Write(o.t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO users (user_id, email, email_key, name, created_at) VALUES ($1, $2, $2, '', 0)`, userID, email)
		return err
	}))
}

func TestUsersOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		const users = "/v3/enterprise/members/users"
		inOrg := "/v3/enterprise/organizations/" + o.org + "/members/users"
		beta := "/v3beta1/organizations/" + o.org + "/members/users"
		made := o.list(200, "POST", users, `{"emails":["Ada@Example.com","grace@example.com","ada@example.COM"],"enterprise_role_id":"account_member","surprise":1}`)
		require.Len(o.t, made, 2)
		id := made[0]["user_id"].(string)
		want := map[string]any{
			"user_id": id, "email": "Ada@Example.com", "name": nil,
			"role_assignments": []any{map[string]any{"role": enterpriseMember, "org_id": nil}},
		}
		require.Equal(o.t, want, made[0])
		require.Equal(o.t, want, o.list(200, "POST", users, `{"emails":["ADA@example.com"],"enterprise_role_id":"account_admin"}`)[0])
		require.Empty(o.t, o.list(200, "POST", users, `{"emails":[],"enterprise_role_id":"account_admin"}`))
		require.Equal(o.t, want, items(o.do(200, "GET", users+"?email=aDA%40example.com", ""))[0])
		require.Empty(o.t, items(o.do(200, "GET", users+"?email=ada", "")))
		require.Len(o.t, items(o.do(200, "GET", users+"?email=", "")), 2)
		page := o.do(200, "GET", users+"?first=1", "")
		require.Equal(o.t, true, page["has_next_page"])
		require.Len(o.t, items(o.do(200, "GET", users+"?first=1&after="+page["end_cursor"].(string), "")), 1)

		for body, field := range map[string]string{
			`{"emails":["x"],"enterprise_role_id":"account_member"}`:                                                            "emails",
			`{"emails":null,"enterprise_role_id":"account_member"}`:                                                             "emails",
			`{"emails":"a@example.com","enterprise_role_id":"account_member"}`:                                                  "emails",
			`{"enterprise_role_id":"account_member"}`:                                                                           "emails",
			`{"emails":["a@example.com"]}`:                                                                                      "enterprise_role_id",
			`{"emails":["a@example.com"],"enterprise_role_id":""}`:                                                              "enterprise_role_id",
			`{"emails":["a@example.com"],"enterprise_role_id":"org_member"}`:                                                    "enterprise_role_id",
			`{"emails":[` + strings.Repeat(`"a@example.com",`, 100) + `"b@example.com"],"enterprise_role_id":"account_member"}`: "emails",
		} {
			require.Contains(o.t, fmt.Sprint(o.do(422, "POST", users, body)["errors"]), field, body)
		}
		o.do(404, "POST", users, `{"emails":["a@example.com"],"enterprise_role_id":"nope"}`)

		o.do(404, "PATCH", inOrg+"/"+id, `{"role_id":"org_member"}`)
		there := map[string]any{"role": orgMember, "org_id": o.org}
		want["role_assignments"] = append(want["role_assignments"].([]any), there)
		require.Equal(o.t, want, o.do(200, "POST", inOrg+"/"+id, `{"role_id":"org_member"}`))
		o.do(409, "POST", inOrg+"/"+id, `{"role_id":"org_member"}`)
		o.do(422, "POST", inOrg+"/"+id, `{"role_id":"account_member"}`)
		o.do(422, "POST", inOrg+"/"+id, `{}`)
		o.do(404, "POST", inOrg+"/"+id, `{"role_id":"nope"}`)
		o.do(404, "POST", inOrg+"/user-x", `{"role_id":"org_member"}`)
		require.Equal(o.t, []map[string]any{want}, items(o.do(200, "GET", inOrg, "")))
		require.Empty(o.t, items(o.do(200, "GET", inOrg+"?email=grace@example.com", "")))
		seen := map[string]any{"user_id": id, "email": "Ada@Example.com", "name": nil, "role_assignments": []any{there}}
		require.Equal(o.t, []map[string]any{seen}, items(o.do(200, "GET", beta+"?email=ada@example.com", "")))
		seen["idp_role_assignments"] = []any{}
		require.Equal(o.t, seen, o.do(200, "GET", beta+"/"+id, ""))
		o.do(404, "GET", beta+"/"+made[1]["user_id"].(string), "")

		require.Equal(o.t, "org_admin", roleAt(o.do(200, "PATCH", inOrg+"/"+id, `{"role_id":"org_admin"}`), 1))
		require.Len(o.t, o.do(200, "DELETE", inOrg+"/"+id, "")["role_assignments"], 1)
		o.do(404, "DELETE", inOrg+"/"+id, "")
		require.Equal(o.t, "account_admin", roleAt(o.do(200, "PATCH", users+"/"+id, `{"role_id":"account_admin"}`), 0))
		o.do(422, "PATCH", users+"/"+id, `{"role_id":"org_admin"}`)
		require.Equal(o.t, []any{}, o.do(200, "GET", users+"/"+id, "")["idp_role_assignments"])
		require.Equal(o.t, id, o.do(200, "DELETE", users+"/"+id, "")["user_id"])
		for _, m := range []string{"GET", "DELETE"} {
			o.do(404, m, users+"/"+id, "")
		}
		o.do(404, "PATCH", users+"/"+id, `{"role_id":"account_admin"}`)
	})
}

func roleAt(user map[string]any, i int) string {
	return user["role_assignments"].([]any)[i].(map[string]any)["role"].(map[string]any)["role_id"].(string)
}

func TestIdpGroupsOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		const groups, members = "/v3/enterprise/idp-groups", "/v3/enterprise/members/idp-groups"
		inOrg := "/v3/enterprise/organizations/" + o.org + "/members/idp-groups"
		made := o.list(200, "POST", groups, `{"idp_group_names":["staff","devs","staff"]}`)
		require.Equal(o.t, []map[string]any{{"idp_group_name": "staff"}, {"idp_group_name": "devs"}}, made)
		require.Equal(o.t, made[1:], o.list(200, "POST", groups, `{"idp_group_names":["devs"]}`))
		require.Equal(o.t, []map[string]any{{"idp_group_name": "devs"}, {"idp_group_name": "staff"}}, items(o.do(200, "GET", groups, "")))
		for _, bad := range []string{
			`{}`, `{"idp_group_names":[]}`, `{"idp_group_names":null}`, `{"idp_group_names":"staff"}`, `{"idp_group_names":[""]}`, `{"idp_group_names":[1]}`,
			`{"idp_group_names":["x"` + strings.Repeat(`,"x"`, 100) + `]}`, `{"idp_group_names":["` + strings.Repeat("x", 257) + `"]}`,
		} {
			require.Contains(o.t, fmt.Sprint(o.do(422, "POST", groups, bad)["errors"]), "idp_group_names", bad)
		}
		require.Empty(o.t, items(o.do(200, "GET", members, "")))
		require.Equal(o.t, map[string]any{"idp_group_name": "staff", "role_assignments": []any{}}, o.do(200, "GET", members+"/staff", ""))
		o.do(409, "POST", inOrg+"/staff", `{"role_id":"org_member"}`)
		given := o.do(200, "POST", members+"/staff", `{"role_id":"account_member"}`)
		require.Equal(o.t, map[string]any{
			"idp_group_name": "staff", "role_assignments": []any{map[string]any{"role": enterpriseMember, "org_id": nil}},
		}, given)
		o.do(409, "POST", members+"/staff", `{"role_id":"account_member"}`)
		o.do(422, "POST", members+"/staff", `{"role_id":"org_member"}`)
		o.do(404, "POST", members+"/staff", `{"role_id":"nope"}`)
		o.do(404, "POST", members+"/nobody", `{"role_id":"account_member"}`)
		require.Equal(o.t, []map[string]any{given}, items(o.do(200, "GET", members, "")))
		o.do(404, "GET", inOrg+"/staff", "")
		given = o.do(200, "POST", inOrg+"/staff", `{"role_id":"org_member"}`)
		require.Equal(o.t, o.org, given["role_assignments"].([]any)[1].(map[string]any)["org_id"])
		require.Equal(o.t, given, o.do(200, "GET", inOrg+"/staff", ""))
		require.Equal(o.t, []map[string]any{given}, items(o.do(200, "GET", inOrg, "")))
		require.Equal(o.t, "org_admin", roleAt(o.do(200, "PATCH", inOrg+"/staff", `{"role_id":"org_admin"}`), 1))
		require.Equal(o.t, "account_admin", roleAt(o.do(200, "PATCH", members+"/staff", `{"role_id":"account_admin"}`), 0))
		o.do(409, "DELETE", groups+"/staff", "")
		require.Len(o.t, o.do(200, "DELETE", members+"/staff", "")["role_assignments"], 1)
		require.Equal(o.t, []any{}, o.do(200, "DELETE", inOrg+"/staff", "")["role_assignments"])
		o.do(404, "DELETE", inOrg+"/staff", "")
		require.Equal(o.t, map[string]any{"idp_group_name": "staff"}, o.do(200, "DELETE", groups+"/staff", ""))
		o.do(404, "DELETE", groups+"/staff", "")
		o.do(404, "GET", members+"/staff", "")
	})
}

func TestInheritedRolesOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		id := o.list(200, "POST", "/v3/enterprise/members/users", `{"emails":["ada@example.com"],"enterprise_role_id":"account_member"}`)[0]["user_id"].(string)
		o.list(200, "POST", "/v3/enterprise/idp-groups", `{"idp_group_names":["staff"]}`)
		o.do(200, "POST", "/v3/enterprise/members/idp-groups/staff", `{"role_id":"account_admin"}`)
		o.do(200, "POST", "/v3/enterprise/organizations/"+o.org+"/members/idp-groups/staff", `{"role_id":"org_member"}`)
		const idp = "/v3/enterprise/members/idp-users"
		require.Empty(o.t, items(o.do(200, "GET", idp, "")))
		o.signIn(id, "staff")
		above := map[string]any{"idp_group_name": "staff", "role": enterpriseAdmin, "org_id": nil}
		there := map[string]any{"idp_group_name": "staff", "role": orgMember, "org_id": o.org}
		user := map[string]any{"user_id": id, "email": "ada@example.com", "name": nil, "idp_role_assignments": []any{above, there}}
		require.Equal(o.t, []map[string]any{user}, items(o.do(200, "GET", idp, "")))
		inOrg := "/v3/enterprise/organizations/" + o.org + "/members/idp-users"
		require.Equal(o.t, []map[string]any{user}, items(o.do(200, "GET", inOrg+"?email=ADA@example.com", "")))
		require.Empty(o.t, items(o.do(200, "GET", inOrg+"?email=x@example.com", "")))
		o.do(404, "GET", "/v3/enterprise/organizations/org-x/members/idp-users", "")
		user["idp_role_assignments"] = []any{there}
		require.Equal(o.t, []map[string]any{user}, items(o.do(200, "GET", "/v3beta1/organizations/"+o.org+"/members/idp-users", "")))
		user["role_assignments"] = []any{}
		require.Equal(o.t, user, o.do(200, "GET", "/v3beta1/organizations/"+o.org+"/members/users/"+id, ""))
		whole := o.do(200, "GET", "/v3/enterprise/members/users/"+id, "")
		require.Equal(o.t, []any{above, there}, whole["idp_role_assignments"])
		require.Equal(o.t, []any{map[string]any{"role": enterpriseMember, "org_id": nil}}, whole["role_assignments"])
		o.do(409, "DELETE", "/v3/enterprise/idp-groups/staff", "")
	})
}

// Group names and user ids are whatever the identity provider makes of them, and arrive as they are through a listener.
func TestNamesAndIdsOfTheProviderAreEscapedInPaths(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		front := httptest.NewServer(o.h)
		defer front.Close()
		defer front.Client().CloseIdleConnections()
		send := func(method, path, body string) (int, string) {
			r, err := http.NewRequestWithContext(o.t.Context(), method, front.URL, strings.NewReader(body))
			require.NoError(o.t, err)
			r.URL.Opaque = path // as it is: Go would escape once more what it finds unusual
			r.Header.Set("Authorization", "Bearer "+o.admin)
			r.Header.Set("Content-Type", "application/json")
			a, err := front.Client().Do(r)
			require.NoError(o.t, err)
			defer func() { _ = a.Body.Close() }()
			text, err := io.ReadAll(a.Body)
			require.NoError(o.t, err)
			return a.StatusCode, string(text)
		}
		for _, name := range []string{
			"staff", "a b", "a/b", "a%2Fb", "50%", "50%41", "Entwickler | Köln", "x|y", "a?b#c", "..", ".", "a//b", "+", "a&b=c;d,e", "~", "sessions", "{x}", `"'\`,
		} {
			status, body := send("POST", "/v3/enterprise/idp-groups", fmt.Sprintf(`{"idp_group_names":[%q]}`, name))
			require.Equal(o.t, 200, status, "%s: %s", name, body)
			group := "/v3/enterprise/members/idp-groups/" + url.PathEscape(name)
			there := "/v3/enterprise/organizations/" + o.org + "/members/idp-groups/" + url.PathEscape(name)
			for _, c := range []struct{ method, path, body string }{
				{"POST", group, `{"role_id":"account_member"}`},
				{"POST", there, `{"role_id":"org_member"}`},
				{"GET", there, ""},
				{"PATCH", there, `{"role_id":"org_admin"}`},
				{"DELETE", there, ""},
				{"DELETE", group, ""},
				{"DELETE", "/v3/enterprise/idp-groups/" + url.PathEscape(name), ""},
			} {
				status, body := send(c.method, c.path, c.body)
				require.Equal(o.t, 200, status, "%s %s: %s", c.method, c.path, body)
				require.Contains(o.t, body, fmt.Sprintf(`"idp_group_name":%q`, name))
			}
		}
		for _, id := range []string{"google-oauth2|10", "okta|00u/1", "email|a%7Cb", "auth0|ü x"} {
			o.person(id, fmt.Sprintf("%x@example.com", id))
			for _, path := range []string{url.PathEscape(id), strings.ReplaceAll(url.PathEscape(id), "%7C", "|")} { // some clients leave the bar
				there := "/v3/enterprise/organizations/" + o.org + "/members/users/" + path
				for _, c := range []struct{ method, path, body string }{
					{"GET", "/v3/enterprise/members/users/" + path, ""},
					{"POST", there, `{"role_id":"org_member"}`},
					{"GET", "/v3beta1/organizations/" + o.org + "/members/users/" + path, ""},
					{"PATCH", there, `{"role_id":"org_admin"}`},
					{"DELETE", there, ""},
				} {
					status, body := send(c.method, c.path, c.body)
					require.Equal(o.t, 200, status, "%s %s: %s", c.method, c.path, body)
					require.Contains(o.t, body, fmt.Sprintf(`"user_id":%q`, id))
				}
			}
		}
	})
}
