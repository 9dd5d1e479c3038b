package servertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/kit/kittest"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/secret"
	"gantry/internal/servertest"
	"gantry/internal/usage"
)

// upload posts a file to v1 and gives its address.
func (o *older) upload(t *testing.T, key, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", name)
	require.NoError(t, err)
	_, err = part.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/attachments", &b)
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", w.FormDataContentType())
	a := o.Send(t, r)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var address string
	require.NoError(t, json.Unmarshal([]byte(a.Body), &address), "the answer is a bare text")
	return address
}

func TestAFileOfV1GoesToTheSessionThatNamesItOnALine(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		address := o.upload(t, o.orgKey, "a b.txt", "hello")
		require.Regexp(t, `/v1/attachments/[0-9a-f-]{36}/a%20b\.txt$`, address)
		u, err := url.Parse(address)
		require.NoError(t, err)
		a := o.Do(t, http.MethodGet, u.EscapedPath(), o.orgKey, "")
		require.Equal(t, http.StatusTemporaryRedirect, a.Status, a.Body)
		to, err := url.Parse(a.Header.Get("Location"))
		require.NoError(t, err)
		require.Equal(t, "hello", o.Do(t, http.MethodGet, to.RequestURI(), "", "").Body, "the address is good without a key")
		require.Equal(t, 404, o.Do(t, http.MethodGet, "/v1/attachments/00000000-0000-0000-0000-000000000000/x", o.orgKey, "").Status)

		prompt := "Read this.\nATTACHMENT:\"" + address + "\"\nATTACHMENT:\"https://example.com/x\"\nnot ATTACHMENT:\"" + address + "x\""
		made := o.ok(t, http.MethodPost, "/v1/sessions", o.orgKey, jsonOf(t, object{"prompt": prompt})).JSON(t)
		id := made["session_id"].(string)
		got := o.ok(t, http.MethodGet, "/v1/sessions/"+id, o.orgKey, "").JSON(t)
		require.Equal(t, prompt, got["messages"].([]any)[0].(map[string]any)["message"], "the text stays what it was")
		files := func() string {
			return o.ok(t, http.MethodGet, "/v3/organizations/"+o.Org+"/sessions/"+id+"/attachments", o.cog, "").Body
		}
		require.Contains(t, files(), `"a b.txt"`)
		require.NotContains(t, files(), "example.com", "another address is the agent's business")

		second := o.upload(t, o.orgKey, "second.txt", "more")
		o.ok(t, http.MethodPost, "/v1/sessions/"+id+"/message", o.orgKey, jsonOf(t, object{"message": "ATTACHMENT:\"" + second + "\"\r\n"}))
		require.Contains(t, files(), "second.txt")

		// v3 still understands the line, and a file that one session has may go to others.
		v3 := "/v3/organizations/" + o.Org + "/sessions"
		id = o.ok(t, http.MethodPost, v3, o.cog, jsonOf(t, object{"prompt": prompt})).JSON(t)["session_id"].(string)
		require.Contains(t, files(), `"a b.txt"`)
		o.ok(t, http.MethodPost, v3+"/"+id+"/messages", o.cog, jsonOf(t, object{"message": "ATTACHMENT:\"" + second + "\""}))
		require.Contains(t, files(), "second.txt")

		gone := "ATTACHMENT:\"" + strings.Replace(address, u.Path[len("/v1/attachments/"):][:8], "00000000", 1) + "\""
		a = o.Do(t, http.MethodPost, "/v1/sessions", o.orgKey, jsonOf(t, object{"prompt": gone}))
		requireLoc(t, a, 422, "body", "prompt")
		a = o.Do(t, http.MethodPost, "/v1/sessions/"+id+"/message", o.orgKey, jsonOf(t, object{"message": gone}))
		requireLoc(t, a, 422, "body", "message")
	})
}

// requireLoc wants a refusal whose first field is at a place.
func requireLoc(t *testing.T, a kittest.Answer, status int, loc ...any) {
	t.Helper()
	require.Equal(t, status, a.Status, a.Body)
	require.Equal(t, loc, a.JSON(t)["detail"].([]any)[0].(map[string]any)["loc"], a.Body)
}

