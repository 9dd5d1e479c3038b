package servertest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/platform/secret"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func (o *older) connection(t *testing.T, provider forge.Provider, host string) string {
	t.Helper()
	c, err := o.Forge.CreateConnection(t.Context(), o.Root(), forge.ConnectionParams{Name: host, Provider: provider, Host: host, Token: secret.New("token-x")})
	require.NoError(t, err)
	return c.ID
}

func TestGitPermissionsOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		hub, plain := o.connection(t, forge.GitHubToken, "github.com"), o.connection(t, forge.Plain, "git.example.com")
		path := "/v2/enterprise/organizations/" + o.Org + "/git/permissions"
		made := o.ok(t, http.MethodPost, path, o.adminKey, `[
			{"connection_id":"`+hub+`","repo_url":"https://github.com/owner/one.git"},
			{"connection_id":"`+plain+`","group_prefix":["a","b"]},
			{"connection_id":"`+hub+`","prefix_path":"owner/two"},
			{"connection_id":"`+hub+`","repo_path":["owner","three"],"group_prefix":null,"group_prefix_url":null}]`).JSON(t)
		require.Equal(t, "success", made["status"])
		ids := list[string](made["permission_ids"])
		require.Len(t, ids, 4)
		names := made["permission_names"].(map[string]any)
		for i, want := range []string{"owner/one", "a/b", "owner/two", "owner/three"} {
			require.Equal(t, want, names[ids[i]], "ids follow the order of the request")
		}
		page := o.ok(t, http.MethodGet, path+"?skip=1&limit=2", o.adminKey, "").JSON(t)
		require.EqualValues(t, 4, page["total"])
		items := page["items"].([]any)
		require.Equal(t, map[string]any{
			"permission_id": ids[1], "host": "git.example.com", "prefix_path": nil, "group_prefix": "a/b", "repo_path": nil,
		}, items[0])
		require.Equal(t, "owner/two", items[1].(map[string]any)["prefix_path"])
		a := o.Do(t, http.MethodPost, path, o.adminKey, `[{"connection_id":"`+plain+`","prefix_path":"new"},{"connection_id":"`+hub+`","repo_path":["owner","three"]}]`)
		require.Equal(t, 409, a.Status, a.Body)
		require.Equal(t, "1: the organization has this permission already", a.JSON(t)["detail"])
		require.EqualValues(t, 4, o.ok(t, http.MethodGet, path, o.adminKey, "").JSON(t)["total"], "all or none")
		o.ok(t, http.MethodDelete, path+"/"+ids[0], o.adminKey, "")
		require.Equal(t, 404, o.Do(t, http.MethodDelete, path+"/"+ids[0], o.adminKey, "").Status)

		for _, c := range []struct{ method, path, body string }{
			{"GET", "/git/permissions", ""},
			{"POST", "/git/permissions", `[{"connection_id":"` + hub + `","repo_path":["a","b"]}]`},
			{"POST", "/permissions", `{"provider":"github","repository":"a/b"}`},
			{"DELETE", "/git/permissions/" + ids[1], ""},
		} {
			a := o.Do(t, c.method, "/v2/enterprise/organizations/org-unknown"+c.path, o.adminKey, c.body)
			require.Equal(t, 404, a.Status, "%s %s: %s", c.method, c.path, a.Body)
		}
	})
}

func TestAQuickPermissionFindsItsConnection(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		path := "/v2/enterprise/organizations/" + o.Org
		quick := func(body string) map[string]any {
			return o.ok(t, http.MethodPost, path+"/permissions", o.adminKey, body).JSON(t)
		}
		o.connection(t, forge.GitHubToken, "github.com")
		got := quick(`{"provider":"github","repository":"a/b","permission":"write"}`)
		require.Equal(t, []any{"github", "a/b", "write"}, []any{got["provider"], got["repository"], got["permission"]})
		require.Len(t, got["permission_ids"], 1)
		require.Equal(t, "read", quick(`{"provider":"github_token","repository":"a/c"}`)["permission"])
		stored := o.ok(t, http.MethodGet, "/v3/enterprise/organizations/"+o.Org+"/git-providers/permissions", o.Admin.Token.Reveal(), "").JSON(t)["items"].([]any)
		readOnly := map[any]any{}
		for _, p := range stored {
			readOnly[p.(map[string]any)["repo_path"]] = p.(map[string]any)["read_only"]
		}
		require.Equal(t, map[any]any{"a/b": false, "a/c": true}, readOnly)

		o.connection(t, forge.GitHubToken, "github.example.com")
		a := o.Do(t, http.MethodPost, path+"/permissions", o.adminKey, `{"provider":"github","repository":"a/d"}`)
		requireLoc(t, a, 422, "body", "provider")
		quick(`{"provider":"github","repository":"https://github.example.com/a/d"}`)
		require.Equal(t, 422, o.Do(t, http.MethodPost, path+"/permissions", o.adminKey, `{"provider":"github","repository":"a/b","permission":"own"}`).Status)
	})
}

func TestRepositoriesToIndexOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		_, err := o.Forge.Add(t.Context(), o.Root(), forge.Listed, "owner/name", "https://git.example.com/owner/name.git")
		require.NoError(t, err)
		for _, prefix := range []string{"/beta/v2", "/v2", "/api/v2"} {
			o.ok(t, http.MethodPost, prefix+"/enterprise/repositories/bulk-index", o.adminKey, `{"org_id":"`+o.Org+`","repo_names":["owner/name","owner/name"]}`)
			a := o.ok(t, http.MethodGet, prefix+"/enterprise/repositories/"+o.Org, o.adminKey, "")
			require.JSONEq(t, `[{"name":"owner/name","indexing_enabled":true,"latest_index":null,"latest_completed_search_index_job":null,"latest_completed_wiki_index_job":null}]`, a.Body)
		}
		many := strings.Repeat(`"owner/name",`, 100) + `"owner/name"`
		require.Equal(t, 400, o.Do(t, http.MethodPost, "/beta/v2/enterprise/repositories/bulk-index", o.adminKey, `{"org_id":"`+o.Org+`","repo_names":[`+many+`]}`).Status)
		require.Equal(t, 404, o.Do(t, http.MethodGet, "/beta/v2/enterprise/repositories/org-unknown", o.adminKey, "").Status)
	})
}

func TestBareListsOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		who := access.Subject{Kind: access.Worker, ID: "w", Outposts: []string{fleet.DefaultOutpost}}
		_, _, err := o.Fleet.Report(t.Context(), who, fleet.DefaultOutpost, wire.WorkerReport{WorkerID: "w1", Instance: "i", Name: "one", Capacity: 2})
		require.NoError(t, err)
		health := o.ok(t, http.MethodGet, "/v2/enterprise/hypervisors/health", o.adminKey, "").Body
		require.Regexp(t, `^\[\{"hypervisor_id":"[^"]+","status":"available","seconds_since_report":\d+\}\]\n$`, health)

		roles := o.ok(t, http.MethodGet, "/v2/enterprise/roles", o.adminKey, "").Body
		require.Contains(t, roles, `{"role_id":"account_admin","role_name":"Admin","role_type":"account"}`)
		require.Contains(t, roles, `"role_id":"org_member"`)
		require.NotContains(t, roles, `"enterprise"`)
		require.JSONEq(t, `[]`, o.ok(t, http.MethodGet, "/v2/enterprise/playbooks", o.adminKey, "").Body)

		o.ok(t, http.MethodPut, "/v2/enterprise/groups", o.adminKey, `{"group_names":["b","a"]}`)
		require.JSONEq(t, `["a","b"]`, o.ok(t, http.MethodPut, "/v2/enterprise/groups", o.adminKey, `{"group_names":[]}`).Body, "an empty list changes nothing")
	})
}

func TestPlaybooksOfTheEnterpriseOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		const path = "/v2/enterprise/playbooks"
		made := o.ok(t, http.MethodPost, path, o.adminKey, `{"title":"t","body":"b","macro":"!m"}`).JSON(t)
		require.Equal(t, "boss@example.com", made["created_by_user_name"])
		one := path + "/" + made["playbook_id"].(string)
		require.JSONEq(t, `{"status":"success"}`, o.ok(t, http.MethodPut, one, o.adminKey, `{"title":"t2","body":"b"}`).Body)
		got := o.ok(t, http.MethodGet, one, o.adminKey, "").JSON(t)
		require.Equal(t, []any{"t2", "!m", "published"}, []any{got["title"], got["macro"], got["status"]})
		o.ok(t, http.MethodPut, one, o.adminKey, `{"title":"t2","body":"b","macro":null}`)
		require.Nil(t, o.ok(t, http.MethodGet, one, o.adminKey, "").JSON(t)["macro"], "null clears")
		require.Contains(t, o.ok(t, http.MethodGet, "/v1/playbooks", o.orgKey, "").Body, `"access_type":"enterprise"`, "organizations see it")
		require.Equal(t, 403, o.Do(t, http.MethodDelete, "/v1/playbooks/"+made["playbook_id"].(string), o.orgKey, "").Status, "and can't delete it")
		o.ok(t, http.MethodDelete, one, o.adminKey, "")
		require.Equal(t, 404, o.Do(t, http.MethodGet, one, o.adminKey, "").Status)
	})
}

func TestMetricsOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		_, err := o.Sessions.Create(t.Context(), o.Root(), session.CreateParams{OrgID: o.Org, Prompt: "p"})
		require.NoError(t, err)
		other := o.NewOrg(t, "other")
		for query, n := range map[string]float64{
			"": 1, "?org_ids=" + o.Org: 1, "?org_ids=" + other: 0, "?org_ids=" + other + "&org_ids=" + o.Org: 1, "?start=2000-01-01&end=2999-01-01": 1,
			"?start_date=2000-01-01&end_date=2001-01-01": 0, "?user_ids=nobody": 0, "?end_date=2001-01-01&end=2999-01-01": 0,
		} {
			require.Equal(t, map[string]any{"sessions_count": n}, o.ok(t, http.MethodGet, "/v2/enterprise/metrics/sessions"+query, o.adminKey, "").JSON(t), query)
			require.Equal(t, map[string]any{"sessions_count": n, "searches_count": 0.0, "prs_opened": 0.0, "prs_merged": 0.0, "prs_closed": 0.0},
				o.ok(t, http.MethodGet, "/v2/enterprise/metrics/usage"+query, o.adminKey, "").JSON(t), query)
		}
		require.Len(t, o.ok(t, http.MethodGet, "/v2/enterprise/metrics/prs", o.adminKey, "").JSON(t), 3)
		require.Equal(t, map[string]any{"searches_count": 0.0}, o.ok(t, http.MethodGet, "/v2/enterprise/metrics/searches", o.adminKey, "").JSON(t))
	})
}

func TestWhoMakesAnOrganizationOnV2MayStayOutOfIt(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		for body, admins := range map[string]float64{
			`{"name":"a","add_creator_as_member":false}`: 0, `{"name":"b"}`: 1, `{"name":"c","add_creator_as_member":null}`: 1,
		} {
			made := o.ok(t, http.MethodPost, "/api/v2/enterprise/organizations", o.adminKey, body).JSON(t)
			require.Equal(t, admins, made["org_admin_count"], body)
			require.Nil(t, made["max_cycle_acu_limit"])
		}
		made := o.ok(t, http.MethodPost, "/v2/enterprise/organizations", o.Admin.Token.Reveal(), `{"name":"d"}`).JSON(t)
		require.EqualValues(t, 0, made["org_admin_count"], "a service user is no member")
		path := "/v2/enterprise/organizations/" + made["org_id"].(string)
		o.ok(t, http.MethodPatch, path, o.adminKey, `{"name":"e","max_acu_limit":7}`)
		o.ok(t, http.MethodPatch, path, o.adminKey, `{"display_name":null}`)
		got := o.ok(t, http.MethodGet, path, o.adminKey, "").JSON(t)
		require.Equal(t, []any{"e", 7.0}, []any{got["org_name"], got["max_cycle_acu_limit"]}, "what is absent stays")
	})
}

func TestAMessageOnV1WakesASleeperAndSaysSo(t *testing.T) {
	t.Parallel()
	o := newOlder(t, servertest.New(t, servertest.Options{}))
	id := o.ok(t, http.MethodPost, "/v1/sessions", o.orgKey, `{"prompt":"p"}`).JSON(t)["session_id"].(string)
	bare := strings.TrimPrefix(id, "devin-")
	_, err := o.Sessions.Archive(t.Context(), o.Root(), o.Org, bare)
	require.NoError(t, err)
	require.Equal(t, "blocked", o.ok(t, http.MethodGet, "/v1/sessions/"+id, o.orgKey, "").JSON(t)["status_enum"])
	require.Empty(t, o.ok(t, http.MethodGet, "/v1/sessions", o.orgKey, "").JSON(t)["sessions"], "an archived session isn't listed")
	require.NotEmpty(t, o.ok(t, http.MethodPost, "/v1/sessions/"+bare+"/message", o.orgKey, `{"message":"wake"}`).JSON(t)["detail"])
	require.NotEqual(t, "blocked", o.ok(t, http.MethodGet, "/v1/sessions/"+id, o.orgKey, "").JSON(t)["status_enum"])
}

func TestSecretsOfEveryTypeOnV1(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		for typ, c := range map[string]struct{ value, shown string }{
			"cookie": {"W10=", "cookie"}, "key-value": {"v", "key-value"}, "dictionary": {"v", "key-value"}, "totp": {"JBSWY3DPEHPK3PXP", "totp"},
		} {
			o.ok(t, http.MethodPost, "/v1/secrets", o.orgKey, jsonOf(t, object{"type": typ, "key": "K " + typ, "value": c.value, "sensitive": false, "note": nil}))
			require.Contains(t, o.ok(t, http.MethodGet, "/v1/secrets", o.orgKey, "").Body, `"type":"`+c.shown+`","key":"K `+typ+`"`)
		}
		require.Equal(t, 422, o.Do(t, http.MethodPost, "/v1/secrets", o.orgKey, `{"type":"key-value","key":"K2","value":"v"}`).Status, "sensitive is required")
		requireLoc(t, o.Do(t, http.MethodPost, "/v1/secrets", o.orgKey, `{"type":"totp","key":"K3","value":"1","sensitive":true}`), 422, "body", "value")
	})
}
