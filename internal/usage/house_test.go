package usage_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/usage"
)

// house is the room on a database of its own, with two organizations.
type house struct {
	*usage.Service
	db   *db.DB
	time *clock.Fake
	orgs *org.Service
	a, b string
}

var (
	noon    = at("2026-03-10T12:00:00Z")
	billing = access.As("test", access.ManageBilling, access.ManageOrganizations)
	viewer  = access.As("test", access.ViewAccountConsumption)
)

func each(t *testing.T, o usage.Options, f func(t *testing.T, h *house)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(t, newHouse(t, e, o))
		})
	}
}

func newHouse(t *testing.T, e db.Engine, o usage.Options) *house {
	t.Helper()
	h := &house{time: clock.NewFake(noon)}
	h.db = dbtest.Open(t, e, h.time.Clock())
	members := member.New(h.db, events.New(), slog.New(slog.DiscardHandler), member.AuthOptions{})
	_, err := members.Bootstrap(t.Context(), member.BootstrapOptions{})
	require.NoError(t, err)
	h.orgs = org.New(h.db, members, org.Options{})
	o.Rates, o.Orgs, o.Person = usage.Defaults(), h.orgs, members.PersonSubject
	h.Service = usage.New(h.db, o)
	for _, into := range []*string{&h.a, &h.b} {
		made, err := h.orgs.Create(t.Context(), billing, org.CreateParams{Name: "x"})
		require.NoError(t, err)
		*into = made.ID
	}
	return h
}

func (h *house) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, query, args...)
		return err
	}))
}

// person makes somebody, with the role of a member in each organization.
func (h *house) person(t testing.TB, userID string, orgs ...string) {
	t.Helper()
	h.exec(t, `INSERT INTO users (user_id, email, name, created_at) VALUES ($1, $1, $1, 0)`, userID)
	for _, o := range orgs {
		h.exec(t, `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at) VALUES ($1, $2, 'user', $3, 0)`,
			userID, o, access.RoleOrgMember)
	}
}

// worked enters work that ends at a moment.
func (h *house) worked(t testing.TB, w usage.Work, end time.Time, d time.Duration) {
	t.Helper()
	w.Start, w.From, w.To = end.Add(-d), end.Add(-d), end
	enter(t, h.db, w)
}

func (h *house) daily(t testing.TB, p usage.DailyParams) []usage.Day {
	t.Helper()
	days, err := h.Daily(t.Context(), viewer, p)
	require.NoError(t, err)
	return days
}

func isFault(t testing.TB, err error, k fault.Kind) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

// limit is a limit in a request.
func limit(n int64) org.LimitChange { return org.LimitChange{Set: true, Value: &n} }
