package servertest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit/kittest"
	"gantry/internal/member"
	"gantry/internal/platform/config"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

// older is a server with a key of each sort that the older versions know.
type older struct {
	*servertest.Server
	orgKey, personKey, adminKey, cog string
}

func newOlder(t *testing.T, s *servertest.Server) *older {
	t.Helper()
	o := &older{Server: s, cog: s.NewKey(t, s.Org, access.RoleOrgAdmin).Token}
	k, err := s.Members.CreateOrgKey(t.Context(), s.Root(), s.Org)
	require.NoError(t, err)
	o.orgKey = k.Token.Reveal()
	for email, into := range map[string]*string{"ann@example.com": &o.personKey, "boss@example.com": &o.adminKey} {
		role := access.RoleEnterpriseMember
		if into == &o.adminKey {
			role = access.RoleEnterpriseAdmin
		}
		people, err := s.Members.Invite(t.Context(), s.Root(), member.InviteParams{Emails: []string{email}, RoleID: role})
		require.NoError(t, err)
		_, err = s.Members.AssignPersonRole(t.Context(), s.Root(), member.PersonRoleParams{OrgID: s.Org, UserID: people[0].ID, RoleID: access.RoleOrgMember})
		require.NoError(t, err)
		k, err := s.Members.CreatePersonalKey(t.Context(), s.Root(), people[0].ID, s.Org)
		require.NoError(t, err)
		*into = k.Token.Reveal()
	}
	return o
}

// ok makes a request that must succeed and gives its answer.
func (o *older) ok(t *testing.T, method, path, key, body string) kittest.Answer {
	t.Helper()
	a := o.Do(t, method, path, key, body)
	require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", method, path, a.Body)
	return a
}

func eachOlder(t *testing.T, f func(t *testing.T, o *older)) {
	t.Helper()
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) { f(t, newOlder(t, s)) })
}

func TestEachVersionTakesItsOwnKeys(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		admin := o.Admin.Token.Reveal()
		for _, c := range []struct {
			path   string
			status map[string]int
		}{
			{"/v1/sessions", map[string]int{o.orgKey: 200, o.personKey: 200, o.adminKey: 200, o.cog: 200, admin: 403}},
			{"/v1/audit-logs", map[string]int{o.orgKey: 403, o.personKey: 403, o.adminKey: 200, o.cog: 403, admin: 200}},
			{"/v1/enterprise/audit-logs", map[string]int{o.orgKey: 403, o.personKey: 403, o.adminKey: 200, o.cog: 403, admin: 200}},
			{
				"/v1/enterprise/consumption?start_date=2026-01-01&end_date=2026-01-02",
				map[string]int{o.orgKey: 403, o.personKey: 403, o.adminKey: 200, o.cog: 403, admin: 200},
			},
			{"/v2/enterprise/members", map[string]int{o.orgKey: 403, o.personKey: 403, o.adminKey: 200, o.cog: 403, admin: 200}},
			{"/v3/self", map[string]int{o.orgKey: 401, o.personKey: 401, o.adminKey: 401, o.cog: 200, admin: 200}},
		} {
			for key, status := range c.status {
				a := o.Do(t, http.MethodGet, c.path, key, "")
				require.Equal(t, status, a.Status, "%s with %.9s…: %s", c.path, key, a.Body)
				if status >= 400 && !strings.HasPrefix(c.path, "/v3") {
					require.Equal(t, "application/json", a.Header.Get("Content-Type"))
					require.IsType(t, "", a.JSON(t)["detail"])
				}
			}
		}
	})
}

