package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/link"
	"gantry/internal/worker/report"
)

const (
	spaceEvery = 2 * time.Second // between two looks at a full disk
	claimWait  = 20              // seconds the server may hold a claim-next
	// drainLimit bounds a drain in all: 30 s to a tool boundary, the rest to hand the sessions back.
	drainLimit = 50 * time.Second
)

// serve claims until ctx ends, the server asks for a drain, or the key is refused. Then it waits for the sessions.
func (w *Worker) serve(ctx context.Context) error {
	w.log.Info("worker started", "worker_id", w.id, "outpost_id", w.o.OutpostID, "capacity", w.o.Capacity,
		"sandbox", w.box.Mode(), "sandbox_net", w.box.Net(), "limits_by", w.box.LimitsBy())
	claiming, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := w.introduce(ctx); link.Status(err) == http.StatusUnauthorized {
		return ErrUnauthorized
	}
	reporting, stopReports := context.WithCancel(w.life)
	defer stopReports()
	w.wg.Go(func() { w.reportAll(reporting, stop) })

	err := w.claimAll(claiming)
	switch {
	case errors.Is(err, errDrained):
		w.log.Info("draining: the server asked to take nothing new")
		w.await(ctx)
	case ctx.Err() == nil:
		w.log.Error("worker stops", "error", err)
	}
	w.drain()
	if errors.Is(err, ErrUnauthorized) {
		return ErrUnauthorized
	}
	return nil
}

// introduce brings the first report to the server, however long that takes. No claim may come before it: with it the server ends what
// an earlier process of this machine held.
func (w *Worker) introduce(ctx context.Context) error {
	return retry(ctx, func() error {
		err := w.report(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("can't report this worker", "error", err)
		}
		return err
	})
}

// errDrained ends the claiming because the server asked for it.
var errDrained = errors.New("the server asked this worker to drain")

// claimAll claims and starts sessions until ctx ends, and tells why it did.
func (w *Worker) claimAll(ctx context.Context) error {
	tries := 0
	for {
		if w.slots.free(ctx) != nil || !w.awaitSpace(ctx) {
			return context.Cause(ctx)
		}
		claim, err := w.outpost.ClaimNext(ctx, wire.ClaimNext{WorkerID: w.id, WaitSeconds: claimWait})
		switch {
		case claim != nil:
			tries = 0
			w.start(*claim)
		case err == nil:
			tries = 0
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case link.Status(err) == http.StatusUnauthorized:
			return ErrUnauthorized
		default:
			tries++
			if tries == 1 || tries%20 == 0 {
				w.log.Warn("can't claim; trying again", "error", err, "tries", tries)
			}
			if !clock.Sleep(ctx, backoff(tries, err)) {
				return context.Cause(ctx)
			}
		}
	}
}

// awaitSpace waits while the disk is full: a machine that can't begin a session leaves it to another. False means that ctx ended.
func (w *Worker) awaitSpace(ctx context.Context) bool {
	for told := false; w.box.Full(); told = true {
		if !told {
			w.log.Error("the disk of the workspaces is full: no session is claimed until there is space")
		}
		if !clock.Sleep(ctx, spaceEvery) {
			return false
		}
	}
	return true
}

// start works on a claim in the background. An earlier claim on the same session is stale now, and is ended first.
func (w *Worker) start(claim wire.Claim) *run {
	r := newRun(w, claim)
	w.mu.Lock()
	old := w.runs[claim.SessionID]
	w.runs[claim.SessionID] = r
	w.mu.Unlock()
	w.slots.force()
	w.wg.Go(func() {
		if old != nil {
			old.cancel(report.ErrLost)
			<-old.done
		}
		r.work()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.runs[claim.SessionID] == r {
			delete(w.runs, claim.SessionID)
		}
	})
	return r
}

// await waits until every session is done or ctx ends.
func (w *Worker) await(ctx context.Context) {
	for _, r := range w.active() {
		select {
		case <-r.done:
		case <-ctx.Done():
			return
		}
	}
}

// drain asks every session to stop at a tool boundary and waits for them, but not for ever.
func (w *Worker) drain() {
	w.mu.Lock()
	w.draining = true
	w.mu.Unlock()
	runs := w.active()
	if len(runs) > 0 {
		w.log.Info("draining", "sessions", len(runs))
	}
	for _, r := range runs {
		r.pause(&pause{reason: "The worker was drained.", atBoundary: true})
	}
	ctx, cancel := context.WithTimeout(w.life, drainLimit)
	defer cancel()
	w.await(ctx)
	w.kill()
}

// active lists the sessions that are being worked on.
func (w *Worker) active() []*run {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*run, 0, len(w.runs))
	for _, r := range w.runs {
		out = append(out, r)
	}
	return out
}

// reportAll tells the server about this machine until ctx ends. It stops the claiming when it hears that it should.
func (w *Worker) reportAll(ctx context.Context, stopClaiming context.CancelCauseFunc) {
	for clock.Sleep(ctx, wire.ReportSeconds*time.Second) {
		err := w.report(ctx)
		w.mu.Lock()
		draining := w.draining
		w.mu.Unlock()
		switch {
		case link.Status(err) == http.StatusUnauthorized:
			stopClaiming(ErrUnauthorized)
		case err != nil && ctx.Err() == nil:
			w.log.Warn("can't report this worker", "error", err)
		case draining:
			stopClaiming(errDrained)
		}
	}
}

// report sends one report and does what the answer asks for.
func (w *Worker) report(ctx context.Context) error {
	kept, err := w.box.List()
	if err != nil {
		w.log.Warn("can't list the workspaces", "error", err)
	}
	w.mu.Lock()
	working := make([]string, 0, len(w.runs))
	for session := range w.runs {
		working = append(working, session)
	}
	draining := w.draining
	w.mu.Unlock()
	slices.Sort(working)
	kept = slices.DeleteFunc(kept, func(s string) bool { return slices.Contains(working, s) })
	reply, err := w.outpost.Report(ctx, wire.WorkerReport{
		WorkerID: w.id, Instance: w.instance, Name: w.o.Name, Version: w.o.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Capacity: w.o.Capacity, InUse: w.slots.inUse(), Draining: draining, Sessions: kept, Working: working,
	})
	if err != nil {
		return err
	}
	if reply.Drain {
		w.mu.Lock()
		w.draining = true
		w.mu.Unlock()
	}
	w.discard(reply.Discard, kept)
	return nil
}

// discard removes workspaces that can never be used again. Only what was reported as idle, and still is, goes.
func (w *Worker) discard(sessions, kept []string) {
	for _, s := range sessions {
		if !slices.Contains(kept, s) {
			continue
		}
		w.mu.Lock()
		busy := w.runs[s] != nil
		w.mu.Unlock()
		if busy {
			continue
		}
		if err := w.box.RemoveWorkspace(s); err != nil {
			w.log.Warn("can't remove a workspace", "session_id", s, "error", err)
			continue
		}
		w.log.Info("workspace removed", "session_id", s)
	}
}

// backoff doubles from half a second to 15 s with jitter, and never undercuts what the server asked for.
func backoff(tries int, err error) time.Duration {
	d := min(500*time.Millisecond<<min(tries-1, 10), 15*time.Second)
	return max(d/2+rand.N(d/2), link.RetryAfter(err))
}