func TestASessionEndsByThePathThatOnePagePrinted(t *testing.T) {
	t.Parallel()
	o := newOlder(t, servertest.New(t, servertest.Options{}))
	id := o.ok(t, http.MethodPost, "/v1/sessions", o.orgKey, `{"prompt":"p"}`).JSON(t)["session_id"].(string)
	require.NotEqual(t, 200, o.Do(t, http.MethodGet, "/sessions/"+id, o.orgKey, "").Status, "with GET it is no path of the API")
	o.ok(t, http.MethodDelete, "/sessions/"+id, o.orgKey, "")
	require.Equal(t, "exit", o.ok(t, http.MethodGet, "/v1/sessions/"+id, o.orgKey, "").JSON(t)["status"])
}

func TestARefusalNamesWhatTheClientSent(t *testing.T) {
	t.Parallel()
	o := newOlder(t, servertest.New(t, servertest.Options{}))
	connection, err := o.Forge.CreateConnection(t.Context(), o.Root(), forge.ConnectionParams{
		Name: "hub", Provider: forge.GitHubToken, Host: "github.com", Token: secret.New("ghp_x"),
	})
	require.NoError(t, err)
	const v2 = "/v2/enterprise"
	_, err = o.Members.RegisterGroups(t.Context(), o.Root(), []string{"g"})
	require.NoError(t, err)
	org, note := v2+"/organizations/"+o.Org, strings.Repeat("x", 5000)
	of := func(entry string) string { return fmt.Sprintf(`[{"connection_id":%q,%s}]`, connection.ID, entry) }
	for _, c := range []struct {
		method, path, body string
		status             int
		loc                []any
		detail             string
	}{
		{"POST", "/v1/knowledge", `{"name":"n","body":"b","trigger_description":"` + note + `"}`, 422, []any{"body", "trigger_description"}, ""},
		{"POST", "/v1/knowledge", `{"name":"n","body":"b","trigger_description":"t","parent_folder_id":"x"}`, 404, nil, "parent_folder_id: no such folder"},
		{"POST", "/v1/sessions", `{"prompt":"p","max_acu_limit":0}`, 422, []any{"body", "max_acu_limit"}, ""},
		{"POST", "/v1/sessions", `{"prompt":"p","structured_output_schema":{"$ref":"http://x/"}}`, 422, []any{"body", "structured_output_schema"}, ""},
		{"POST", "/v1/sessions", `{"prompt":"p","knowledge_ids":["x"]}`, 404, nil, "knowledge_ids.0: no such note"},
		{"GET", "/v1/enterprise/consumption?start_date=2026-02-01&end_date=2026-01-01", "", 422, []any{"query", "end_date"}, ""},
		{"POST", v2 + "/organizations", `{"display_name":"x","acu_limit":9007199254740991}`, 422, []any{"body", "acu_limit"}, ""},
		{"PATCH", org, `{"max_acu_limit":9007199254740991}`, 422, []any{"body", "max_acu_limit"}, ""},
		{"PUT", v2 + "/groups", `{"group_names":[""]}`, 422, []any{"body", "group_names", float64(0)}, ""},
		{"POST", v2 + "/members/invite", `{"emails":["x@example.com"],"role":""}`, 422, []any{"body", "role"}, ""},
		{"POST", v2 + "/members/invite", `{"emails":["x@example.com"],"role":"org_admin"}`, 422, []any{"body", "role"}, ""},
		{"POST", v2 + "/members/invite", `{"emails":[]}`, 400, nil, "emails: must name somebody"},
		{"POST", v2 + "/members/invite", `{"emails":["nobody"]}`, 400, nil, "emails.0: must be an e-mail address of at most 254 bytes"},
		{"POST", v2 + "/members/invite", `{"emails":[` + strings.Repeat(`"a@example.com",`, 100) + `"b@example.com"]}`, 400, nil, "emails: must have at most 100 items"},
		{"POST", v2 + "/members/invite", `{"emails":[1]}`, 422, []any{"body", "emails", float64(0)}, ""},
		{"POST", org + "/members", `{"org_ids":[],"user_ids":["x"],"org_role":""}`, 422, []any{"body", "org_role"}, ""},
		{"POST", org + "/members", `{"org_ids":[],"user_ids":["x"],"org_role":"account_admin"}`, 422, []any{"body", "org_role"}, ""},
		{"POST", org + "/members", `{"org_ids":[],"user_ids":["x"]}`, 404, nil, "user_ids.0: the user doesn't exist"},
		{"POST", org + "/members", `{"org_ids":["org-0"],"user_ids":["x"]}`, 404, nil, "the organization doesn't exist"},
		{"PATCH", org + "/members/roles", `{"role_id":"org_admin","user_ids":["x"]}`, 404, nil, "user_ids.0: the user doesn't exist"},
		{"PATCH", v2 + "/members/roles", `{"role_id":"org_admin","user_ids":["x"]}`, 422, []any{"body", "role_id"}, ""},
		{"POST", org + "/groups", `{"group_name":"g","role":"account_admin"}`, 422, []any{"body", "role"}, ""},
		{"POST", org + "/git/permissions", `[{"connection_id":"x","repo_path":["a","b"]}]`, 404, nil, "0.connection_id: no such git connection"},
		{"POST", org + "/git/permissions", of(`"prefix_path":null`), 422, []any{"body", float64(0)}, ""},
		{"POST", org + "/git/permissions", of(`"repo_path":["a","b"],"prefix_path":"a"`), 422, []any{"body", float64(0)}, ""},
		{"POST", org + "/git/permissions", of(`"repo_path":["","b"]`), 422, []any{"body", float64(0), "repo_path"}, ""},
		{"POST", org + "/git/permissions", of(`"repo_url":"https://github.com/a//b"`), 422, []any{"body", float64(0), "repo_url"}, ""},
		{"POST", org + "/git/permissions", of(`"repo_url":"https://elsewhere.com/a/b"`), 422, []any{"body", float64(0), "repo_url"}, ""},
		{"POST", org + "/git/permissions", of(`"group_prefix_url":"x"`), 422, []any{"body", float64(0), "group_prefix_url"}, ""},
		{"POST", org + "/permissions", `{"provider":"github","repository":"/a"}`, 422, []any{"body", "repository"}, ""},
		{"POST", org + "/permissions", `{"provider":"gitlab","repository":"a/b"}`, 422, []any{"body", "provider"}, ""},
		{"POST", org + "/permissions", `{"provider":"github","repository":"https://elsewhere.com/a/b"}`, 422, []any{"body", "provider"}, ""},
		{"GET", v2 + "/metrics/usage?start=2026-02-01&end=2026-01-01", "", 422, []any{"query", "end"}, ""},
		{"GET", v2 + "/metrics/usage?start_date=2026-02-01&end_date=2026-01-01", "", 422, []any{"query", "end_date"}, ""},
		{"GET", v2 + "/consumption/daily?start=2026-02-01&end=2026-01-01", "", 422, []any{"query", "end"}, ""},
		{"GET", v2 + "/consumption/daily/nobody", "", 404, nil, "user not found"},
		{"POST", "/beta/v2/enterprise/repositories/bulk-index", `{"org_id":"","repo_names":["a/b"]}`, 400, nil, "org_id: no such organization"},
		{"POST", "/beta/v2/enterprise/repositories/bulk-index", `{"org_id":"` + o.Org + `","repo_names":[]}`, 400, nil, "repo_names: must have 1 to 100 items"},
		{"POST", "/beta/v2/enterprise/repositories/bulk-index", `{"org_id":"` + o.Org + `","repo_names":["a/b"]}`, 422, []any{"body", "repo_names", float64(0)}, ""},
		{"POST", v2 + "/api-keys", `{"org_id":"org-x"}`, 404, nil, "the organization doesn't exist"},
		{"DELETE", v2 + "/api-keys/x", "", 404, nil, "the API key doesn't exist"},
	} {
		key := o.adminKey
		switch {
		case strings.HasPrefix(c.path, "/v1/enterprise"):
			key = o.Admin.Token.Reveal()
		case strings.HasPrefix(c.path, "/v1/"):
			key = o.orgKey
		}
		a := o.Do(t, c.method, c.path, key, c.body)
		name := c.method + " " + c.path + " " + c.body[:min(len(c.body), 120)]
		require.Equal(t, c.status, a.Status, "%s: %s", name, a.Body)
		require.NotEmpty(t, a.Header.Get("Deprecation"))
		if c.loc == nil {
			require.Equal(t, c.detail, a.JSON(t)["detail"], name)
			continue
		}
		require.Equal(t, c.loc, a.JSON(t)["detail"].([]any)[0].(map[string]any)["loc"], name)
	}
}