func TestTheOlderVersionsMayRefuseNewerKeys(t *testing.T) {
	t.Parallel()
	o := newOlder(t, servertest.New(t, servertest.Options{Configure: func(c *config.Serve) { c.StrictOlderKeys = true }}))
	require.Equal(t, 401, o.Do(t, http.MethodGet, "/v1/sessions", o.cog, "").Status)
	require.Equal(t, 401, o.Do(t, http.MethodGet, "/v2/enterprise/roles", o.Admin.Token.Reveal(), "").Status)
	o.ok(t, http.MethodGet, "/v1/sessions", o.orgKey, "")
	o.ok(t, http.MethodGet, "/v2/enterprise/roles", o.adminKey, "")
	for _, path := range []string{"/v1/audit-logs", "/v1/enterprise/consumption?start_date=2026-01-01&end_date=2026-01-02"} {
		require.Equal(t, 401, o.Do(t, http.MethodGet, path, o.Admin.Token.Reveal(), "").Status)
		require.Equal(t, 403, o.Do(t, http.MethodGet, path, o.orgKey, "").Status)
		require.Equal(t, 403, o.Do(t, http.MethodGet, path, o.personKey, "").Status)
		o.ok(t, http.MethodGet, path, o.adminKey, "") // else nobody could read it
	}
}

func TestAnAdminOfOneOrganizationReadsTheEnterprisesLogOnV1(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		person, key := o.NewPerson(t, "pat@example.com", o.Org, access.RoleOrgMember)
		require.Equal(t, 403, o.Do(t, http.MethodGet, "/v1/audit-logs", key, "").Status)
		_, err := o.Members.ChangePersonRole(t.Context(), o.Root(), member.PersonRoleParams{UserID: person, RoleID: access.RoleEnterpriseAdmin})
		require.NoError(t, err)
		require.NotEmpty(t, o.ok(t, http.MethodGet, "/v1/audit-logs", key, "").JSON(t)["audit_logs"])
		require.Empty(t, o.ok(t, http.MethodGet, "/v1/sessions", key, "").JSON(t)["sessions"], "elsewhere it is their one organization's")
	})
}

