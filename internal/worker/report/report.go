// Package report carries what happens in a session to the server: every event once, in order, however often the way there
// breaks, and it keeps the claim's lease.
//
// An event is masked, written to a spool file, and leaves in numbered batches that are repeated until the server has
// acknowledged them. What isn't acknowledged waits on disk, so an outage costs no memory. A server that says that the fence is
// stale ends the report: what is left belongs to nobody.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/link"
	"gantry/internal/worker/mask"
)

// How events are gathered. The first event after a pause leaves at once; those that follow wait for company.
const (
	gatherTime    = 50 * time.Millisecond
	gatherBytes   = 64 << 10
	batchBytes    = 1 << 20 // a batch after an outage is larger, but far below wire.MaxBatchBytes
	maxEventBytes = 4 << 20 // a larger event goes without its raw frame, then without its data
	// maxBacklog holds an agent back whose events can't leave: then Event blocks until there is room.
	maxBacklog = 256 << 20
)

// Why a report ended.
var (
	// ErrParked means that the session waits for somebody and the claim is over; the workspace is kept.
	ErrParked = errors.New("the session is parked")
	// ErrStopped means that the server took the last report and wants no more: the session is over or suspended.
	ErrStopped = errors.New("the session was stopped")
	// ErrLost means that the claim isn't ours any more: everything under it must stop at once.
	ErrLost = errors.New("the claim is lost")
	// ErrClosed means that the worker itself closed the report.
	ErrClosed = errors.New("the report is closed")
)

// Options describe the report of one claim.
type Options struct {
	Gateway     *link.Gateway
	Fence       int64
	LastBatch   int64  // the number of the last batch the server has under this fence
	LastCommand int64  // the number of the last acknowledged command
	Path        string // the spool file; what an earlier fence left in it is dropped
	Logger      *slog.Logger
	Clock       clock.Clock
	// Mask hides secrets in data and raw of every event; nil masks nothing.
	Mask *mask.Masker
	// Freeze is called when the lease could not be renewed for too long, Thaw when it was renewed after all. They are never
	// called at the same time, and Thaw only after Freeze.
	Freeze, Thaw func()
}

// Reporter is the report of one claim. Its methods are safe for concurrent use.
type Reporter struct {
	o     Options
	lease lease
	wake  chan struct{} // something for Run to look at
	ended chan struct{}

	mu       sync.Mutex
	room     *sync.Cond // signalled when the backlog shrank, an acknowledgement came, or the report ended
	spool    *spool
	appended int64 // events so far
	acked    int64 // events the server has
	urgent   int64 // events up to this one leave without waiting for company
	commands []taken
	command  int64 // last command sent in an acknowledged batch
	number   int64 // last batch number used
	started  time.Time
	every    time.Duration // how long at most until the next report
	check    bool          // a report is wanted now
	err      error
}

// taken says that a command counts as carried out once the server has the first `after` events.
type taken struct {
	after   int64
	command int64
}

// Open starts a fresh spool. Run must be called for anything to leave. Where the spool can't be made, on a full disk, events
// wait in memory, so that the reason can be reported.
func Open(o Options) *Reporter {
	s, err := openSpool(o.Path)
	if err != nil {
		o.Logger.Warn("the spool can't be written; events wait in memory", "error", err)
	}
	r := &Reporter{
		o: o, spool: s, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		number: o.LastBatch, command: o.LastCommand,
		started: o.Clock.Now().Add(-gatherTime), every: wire.ReportEvery(leaseTime(0)),
	}
	r.room = sync.NewCond(&r.mu)
	r.lease = lease{clock: o.Clock, freeze: o.Freeze, thaw: o.Thaw}
	return r
}

// Event reports that something happened now. See Add.
func (r *Reporter) Event(kind string, data any) {
	body, err := json.Marshal(data)
	if err != nil {
		r.o.Logger.Error("event can't be encoded", "type", kind, "error", err)
		return
	}
	r.Add(wire.Event{Type: kind, Data: body})
}