func TestEveryAnswerOfAnOlderVersionSaysThatItIsDeprecated(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Configure: func(c *config.Serve) { c.RateLimit, c.RateBurst = 0.001, 2 }})
	weak, n := s.NewKey(t, s.Org, access.RoleOrgMember).Token, 0
	said := func(a kittest.Answer, status int, what string) {
		require.Equal(t, status, a.Status, "%s: %s", what, a.Body)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"), what)
		require.Regexp(t, `^@\d+$`, a.Header.Get("Deprecation"), what)
	}
	for _, op := range s.Checker().Operations {
		if !strings.HasPrefix(op.Path, "/v1/") && !strings.Contains(op.Path, "/v2/") {
			continue
		}
		n++
		c := valid(t, op, s.Org)
		said(s.Send(t, c.request(t, "")), 401, op.Method+" "+op.Path)
		other := c.request(t, weak)
		other.Method = http.MethodTrace
		said(s.Send(t, other), 405, "TRACE "+op.Path)
	}
	require.Equal(t, 22+52, n)
	said(s.Do(t, "GET", "/v2/enterprise/members", weak, ""), 403, "no admin")
	said(s.Do(t, "POST", "/v1/sessions", weak, "{"), 422, "no JSON")
	a := s.Do(t, "GET", "/v2/enterprise/members", weak, "")
	said(a, 429, "too many")
	require.Regexp(t, `^\d+$`, a.Header.Get("Retry-After"))
	require.IsType(t, "", a.JSON(t)["detail"])
	require.Empty(t, s.Do(t, "GET", "/v2/nowhere", weak, "").Header.Get("Deprecation"), "what was never there isn't deprecated")
}

