package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/fleet"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/session"
	"gantry/internal/usage"
	"gantry/internal/wire"
)

// cost is what an amount of work costs at 15 minutes for 1 ACU.
func cost(d time.Duration) int64 { return usage.Defaults().Amount(d) }

func TestTheMeterRunsBetweenAcknowledgedWorkAndWaiting(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t)
		h.time.Advance(5 * time.Minute) // in the queue
		r := h.claim(t, "w1")
		r.command = 1
		h.time.Advance(40 * time.Second) // clone and setup
		r.send(ev(wire.EventSetup, wire.SetupData{Phase: "clone", Status: "done"}))
		used := func() time.Duration {
			acu := h.get(t, s.ID).ACUMicros
			return time.Duration(acu) * 15 * time.Minute / usage.Micros
		}
		require.Zero(t, used())
		r.send(state(wire.StateWorking))
		require.Zero(t, used())
		r.worked(time.Minute)
		require.Equal(t, cost(time.Minute), h.get(t, s.ID).ACUMicros)
		h.time.Advance(7 * time.Second)
		r.send(state(wire.StateWaitingForApproval))
		require.Equal(t, cost(67*time.Second), h.get(t, s.ID).ACUMicros)
		for range 5 {
			h.time.Advance(10 * time.Second)
			r.beat() // nobody works
		}
		require.Equal(t, cost(67*time.Second), h.get(t, s.ID).ACUMicros)
		r.send(state(wire.StateWorking))
		h.time.Advance(1500 * time.Millisecond)
		r.send(state(wire.StateFinished))
		require.Equal(t, cost(67*time.Second)+cost(1500*time.Millisecond), h.get(t, s.ID).ACUMicros)
		h.time.Advance(time.Minute)
		h.say(t, s.ID, "more")
		require.EqualValues(t, 2, h.count(t, `SELECT COUNT(*) FROM usage_entries WHERE session_id = $1`, s.ID), "one row an interval")
		require.Equal(t, h.get(t, s.ID).ACUMicros, h.count(t, `SELECT SUM(acu_micros) FROM usage_entries WHERE session_id = $1`, s.ID))
	})
}

func TestManyReportsASecondChargeNoMoreThanTheTime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		for range 200 {
			h.time.Advance(123456789 * time.Nanosecond)
			r.beat()
		}
		r.send(state(wire.StateFinished))
		worked := h.time.Clock().Now().Truncate(time.Millisecond).Sub(noon)
		require.Equal(t, cost(worked), h.get(t, r.row.SessionID).ACUMicros, "pieces cost together what the whole costs")
	})
}

// Two replicas whose clocks differ take turns in hearing one worker: no second is charged twice.
func TestClocksThatDifferChargeNothingTwice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		const skew = 5 * time.Second
		for range 30 {
			h.time.Advance(time.Second + skew)
			r.beat()
			h.time.Advance(time.Second - skew)
			r.beat()
		}
		r.send(state(wire.StateFinished))
		require.LessOrEqual(t, h.get(t, r.row.SessionID).ACUMicros, cost(time.Minute+skew))
		require.GreaterOrEqual(t, h.get(t, r.row.SessionID).ACUMicros, cost(time.Minute-skew))
	})
}

// A schedule of reports, silences, lapses and releases: the ledger never holds more than was worked, and at most one reporting
// interval less for each time a worker was killed (design: worker.md).
func TestTheLedgerHoldsWhatWasWorked(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, e)
			h.time.Advance(fleet.LeaseTime + time.Second)
			rapid.Check(t, func(rt *rapid.T) { schedule(t, rt, h) })
			require.Equal(t, h.count(t, `SELECT SUM(acu_micros) FROM usage_entries`), h.count(t, `SELECT SUM(acu_micros) FROM sessions`))
			for _, scope := range []string{"session", "organization", "service_user"} {
				require.Equal(t, h.count(t, `SELECT SUM(acu_micros) FROM usage_entries`),
					h.count(t, `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = $1 AND org_id <> ''`, scope), "roll-ups by %s", scope)
			}
		})
	}
}

