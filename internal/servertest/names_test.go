package servertest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/servertest"
)

func TestANameShowsSomethingAndIsOneLine(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	robot := s.NewKey(t, "", access.RoleEnterpriseMember).ServiceUserID
	for _, bad := range []string{`a\nb`, `   `, `\u0007`, `a\tb`, `\u2003`, `\u0085x`} {
		for _, c := range []struct{ method, path, body, loc string }{
			{"POST", "/v3/enterprise/organizations", `{"name":"NAME"}`, "name"},
			{"PATCH", "/v3/enterprise/organizations/" + s.Org, `{"name":"NAME"}`, "name"},
			{"PUT", "/v3/enterprise/org-group-limits", `{"groups":{"NAME":{"org_ids":[]}}}`, "groups"},
			{"POST", "/v3/enterprise/idp-groups", `{"idp_group_names":["NAME"]}`, "idp_group_names"},
			{"POST", "/gantry/v1/roles", `{"role_name":"NAME","role_type":"org","permissions":[]}`, "role_name"},
			{"POST", "/v3beta1/enterprise/service-users", `{"name":"NAME","role_id":"account_member","ttl_seconds":60}`, "name"},
			{"POST", "/v3beta1/enterprise/service-users/" + robot + "/api-keys", `{"name":"NAME"}`, "name"},
		} {
			a := s.Do(t, c.method, c.path, s.Admin.Token.Reveal(), strings.ReplaceAll(c.body, "NAME", bad))
			require.Equal(t, http.StatusUnprocessableEntity, a.Status, "%s %s %s: %s", c.method, c.path, bad, a.Body)
			require.Contains(t, a.JSON(t)["errors"].([]any)[0].(map[string]any)["loc"], c.loc, a.Body)
		}
	}
	require.Equal(t, 200, s.Do(t, "POST", "/v3/enterprise/organizations", s.Admin.Token.Reveal(), `{"name":" Café — «Ω» 🦩 "}`).Status)
}

func TestATagNamedDefaultCanGoByItself(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	tags := "/v3/enterprise/organizations/" + s.Org + "/tags"
	do := func(method, path, body string) string {
		a := s.Do(t, method, tags+path, s.Admin.Token.Reveal(), body)
		require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", method, path, a.Body)
		return strings.TrimSpace(a.Body)
	}
	do("PUT", "", `{"tags":["default","other"]}`)
	do("PUT", "/default", `{"tag":"other"}`)
	do("DELETE", "/default", "")
	require.Contains(t, do("GET", "", ""), `"default"`, "that path is the default tag's")
	do("PUT", "/default", `{"tag":"other"}`)
	require.NotContains(t, do("DELETE", "/%64efault", ""), `"default"`)
	require.Contains(t, do("GET", "/default", ""), "other")
}
