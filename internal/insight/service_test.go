package insight_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/secret"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// scene is a server with a session that a worker holds.
type scene struct {
	*servertest.Server
	t     *testing.T
	path  string
	claim fleet.Claim
	batch int64
}

func newScene(t *testing.T, s *servertest.Server) *scene {
	t.Helper()
	made, err := s.Sessions.Create(t.Context(), s.Root(), session.CreateParams{OrgID: s.Org, Prompt: "Fix the crash"})
	require.NoError(t, err)
	worker := access.Subject{Kind: access.Worker, ID: "wk", Outposts: []string{fleet.DefaultOutpost}}
	c, ok, err := s.Sessions.ClaimNext(t.Context(), worker, fleet.DefaultOutpost, "w")
	require.NoError(t, err)
	require.True(t, ok)
	return &scene{Server: s, t: t, claim: c, path: "/v3/organizations/" + s.Org + "/sessions/devin-" + made.ID + "/insights"}
}

func (s *scene) report(events ...string) {
	s.t.Helper()
	s.batch++
	b := wire.Batch{Fence: s.claim.Fence, Number: s.batch, Command: 1}
	for i := 0; i < len(events); i += 2 {
		b.Events = append(b.Events, wire.Event{Type: events[i], At: s.DB.Clock().Millis(), Data: []byte(events[i+1])})
	}
	_, err := s.Sessions.Apply(s.t.Context(), s.claim.Row, b)
	require.NoError(s.t, err)
}

func (s *scene) get() map[string]any {
	s.t.Helper()
	a := s.Do(s.t, http.MethodGet, s.path, s.Admin.Token.Reveal(), "")
	require.Equal(s.t, http.StatusOK, a.Status, a.Body)
	return a.JSON(s.t)
}

func (s *scene) generate() string {
	s.t.Helper()
	a := s.Do(s.t, http.MethodPost, s.path+"/generate", s.Admin.Token.Reveal(), "")
	require.Equal(s.t, http.StatusOK, a.Status, a.Body)
	require.Equal(s.t, s.claim.SessionID, a.JSON(s.t)["session_id"])
	return a.JSON(s.t)["status"].(string)
}

// work does the jobs that are due.
func (s *scene) work() {
	s.t.Helper()
	for {
		did, err := s.Jobs.Step(s.t.Context())
		require.NoError(s.t, err)
		if !did {
			return
		}
	}
}

func TestInsightsAreMadeInTheBackgroundOnce(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, srv *servertest.Server) {
		s := newScene(t, srv)
		a := s.Do(t, http.MethodPost, s.path+"/generate", s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusConflict, a.Status, "the agent hasn't said anything: %s", a.Body)
		require.Contains(t, a.Body, "no message of the agent")
		require.Equal(t, "none", s.get()["analysis_state"])

		s.report("turn", `{"status":"started","command":1}`, "tool", `{"id":"1","title":"make test","kind":"execute","status":"in_progress"}`,
			"tool_output", `{"id":"1","text":"oops: command not found\n"}`, "tool", `{"id":"1","status":"failed","exit_code":2}`,
			"message", `{"text":"I am stuck"}`, "turn", `{"status":"ended","command":1,"stop_reason":"end_turn"}`)
		require.Equal(t, "started", s.generate())
		require.Equal(t, "already_exists", s.generate(), "while it is being made")
		got := s.get()
		require.Equal(t, "running", got["analysis_state"])
		require.Nil(t, got["analysis"])
		s.work()
		got = s.get()
		require.Equal(t, "done", got["analysis_state"])
		require.EqualValues(t, 1, got["num_user_messages"])
		require.EqualValues(t, 1, got["num_devin_messages"])
		require.Equal(t, "xs", got["session_size"])
		analysis := got["analysis"].(map[string]any)
		require.Equal(t, "rules", analysis["made_by"])
		require.Nil(t, analysis["fallback_reason"])
		issue := analysis["issues"].([]any)[0].(map[string]any)
		require.Equal(t, "missing_tool", issue["label"], "the output says so")
		require.Equal(t, "bug_fixing", analysis["classification"].(map[string]any)["category"])
		require.Equal(t, "already_exists", s.generate(), "it is done")
		logs := s.Do(t, http.MethodGet, "/v3/enterprise/audit-logs?action=generate_session_insights", s.Admin.Token.Reveal(), "").JSON(t)["items"].([]any)
		require.Len(t, logs, 1, "once for the one that was started")
		require.Equal(t, s.claim.SessionID, logs[0].(map[string]any)["data"].(map[string]any)["session_id"])

		_, err := s.Sessions.SendMessage(t.Context(), s.Root(), session.MessageParams{OrgID: s.Org, SessionID: s.claim.SessionID, Message: "You forgot the test"})
		require.NoError(t, err)
		require.Equal(t, "started", s.generate(), "the conversation went on")
		require.NotNil(t, s.get()["analysis"], "the earlier one stays until the next is made")
		s.work()
		list := s.Do(t, http.MethodGet, "/v3/enterprise/sessions/insights?user_ids=nobody", s.Admin.Token.Reveal(), "")
		require.Empty(t, list.JSON(t)["items"])
		list = s.Do(t, http.MethodGet, "/v3/enterprise/sessions/insights?session_ids="+s.claim.SessionID, s.Admin.Token.Reveal(), "")
		items := list.JSON(t)["items"].([]any)
		require.Len(t, items, 1)
		require.Equal(t, s.get(), items[0], "the list shows what a read shows")
		issues := items[0].(map[string]any)["analysis"].(map[string]any)["issues"].([]any)
		require.Equal(t, "correction", issues[len(issues)-1].(map[string]any)["label"])
	})
}

