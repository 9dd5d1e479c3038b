package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
)

func ids(rows []fleet.Row) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, r.SessionID)
	}
	return out
}

func (h *house) watch(t testing.TB, who access.Subject, p fleet.WatchParams) fleet.WatchPage {
	t.Helper()
	if p.OutpostID == "" {
		p.OutpostID = fleet.DefaultOutpost
	}
	if p.First == 0 {
		p.First = 100
	}
	out, err := h.Watch(t.Context(), who, p)
	require.NoError(t, err)
	return out
}

func TestTheQueueIsListedInTheOrderOfItsChanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		empty := h.watch(t, user, fleet.WatchParams{})
		require.NotEmpty(t, empty.Cursor, "a cursor is always returned")
		for _, s := range []string{"a", "b", "c", "d"} {
			h.enqueue(t, fleet.DefaultOutpost, "org-1", s)
			if s != "a" {
				h.time.Advance(time.Second)
			}
		}
		h.claim(t, "a")
		h.leave(t, "d", fleet.Ended, fleet.StatusTerminated)
		require.Equal(t, []string{"b", "c", "a"}, ids(h.watch(t, user, fleet.WatchParams{}).Rows))
		require.Equal(t, []string{"b", "c", "a", "d"}, ids(h.watch(t, user, fleet.WatchParams{Ended: true}).Rows))
		require.Equal(t, []string{"a"}, ids(h.watch(t, user, fleet.WatchParams{Phase: fleet.Claimed}).Rows))
		require.Equal(t, []string{"b", "c"}, ids(h.watch(t, user, fleet.WatchParams{Phase: fleet.Pending}).Rows))
		require.Equal(t, []string{"a"}, ids(h.watch(t, user, fleet.WatchParams{AcceptorID: "w1"}).Rows))
		require.Equal(t, []string{"b", "c", "a"}, ids(h.watch(t, user, fleet.WatchParams{Cursor: empty.Cursor}).Rows))

		first := h.watch(t, user, fleet.WatchParams{First: 2})
		require.True(t, first.More)
		next := h.watch(t, user, fleet.WatchParams{First: 2, Cursor: first.Cursor})
		require.Equal(t, []string{"c", "a"}, ids(next.Rows), "the cursor is inclusive: a row may come again")
		require.False(t, next.More)

		for _, c := range []string{"x", "5", ".s", "-5.s", "5.s\x00"} {
			_, err := h.Watch(t.Context(), user, fleet.WatchParams{OutpostID: fleet.DefaultOutpost, First: 1, Cursor: c})
			isFault(t, err, fault.Invalid)
		}
		_, err := h.Watch(t.Context(), user, fleet.WatchParams{OutpostID: "none", First: 1})
		isFault(t, err, fault.NotFound)
		for _, orgs := range [][]string{{"org-2"}, {}} {
			bound := worker
			bound.WorkerOrgs = orgs
			require.Empty(t, h.watch(t, bound, fleet.WatchParams{}).Rows)
		}
	})
}

func TestEveryChangeOfARowMovesItAlsoWithinAMillisecond(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		last := int64(0)
		moved := func(what string) {
			t.Helper()
			r, err := fleet.Get(t.Context(), h.db.Reader(), "s")
			require.NoError(t, err)
			require.Greater(t, r.UpdatedAt.UnixMilli(), last, what)
			last = r.UpdatedAt.UnixMilli()
		}
		renew := func(fence int64) {
			h.write(t, func(ctx context.Context, tx *db.Tx) error {
				_, err := fleet.RenewTx(ctx, tx, "s", fence, h.now(), fleet.LeaseTime)
				return err
			})
		}
		h.enqueue(t, fleet.DefaultOutpost, "org-1", "s")
		moved("queued")
		c := h.claim(t, "s")
		moved("claimed")
		renew(c.Fence)
		moved("running")
		before := last
		h.time.Advance(time.Second)
		renew(c.Fence)
		r, err := fleet.Get(t.Context(), h.db.Reader(), "s")
		require.NoError(t, err)
		require.Equal(t, before, r.UpdatedAt.UnixMilli(), "a heartbeat is no news")
		h.time.Advance(-time.Minute) // a replica whose clock is behind
		h.leave(t, "s", fleet.Parked, fleet.StatusSuspended)
		moved("parked")
		h.enqueue(t, fleet.DefaultOutpost, "org-1", "s")
		moved("queued again")
		h.leave(t, "s", fleet.Ended, fleet.StatusTerminated)
		moved("ended")
	})
}

// A watcher that reads as the door does sees the last state of every row, while transactions commit in another order than they took
// their time, and rows are paged.
func TestAWatchMissesNothingUnderConcurrentWriters(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			h := open(t, dbtest.Open(t, e, clock.Clock{}), nil)
			var wg sync.WaitGroup
			for w := range 3 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(w), 1))
					for i := range 25 {
						h.shuffle(t, rnd, fmt.Sprintf("s%d-%d", w, i%7))
					}
				})
			}
			done := make(chan struct{})
			go func() {
				wg.Wait()
				close(done)
			}()
			seen := map[string]fleet.Row{}
			p := fleet.WatchParams{First: 5, Ended: true}
			look := func() {
				for {
					out := h.watch(t, user, p)
					for _, r := range out.Rows {
						if old, ok := seen[r.SessionID]; !ok || old.UpdatedAt.Before(r.UpdatedAt) {
							seen[r.SessionID] = r
						}
					}
					p.Cursor, p.Overlap = out.Cursor, !out.More
					if !out.More {
						return
					}
				}
			}
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				look()
			}
			look()
			rows := h.watch(t, user, fleet.WatchParams{First: 1000, Ended: true}).Rows
			require.Len(t, rows, 21)
			for _, r := range rows {
				require.Equal(t, r.Phase, seen[r.SessionID].Phase, r.SessionID)
				require.Equal(t, r.UpdatedAt, seen[r.SessionID].UpdatedAt, r.SessionID)
			}
		})
	}
}

// shuffle changes a row in a transaction that takes its time after it took its timestamp.
func (h *house) shuffle(t *testing.T, rnd *rand.Rand, sessionID string) {
	pause, change := time.Duration(rnd.IntN(15))*time.Millisecond, rnd.IntN(3)
	err := h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		now := h.now()
		r, err := fleet.Get(ctx, tx, sessionID)
		switch {
		case err != nil || r.Phase == fleet.Ended || r.Phase == fleet.Parked:
			err = fleet.EnqueueTx(ctx, tx, fleet.Enqueue{SessionID: sessionID, OrgID: "org-" + sessionID, OutpostID: fleet.DefaultOutpost, Kind: "new", At: now})
		case change == 0 && r.Phase == fleet.Pending:
			_, err = fleet.ClaimTx(ctx, tx, sessionID, "w", now)
		case change == 1:
			err = fleet.LeaveTx(ctx, tx, sessionID, fleet.Parked, fleet.StatusSuspended, now)
		default:
			err = fleet.LeaveTx(ctx, tx, sessionID, fleet.Ended, fleet.StatusTerminated, now)
		}
		clock.Sleep(ctx, pause)
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", sessionID, err)
	}
}