func TestTheShapeOfARequestLeavesTheExamplesNamesOut(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		s := servertest.New(t, servertest.Options{Configure: func(c *config.Serve) {
			if off {
				c.V2Examples = "off"
			}
		}})
		o := newOlder(t, s)
		person, _ := s.NewPerson(t, "p@example.com", s.Org, access.RoleOrgMember)
		s.NewGroup(t, "devs", s.Org, access.RoleOrgMember, person)
		id := o.ok(t, http.MethodPost, "/v1/sessions", o.orgKey, `{"prompt":"p"}`).JSON(t)["session_id"].(string)
		const v2 = "/v2/enterprise"
		for i, c := range []struct {
			method, path, body, alias string
			list                      string // the answer's list whose items bear the alias
		}{
			{"GET", v2 + "/members", "", "members", ""},
			{"GET", v2 + "/members", "", "role", "items"},
			{"GET", v2 + "/members/" + person, "", "id", ""},
			{"GET", v2 + "/organizations", "", "organizations", ""},
			{"GET", v2 + "/organizations/" + s.Org, "", "name", ""},
			{"POST", v2 + "/organizations", `{"name":"n%d"}`, "id", ""},
			{"GET", v2 + "/groups/devs/organizations", "", "organizations", ""},
			{"GET", v2 + "/groups/devs/organizations", "", "id", "items"},
			{"POST", v2 + "/members/invite", `{"emails":["n%d@example.com"]}`, "invited", ""},
			{"GET", v2 + "/audit-logs", "", "logs", ""},
			{"GET", v2 + "/audit-logs", "", "actor", "audit_logs"},
			{"GET", v2 + "/sessions/insights", "", "sessions", ""},
			{"GET", v2 + "/sessions/insights", "", "insight", "items"},
			{"GET", v2 + "/sessions/" + id, "", "insight", ""},
		} {
			for j, shape := range []string{"", "reference", "examples", "both"} {
				body := c.body
				if body != "" {
					body = fmt.Sprintf(body, i*10+j)
				}
				got := o.ok(t, c.method, c.path+"?shape="+shape, o.adminKey, body).JSON(t)
				if c.list != "" {
					got = got[c.list].([]any)[0].(map[string]any)
				}
				_, has := got[c.alias]
				require.Equal(t, shape == "examples" || shape == "both" || (shape == "" && !off), has, "%s %s %q", c.path, c.alias, shape)
			}
		}
		cycles := o.ok(t, http.MethodGet, v2+"/consumption/cycles", o.adminKey, "").Body
		require.Equal(t, off, strings.HasPrefix(cycles, "["), "without the examples it is the reference's array")
		require.NotContains(t, o.ok(t, http.MethodGet, v2+"/consumption/cycles?shape=reference", o.adminKey, "").Body, "acus_used")
		require.Contains(t, o.ok(t, http.MethodGet, v2+"/consumption/cycles?shape=examples", o.adminKey, "").Body, "acus_used")
		require.Len(t, o.ok(t, http.MethodGet, v2+"/sessions/insights?skip=0&offset=1", o.adminKey, "").JSON(t)["items"], 1, "the canonical name wins")
		require.Empty(t, o.ok(t, http.MethodGet, v2+"/sessions/insights?offset=1", o.adminKey, "").JSON(t)["items"])
	}
}

