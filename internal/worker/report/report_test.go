package report_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/wire"
	"gantry/internal/worker/mask"
	"gantry/internal/worker/report"
)

func TestAnyPatternOfFailuresDeliversEachEventOnceInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		faults := rapid.SliceOfN(rapid.IntRange(0, int(faultKinds)-1), 0, 25).Draw(rt, "faults")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 120), 1, 60).Draw(rt, "pauses")
		synctest.Test(t, func(t *testing.T) {
			g := &gateway{fence: 3, last: 7, leaseLen: 60}
			for _, f := range faults {
				g.faults = append(g.faults, faultKind(f))
			}
			r, stop := start(t, dir, g, nil)
			defer stop()
			var want []string
			for i, pause := range pauses {
				want = append(want, fmt.Sprint("event ", i))
				r.Event(wire.EventMessage, message(want[i]))
				r.Took(int64(i + 1))
				time.Sleep(time.Duration(pause) * time.Millisecond)
			}
			require.NoError(t, r.Barrier(t.Context()))
			require.Equal(t, want, g.texts(t))
			time.Sleep(15 * time.Second) // a heartbeat later, no command is left unacknowledged
			synctest.Wait()
			g.set(func() { require.EqualValues(t, len(pauses), g.command) })
		})
	})
}

func TestFirstEventLeavesAtOnceAndTheNextAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		r, stop := start(t, t.TempDir(), g, nil)
		defer stop()
		time.Sleep(time.Second)
		r.Event(wire.EventMessage, message("first"))
		synctest.Wait()
		require.Equal(t, []string{"first"}, g.texts(t))
		for i := range 20 {
			r.Event(wire.EventMessage, message(fmt.Sprint(i)))
		}
		synctest.Wait()
		require.Len(t, g.texts(t), 1, "those that follow wait for company")
		time.Sleep(60 * time.Millisecond)
		synctest.Wait()
		require.Len(t, g.texts(t), 21)
		g.set(func() { require.Equal(t, 2, g.batches) })
	})
}

func TestHeartbeatGoesOnlyWhenNothingElseRenewedTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		r, stop := start(t, t.TempDir(), g, nil)
		defer stop()
		for range 6 {
			r.Event(wire.EventMessage, message("busy"))
			time.Sleep(9 * time.Second)
		}
		g.set(func() { require.Zero(t, g.heartbeats) })
		time.Sleep(60 * time.Second)
		g.set(func() { require.InDelta(t, 6, g.heartbeats, 1) })
	})
}

func TestLeaseFreezesAtFortySecondsAndThawsWhenTheFenceStillHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		var frozen, thawed atomic.Int32
		r, stop := start(t, t.TempDir(), g, func(o *report.Options) {
			o.Freeze = func() { frozen.Add(1) }
			o.Thaw = func() { thawed.Add(1) }
		})
		defer stop()
		r.Event(wire.EventMessage, message("before"))
		require.NoError(t, r.Barrier(t.Context()))
		g.set(func() { g.down = true })
		time.Sleep(39 * time.Second)
		require.EqualValues(t, 0, frozen.Load())
		r.Event(wire.EventMessage, message("during"))
		time.Sleep(1100 * time.Millisecond)
		require.EqualValues(t, 1, frozen.Load())
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 1, frozen.Load(), "frozen once")
		require.EqualValues(t, 0, thawed.Load())
		g.set(func() { g.down = false })
		require.NoError(t, r.Barrier(t.Context()))
		synctest.Wait()
		require.EqualValues(t, 1, thawed.Load())
		require.Equal(t, []string{"before", "during"}, g.texts(t))
	})
}

func TestStaleFenceEndsTheReportAndNeverThaws(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		var frozen, thawed atomic.Int32
		r, stop := start(t, t.TempDir(), g, func(o *report.Options) {
			o.Freeze = func() { frozen.Add(1) }
			o.Thaw = func() { thawed.Add(1) }
		})
		defer stop()
		r.Event(wire.EventMessage, message("mine"))
		require.NoError(t, r.Barrier(t.Context()))
		g.set(func() { g.down = true })
		time.Sleep(time.Minute)
		r.Event(wire.EventMessage, message("nobody's"))
		g.set(func() { g.down, g.fence = false, 2 })
		<-r.Ended()
		require.ErrorIs(t, r.Err(), report.ErrLost)
		require.ErrorIs(t, r.Barrier(t.Context()), report.ErrLost)
		require.EqualValues(t, 1, frozen.Load())
		require.EqualValues(t, 0, thawed.Load())
		require.Equal(t, []string{"mine"}, g.texts(t))
	})
}

func TestParkedAcknowledgementEndsTheReportAfterItsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		g.park = func(b wire.Batch) bool { return b.Events[len(b.Events)-1].Type == wire.EventState }
		dir := t.TempDir()
		r, stop := start(t, dir, g, nil)
		r.Event(wire.EventMessage, message("done"))
		r.Event(wire.EventState, wire.StateData{State: wire.StateFinished})
		require.NoError(t, r.Barrier(t.Context()), "everything arrived, so parking is no failure")
		<-r.Ended()
		require.ErrorIs(t, r.Err(), report.ErrParked)
		r.Event(wire.EventMessage, message("too late"))
		stop()
		require.Equal(t, []string{"done"}, g.texts(t))
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		require.Empty(t, left, "a spool that is empty is removed")
	})
}

