package v3_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/servertest"
)

func TestASchedulesLifeOverTheWire(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC)
	servertest.Each(t, servertest.Options{Clock: clock.NewFake(now)}, func(t *testing.T, s *servertest.Server) {
		org := s.NewOrg(t, "ours")
		key := s.NewKey(t, org, access.RoleOrgAdmin)
		ada, _ := s.NewPerson(t, "ada@example.com", org, access.RoleOrgMember)
		path := "/v3/organizations/" + org + "/schedules"
		do := func(status int, method, target, body string) map[string]any {
			t.Helper()
			a := s.Do(t, method, target, key.Token, body)
			require.Equal(t, status, a.Status, "%s %s %s: %s", method, target, body, a.Body)
			return a.JSON(t)
		}
		manual := do(200, http.MethodPost, "/v3/organizations/"+org+"/playbooks", `{"title": "Tidy", "body": "sweep"}`)["playbook_id"].(string)
		made := do(200, http.MethodPost, path, fmt.Sprintf(`{"name": "nightly", "prompt": "tidy up", "frequency": "0 9 * * *", "tags": ["a"],
			"playbook_id": %q, "create_as_user_id": %q, "slack_channel_id": null, "unknown": true}`, manual, ada))
		id, _ := made["scheduled_session_id"].(string)
		require.Regexp(t, "^sched-[0-9a-f]{32}$", id)
		require.Equal(t, map[string]any{
			"scheduled_session_id": id, "org_id": org, "name": "nightly", "prompt": "tidy up", "schedule_type": "recurring", "frequency": "0 9 * * *",
			"playbook": map[string]any{"playbook_id": manual, "title": "Tidy"}, "interval_count": 1.0, "scheduled_at": nil, "enabled": true,
			"agent": "devin", "platform": nil, "tags": []any{"a"}, "bypass_approval": false, "target_devin_id": nil, "notify_on": "failure",
			"slack_channel_id": nil, "slack_team_id": nil, "created_by": ada, "last_edited_by": nil, "created_at": "2026-03-02T08:30:00Z",
			"updated_at": "2026-03-02T08:30:00Z", "last_executed_at": nil, "last_error_at": nil, "last_error_message": nil, "consecutive_failures": 0.0,
		}, made)
		require.Equal(t, made, do(200, http.MethodGet, path+"/"+id, ""))

		got := do(200, http.MethodPatch, path+"/"+id, `{"playbook_id": null, "tags": null, "notify_on": "never", "interval_count": null, "name": null}`)
		require.Nil(t, got["playbook"])
		require.Nil(t, got["tags"])
		require.Equal(t, "never", got["notify_on"])
		require.Equal(t, "nightly", got["name"])
		require.Equal(t, key.ServiceUserID, got["last_edited_by"])
		got = do(200, http.MethodPatch, path+"/"+id, `{"schedule_type": "one_time", "scheduled_at": "2026-03-02T11:00:00+02:00", "target_devin_id": null}`)
		require.Equal(t, "2026-03-02T09:00:00Z", got["scheduled_at"])
		require.Equal(t, "0 9 * * *", got["frequency"])
		got = do(200, http.MethodPatch, path+"/"+id, `{"enabled": false, "frequency": "*/5,*  9 * * mon-fri", "schedule_type": "recurring"}`)
		require.Equal(t, false, got["enabled"])
		require.Equal(t, "*/5,*  9 * * mon-fri", got["frequency"], "an expression stays as it was written")

		second := do(200, http.MethodPost, path, `{"name": "second", "prompt": "x", "schedule_type": "one_time", "scheduled_at": "2026-03-03T00:00:00Z"}`)
		require.Nil(t, second["playbook"])
		list := do(200, http.MethodGet, path+"?limit=1", "")
		require.Len(t, list["items"], 1)
		require.Equal(t, true, list["has_next_page"])
		require.Equal(t, 2.0, list["total"])
		last := do(200, http.MethodGet, path+"?limit=1&after="+list["end_cursor"].(string), "")
		require.Equal(t, second, last["items"].([]any)[0])
		require.Equal(t, false, last["has_next_page"])
		require.Nil(t, last["end_cursor"])
		do(422, http.MethodGet, path+"?limit=1&after=x", "")
		list = do(200, http.MethodGet, path+"?limit=1&offset=1", "")
		require.Equal(t, second, list["items"].([]any)[0])
		require.Equal(t, false, list["has_next_page"])
		require.Empty(t, do(200, http.MethodGet, path+"?offset=9007199254740992", "")["items"])
		do(422, http.MethodGet, path+"?limit=201", "")

		require.Equal(t, "nightly", do(200, http.MethodDelete, path+"/"+id, "")["name"])
		do(404, http.MethodGet, path+"/"+id, "")
		do(404, http.MethodDelete, path+"/"+id, "")
	})
}

