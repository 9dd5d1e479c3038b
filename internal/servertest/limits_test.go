package servertest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// asked does a request of the enterprise's admin and gives its body.
func asked(t testing.TB, s *servertest.Server, want int, method, path, body string) string {
	t.Helper()
	a := s.Do(t, method, path, s.Admin.Token.Reveal(), body)
	require.Equal(t, want, a.Status, "%s %s: %s", method, path, a.Body)
	return a.Body
}

func TestConsumptionOverTheWire(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		const user = "okta|a/b"
		made, err := s.Sessions.Create(t.Context(), s.Root(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
		require.NoError(t, err)
		end := time.Date(2024, 12, 5, 8, 0, 1, 0, time.UTC) // one second into the documented sample's day
		require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := s.Usage.EnterTx(ctx, tx, usage.Work{
				SessionID: made.ID, OrgID: s.Org, UserID: user, Start: end.Add(-10 * time.Second), From: end.Add(-10 * time.Second), To: end,
			})
			return err
		}))
		const want = `{"total_acus":0.011111,"consumption_by_date":[
			{"date":1733299200,"acus":0.01,"acus_by_product":{"devin":0.01,"cascade":0,"terminal":0,"review":0}},
			{"date":1733385600,"acus":0.001111,"acus_by_product":{"devin":0.001111,"cascade":0,"terminal":0,"review":0}}]}`
		org := "/v3/organizations/" + s.Org + "/consumption/daily"
		for _, path := range []string{
			"/v3/enterprise/consumption/daily", "/v3/enterprise/consumption/daily/organizations/" + s.Org, org,
			"/v3/enterprise/consumption/daily/users/okta%7Ca%2Fb", "/v3/enterprise/consumption/daily/users/okta|a%2fb", org + "/users/okta%7Ca%2Fb",
			"/v3/enterprise/consumption/daily/sessions/" + made.ID, "/v3/enterprise/consumption/daily/sessions/devin-devin-" + made.ID,
			org + "/sessions/devin-" + made.ID, "/v3beta1/enterprise/consumption/daily",
		} {
			require.JSONEq(t, want, asked(t, s, http.StatusOK, http.MethodGet, path, ""), path)
		}
		require.JSONEq(t, `{"total_acus":0,"consumption_by_date":[]}`, asked(t, s, http.StatusOK, http.MethodGet,
			org+"?time_after=1733385601&time_before=1733385602", ""))
		require.Contains(t, asked(t, s, http.StatusUnprocessableEntity, http.MethodGet, org+"?time_after=2&time_before=2", ""), "time_before")
		asked(t, s, http.StatusNotFound, http.MethodGet, "/v3/enterprise/consumption/daily/users/okta%7Cx", "")
		require.Contains(t, asked(t, s, http.StatusOK, http.MethodGet, "/v3/enterprise/consumption/cycles?first=200", ""),
			`{"after":1733040000,"before":1735718400}`)
	})
}

