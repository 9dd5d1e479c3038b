package schedule_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/mail"
	"gantry/internal/platform/page"
	"gantry/internal/schedule"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// house is a whole server with its clock in the test's hand and nothing in the background: a test dispatches and does jobs itself.
type house struct {
	*servertest.Server
	t    *testing.T
	time *clock.Fake
	boss access.Subject // everything, everywhere; a service user
	org  string
}

var monday = time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC)

func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(monday)
			s := servertest.New(t, servertest.Options{Engine: e, Clock: fake, Configure: func(c *config.Serve) {
				c.SMTPURL, c.MailFrom = "smtp://127.0.0.1:1", "gantry@example.com" // mail is queued, and sent by nobody
			}})
			boss := access.Subject{Kind: access.ServiceUser, ID: "service-user-boss", Name: "boss"}.
				WithGrants(access.Grant{Permissions: access.Builtin()[0].Permissions})
			f(t, &house{Server: s, t: t, time: fake, boss: boss, org: s.NewOrg(t, "ours")})
		})
	}
}

// daily runs at nine.
func daily() schedule.Spec {
	return schedule.Spec{
		Name: "nightly tidying", Prompt: "tidy up", Type: schedule.Recurring, Frequency: "0 9 * * *", IntervalCount: 1, Agent: "devin",
		NotifyOn: schedule.Failure,
	}
}

func once(at time.Time) schedule.Spec {
	s := daily()
	s.Type, s.Frequency, s.ScheduledAt = schedule.OneTime, "", at
	return s
}

func (h *house) make(spec schedule.Spec) schedule.Schedule {
	h.t.Helper()
	s, err := h.Schedules.Create(h.t.Context(), h.boss, h.org, spec)
	require.NoError(h.t, err)
	return s
}

func (h *house) get(scheduleID string) schedule.Schedule {
	h.t.Helper()
	s, err := h.Schedules.Get(h.t.Context(), h.boss, h.org, scheduleID)
	require.NoError(h.t, err)
	return s
}

func (h *house) change(scheduleID string, f func(s *schedule.Schedule)) (schedule.Schedule, error) {
	return h.Schedules.Update(h.t.Context(), h.boss, h.org, scheduleID, func(s *schedule.Schedule, _ time.Time) error { f(s); return nil })
}

// at turns the clock to a time and dispatches.
func (h *house) at(when time.Time) {
	h.t.Helper()
	h.time.Advance(when.Sub(h.time.Clock().Now()))
	require.NoError(h.t, h.Schedules.Dispatch(h.t.Context()))
}

// sessions are those of a schedule, oldest first.
func (h *house) sessions(scheduleID string) []*session.Session {
	h.t.Helper()
	p, err := h.Sessions.List(h.t.Context(), h.boss, session.Filter{OrgID: h.org, ScheduleID: scheduleID}, page.Request{First: 200})
	require.NoError(h.t, err)
	out := p.Items
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// work has a worker take the next session and report a state.
func (h *house) work(state string) string {
	h.t.Helper()
	who := access.Subject{Kind: access.Worker, ID: "worker", Outposts: []string{fleet.DefaultOutpost}}
	c, ok, err := h.Sessions.ClaimNext(h.t.Context(), who, fleet.DefaultOutpost, "w1")
	require.NoError(h.t, err)
	require.True(h.t, ok)
	for i, st := range []string{wire.StateWorking, state} {
		data, err := json.Marshal(wire.StateData{State: st, Reason: "as the test wants it"})
		require.NoError(h.t, err)
		_, err = h.Sessions.Apply(h.t.Context(), c.Row, wire.Batch{
			Fence: c.Fence, Number: int64(i + 1), Command: 1, Events: []wire.Event{{Type: wire.EventState, At: h.time.Clock().Millis(), Data: data}},
		})
		require.NoError(h.t, err)
	}
	return c.SessionID
}

// hear does the jobs that tell how sessions went, and no others: mail stays queued.
func (h *house) hear() {
	h.t.Helper()
	r := jobs.New(h.DB, slog.New(slog.DiscardHandler))
	h.Schedules.Handle(r)
	for did := true; did; {
		var err error
		did, err = r.Step(h.t.Context())
		require.NoError(h.t, err)
	}
}

// mails are those that wait to be sent.
func (h *house) mails() []mail.Message {
	h.t.Helper()
	rows, err := db.All(h.t.Context(), h.DB.Reader(), db.Text, `SELECT args FROM jobs WHERE kind = $1 ORDER BY job_id`, mail.Kind)
	require.NoError(h.t, err)
	out := make([]mail.Message, len(rows))
	for i, r := range rows {
		require.NoError(h.t, json.Unmarshal([]byte(r), &out[i]))
	}
	return out
}

func (h *house) exec(query string, args ...any) {
	h.t.Helper()
	require.NoError(h.t, h.DB.Write(h.t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, query, args...)
		return err
	}))
}

func (h *house) limitCycle(to *int64) {
	h.t.Helper()
	_, err := h.Orgs.Update(h.t.Context(), h.boss, org.UpdateParams{OrgID: h.org, CycleLimit: org.LimitChange{Set: true, Value: to}})
	require.NoError(h.t, err)
}

func isFault(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

// field is the field that a refusal names.
func field(t *testing.T, err error) string {
	t.Helper()
	isFault(t, err, fault.Invalid)
	loc := fault.As(err).Fields[0].Loc
	return loc[len(loc)-1]
}