func TestBadTimesOfSchedulesAreRefusedByName(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Clock: clock.NewFake(time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC))})
	key := s.Admin.Token.Reveal()
	path := "/v3/organizations/" + s.Org + "/schedules"
	made := s.Do(t, http.MethodPost, path, key, `{"name": "n", "prompt": "p", "schedule_type": "one_time", "scheduled_at": "2026-03-02T09:00:00Z"}`)
	require.Equal(t, http.StatusOK, made.Status, made.Body)
	one := path + "/" + made.JSON(t)["scheduled_session_id"].(string)
	for _, c := range []struct{ method, target, body, names string }{
		{http.MethodPost, path, `{"name": "n", "prompt": "p"}`, "frequency"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "frequency": "invalid cron"}`, "cron"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "schedule_type": "one_time"}`, "scheduled_at"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "schedule_type": "one_time", "scheduled_at": "2026-03-03T09:00:00"}`, "scheduled_at"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "schedule_type": "one_time", "scheduled_at": "2026-03-02T08:00:00Z"}`, "scheduled_at"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "schedule_type": "one_time", "scheduled_at": 1772442000}`, "scheduled_at"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "frequency": "0 9 * * *", "agent": "advanced"}`, "agent"},
		{http.MethodPost, path, `{"name": "n", "prompt": "p", "frequency": "0 9 * * *", "interval_count": 0}`, "interval_count"},
		{http.MethodPatch, one, `{"schedule_type": "recurring"}`, "frequency"},
		{http.MethodPatch, one, `{"scheduled_at": null}`, "scheduled_at"},
		{http.MethodPatch, one, `{"scheduled_at": "2026-03-02T08:29:59Z"}`, "scheduled_at"},
	} {
		a := s.Do(t, c.method, c.target, key, c.body)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, "%s: %s", c.body, a.Body)
		require.Contains(t, a.Body, c.names, c.body)
	}
	a := s.Do(t, http.MethodPost, path, key, `{"name": "n", "prompt": "p", "frequency": "0 9 * * *", "platform": "vax"}`)
	require.Equal(t, http.StatusBadRequest, a.Status, a.Body)
}

func TestAScheduleHasOnlyTagsThatItsSessionsMayHave(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Configure: func(c *config.Serve) { c.RequiredTags = true }})
	key, org := s.Admin.Token.Reveal(), "/v3/organizations/"+s.Org+"/schedules"
	const body = `"name": "n", "prompt": "p", "frequency": "0 9 * * *"`
	send := func(want int, method, path, body string) map[string]any {
		t.Helper()
		a := s.Do(t, method, path, key, body)
		require.Equal(t, want, a.Status, "%s: %s", body, a.Body)
		return a.JSON(t)
	}
	made := send(200, http.MethodPost, org, "{"+body+`, "tags": ["old"]}`)
	send(200, http.MethodPut, "/v3/enterprise/organizations/"+s.Org+"/tags", `{"tags": ["team-a", "team-b"]}`)
	send(422, http.MethodPost, org, "{"+body+`, "tags": ["old"]}`)
	send(422, http.MethodPost, org, "{"+body+`}`)
	send(200, http.MethodPost, org, "{"+body+`, "tags": ["team-a"]}`)
	one := org + "/" + made["scheduled_session_id"].(string)
	send(422, http.MethodPatch, one, `{"tags": ["other"]}`)
	send(200, http.MethodPatch, one, `{"name": "renamed"}`)
	send(200, http.MethodPatch, one, `{"tags": ["team-b"]}`)
}