func schedule(t *testing.T, rt *rapid.T, h *house) {
	s := h.create(t)
	var worked, lost time.Duration // by the agent; and after the last report of a worker that was killed
	h.time.Advance(fleet.LeaseTime)
	var intervals int64
	for range rapid.IntRange(1, 4).Draw(rt, "claims") {
		r := h.claim(t, "w1")
		require.Equal(t, s.ID, r.row.SessionID)
		r.command = 1
		h.time.Advance(time.Duration(rapid.IntRange(0, 5000).Draw(rt, "setup")) * time.Millisecond)
		r.send(state(wire.StateWorking))
		intervals++
		for range rapid.IntRange(0, 8).Draw(rt, "reports") {
			step := time.Duration(rapid.IntRange(1, 10_000).Draw(rt, "step")) * time.Millisecond
			h.time.Advance(step)
			worked += step
			if rapid.Bool().Draw(rt, "batch") {
				r.send(ev(wire.EventThought, wire.MessageData{Text: "hm"}))
			} else {
				r.beat()
			}
		}
		switch rapid.SampledFrom([]string{"kill", "release", "drain", "partition"}).Draw(rt, "end") {
		case "kill": // up to one interval after its last report; the lease lapses
			after := time.Duration(rapid.IntRange(0, 9_999).Draw(rt, "after")) * time.Millisecond
			worked += after
			lost += after
			h.time.Advance(fleet.LeaseTime + time.Second)
			require.NoError(t, h.Sweep(t.Context()))
			h.time.Advance(5 * time.Second)
		case "release":
			_, err := h.Release(t.Context(), h.boss, s.ID, "w1")
			require.NoError(t, err)
		case "drain":
			step := time.Duration(rapid.IntRange(0, 10_000).Draw(rt, "last")) * time.Millisecond
			h.time.Advance(step)
			worked += step
			require.True(t, r.send(state(wire.StateSuspended)).Stop)
		case "partition": // frozen after 40 s, thawed when it gets through again before anybody let the lease lapse
			gone := time.Duration(rapid.IntRange(0, 90_000).Draw(rt, "gone")) * time.Millisecond
			most := wire.FreezeAfter(fleet.LeaseTime)
			if gone+time.Second > most {
				lost += time.Second // the most that is charged counts from the ledger's last row, up to a second before the last report
			}
			if gone > most {
				gone = most
				h.time.Advance(30 * time.Second)
			}
			worked += gone
			h.time.Advance(gone)
			require.True(t, r.send(state(wire.StateSuspended)).Stop)
		}
	}
	got := h.get(t, s.ID).ACUMicros
	require.LessOrEqual(t, got, cost(worked), "never more than was worked")
	require.GreaterOrEqual(t, got, cost(worked-lost)-intervals, "less by no more than what a killed worker never reported")
	_, err := h.Terminate(t.Context(), h.boss, h.org, s.ID, false)
	require.NoError(t, err)
	require.Equal(t, got, h.get(t, s.ID).ACUMicros)
}

func TestTheRunLimitStopsWithinOneReport(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t, func(p *session.CreateParams) { p.MaxACU = new(int64(1)) })
		ack := r.worked(15*time.Minute - 10*time.Second)
		require.False(t, ack.Stop)
		h.time.Advance(9 * time.Second)
		require.False(t, r.beat().Stop)
		h.time.Advance(time.Second)
		require.True(t, r.beat().Stop)
		s := h.get(t, r.row.SessionID)
		require.Equal(t, limited, s.State)
		require.EqualValues(t, 1_000_000, s.ACUMicros)
		require.Contains(t, h.types(t, s.ID), session.EventLimit)
		r.lost()
		commands, err := h.CommandsAfter(t.Context(), s.ID, 1, 10)
		require.NoError(t, err)
		require.Equal(t, wire.CommandSuspend, commands[0].Kind, "the worker is told on its open stream")
		h.nothingToClaim(t, "w1")

		// A new message grants another run of the same size; the total goes on.
		require.Equal(t, resuming, h.say(t, s.ID, "go on").State)
		r = h.claim(t, "w1")
		commands, err = h.CommandsAfter(t.Context(), s.ID, 1, 10)
		require.NoError(t, err)
		require.Len(t, commands, 1, "what ended the first run isn't meant for the second")
		r.command = commands[0].Number
		r.send(state(wire.StateWorking))
		require.False(t, r.worked(14*time.Minute).Stop)
		h.say(t, s.ID, "and more")
		r.command++
		require.False(t, r.worked(14*time.Minute).Stop, "a message in the middle grants a run as well")
		require.True(t, r.worked(70*time.Second).Stop)
		require.Equal(t, 1_000_000+cost(29*time.Minute), h.get(t, s.ID).ACUMicros)
	})
}

func TestATurnThatEndsAtTheLimitHasEnded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t, func(p *session.CreateParams) { p.MaxACU = new(int64(1)) })
		r.worked(15*time.Minute - 5*time.Second)
		h.time.Advance(9 * time.Second)
		require.True(t, r.send(state(wire.StateFinished)).Parked)
		require.Equal(t, finished, h.get(t, r.row.SessionID).State)
	})
}

func TestTheOrganizationsLimitStopsEverySession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		a, b := h.work(t), h.work(t)
		free := h.work(t, func(p *session.CreateParams) { p.OrgID = h.other })
		h.setLimits(t, org.LimitChange{}, limit(1))
		for range 44 {
			h.time.Advance(10 * time.Second)
			require.False(t, a.beat().Stop || b.beat().Stop || free.beat().Stop)
		}
		h.time.Advance(10 * time.Second)
		a.beat()
		require.True(t, b.beat().Stop)
		h.time.Advance(10 * time.Second)
		require.True(t, a.beat().Stop)
		require.False(t, free.beat().Stop)
		for _, r := range []*run{a, b} {
			require.Equal(t, orgLimit, h.get(t, r.row.SessionID).State)
			r.lost()
		}
		_, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: a.row.SessionID, Message: "m"})
		isFault(t, err, fault.Conflict)
		h.time.Advance(30 * 24 * time.Hour) // the next cycle
		h.say(t, a.row.SessionID, "go on")
		require.Equal(t, resuming, h.get(t, a.row.SessionID).State)
	})
}
