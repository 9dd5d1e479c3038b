package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/link"
	"gantry/internal/worker/mask"
	"gantry/internal/worker/report"
	"gantry/internal/worker/sandbox"
)

const (
	openLimit  = 4 * time.Minute  // to learn what to do; the claim itself ends after wire.ClaimSeconds
	finalLimit = 15 * time.Second // to deliver the last report before the worker gives up
)

// errTerminated ends a run whose session was terminated.
var errTerminated = errors.New("the session was terminated")

// pause ends a run whose session goes on later: a suspend command or a drain.
type pause struct {
	reason     string
	atBoundary bool // wait until no tool call is in progress, within limits
}

// Error is for the log.
func (p *pause) Error() string { return "paused: " + p.reason }

// failure ends a session in the state error. Its text is for the user.
type failure struct {
	text  string
	cause error
}

// Error is the text with its cause.
func (f *failure) Error() string {
	if f.cause == nil {
		return f.text
	}
	return strings.TrimSuffix(f.text, ".") + ": " + f.cause.Error()
}

// Unwrap gives the cause.
func (f *failure) Unwrap() error { return f.cause }

// errDiskFull is the failure of a session whose filesystem has no room left.
var errDiskFull = &failure{text: "The workspace's disk is full."}

// run is one claim being worked on. Its fields belong to the goroutine in work unless something else is said.
type run struct {
	w     *Worker
	claim wire.Claim
	log   *slog.Logger

	// ctx ends when everything must stop at once; its cause says why.
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}
	result error // why it ended, once done is closed

	paused     atomic.Pointer[pause] // the first reason to stop gracefully
	pausing    chan struct{}         // closed with it
	pauseOnce  sync.Once
	terminated atomic.Bool

	gateway *link.Gateway
	spec    wire.Spec
	environ []string
	masker  *mask.Masker
	rep     *report.Reporter
	repDone chan struct{}
	say     *narrator
	procs   processes
	terms   *terminals

	ws     *sandbox.Workspace
	disk   disk
	mem    *memory
	agent  *agent
	inbox  *inbox
	asks   chan *ask
	offers offers

	waiting  []wire.Command // messages whose turn hasn't begun
	heard    int64          // the highest command number looked at
	state    wire.StateData // the last state reported
	holds    bool           // a slot
	anew     bool           // the agent's conversation is new: the next prompt brings what happened before
	started  bool           // an agent was started before
	askCount int
	restarts int
	silences int
}

func newRun(w *Worker, claim wire.Claim) *run {
	r := &run{
		w: w, claim: claim, done: make(chan struct{}), pausing: make(chan struct{}), inbox: newInbox(), asks: make(chan *ask),
		holds: true,
		log:   w.log.With("session_id", claim.SessionID, "org_id", claim.OrgID, "outpost_id", claim.OutpostID),
	}
	r.ctx, r.cancel = context.WithCancelCause(w.life)
	return r
}

// pause asks for a graceful stop; only the first reason counts. It may be called from any goroutine.
func (r *run) pause(p *pause) {
	r.pauseOnce.Do(func() {
		r.paused.Store(p)
		close(r.pausing)
	})
}