func TestLimitsOverTheWire(t *testing.T) {
	t.Parallel()
	o := servertest.Options{Configure: func(c *config.Serve) { c.SessionACULimit, c.CycleACULimit = 9, 1000 }}
	servertest.Each(t, o, func(t *testing.T, s *servertest.Server) {
		const devin = "/v3/enterprise/consumption/acu-limits/devin"
		user, _ := s.NewPerson(t, "ann@example.com", "", "account_member")
		org := "/v3/enterprise/organizations/" + s.Org
		require.Contains(t, asked(t, s, http.StatusOK, http.MethodGet, org, ""), `"max_session_acu_limit":9`, "the first organization too")
		require.Empty(t, asked(t, s, http.StatusNoContent, http.MethodPut, devin+"/organizations/"+s.Org, `{"cycle_acu_limit":7}`))
		require.Contains(t, asked(t, s, http.StatusOK, http.MethodGet, org, ""), `"max_cycle_acu_limit":7`)
		users := "/v3beta1/enterprise/users/"
		asked(t, s, http.StatusNoContent, http.MethodPatch, users+user+"/consumption/acu-limits", `{"local_agent":{"cycle_acu_limit":3}}`)
		require.JSONEq(t, `{"items":[{"scope":"enterprise","org_id":null,"user_id":null,"cycle_acu_limit":1000},
			{"scope":"org","org_id":"`+s.Org+`","user_id":null,"cycle_acu_limit":7},{"scope":"user","org_id":null,"user_id":"`+user+`","cycle_acu_limit":3}],
			"end_cursor":null,"has_next_page":false,"total":null}`, asked(t, s, http.StatusOK, http.MethodGet, devin, ""))

		beta := "/v3beta1/enterprise/organizations/" + s.Org + "/consumption/acu-limits"
		for _, c := range []struct{ path, patch, want string }{
			{beta, `{}`, `{"cloud_agent":{"cycle_acu_limit":7}}`},
			{beta, `{"local_agent":{"cycle_acu_limit":0}}`, `{"cloud_agent":{"cycle_acu_limit":7},"local_agent":{"cycle_acu_limit":0}}`},
			{beta, `{"cloud_agent":null}`, `{"local_agent":{"cycle_acu_limit":0}}`},
			{beta, `{"cloud_agent":{"cycle_acu_limit":8}}`, `{"cloud_agent":{"cycle_acu_limit":8},"local_agent":{"cycle_acu_limit":0}}`},
			{beta, `{"cloud_agent":{"cycle_acu_limit":null}}`, `{"local_agent":{"cycle_acu_limit":0}}`},
			{users + "consumption/acu-limits", `{}`, `{}`},
			{users + "consumption/acu-limits", `{"local_agent":{"cycle_acu_limit":5}}`, `{"local_agent":{"cycle_acu_limit":5}}`},
			{users + "consumption/acu-limits", `{"local_agent":null}`, `{}`},
			{users + user + "/consumption/acu-limits", `{"local_agent":{"billing_org_id":"` + s.Org + `"}}`, `{"local_agent":{"cycle_acu_limit":3,"billing_org_id":"` + s.Org + `"}}`},
			{users + user + "/consumption/acu-limits", `{"local_agent":{"cycle_acu_limit":null}}`, `{"local_agent":{"billing_org_id":"` + s.Org + `"}}`},
			{users + user + "/consumption/acu-limits", `{"local_agent":null}`, `{}`},
		} {
			require.Empty(t, asked(t, s, http.StatusNoContent, http.MethodPatch, c.path, c.patch))
			require.JSONEq(t, c.want, asked(t, s, http.StatusOK, http.MethodGet, c.path, ""), "%s after %s", c.path, c.patch)
		}
		for _, path := range []string{beta, users + "consumption/acu-limits", users + user + "/consumption/acu-limits", devin + "/organizations/" + s.Org} {
			for range 2 {
				require.Empty(t, asked(t, s, http.StatusNoContent, http.MethodDelete, path, ""))
			}
		}
		require.JSONEq(t, `{}`, asked(t, s, http.StatusOK, http.MethodGet, beta, ""))
		for path, body := range map[string]string{
			devin + "/organizations/" + s.Org: `{"cycle_acu_limit":-1}`, beta: `{"cloud_agent":{}}`,
			users + user + "/consumption/acu-limits": `{"local_agent":{"billing_org_id":"org-x"}}`,
		} {
			method := http.MethodPatch
			if path[1:3] == "v3" && path[3] == '/' {
				method = http.MethodPut
			}
			asked(t, s, http.StatusUnprocessableEntity, method, path, body)
		}
		asked(t, s, http.StatusNotFound, http.MethodGet, users+"user-x/consumption/acu-limits", "")

		const groups = "/v3/enterprise/org-group-limits"
		require.JSONEq(t, `{"groups":{}}`, asked(t, s, http.StatusOK, http.MethodGet, groups, ""))
		set := `{"groups":{"g":{"org_ids":["` + s.Org + `"],"max_cycle_acus":0},"h":{"org_ids":[],"max_cycle_acus":null}}}`
		require.JSONEq(t, set, asked(t, s, http.StatusOK, http.MethodPut, groups, set))
		require.Contains(t, asked(t, s, http.StatusUnprocessableEntity, http.MethodPut, groups, `{"groups":{"g":{"org_ids":["`+s.Org+`"]},"h":{"org_ids":["`+s.Org+`"]}}}`),
			`"loc":["body","groups","h","org_ids",0]`)
		body := asked(t, s, http.StatusConflict, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", `{"prompt":"x"}`)
		require.Contains(t, body, "contact your enterprise admin")
	})
}

func TestTagsOverTheWire(t *testing.T) {
	t.Parallel()
	o := servertest.Options{Configure: func(c *config.Serve) { c.RequiredTags = true }}
	servertest.Each(t, o, func(t *testing.T, s *servertest.Server) {
		tags := "/v3/enterprise/organizations/" + s.Org + "/tags"
		for _, c := range []struct{ method, path, body, want string }{
			{http.MethodGet, "", "", `{"tags":[]}`},
			{http.MethodGet, "/default", "", `{"default_tag":null}`},
			{http.MethodPost, "", `{"tags":["b","a","x/y|z"]}`, `{"tags":["a","b","x/y|z"]}`},
			{http.MethodPut, "/default", `{"tag":"b"}`, `{"default_tag":"b"}`},
			{http.MethodDelete, "/x%2Fy%7Cz", "", `{"tags":["a","b"]}`},
			{http.MethodGet, "/default", "", `{"default_tag":"b"}`},
		} {
			require.JSONEq(t, c.want, asked(t, s, http.StatusOK, c.method, tags+c.path, c.body), "%s %s", c.method, c.path)
		}
		asked(t, s, http.StatusNotFound, http.MethodDelete, tags+"/none", "")
		require.Contains(t, asked(t, s, http.StatusUnprocessableEntity, http.MethodPut, tags+"/default", `{"tag":"c"}`), `"loc":["body","tag"]`)
		sessions := "/v3/organizations/" + s.Org + "/sessions"
		require.Contains(t, asked(t, s, http.StatusOK, http.MethodPost, sessions, `{"prompt":"x"}`), `"tags":["b"]`)
		require.Contains(t, asked(t, s, http.StatusUnprocessableEntity, http.MethodPost, sessions, `{"prompt":"x","tags":["c"]}`), `"loc":["body","tags",0]`)
		require.JSONEq(t, `{"tags":[]}`, asked(t, s, http.StatusOK, http.MethodDelete, tags, ""))
		require.JSONEq(t, `{"default_tag":null}`, asked(t, s, http.StatusOK, http.MethodDelete, tags+"/default", ""))
		require.Contains(t, asked(t, s, http.StatusOK, http.MethodPost, sessions, `{"prompt":"x","tags":["c"]}`), `"tags":["c"]`)
	})
}