func TestAuditEntriesOfV2HaveTheFieldsOfTheirAction(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		person, _ := o.NewPerson(t, "p@example.com", o.Org, access.RoleOrgMember)
		_, err := o.Members.ChangePersonRole(t.Context(), o.Root(), member.PersonRoleParams{OrgID: o.Org, UserID: person, RoleID: access.RoleOrgAdmin})
		require.NoError(t, err)
		_, err = o.Members.RegisterGroups(t.Context(), o.Root(), []string{"devs"})
		require.NoError(t, err)
		o.ok(t, http.MethodPost, "/v2/enterprise/organizations/"+o.Org+"/groups", o.adminKey, `{"group_name":"devs","role":"org_member"}`)
		id := o.ok(t, http.MethodPost, "/v1/sessions", o.orgKey, `{"prompt":"p"}`).JSON(t)["session_id"].(string)
		first := func(path, key, action string) map[string]any {
			for _, e := range o.ok(t, http.MethodGet, path, key, "").JSON(t)["audit_logs"].([]any) {
				if e := e.(map[string]any); e["action"] == action {
					return e
				}
			}
			require.Fail(t, "no such entry", action)
			return nil
		}
		for _, path := range []string{"/v2/enterprise/audit-logs", "/v2/audit-logs", "/api/v2/enterprise/audit-logs"} {
			e := first(path, o.adminKey, "create_session")
			require.Equal(t, strings.TrimPrefix(id, "devin-"), e["session_id"])
			require.Nil(t, e["target_user_id"])
			require.Equal(t, []any{}, e["roles"])
			require.Greater(t, e["created_at"], 1e12, "milliseconds")
			require.Equal(t, e["action"], e["event"])
			require.Equal(t, e["audit_log_id"], e["id"])
			e = first(path, o.adminKey, "assign_roles")
			require.Equal(t, person, e["target_user_id"])
			require.Equal(t, []any{"org_admin"}, e["roles"])
			e = first(path, o.adminKey, "add_group_membership")
			require.Equal(t, "devs", e["target_group_name"])
			require.Equal(t, []any{"org_member"}, e["roles"])
			require.Equal(t, "boss@example.com", e["actor"])
			require.Equal(t, "devs", e["details"].(map[string]any)["target_group_name"])
		}
		for _, path := range []string{"/v1/audit-logs", "/v1/enterprise/audit-logs"} {
			require.Equal(t, person, first(path, o.Admin.Token.Reveal(), "assign_roles")["target_user_id"])
		}
		now := o.DB.Clock().Now()
		for query, some := range map[string]bool{
			"start_date=" + now.Add(-time.Hour).Format("2006-01-02T15:04:05.000000"): true, "after=" + now.Add(time.Hour).UTC().Format(time.RFC3339): false,
			"before=" + fmt.Sprint(now.Add(-time.Hour).Unix()): false, "end_date=" + now.Add(48*time.Hour).UTC().Format(time.DateOnly): true,
			"after=0&start_date=2999-01-01": true,
		} {
			got := o.ok(t, http.MethodGet, "/v2/enterprise/audit-logs?"+query, o.adminKey, "").JSON(t)["audit_logs"].([]any)
			require.Equal(t, some, len(got) > 0, query)
		}
	})
}

