package fleet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

// session writes a bare row of a session in a status; the fleet counts them and nothing else.
func (h *house) session(t testing.TB, status string) {
	t.Helper()
	h.write(t, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO sessions (session_id, org_id, status, created_at, updated_at, child_session_ids, origin, agent,
				tags, repos, session_links, pull_requests, is_archived, resumable, bypass_approval, structured_output_required, acu_micros,
				run_acu_micros, last_seq, last_command, acked_command, num_user_messages, num_devin_messages, outpost_id)
			VALUES ($1, 'org-1', $2, 0, 0, '[]', 'api', 'runbook', '[]', '[]', '[]', '[]', 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 'default')`,
			id.Session(), status)
		return err
	})
}

func report(workerID, instance string) wire.WorkerReport {
	return wire.WorkerReport{WorkerID: workerID, Name: "n-" + workerID, Instance: instance, Capacity: 4, InUse: 1}
}

func (h *house) report(t testing.TB, r wire.WorkerReport) (wire.WorkerReply, bool) {
	t.Helper()
	reply, fresh, err := h.Report(t.Context(), worker, fleet.DefaultOutpost, r)
	require.NoError(t, err)
	return reply, fresh
}

func (h *house) machines(t testing.TB, status string) []string {
	t.Helper()
	var out []string
	r := page.Request{First: 2}
	for {
		p, err := h.Hypervisors(t.Context(), boss, status, r)
		require.NoError(t, err)
		for _, m := range p.Items {
			out = append(out, m.ID+" "+m.Status)
		}
		if !p.More {
			return out
		}
		r.After = p.End
	}
}

func TestAMachinesStatusFollowsTheClock(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, w := range []string{"a", "b", "c"} {
			h.report(t, report(w, "1"))
			h.time.Advance(time.Second)
		}
		draining := report("b", "1")
		draining.Draining = true
		h.report(t, draining)
		require.Equal(t, []string{"a available", "c available"}, h.machines(t, ""))
		require.Equal(t, []string{"b draining"}, h.machines(t, fleet.Draining))
		h.time.Advance(27 * time.Second)
		require.Equal(t, []string{"a available", "c available"}, h.machines(t, fleet.Available))
		h.time.Advance(time.Second)
		require.Equal(t, []string{"a disconnected"}, h.machines(t, fleet.Disconnected))
		require.Equal(t, []string{"c available"}, h.machines(t, fleet.Available))
		h.time.Advance(10 * time.Second)
		require.Equal(t, []string{"a disconnected", "b terminated", "c disconnected"}, h.machines(t, fleet.AllStatuses))
		require.Equal(t, []string{"b terminated"}, h.machines(t, fleet.Terminated))
		h.time.Advance(24 * time.Hour)
		h.report(t, report("c", "1"))
		require.Equal(t, []string{"a terminated", "b terminated", "c available"}, h.machines(t, fleet.AllStatuses))
		require.Equal(t, []string{"a terminated", "b terminated"}, h.machines(t, fleet.Terminated))
		require.Empty(t, h.machines(t, fleet.Disconnected))
		require.Empty(t, h.machines(t, fleet.Restarting))
		_, err := h.Hypervisors(t.Context(), boss, "broken", page.Request{First: 1})
		isFault(t, err, fault.Invalid)
		require.Equal(t, []string{"query", "status"}, fault.As(err).Fields[0].Loc)
		require.InDelta(t, 25, fleet.Hypervisor{Capacity: 4, InUse: 1}.Utilization(), 0)
		require.InDelta(t, 100, fleet.Hypervisor{Capacity: 4, InUse: 9}.Utilization(), 0)
		require.Zero(t, fleet.Hypervisor{InUse: 9}.Utilization())
	})
}

func TestAReportTellsNewProcessesAndDrainsApart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, fresh := h.report(t, report("a", "1"))
		require.True(t, fresh)
		reply, fresh := h.report(t, report("a", "1"))
		require.False(t, fresh || reply.Drain)
		_, err := h.Drain(ctx, boss, "nobody")
		isFault(t, err, fault.NotFound)
		require.Empty(t, h.actions(t))
		m, err := h.Drain(ctx, boss, "n-a")
		require.NoError(t, err)
		require.Equal(t, "a", m.ID)
		require.Equal(t, fleet.Draining, m.Status)
		require.Equal(t, []audit.Action{audit.DrainHypervisor}, h.actions(t))
		reply, _ = h.report(t, report("a", "1"))
		require.True(t, reply.Drain)
		h.time.Advance(time.Minute)
		require.Equal(t, []string{"a terminated"}, h.machines(t, fleet.Terminated), "an idle machine leaves as soon as it hears of the drain")
		require.Empty(t, h.machines(t, fleet.Disconnected))
		reply, fresh = h.report(t, report("a", "2"))
		require.True(t, fresh)
		require.False(t, reply.Drain, "a new process wasn't asked to drain")
		h.time.Advance(25 * time.Hour)
		_, err = h.Drain(ctx, boss, "a")
		isFault(t, err, fault.NotFound)
	})
}

func TestABadReportIsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for field, change := range map[string]func(*wire.WorkerReport){
			"worker_id": func(r *wire.WorkerReport) { r.WorkerID = "" },
			"name":      func(r *wire.WorkerReport) { r.Name = strings.Repeat("x", 201) },
			"instance":  func(r *wire.WorkerReport) { r.Instance = "\x00" },
			"version":   func(r *wire.WorkerReport) { r.Version = strings.Repeat("x", 201) },
			"platform":  func(r *wire.WorkerReport) { r.Platform = "\xff" },
			"capacity":  func(r *wire.WorkerReport) { r.Capacity = -1 },
			"in_use":    func(r *wire.WorkerReport) { r.InUse = 1 << 40 },
		} {
			r := report("a", "1")
			change(&r)
			_, _, err := h.Report(t.Context(), worker, fleet.DefaultOutpost, r)
			isFault(t, err, fault.Invalid)
			require.Equal(t, []string{"body", field}, fault.As(err).Fields[0].Loc)
		}
		_, _, err := h.Report(t.Context(), worker, "outpost_env-1", report("a", "1"))
		isFault(t, err, fault.Forbidden)
		require.Empty(t, h.machines(t, fleet.AllStatuses))
	})
}

func TestAWorkerCannotTakeTheIDOfAnotherOutpostsWorker(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.report(t, report("a", "1"))
		stranger := access.Subject{Kind: access.Worker, ID: "wk-2", Outposts: []string{"outpost_env-1"}}
		_, _, err := h.Report(t.Context(), stranger, "outpost_env-1", report("a", "2"))
		isFault(t, err, fault.Conflict)
		_, fresh := h.report(t, report("a", "1"))
		require.False(t, fresh, "the worker's claims stay its own")
		mover := access.Subject{Kind: access.Worker, ID: "wk-3", Outposts: []string{"outpost_env-1", fleet.DefaultOutpost}}
		_, _, err = h.Report(t.Context(), mover, "outpost_env-1", report("a", "2"))
		require.NoError(t, err, "one that may work for both may move")
	})
}

func TestWorkspacesOfSessionsThatAreOverMayGo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, s := range []string{"pending", "parked", "ended"} {
			h.enqueue(t, fleet.DefaultOutpost, "org-1", s)
		}
		h.leave(t, "parked", fleet.Parked, fleet.StatusSuspended)
		h.leave(t, "ended", fleet.Ended, fleet.StatusTerminated)
		r := report("a", "1")
		r.Sessions = []string{"ended", "parked", "unknown", "pending"}
		reply, _ := h.report(t, r)
		require.Equal(t, []string{"ended", "unknown"}, reply.Discard)
		r.Sessions = make([]string, 5000)
		reply, _ = h.report(t, r)
		require.Len(t, reply.Discard, 1000, "the rest is asked about next time")
	})
}