func TestASessionLivesOnV1(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		const body = `{"prompt":"do it","idempotent":true,"snapshot_id":"snap-1","unlisted":true,"tags":["a"],"unknown":1}`
		made := o.ok(t, http.MethodPost, "/v1/sessions", o.personKey, body).JSON(t)
		id := made["session_id"].(string)
		require.Regexp(t, `^devin-[0-9a-f]{32}$`, id)
		require.Equal(t, true, made["is_new_session"])
		again := o.ok(t, http.MethodPost, "/v1/sessions", o.personKey, body).JSON(t)
		require.Equal(t, id, again["session_id"])
		require.Equal(t, false, again["is_new_session"])

		for _, path := range []string{"/v1/sessions/" + id, "/v1/session/" + id, "/v1/sessions/" + strings.TrimPrefix(id, "devin-"), "/v1/session/" + id + "/"} {
			got := o.ok(t, http.MethodGet, path, o.orgKey, "").JSON(t)
			require.Equal(t, id, got["session_id"])
			require.Equal(t, "working", got["status_enum"])
			require.Equal(t, "new", got["status"])
			require.Nil(t, got["snapshot_id"])
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$`, got["created_at"])
			first := got["messages"].([]any)[0].(map[string]any)
			require.Equal(t, "initial_user_message", first["type"])
			require.Equal(t, "do it", first["message"])
			require.Equal(t, "ann@example.com", first["username"])
			require.Equal(t, "api", first["origin"])
		}
		a := o.ok(t, http.MethodPost, "/v1/session/"+id+"/message", o.personKey, `{"message":"and more"}`)
		require.Equal(t, "null", strings.TrimSpace(a.Body))
		tagged := o.ok(t, http.MethodPut, "/v1/session/"+id+"/tags", o.personKey, `{"tags":["b","c"]}`).JSON(t)
		require.Equal(t, "Tags updated", tagged["detail"])
		require.Equal(t, []any{"b", "c"}, tagged["tags"])

		list := func(query string) []any {
			return o.ok(t, http.MethodGet, "/v1/sessions"+query, o.orgKey, "").JSON(t)["sessions"].([]any)
		}
		other := o.ok(t, http.MethodPost, "/v1/sessions", o.orgKey, `{"prompt":"other"}`).JSON(t)["session_id"]
		all := list("")
		require.Len(t, all, 2)
		require.Equal(t, other, all[0].(map[string]any)["session_id"], "newest first")
		require.Equal(t, "ann@example.com", all[1].(map[string]any)["requesting_user_email"])
		require.Len(t, list("?limit=1&offset=1"), 1)
		require.Equal(t, id, list("?limit=1&offset=0&skip=1")[0].(map[string]any)["session_id"], "skip wins over offset")
		require.Len(t, list("?tags=b&tags=x"), 1)
		require.Len(t, list("?user_email=ANN@example.com"), 1)
		require.Empty(t, list("?user_email=nobody@example.com"))

		_, err := o.Sessions.Archive(t.Context(), o.Root(), o.Org, strings.TrimPrefix(id, "devin-"))
		require.NoError(t, err)
		gone := o.ok(t, http.MethodDelete, "/v1/session/"+id, o.personKey, "").JSON(t)
		require.Equal(t, "Session terminated successfully", gone["detail"])
		require.Equal(t, 400, o.Do(t, http.MethodDelete, "/v1/sessions/"+id, o.personKey, "").Status)
		require.Equal(t, "finished", o.ok(t, http.MethodGet, "/v1/sessions/"+id, o.orgKey, "").JSON(t)["status_enum"])
		require.Equal(t, 409, o.Do(t, http.MethodPost, "/v1/sessions/"+id+"/message", o.personKey, `{"message":"x"}`).Status)
		require.Equal(t, true, o.ok(t, http.MethodPost, "/v1/sessions", o.personKey, body).JSON(t)["is_new_session"], "the first has ended")
	})
}

func TestWhatV1IgnoresIsNoted(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		made := o.ok(t, http.MethodPost, "/v1/sessions", o.cog, `{"prompt":"p","snapshot_id":"snap-1","unlisted":true}`).JSON(t)
		id := strings.TrimPrefix(made["session_id"].(string), "devin-")
		events := o.ok(t, http.MethodGet, "/gantry/v1/organizations/"+o.Org+"/sessions/"+id+"/events", o.cog, "").JSON(t)
		first := events["items"].([]any)[0].(map[string]any)
		require.Equal(t, []any{"snapshot_id snap-1", "unlisted"}, first["data"].(map[string]any)["ignored"])
	})
}

func TestKnowledgePlaybooksAndSecretsOnV1(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		note := o.ok(t, http.MethodPost, "/v1/knowledge", o.orgKey, `{"name":"n","body":"b","trigger_description":"t","macro":"!n","pinned_repo":"all"}`).JSON(t)
		noteID := note["id"].(string)
		require.Equal(t, "!n", note["macro"])
		note = o.ok(t, http.MethodPut, "/v1/knowledge/"+noteID, o.orgKey, `{"name":"m","body":"b","trigger_description":"t"}`).JSON(t)
		require.Nil(t, note["macro"], "what is left out is cleared")
		require.Nil(t, note["pinned_repo"])
		all := o.ok(t, http.MethodGet, "/v1/knowledge", o.orgKey, "").JSON(t)
		require.Len(t, all["knowledge"], 1)
		require.Empty(t, all["folders"])
		require.Contains(t, o.ok(t, http.MethodDelete, "/v1/knowledge/"+noteID, o.orgKey, "").JSON(t), "detail")
		require.Equal(t, 404, o.Do(t, http.MethodDelete, "/v1/knowledge/"+noteID, o.orgKey, "").Status)

		book := o.ok(t, http.MethodPost, "/v1/playbooks", o.personKey, `{"title":"t","body":"b","macro":"!go"}`).JSON(t)
		require.Equal(t, "team", book["access_type"])
		require.Equal(t, "published", book["status"])
		require.Equal(t, "ann@example.com", book["created_by_user_name"])
		path := "/v1/playbooks/" + book["playbook_id"].(string)
		require.Equal(t, "success", o.ok(t, http.MethodPut, path, o.personKey, `{"title":"t2","body":"b"}`).JSON(t)["status"])
		require.Equal(t, "!go", o.ok(t, http.MethodGet, path, o.personKey, "").JSON(t)["macro"], "a macro that is left out stays")
		require.Contains(t, o.ok(t, http.MethodGet, "/v1/playbooks", o.personKey, "").Body, `"t2"`)
		require.Equal(t, "success", o.ok(t, http.MethodDelete, path, o.personKey, "").JSON(t)["status"])

		const body = `{"type":"dictionary","key":"K","value":"hidden-value","sensitive":true}`
		secretID := o.ok(t, http.MethodPost, "/v1/secrets", o.orgKey, body).JSON(t)["id"].(string)
		require.Equal(t, 409, o.Do(t, http.MethodPost, "/v1/secrets", o.orgKey, body).Status)
		listed := o.ok(t, http.MethodGet, "/v1/secrets", o.orgKey, "")
		require.Contains(t, listed.Body, `"K"`)
		require.NotContains(t, listed.Body, "hidden-value")
		require.Contains(t, o.ok(t, http.MethodDelete, "/v1/secrets/"+secretID, o.orgKey, "").JSON(t), "message")
		require.Equal(t, 403, o.Do(t, http.MethodGet, "/v1/secrets", o.personKey, "").Status, "a member doesn't manage secrets")
	})
}

func TestErrorsOfTheOlderVersionsAreFastAPIs(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		for _, c := range []struct{ method, path, key, body, loc string }{
			{"POST", "/v1/sessions", o.cog, `{}`, "prompt"},
			{"GET", "/v1/sessions?limit=0", o.cog, "", "limit"},
			{"GET", "/v1/enterprise/consumption", o.Admin.Token.Reveal(), "", "start_date"},
			{"GET", "/v2/enterprise/members?limit=201", o.adminKey, "", "limit"},
			{"POST", "/v2/enterprise/organizations", o.adminKey, `{}`, "display_name"},
			{"GET", "/v2/enterprise/audit-logs?after=yesterday", o.adminKey, "", "after"},
			{"GET", "/v2/enterprise/audit-logs?start_date=yesterday", o.adminKey, "", "start_date"},
		} {
			a := o.Do(t, c.method, c.path, c.key, c.body)
			require.Equal(t, 422, a.Status, "%s %s: %s", c.method, c.path, a.Body)
			first := a.JSON(t)["detail"].([]any)[0].(map[string]any)
			require.Contains(t, first["loc"], c.loc)
			require.NotEmpty(t, first["msg"])
			require.NotEmpty(t, first["type"])
		}
		require.Equal(t, "application/json", o.Do(t, "GET", "/v2/nowhere", o.adminKey, "").Header.Get("Content-Type"))
	})
}

func TestV2PagesByCounting(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		for range 3 {
			o.NewOrg(t, "more")
		}
		p := o.ok(t, http.MethodGet, "/v2/enterprise/organizations?skip=1&limit=2", o.adminKey, "").JSON(t)
		require.Len(t, p["items"], 2)
		require.EqualValues(t, 4, p["total"])
		require.Equal(t, true, p["has_more"])
		require.EqualValues(t, 3, p["next_cursor"])
		require.Equal(t, p["items"], p["organizations"])
		p = o.ok(t, http.MethodGet, "/v2/enterprise/organizations?skip=3&limit=2&shape=reference", o.adminKey, "").JSON(t)
		require.Len(t, p["items"], 1)
		require.Equal(t, false, p["has_more"])
		require.Nil(t, p["next_cursor"])
		require.NotContains(t, p, "organizations")
		require.NotContains(t, p["items"].([]any)[0], "id")
		o.ok(t, http.MethodGet, "/api/v2/enterprise/organizations?limit=1000", o.adminKey, "")

		keys := o.ok(t, http.MethodGet, "/v2/enterprise/api-keys?page=2&per_page=2", o.adminKey, "").JSON(t)
		require.EqualValues(t, 3, keys["total"])
		require.EqualValues(t, 2, keys["skip"])
		require.Nil(t, keys["next_cursor"])
		keys = o.ok(t, http.MethodGet, "/v2/enterprise/api-keys?per_page=2", o.adminKey, "").JSON(t)
		require.EqualValues(t, 2, keys["next_cursor"], "the next page's number")
	})
}

func TestConsumptionCyclesHaveTwoShapes(t *testing.T) {
	t.Parallel()
	for _, array := range []bool{false, true} {
		o := newOlder(t, servertest.New(t, servertest.Options{Configure: func(c *config.Serve) {
			if array {
				c.V2Cycles = "array"
			}
		}}))
		const path = "/v2/enterprise/consumption/cycles"
		require.Equal(t, array, strings.HasPrefix(o.ok(t, http.MethodGet, path, o.adminKey, "").Body, "["))
		require.True(t, strings.HasPrefix(o.ok(t, http.MethodGet, path+"?shape=reference", o.adminKey, "").Body, "["))
		cycles := o.ok(t, http.MethodGet, path+"?shape=examples", o.adminKey, "").JSON(t)["cycles"].([]any)
		first := cycles[0].(map[string]any)
		require.Equal(t, first["start"], first["start_date"])
		require.Equal(t, first["end"], first["end_date"])
		require.EqualValues(t, 0, first["acus_used"])
	}
}

func TestMembersAndGroupsOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		names := o.ok(t, http.MethodPut, "/v2/enterprise/groups", o.adminKey, `{"group_names":["devs","ops"]}`)
		require.Equal(t, "[\"devs\",\"ops\"]", strings.TrimSpace(names.Body))
		got := o.ok(t, http.MethodPost, "/v2/enterprise/organizations/"+o.Org+"/groups", o.adminKey, `{"group_name":"devs","role":"member"}`).JSON(t)
		require.Equal(t, "org_member", got["role"])
		group := o.ok(t, http.MethodGet, "/v2/enterprise/groups/devs", o.adminKey, "").JSON(t)
		require.EqualValues(t, 1, group["org_count"])
		require.Equal(t, map[string]any{o.Org: "org_member"}, group["role_by_org_id"])
		orgs := o.ok(t, http.MethodGet, "/v2/enterprise/groups/devs/organizations", o.adminKey, "").JSON(t)
		require.EqualValues(t, 1, orgs["total"])
		o.ok(t, http.MethodDelete, "/v2/enterprise/organizations/"+o.Org+"/groups/devs", o.adminKey, "")

		invited := o.ok(t, http.MethodPost, "/v2/enterprise/members/invite", o.adminKey, `{"emails":["new@example.com","ann@example.com"],"role":"admin"}`).JSON(t)
		require.EqualValues(t, 1, invited["invited_count"], "who is a member already is not counted")
		require.Equal(t, []any{"new@example.com"}, invited["invited"])
		one := o.ok(t, http.MethodGet, "/v2/enterprise/members?email=new@example.com", o.adminKey, "").JSON(t)
		require.EqualValues(t, 1, one["total"])
		m := one["members"].([]any)[0].(map[string]any)
		require.Equal(t, "account_admin", m["enterprise_role"])
		require.Equal(t, m["enterprise_role"], m["role"])
		userID := m["user_id"].(string)

		o.ok(t, http.MethodPost, "/v2/enterprise/organizations/"+o.Org+"/members", o.adminKey, `{"org_ids":[],"user_ids":["`+userID+`"],"org_role":"admin"}`)
		of := o.ok(t, http.MethodGet, "/v2/enterprise/members/"+userID+"/organizations", o.adminKey, "").JSON(t)["items"].([]any)
		require.Equal(t, "org_admin", of[0].(map[string]any)["org_role"])
		o.ok(t, http.MethodPatch, "/v2/enterprise/organizations/"+o.Org+"/members/roles", o.adminKey, `{"role_id":"org_member","user_ids":["`+userID+`"]}`)
		list := o.ok(t, http.MethodGet, "/v2/enterprise/organizations/"+o.Org+"/members", o.adminKey, "").JSON(t)
		require.EqualValues(t, 3, list["total"])
		o.ok(t, http.MethodPatch, "/v2/enterprise/members/roles", o.adminKey, `{"role_id":"account_member","user_ids":["`+userID+`"]}`)
		require.Equal(t, "account_member", o.ok(t, http.MethodGet, "/v2/enterprise/members/"+userID, o.adminKey, "").JSON(t)["enterprise_role"])
		org := o.ok(t, http.MethodGet, "/v2/enterprise/organizations/"+o.Org, o.adminKey, "").JSON(t)
		require.EqualValues(t, 3, org["org_user_count"])
		o.ok(t, http.MethodDelete, "/v2/enterprise/organizations/"+o.Org+"/members/"+userID, o.adminKey, "")
		o.ok(t, http.MethodDelete, "/v2/enterprise/members/"+userID, o.adminKey, "")
		require.Equal(t, 404, o.Do(t, http.MethodGet, "/v2/enterprise/members/"+userID, o.adminKey, "").Status)
	})
}

func TestOrganizationsAndKeysOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		made := o.ok(t, http.MethodPost, "/v2/enterprise/organizations", o.adminKey, `{"display_name":"Team","name":"ignored","acu_limit":5}`).JSON(t)
		require.Equal(t, "Team", made["org_name"])
		require.Equal(t, made["org_id"], made["id"])
		require.EqualValues(t, 1, made["org_admin_count"], "who makes it becomes its admin")
		path := "/v2/enterprise/organizations/" + made["org_id"].(string)
		o.ok(t, http.MethodPatch, path, o.adminKey, `{"max_acu_limit":null}`)
		require.Nil(t, o.ok(t, http.MethodGet, path, o.adminKey, "").JSON(t)["max_cycle_acu_limit"])
		require.Equal(t, 400, o.Do(t, http.MethodDelete, "/v2/enterprise/organizations/"+o.Org, o.adminKey, "").Status, "the primary organization stays")

		key := o.ok(t, http.MethodPost, "/v2/enterprise/api-keys", o.adminKey, `{"org_id":"`+made["org_id"].(string)+`"}`).JSON(t)["api_key"].(string)
		require.True(t, strings.HasPrefix(key, "apk_"))
		o.ok(t, http.MethodGet, "/v1/sessions", key, "")
		o.ok(t, http.MethodDelete, path, o.adminKey, "")
		require.Equal(t, 401, o.Do(t, http.MethodGet, "/v1/sessions", key, "").Status, "it ends with its organization")
		o.ok(t, http.MethodDelete, "/v2/enterprise/api-keys/", o.Admin.Token.Reveal(), "")
		require.Equal(t, 401, o.Do(t, http.MethodGet, "/v1/sessions", o.orgKey, "").Status)
		require.Equal(t, 401, o.Do(t, http.MethodGet, "/v1/sessions", o.personKey, "").Status)
	})
}

func TestSessionsOnV2(t *testing.T) {
	eachOlder(t, func(t *testing.T, o *older) {
		s, err := o.Sessions.Create(t.Context(), o.Root(), session.CreateParams{OrgID: o.Org, Prompt: "the prompt"})
		require.NoError(t, err)
		list := o.ok(t, http.MethodGet, "/v2/enterprise/sessions?session_ids=devin-"+s.ID+"&created_date_from=2020-01-01", o.adminKey, "").JSON(t)
		require.EqualValues(t, 1, list["total"])
		insights := o.ok(t, http.MethodGet, "/v2/enterprise/sessions/insights?offset=0&limit=50", o.adminKey, "").JSON(t)
		item := insights["sessions"].([]any)[0].(map[string]any)
		require.Equal(t, s.ID, item["id"])
		require.Nil(t, item["insight"])
		require.Equal(t, "the prompt", item["initial_user_message"])
		require.Empty(t, o.ok(t, http.MethodGet, "/v2/enterprise/sessions/insights?offset=1", o.adminKey, "").JSON(t)["items"])
		require.Equal(t, "the prompt", o.ok(t, http.MethodGet, "/v2/enterprise/sessions/devin-"+s.ID, o.adminKey, "").JSON(t)["initial_user_message"])
		require.Equal(t, "new", o.ok(t, http.MethodGet, "/beta/v2/enterprise/sessions/"+s.ID, o.adminKey, "").JSON(t)["devin_status"])
		require.Len(t, o.ok(t, http.MethodGet, "/beta/v2/enterprise/sessions", o.adminKey, "").JSON(t)["items"], 1)
	})
}
