package fleet_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

type house struct {
	*fleet.Service
	db   *db.DB
	time *clock.Fake
}

var (
	noon   = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	boss   = access.As("test", access.ManageOutpostsOrchestrator, access.ViewEnterpriseInfraDetails, access.ViewAccountMetrics, access.ManageEnterpriseSettings)
	user   = access.As("operator", access.UseOutpostsMachine)
	nobody = access.As("nobody", access.ReadAccountMeta)
	worker = access.Subject{Kind: access.Worker, ID: "wk-1", Outposts: []string{fleet.DefaultOutpost}}
)

func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(noon)
			d := dbtest.Open(t, e, fake.Clock())
			f(t, open(t, d, fake))
		})
	}
}

func open(t *testing.T, d *db.DB, fake *clock.Fake) *house {
	t.Helper()
	var c clock.Clock
	if fake != nil {
		c = fake.Clock()
	}
	h := &house{
		Service: fleet.New(fleet.Options{DB: d, Clock: c, Hub: events.New(), Logger: slog.New(slog.DiscardHandler)}), db: d, time: fake,
	}
	require.NoError(t, h.EnsureDefault(t.Context()))
	require.NoError(t, h.EnsureDefault(t.Context()), "it always exists already")
	return h
}

func (h *house) write(t testing.TB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	require.NoError(t, h.db.Write(t.Context(), f))
}

func (h *house) now() time.Time { return h.Clock.Now().UTC().Truncate(time.Millisecond) }

func (h *house) enqueue(t testing.TB, outpostID, orgID, sessionID string) {
	t.Helper()
	h.write(t, func(ctx context.Context, tx *db.Tx) error {
		return fleet.EnqueueTx(ctx, tx, fleet.Enqueue{SessionID: sessionID, OrgID: orgID, OutpostID: outpostID, Kind: wire.KindNew, At: h.now()})
	})
}

func (h *house) claim(t testing.TB, sessionID string) fleet.Claim {
	t.Helper()
	var c fleet.Claim
	h.write(t, func(ctx context.Context, tx *db.Tx) (err error) {
		c, err = fleet.ClaimTx(ctx, tx, sessionID, "w1", h.now())
		return err
	})
	return c
}

func (h *house) leave(t testing.TB, sessionID string, to fleet.Phase, status fleet.Status) {
	t.Helper()
	h.write(t, func(ctx context.Context, tx *db.Tx) error {
		return fleet.LeaveTx(ctx, tx, sessionID, to, status, h.now())
	})
}

func (h *house) actions(t testing.TB) []audit.Action {
	t.Helper()
	p, err := audit.New(h.db).List(t.Context(), boss, audit.ListParams{Order: audit.Asc, Page: page.Request{First: 200}})
	require.NoError(t, err)
	var out []audit.Action
	for _, l := range p.Items {
		out = append(out, l.Action)
	}
	return out
}

func isFault(t testing.TB, err error, k fault.Kind) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}
