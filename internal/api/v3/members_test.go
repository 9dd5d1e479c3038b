package v3_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	v3 "gantry/internal/api/v3"
	"gantry/internal/audit"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/page"
)

// office is the door with the rooms of members and organizations behind it.
type office struct {
	t     *testing.T
	h     http.Handler
	time  *clock.Fake
	admin string // the first key
	org   string // the first organization
	db    *db.DB

	members *member.Service
}

func eachOffice(t *testing.T, earlyCheckOff bool, f func(o *office)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			d := dbtest.Open(t, e, fake.Clock())
			members := member.New(d, events.New(), slog.New(slog.DiscardHandler), member.AuthOptions{})
			limit := int64(50)
			orgs := org.New(d, members, org.Options{SessionLimit: &limit})
			first, err := members.Bootstrap(t.Context(), member.BootstrapOptions{})
			require.NoError(t, err)
			k := kit.New(kit.Options{
				Authenticator: members.Authenticator(), OrgExists: orgs.Exists, Clock: fake.Clock(), EarlyCheckOff: earlyCheckOff,
				Sealer: page.NewSealer([]byte("0123456789abcdef0123456789abcdef")),
			})
			kittest.Guard(t, v3.New(k, v3.Rooms{Audit: audit.New(d), Members: members, Orgs: orgs}))
			f(&office{t: t, h: k.Router(), time: fake, admin: first.Token.Reveal(), org: first.OrgID, db: d, members: members})
		})
	}
}

// do sends a request as the admin and wants a status.
func (o *office) do(want int, method, path, body string) map[string]any {
	o.t.Helper()
	return o.as(o.admin, want, method, path, body)
}

func (o *office) as(key string, want int, method, path, body string) map[string]any {
	o.t.Helper()
	a := kittest.Do(o.t, o.h, method, path, key, body)
	require.Equal(o.t, want, a.Status, "%s %s %s: %s", method, path, body, a.Body)
	require.NotContains(o.t, a.Body, "SQL")
	return a.JSON(o.t)
}

func items(m map[string]any) []map[string]any {
	var out []map[string]any
	for _, i := range m["items"].([]any) {
		out = append(out, i.(map[string]any))
	}
	return out
}

func TestOrganizationsOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		const path = "/v3/enterprise/organizations"
		made := o.do(200, "POST", path, `{"name":"Ünï","max_cycle_acu_limit":null,"surprise":1}`)
		require.Len(o.t, made, 6)
		id := made["org_id"].(string)
		now := float64(o.time.Clock().Now().Unix())
		require.Equal(o.t, map[string]any{
			"org_id": id, "name": "Ünï", "created_at": now, "updated_at": now, "max_session_acu_limit": 50.0, "max_cycle_acu_limit": nil,
		}, made)
		none := o.do(200, "POST", path, `{"name":"x","max_session_acu_limit":null,"max_cycle_acu_limit":0}`)
		require.Nil(o.t, none["max_session_acu_limit"])
		require.EqualValues(o.t, 0, none["max_cycle_acu_limit"])

		o.time.Advance(time.Minute)
		patched := o.do(200, "PATCH", path+"/"+id, `{"max_session_acu_limit":null,"max_cycle_acu_limit":9,"name":null}`)
		require.Equal(o.t, "Ünï", patched["name"])
		require.Nil(o.t, patched["max_session_acu_limit"])
		require.EqualValues(o.t, 9, patched["max_cycle_acu_limit"])
		require.EqualValues(o.t, now+60, patched["updated_at"])
		require.Equal(o.t, patched, o.do(200, "PATCH", path+"/"+id, `{}`))
		require.Equal(o.t, patched, o.do(200, "GET", path+"/"+id, ""))

		for _, bad := range []string{
			`{}`, `{"name":""}`, `{"name":null}`, `{"name":5}`, `{"name":"x","max_cycle_acu_limit":-1}`, `{"name":"x","max_session_acu_limit":1.5}`,
			`{"name":"x","max_session_acu_limit":"1"}`, `{"name":"x","max_session_acu_limit":1e300}`, `{"name":"x","max_session_acu_limit":9007199254740993}`, `[]`, `"x"`,
			`{"name":"` + strings.Repeat("é", 257) + `"}`,
		} {
			problem := o.do(422, "POST", path, bad)
			require.NotEmpty(o.t, problem["errors"], bad)
		}

		first := o.do(200, "GET", path+"?first=2", "")
		require.Equal(o.t, true, first["has_next_page"])
		last := o.do(200, "GET", path+"?first=2&after="+first["end_cursor"].(string), "")
		require.Equal(o.t, false, last["has_next_page"])
		require.Nil(o.t, last["end_cursor"])
		require.Len(o.t, items(last), 1)
		o.do(422, "GET", path+"?after=nonsense", "")
		o.do(422, "GET", path+"?first=201", "")

		require.Equal(o.t, id, o.do(200, "DELETE", path+"/"+id, "")["org_id"])
		for _, m := range []string{"GET", "DELETE"} {
			o.do(404, m, path+"/"+id, "")
		}
		o.do(404, "PATCH", path+"/"+id, `{}`)
	})
}

func TestServiceUsersAndKeysOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		const members, users = "/v3/enterprise/members/service-users", "/v3beta1/enterprise/service-users"
		inOrg := "/v3/enterprise/organizations/" + o.org + "/members/service-users"
		made := o.do(200, "POST", users, `{"name":"ci","role_id":"account_member","ttl_seconds":31536000}`)
		token := made["token"].(string)
		su := made["service_user"].(map[string]any)
		id := su["service_user_id"].(string)
		role := map[string]any{"role_id": "account_member", "role_name": "Member", "role_type": "enterprise"}
		require.Equal(o.t, map[string]any{
			"service_user_id": id, "name": "ci", "expires_at": float64(o.time.Clock().Now().Unix() + 31536000), "deleted_at": nil,
			"role_assignments": []any{map[string]any{"role": role, "org_id": nil}},
		}, su)
		require.Equal(o.t, su, o.do(200, "GET", members+"/"+id, ""))
		require.Nil(o.t, o.as(token, 200, "GET", "/v3/self", "")["org_id"])
		o.as(token, 403, "GET", members, "")

		given := o.do(200, "POST", inOrg+"/"+id, `{"role_id":"org_member"}`)
		require.Equal(o.t, o.org, given["role_assignments"].([]any)[1].(map[string]any)["org_id"])
		o.do(409, "POST", inOrg+"/"+id, `{"role_id":"org_member"}`)
		o.do(200, "PATCH", inOrg+"/"+id, `{"role_id":"org_admin"}`)
		require.Len(o.t, items(o.do(200, "GET", inOrg, "")), 1)
		o.do(200, "DELETE", inOrg+"/"+id, "")
		o.do(404, "DELETE", inOrg+"/"+id, "")
		o.do(409, "POST", members+"/"+id, `{"role_id":"account_admin"}`)
		o.do(200, "PATCH", members+"/"+id, `{"role_id":"account_admin"}`)
		o.as(token, 200, "GET", members, "")
		o.do(404, "PATCH", members+"/"+id, `{"role_id":"nope"}`)
		o.do(422, "PATCH", members+"/"+id, `{"role_id":"org_admin"}`)
		o.do(422, "PATCH", members+"/"+id, `{}`)
		o.do(404, "POST", "/v3/enterprise/organizations/org-none/members/service-users/"+id, `{"role_id":"org_member"}`)

		keys := users + "/" + id + "/api-keys"
		soon := o.time.Clock().Now().Unix() + 60
		key := o.do(200, "POST", keys, fmt.Sprintf(`{"name":"second","expires_at":%d}`, soon))
		require.Len(o.t, key, 3)
		for _, bad := range []string{`{"name":""}`, `{"name":"x","expires_at":0}`, fmt.Sprintf(`{"name":"x","expires_at":%d}`, soon-60), `{"name":"x","expires_at":9007199254740992}`} {
			o.do(422, "POST", keys, bad)
		}
		listed := items(o.do(200, "GET", keys, ""))
		require.Len(o.t, listed, 2)
		require.NotContains(o.t, fmt.Sprint(listed), token)
		for _, k := range listed {
			require.Len(o.t, k, 7)
			if k["api_key_name"] == "second" {
				require.EqualValues(o.t, soon, k["expires_at"])
			}
		}
		rotated := o.do(200, "POST", keys+"/"+key["api_key_id"].(string)+"/rotate", "")
		o.as(key["token"].(string), 401, "GET", "/v3/self", "")
		o.as(rotated["token"].(string), 200, "GET", "/v3/self", "")
		o.do(400, "POST", keys+"/"+key["api_key_id"].(string)+"/rotate", `{"revoke_current":false}`)
		kept := o.do(200, "POST", keys+"/"+rotated["api_key_id"].(string)+"/rotate", `{"revoke_current":false,"new_key_expires_at":null}`)
		o.as(rotated["token"].(string), 200, "GET", "/v3/self", "")
		revoked := o.do(200, "DELETE", keys+"/"+kept["api_key_id"].(string), "")
		require.Equal(o.t, false, revoked["is_active"])
		o.do(409, "DELETE", keys+"/"+kept["api_key_id"].(string), "")
		o.do(404, "DELETE", keys+"/none", "")
		require.Len(o.t, items(o.do(200, "GET", keys+"?status=revoked", "")), 2)
		o.do(422, "GET", keys+"?status=some", "")

		gone := o.do(200, "DELETE", members+"/"+id, "")
		require.NotNil(o.t, gone["deleted_at"])
		o.as(token, 401, "GET", "/v3/self", "")
		o.do(404, "GET", members+"/"+id, "")
		require.Len(o.t, items(o.do(200, "GET", members, "")), 1)
		require.Len(o.t, items(o.do(200, "GET", members+"?include_inactive=true", "")), 2)
	})
}