func TestAnAnalysisThatIsLostIsBegunAnew(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Unix(1_800_000_000, 0))
	s := newScene(t, servertest.New(t, servertest.Options{Clock: fake}))
	s.report("message", `{"text":"hello"}`)
	require.Equal(t, "started", s.generate())
	fake.Advance(29 * time.Minute)
	require.Equal(t, "already_exists", s.generate())
	fake.Advance(2 * time.Minute)
	require.Equal(t, "failed", s.get()["analysis_state"])
	require.Equal(t, "started", s.generate())
	s.work() // both jobs: what the lost one finds counts for nothing
	require.Equal(t, "done", s.get()["analysis_state"])
}

func TestAModelThatFailsLeavesItToTheRulesAndSaysSo(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	var body atomic.Value
	var asked atomic.Int64
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer sk-very-secret" {
			t.Error("the key is missing")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, body.Load().(string))
	}))
	t.Cleanup(model.Close)
	fake := clock.NewFake(time.Unix(1_800_000_000, 0))
	srv := servertest.New(t, servertest.Options{Clock: fake, Configure: func(c *config.Serve) {
		c.InsightsModelURL, c.InsightsModel, c.InsightsModelKey = model.URL, "reviewer", secret.New("sk-very-secret")
	}})
	s := newScene(t, srv)
	s.report("message", `{"text":"hello"}`)
	analysis := func() map[string]any { return s.get()["analysis"].(map[string]any) }

	status.Store(200)
	body.Store(`{"choices":[{"message":{"role":"assistant","content":"I would rather not"}}]}`)
	require.Equal(t, "started", s.generate())
	s.work()
	require.Equal(t, "rules", analysis()["made_by"])
	require.Contains(t, analysis()["fallback_reason"], "doesn't follow the schema")
	require.EqualValues(t, 1, asked.Load(), "an answer that is wrong isn't asked for again")

	s.report("message", `{"text":"hello again"}`)
	body.Store(`{"choices":[{"message":{"content":"{\"action_items\":[],\"classification\":{\"category\":\"other\",\"confidence\":1,\"programming_languages\":[],` +
		`\"tools_and_frameworks\":[]},\"issues\":[],\"timeline\":[],\"note_usage\":null,\"suggested_prompt\":null}"}}]}`)
	require.Equal(t, "started", s.generate())
	s.work()
	require.Equal(t, "model", analysis()["made_by"])
	require.Nil(t, analysis()["fallback_reason"])

	s.report("message", `{"text":"and again"}`)
	status.Store(503)
	asked.Store(0)
	require.Equal(t, "started", s.generate())
	for range 3 {
		require.Equal(t, "running", s.get()["analysis_state"])
		s.work()
		fake.Advance(25 * time.Second)
	}
	require.EqualValues(t, 3, asked.Load(), "a model that is away is asked again")
	require.Equal(t, "done", s.get()["analysis_state"])
	require.Equal(t, "rules", analysis()["made_by"])
	require.Contains(t, analysis()["fallback_reason"], "doesn't answer")
	require.NotContains(t, s.Log(), "sk-very-secret")
}

func TestAnalysesThatBeginAtOnceAreOne(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, srv *servertest.Server) {
		s := newScene(t, srv)
		s.report("message", `{"text":"hello"}`)
		var started atomic.Int64
		done := make(chan error)
		for range 8 {
			go func() {
				ok, err := s.Insights.Generate(t.Context(), s.Root(), "", s.claim.SessionID)
				if ok {
					started.Add(1)
				}
				done <- err
			}()
		}
		for range 8 {
			require.NoError(t, <-done)
		}
		require.EqualValues(t, 1, started.Load())
	})
}