// untilPaused is ctx that also ends when a graceful stop is asked for: for what needs no grace, like a clone.
func (r *run) untilPaused() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(r.ctx)
	go func() {
		select {
		case <-r.pausing:
			cancel(r.paused.Load())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// work does all of it and gives everything back.
func (r *run) work() {
	defer close(r.done)
	defer r.freeSlot()
	defer r.cancel(nil)
	r.log.Info("session claimed", "kind", r.claim.Kind)
	if err := r.open(); err != nil {
		r.log.Warn("claim given up", "error", err)
		r.result = err
		return
	}
	err := r.setUp()
	if err == nil {
		err = r.converse()
	}
	r.end(r.reason(err))
}

// open learns what to do and starts the report and the command stream.
func (r *run) open() error {
	ctx, cancel := context.WithTimeout(r.ctx, openLimit)
	defer cancel()
	var err error
	if r.gateway, err = r.w.server.Gateway(r.claim.GatewayURL, r.claim.ConnectToken); err != nil {
		return err
	}
	err = retry(ctx, func() error { r.spec, err = r.gateway.Spec(ctx); return err })
	if err != nil {
		return fmt.Errorf("specification: %w", err)
	}
	r.claim.Fence = r.spec.Fence
	if err := r.takeSecrets(ctx); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	r.rep = report.Open(report.Options{
		Gateway: r.gateway, Fence: r.claim.Fence, LastBatch: r.spec.LastBatch, LastCommand: r.spec.LastCommand,
		Path: filepath.Join(r.w.o.DataDir, spoolDir, r.claim.SessionID+".jsonl"), Logger: r.log, Clock: r.w.o.Clock,
		Mask: r.masker, Freeze: r.freeze, Thaw: r.thaw,
	})
	r.heard = r.spec.LastCommand
	r.say = newNarrator(r.rep, r.masker, r.w.o.Clock)
	r.say.pulls.repos = r.spec.Repositories
	r.repDone = make(chan struct{})
	go func() { defer close(r.repDone); r.rep.Run(r.w.life) }()
	r.w.wg.Go(func() {
		select {
		case <-r.rep.Ended():
			r.cancel(r.rep.Err())
		case <-r.ctx.Done():
		}
	})
	r.w.wg.Go(r.listen)
	return nil
}

// takeSecrets gets the environment. It is released once per claim: a try whose answer was lost can't be repeated, the claim
// lapses and the session comes back under another fence.
func (r *run) takeSecrets(ctx context.Context) error {
	var reply wire.SecretsReply
	err := retry(ctx, func() (err error) { reply, err = r.gateway.Secrets(ctx); return err })
	if err != nil {
		return err
	}
	var hidden []string
	for _, v := range reply.Environment {
		r.environ = append(r.environ, v.Name+"="+v.Value)
		if v.Sensitive {
			hidden = append(append(hidden, v.Value), v.Within...)
		}
	}
	for _, value := range r.spec.Agent.Env {
		if looksSecret(value) {
			hidden = append(hidden, value)
		}
	}
	if len(hidden) > 0 {
		r.masker = mask.New(hidden)
	}
	return nil
}

// secretLength is below what keys have and above what most settings have.
const secretLength = 16

// looksSecret tells a key in an agent's environment from its other settings, which nobody told apart: to hide a path, an address or
// "production" wherever it turns up would hide what people look for.
func looksSecret(value string) bool {
	return len(value) >= secretLength && !filepath.IsAbs(value) && !strings.Contains(value, "://")
}

// retry repeats what may succeed later.
func retry(ctx context.Context, do func() error) error {
	for tries := 1; ; tries++ {
		err := do()
		if err == nil || !link.Temporary(err) || ctx.Err() != nil {
			return err
		}
		if !clock.Sleep(ctx, backoff(tries, err)) {
			return err
		}
	}
}

// reason finds why the run really ended: what ended the context counts more than what failed because of it.
func (r *run) reason(err error) error {
	if r.terminated.Load() {
		return errTerminated
	}
	if ended := r.rep.Err(); ended != nil {
		return ended
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if p := r.paused.Load(); p != nil {
		return p
	}
	return err
}

// end closes the agent, reports how the run ended, and closes the workspace.
func (r *run) end(reason error) {
	r.stopAgent()
	r.say.interrupt()
	r.sort(nil)
	var failed *failure
	var paused *pause
	switch {
	case errors.Is(reason, errTerminated):
		r.conclude(wire.StateExited, "")
	case errors.As(reason, &paused):
		r.conclude(wire.StateSuspended, paused.reason)
	case errors.As(reason, &failed):
		r.log.Warn("session failed", "error", r.masker.String(reason.Error()))
		r.conclude(wire.StateError, failed.text)
	}
	r.cancel(reason)
	if err := r.rep.Close(); err != nil {
		r.log.Warn("the report didn't close cleanly", "error", err)
	}
	<-r.repDone
	r.freeSlot()
	r.closeWorkspace()
	r.result = reason
	r.log.Info("claim ended", "reason", r.masker.String(reason.Error()))
}

// conclude reports the last state and waits a while until the server has it.
func (r *run) conclude(state, why string) {
	if errors.Is(r.rep.Err(), report.ErrLost) {
		return
	}
	r.report(state, why)
	r.rep.Took(r.lastCommand())
	ctx, cancel := context.WithTimeout(r.w.life, finalLimit)
	defer cancel()
	if err := r.rep.Barrier(ctx); err != nil && !errors.Is(err, report.ErrLost) {
		r.log.Warn("the last report didn't get through", "error", err)
	}
}

// lastCommand is the command up to which everything is done; after a terminate that is all.
func (r *run) lastCommand() int64 {
	if !r.terminated.Load() && len(r.waiting) > 0 {
		return r.waiting[0].Number - 1
	}
	return r.heard
}

// report reports a state, once what the agent said before it is out.
func (r *run) report(state, why string) {
	r.state = wire.StateData{State: state, Reason: why}
	r.say.event(wire.EventState, r.state)
}

func (r *run) closeWorkspace() {
	if r.ws == nil {
		return
	}
	if r.terminated.Load() {
		if err := r.ws.Remove(); err != nil {
			r.log.Warn("can't remove the workspace", "error", err)
		}
		return
	}
	r.say.keep(r.mem)
	r.disk.mu.Lock()
	r.mem.DiskNext = r.disk.next.UnixMilli()
	r.disk.mu.Unlock()
	if err := r.mem.save(); err != nil {
		r.log.Warn("can't keep what is known of the session", "error", err)
	}
	if err := r.ws.Close(); err != nil {
		r.log.Warn("the workspace didn't close cleanly", "error", err)
	}
}

func (r *run) freeSlot() {
	if r.holds {
		r.holds = false
		r.w.slots.put()
	}
}

// freeze stops every process of the session where it is; the lease could not be renewed. It may run in any goroutine.
func (r *run) freeze() {
	r.log.Warn("the lease could not be renewed: the agent is frozen")
	r.say.silent.hold()
	r.procs.freeze(r.log)
}

// thaw lets them go on.
func (r *run) thaw() {
	r.log.Info("the lease was renewed: the agent goes on")
	r.procs.thaw(r.log)
	r.say.silent.release()
}

// credential asks for what git needs for one operation on one repository. What the server's refusal says may be shown inside.
func (r *run) credential(ctx context.Context, repository, operation string) (reply wire.CredentialReply, err error) {
	err = retry(ctx, func() error {
		reply, err = r.gateway.Credential(ctx, wire.CredentialRequest{Fence: r.claim.Fence, Repository: repository, Operation: operation})
		return err
	})
	if status := link.Status(err); status == http.StatusForbidden || status == http.StatusNotFound {
		err = fmt.Errorf("%w: %s", sandbox.ErrRefused, link.Detail(err))
	}
	return reply, err
}