func TestConsumptionOnV2IsByDayOrganizationAndPerson(t *testing.T) {
	t.Parallel()
	options := servertest.Options{Clock: clock.NewFake(time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC))}
	servertest.Each(t, options, func(t *testing.T, s *servertest.Server) {
		o := newOlder(t, s)
		person, _ := o.NewPerson(t, "p@example.com", o.Org, access.RoleOrgMember)
		second := o.NewOrg(t, "second")
		now := o.DB.Clock().Now()
		long := now.AddDate(-1, 0, 0)
		require.NoError(t, o.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			for _, w := range []usage.Work{
				{SessionID: "s1", OrgID: o.Org, UserID: person, To: now},
				{SessionID: "s2", OrgID: second, ServiceUserID: "x", To: now},
				{SessionID: "s3", OrgID: o.Org, UserID: person, To: long},
			} {
				w.From = w.To.Add(-15 * time.Minute)
				w.Start = w.From
				if _, err := o.Usage.EnterTx(ctx, tx, w); err != nil {
					return err
				}
			}
			return nil
		}))
		read := func(query string) map[string]any {
			return o.ok(t, http.MethodGet, "/v2/enterprise/consumption/daily"+query, o.adminKey, "").JSON(t)
		}
		all := read("?start_date=2000-01-01")
		one := all["total_acus"].(float64) / 3
		require.Greater(t, one, 0.0)
		require.InDelta(t, 2*one, all["consumption_by_org_id"].(map[string]any)[o.Org], 1e-9)
		require.InDelta(t, one, all["consumption_by_org_id"].(map[string]any)[second], 1e-9)
		require.Equal(t, []string{person}, keysOf(all["consumption_by_user"]), "of people only")
		for _, day := range keysOf(all["consumption_by_date"]) {
			require.Regexp(t, `^\d{4}-\d\d-\d\d$`, day)
		}
		require.InDelta(t, one, read("?start=2000-01-01&org_ids=" + second)["total_acus"], 1e-9)
		require.InDelta(t, 3*one, read("?start=2000-01-01&org_ids=" + second + "&org_ids=" + o.Org)["total_acus"], 1e-9)
		require.InDelta(t, 2*one, read("")["total_acus"], 1e-9, "without times it is the cycle that runs")
		require.InDelta(t, one, read("/" + person)["total_acus"], 1e-9)
		require.InDelta(t, one, read("?end_date=" + url.QueryEscape(long.Add(24*time.Hour).UTC().Format(time.RFC3339)))["total_acus"], 1e-9, "the cycle of the end")
		require.InDelta(t, 2*one, read("/" + person + "?start_date=0")["total_acus"], 1e-9)
		require.EqualValues(t, 0, read("/" + person + "?start_date=0&org_ids=" + second)["total_acus"])
		v1 := o.ok(t, http.MethodGet, "/v1/enterprise/consumption?start_date=2000-01-01&end_date=2999-01-01", o.Admin.Token.Reveal(), "").JSON(t)
		require.InDelta(t, 3*one, v1["total_acus"], 1e-9)
	})
}

func keysOf(v any) []string {
	var out []string
	for k := range v.(map[string]any) {
		out = append(out, k)
	}
	return out
}