func TestAnOrganizationsKeyProvisionsInItsOwnOrganizationOnly(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		path := "/v3beta1/organizations/" + o.org + "/service-users"
		body := `{"name":"bot","role_id":"org_admin","ttl_seconds":60}`
		key := o.do(200, "POST", path, body)["token"].(string)
		require.Equal(o.t, o.org, o.as(key, 200, "GET", "/v3/self", "")["org_id"])
		o.as(key, 200, "POST", path, body)
		o.as(key, 200, "POST", "/v3beta1/organizations/service-users", body)
		o.do(422, "POST", "/v3beta1/organizations/service-users", body)
		o.as(key, 403, "POST", "/v3beta1/organizations/org-other/service-users", body)
		o.do(404, "POST", "/v3beta1/organizations/org-other/service-users", body)
		o.as(key, 403, "POST", "/v3beta1/enterprise/service-users", `{}`)
		o.do(422, "POST", path, `{"name":"bot","role_id":"account_member","ttl_seconds":60}`)
		o.do(422, "POST", path, `{"name":"bot","role_id":"org_member","ttl_seconds":0}`)
		o.time.Advance(time.Minute)
		o.as(key, 401, "GET", "/v3/self", "")
	})
}

func TestRolesOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		roles := items(o.do(200, "GET", "/v3/enterprise/roles", ""))
		require.Len(o.t, roles, 5)
		require.Len(o.t, roles[0], 3)
		one := o.do(200, "GET", "/v3/enterprise/roles/org_member", "")
		require.Contains(o.t, one["permissions"], "UseDevinSessions")
		o.do(404, "GET", "/v3/enterprise/roles/none", "")
	})
}

func TestAuditLogsOverTheWire(t *testing.T) {
	t.Parallel()
	eachOffice(t, false, func(o *office) {
		const path = "/v3/enterprise/audit-logs"
		o.time.Advance(time.Hour)
		o.do(200, "POST", "/v3beta1/organizations/"+o.org+"/service-users", `{"name":"bot","role_id":"org_admin","ttl_seconds":6000}`)
		whole := o.do(200, "GET", path+"?order=asc", "")
		require.Len(o.t, items(whole), 5)
		require.Len(o.t, items(whole)[0], 9)
		require.Equal(o.t, "create_org", items(whole)[0]["action"])
		require.Equal(o.t, false, whole["has_next_page"])
		require.NotNil(o.t, whole["end_cursor"], "there whenever the page has entries")
		after := "&after=" + whole["end_cursor"].(string)
		later := o.do(200, "GET", path+"?order=asc"+after, "")
		require.Empty(o.t, items(later))
		require.Nil(o.t, later["end_cursor"])
		o.time.Advance(time.Second)
		o.do(200, "POST", "/v3/enterprise/organizations", `{"name":"new"}`)
		require.Len(o.t, items(o.do(200, "GET", path+"?order=asc"+after, "")), 1, "the cursor finds later entries")
		o.do(422, "GET", path+"?order=desc"+after, "") // a cursor of another list

		last := items(o.do(200, "GET", path+"?first=1", ""))[0]
		require.Equal(o.t, "create_org", last["action"])
		require.Equal(o.t, "admin", last["service_user_name"])
		require.Equal(o.t, map[string]any{"name": "new", "max_session_acu_limit": 50.0, "max_cycle_acu_limit": nil}, last["data"])
		require.Len(o.t, items(o.do(200, "GET", "/v3/enterprise/organizations/"+o.org+"/audit-logs", "")), 3)
		require.Len(o.t, items(o.do(200, "GET", path+"?action=create_service_user", "")), 2)
		require.Empty(o.t, items(o.do(200, "GET", path+"?action=create_pat", "")))

		at := o.time.Clock().Now().Unix()
		require.Len(o.t, items(o.do(200, "GET", fmt.Sprintf("%s?time_after=%d", path, at), "")), 1)
		require.Len(o.t, items(o.do(200, "GET", fmt.Sprintf("%s?time_after=%d&time_before=%d", path, at-100, at), "")), 2)
		for _, bad := range []string{
			"action=made_up", "order=up", "time_before=5", "time_after=9&time_before=5", "time_after=0&time_before=8640001", "time_after=x",
			"time_after=-1", "time_after=99999999999999999999", "first=0",
		} {
			require.NotEmpty(o.t, o.do(422, "GET", path+"?"+bad, "")["errors"], bad)
		}
		for action, want := range map[string]string{"create_sesion": "; near it: create_session", "nope": ""} {
			wrong := o.do(422, "GET", path+"?action="+action, "")["errors"].([]any)[0].(map[string]any)
			require.Equal(o.t, []any{"query", "action"}, wrong["loc"])
			require.Regexp(o.t, "^unknown action"+want+"; the OpenAPI document, which `gantry openapi VERSION` prints, lists all [0-9]{3}$", wrong["msg"])
		}
		o.do(200, "GET", path+"?time_after=0&time_before=8640000", "")
		o.do(403, "GET", "/v3/enterprise/organizations/org-none/audit-logs", "")
	})
}