func TestRefusedBatchIsReplacedByANoteAndKeepsItsStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		g.refuse = func(b wire.Batch) bool {
			for _, e := range b.Events {
				if e.Type == wire.EventPullRequest {
					return true
				}
			}
			return false
		}
		r, stop := start(t, t.TempDir(), g, nil)
		defer stop()
		g.set(func() { g.down = true }) // so that all three leave in one batch
		r.Event(wire.EventMessage, message("a"))
		time.Sleep(time.Second)
		r.Event(wire.EventPullRequest, wire.PullRequestData{URL: "http://insecure"})
		r.Event(wire.EventState, wire.StateData{State: wire.StateFinished})
		g.set(func() { g.down = false })
		require.NoError(t, r.Barrier(t.Context()))
		r.Event(wire.EventMessage, message("b"))
		require.NoError(t, r.Barrier(t.Context()))
		require.Equal(t, []string{"a", "b"}, g.texts(t))
		var kinds []string
		for _, e := range g.events {
			kinds = append(kinds, e.Type)
		}
		require.Equal(t, []string{wire.EventMessage, wire.EventLog, wire.EventState, wire.EventMessage}, kinds)
	})
}

func TestACommandIsAcknowledgedOnlyWithTheEventsItCaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		r, stop := start(t, t.TempDir(), g, nil)
		defer stop()
		g.set(func() { g.down = true })
		r.Event(wire.EventTurn, wire.TurnData{Status: "started", Command: 1})
		r.Took(1)
		for range 2 * wire.MaxBatchEvents {
			r.Event(wire.EventThought, message("x"))
		}
		r.Took(2)
		time.Sleep(time.Second)
		var seen []int64
		g.set(func() {
			g.down = false
			g.park = func(b wire.Batch) bool { seen = append(seen, b.Command); return false }
		})
		require.NoError(t, r.Barrier(t.Context()))
		require.Equal(t, []int64{1, 1, 2}, seen[len(seen)-3:])
	})
}

func TestSecretsAreMaskedBeforeTheyTouchTheSpool(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60, down: true}
		path := filepath.Join(t.TempDir(), "spool")
		r, stop := start(t, "", g, func(o *report.Options) {
			o.Path = path
			o.Mask = mask.New([]string{"hunter22"})
		})
		defer stop()
		data := json.RawMessage(`{"text":"the password is hunter22"}`)
		r.Add(wire.Event{Type: wire.EventMessage, Data: data, Raw: json.RawMessage(`{"raw":"hunter22"}`)})
		onDisk, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(onDisk), "the password is ***")
		require.NotContains(t, string(onDisk), "hunter22")
		g.set(func() { g.down = false })
		require.NoError(t, r.Barrier(t.Context()))
		require.JSONEq(t, `{"raw":"***"}`, string(g.events[0].Raw))
	})
}

func TestAnEventTooLargeLosesItsRawFrameFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		r, stop := start(t, t.TempDir(), g, nil)
		defer stop()
		big := strings.Repeat("x", 3<<20)
		quoted := json.RawMessage(`"` + big + `"`)
		r.Add(wire.Event{Type: wire.EventMessage, Data: quoted, Raw: quoted})
		r.Event(wire.EventMessage, message(big+big))
		require.NoError(t, r.Barrier(t.Context()))
		require.Len(t, g.events, 2)
		require.Nil(t, g.events[0].Raw)
		require.Equal(t, wire.EventLog, g.events[1].Type)
	})
}

func TestALongOutageWaitsOnDiskAndArrivesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60, down: true}
		path := filepath.Join(t.TempDir(), "spool")
		r, stop := start(t, "", g, func(o *report.Options) { o.Path = path })
		defer stop()
		filler := strings.Repeat("y", 2000)
		var want []string
		for i := range 3000 {
			want = append(want, fmt.Sprint(i, filler))
			r.Event(wire.EventMessage, message(want[i]))
		}
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Greater(t, info.Size(), int64(6_000_000))
		time.Sleep(time.Minute)
		g.set(func() { g.down = false })
		require.NoError(t, r.Barrier(t.Context()))
		require.Equal(t, want, g.texts(t))
		info, err = os.Stat(path)
		require.NoError(t, err)
		require.Zero(t, info.Size(), "what is acknowledged is given back")
	})
}

func TestBarrierEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60, down: true}
		r, stop := start(t, t.TempDir(), g, nil)
		defer stop()
		r.Event(wire.EventMessage, message("x"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Barrier(ctx), context.DeadlineExceeded)
	})
}

func TestWithoutADiskEventsStillArrive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{fence: 1, leaseLen: 60}
		r, stop := start(t, filepath.Join(t.TempDir(), "missing"), g, nil)
		defer stop()
		r.Event(wire.EventMessage, message("a"))
		r.Event(wire.EventMessage, message("b"))
		require.NoError(t, r.Barrier(t.Context()))
		require.Equal(t, []string{"a", "b"}, g.texts(t))
	})
}