// Add reports an event; one without a time happened now. It blocks while the backlog is full, and drops the event once the
// report ended.
func (r *Reporter) Add(e wire.Event) {
	line, err := r.encode(e)
	if err != nil {
		r.o.Logger.Error("event can't be encoded", "type", e.Type, "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && r.spool.backlog() > maxBacklog {
		r.room.Wait()
	}
	if r.err != nil {
		return
	}
	if spilled := r.spool.push(line); spilled != nil {
		r.o.Logger.Warn("the spool can't be written; events wait in memory", "error", spilled)
	}
	r.appended++
	if e.Type == wire.EventState || e.Type == wire.EventSetup {
		r.urgent = r.appended
	}
	r.poke()
}

// Took says that a command was carried out or is in hand, as the events reported so far tell. The server hears it with the
// batch that holds the last of these events, so a command is never acknowledged before what it caused.
func (r *Reporter) Took(command int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.commands); command <= r.command || n > 0 && command <= r.commands[n-1].command {
		return
	}
	r.commands = append(r.commands, taken{after: r.appended, command: command})
	r.settle()
}

// Barrier waits until the server has everything that was reported so far. It returns why the report ended when it did.
func (r *Reporter) Barrier(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.room.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	target := r.appended
	if target > r.acked {
		r.urgent = max(r.urgent, target)
		r.poke()
	}
	for r.acked < target && r.err == nil && ctx.Err() == nil {
		r.room.Wait()
	}
	switch {
	case r.acked >= target && (r.err == nil || errors.Is(r.err, ErrParked) || errors.Is(r.err, ErrStopped)):
		return nil
	case r.err != nil:
		return r.err
	}
	return ctx.Err()
}

// Check makes the report ask the server now whether the claim still stands: something else said that it doesn't.
func (r *Reporter) Check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check = true
	r.poke()
}

// Ended is closed when the report ended; Err says why.
func (r *Reporter) Ended() <-chan struct{} { return r.ended }

// Err tells why the report ended: one of the package's errors, wrapped with the cause, or nil while it goes on.
func (r *Reporter) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close ends the report if nothing else did, and removes the spool unless it holds what the server never got. Run must have
// returned.
func (r *Reporter) Close() error {
	r.end(ErrClosed)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spool.close()
}

// end records the first reason, stops the lease's clock and wakes everybody.
func (r *Reporter) end(reason error) {
	r.lease.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = reason
		close(r.ended)
		r.room.Broadcast()
	}
}

// settle moves the acknowledged command up to what the acknowledged events tell. The caller holds the lock.
func (r *Reporter) settle() {
	for len(r.commands) > 0 && r.commands[0].after <= r.acked {
		r.command = r.commands[0].command
		r.commands = r.commands[1:]
	}
}

// poke wakes Run. The caller may hold the lock.
func (r *Reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// encode makes the spool's line: a masked wire.Event in one line of JSON.
func (r *Reporter) encode(e wire.Event) ([]byte, error) {
	if e.At == 0 {
		e.At = r.o.Clock.Millis()
	}
	if len(e.Raw) > maxEventBytes {
		e.Raw = nil
	}
	e.Data, e.Raw = r.o.Mask.JSON(e.Data), r.o.Mask.JSON(e.Raw)
	line, err := json.Marshal(e)
	if err == nil && len(line) > maxEventBytes && e.Raw != nil {
		e.Raw = nil
		line, err = json.Marshal(e)
	}
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.Type, err)
	}
	if len(line) > maxEventBytes {
		return noteLine(e.At, "warning", fmt.Sprintf("An event of type %s with %d bytes was too large to report.", e.Type, len(line)))
	}
	return append(line, '\n'), nil
}

// noteLine is the line of a log event about the report itself; there is nothing to mask in it.
func noteLine(at int64, level, text string) ([]byte, error) {
	data, err := json.Marshal(wire.LogData{Level: level, Text: text})
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(wire.Event{Type: wire.EventLog, At: at, Data: data})
	return append(line, '\n'), err
}