// Every operation of these resources refuses a credential without the right, also when only the use cases look.
func TestTheUseCasesRefuseWithoutTheEarlyCheck(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprint("early check off ", off), func(t *testing.T) {
			t.Parallel()
			eachOffice(t, off, func(o *office) {
				su := o.do(200, "POST", "/v3beta1/enterprise/service-users", `{"name":"x","role_id":"account_member","ttl_seconds":600}`)
				weak := su["token"].(string)
				bound := o.do(200, "POST", "/v3beta1/organizations/"+o.org+"/service-users", `{"name":"x","role_id":"org_member","ttl_seconds":600}`)["token"].(string)
				id := su["service_user"].(map[string]any)["service_user_id"].(string)
				for _, c := range [][3]string{
					{"GET", "/v3/enterprise/organizations", ""},
					{"POST", "/v3/enterprise/organizations", `{"name":"x"}`},
					{"GET", "/v3/enterprise/organizations/" + o.org, ""},
					{"PATCH", "/v3/enterprise/organizations/" + o.org, `{}`},
					{"DELETE", "/v3/enterprise/organizations/" + o.org, ""},
					{"GET", "/v3/enterprise/members/service-users", ""},
					{"GET", "/v3/enterprise/members/service-users/" + id, ""},
					{"POST", "/v3/enterprise/members/service-users/" + id, `{"role_id":"account_admin"}`},
					{"PATCH", "/v3/enterprise/members/service-users/" + id, `{"role_id":"account_admin"}`},
					{"DELETE", "/v3/enterprise/members/service-users/" + id, ""},
					{"GET", "/v3/enterprise/organizations/" + o.org + "/members/service-users", ""},
					{"POST", "/v3/enterprise/organizations/" + o.org + "/members/service-users/" + id, `{"role_id":"org_member"}`},
					{"PATCH", "/v3/enterprise/organizations/" + o.org + "/members/service-users/" + id, `{"role_id":"org_member"}`},
					{"DELETE", "/v3/enterprise/organizations/" + o.org + "/members/service-users/" + id, ""},
					{"POST", "/v3beta1/enterprise/service-users", `{"name":"x","role_id":"account_member","ttl_seconds":60}`},
					{"POST", "/v3beta1/organizations/" + o.org + "/service-users", `{"name":"x","role_id":"org_member","ttl_seconds":60}`},
					{"GET", "/v3beta1/enterprise/service-users/" + id + "/api-keys", ""},
					{"POST", "/v3beta1/enterprise/service-users/" + id + "/api-keys", `{"name":"x"}`},
					{"DELETE", "/v3beta1/enterprise/service-users/" + id + "/api-keys/none", ""},
					{"POST", "/v3beta1/enterprise/service-users/" + id + "/api-keys/none/rotate", `{}`},
					{"GET", "/v3/enterprise/roles", ""},
					{"GET", "/v3/enterprise/roles/org_member", ""},
					{"GET", "/v3/enterprise/audit-logs", ""},
					{"GET", "/v3/enterprise/organizations/" + o.org + "/audit-logs", ""},
				} {
					for _, key := range []string{weak, bound} {
						problem := o.as(key, 403, c[0], c[1], c[2])
						require.EqualValues(o.t, 403, problem["status"])
						text, err := json.Marshal(problem)
						require.NoError(o.t, err)
						require.Contains(o.t, string(text), "credential")
					}
					o.as("", 401, c[0], c[1], c[2])
				}
			})
		})
	}
}
