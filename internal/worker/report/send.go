package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/link"
)

// Backoff between tries.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// batch is one batch on its way: its bytes never change, except when the server refuses its contents.
type batch struct {
	number int64
	upto   int64 // events the server has once this batch is acknowledged
	lines  [][]byte
	// command is the last command that counts as taken once the server has this batch.
	command  int64
	abridged bool
	body     []byte
}

// Run sends until the report ended or ctx does. What was not acknowledged then stays in the spool.
func (r *Reporter) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { r.end(ErrClosed) })()
	var current *batch
	tries := 0
	for r.awaitWork(ctx, current != nil || tries > 0) {
		var err error
		if current == nil {
			current, err = r.gather()
		}
		if err != nil {
			r.end(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
		err = r.exchange(ctx, current)
		switch {
		case err == nil:
			current, tries = nil, 0
			continue
		case link.Lost(err):
			r.end(fmt.Errorf("%w: %w", ErrLost, err))
			return
		case link.Refused(err) && current != nil:
			if !r.abridge(current, err) {
				r.end(fmt.Errorf("%w: report refused: %w", ErrLost, err))
				return
			}
			continue
		}
		tries++
		if tries == 1 || tries%20 == 0 {
			r.o.Logger.Warn("report didn't get through; trying again", "error", err, "tries", tries)
		}
		if !clock.Sleep(ctx, backoff(tries, err)) {
			return
		}
	}
}

// awaitWork waits until there is something to send: at once when a try failed, when enough has gathered or
// somebody waits for it; else a little later; a heartbeat when nothing was sent for long. False means that the report ended.
func (r *Reporter) awaitWork(ctx context.Context, again bool) bool {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.mu.Lock()
		wait, ended := r.due(again), r.err != nil
		r.mu.Unlock()
		if ended || ctx.Err() != nil {
			return false
		}
		if wait <= 0 {
			return true
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-r.ended:
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// due tells how long nothing has to be sent. The caller holds the lock.
func (r *Reporter) due(again bool) time.Duration {
	since := r.o.Clock.Since(r.started)
	switch {
	case again, r.check:
		return 0
	case r.spool.backlog() == 0:
		return r.every - since
	case r.urgent > r.acked || r.spool.backlog() >= gatherBytes:
		return 0
	}
	return gatherTime - since
}

// gather takes the next batch off the spool, nil when there is none and a heartbeat is due.
func (r *Reporter) gather() (*batch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines, err := r.spool.next(wire.MaxBatchEvents, batchBytes)
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	r.room.Broadcast()
	r.number++
	b := &batch{number: r.number, upto: r.acked + int64(len(lines)), lines: lines}
	b.command = r.command
	for _, t := range r.commands {
		if t.after <= b.upto {
			b.command = t.command
		}
	}
	b.encode(r.o.Fence)
	return b, nil
}

// encode joins the lines, which are JSON already, into a wire.Batch.
func (b *batch) encode(fence int64) {
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"fence":%d,"number":%d,"command":%d,"events":[`, fence, b.number, b.command)
	body.Write(bytes.Join(b.lines, []byte(",")))
	body.WriteString("]}")
	b.body = body.Bytes()
}

// exchange sends the batch, or a heartbeat without one, and takes in the acknowledgement.
func (r *Reporter) exchange(ctx context.Context, b *batch) error {
	sent := r.o.Clock.Now()
	r.mu.Lock()
	r.started, r.check = sent, false
	heartbeat := wire.Heartbeat{Fence: r.o.Fence, Command: r.command}
	r.mu.Unlock()
	var ack wire.Ack
	var err error
	if b == nil {
		ack, err = r.o.Gateway.Heartbeat(ctx, heartbeat)
	} else {
		ack, err = r.o.Gateway.Batch(ctx, b.body)
	}
	if err != nil {
		return err
	}
	if !ack.Parked && !ack.Stop {
		r.lease.renew(sent, leaseTime(ack.LeaseSeconds))
	}
	r.mu.Lock()
	r.every = wire.ReportEvery(leaseTime(ack.LeaseSeconds))
	if b != nil {
		r.acked = b.upto
		r.settle()
		r.room.Broadcast()
	}
	r.mu.Unlock()
	switch {
	case ack.Stop:
		r.end(ErrStopped)
	case ack.Parked:
		r.end(ErrParked)
	}
	return nil
}

// abridge replaces what the server will never accept by a note, and keeps the states, which the session hangs on. False means
// that this was done already.
func (r *Reporter) abridge(b *batch, cause error) bool {
	if b.abridged {
		return false
	}
	b.abridged = true
	var kept [][]byte
	for _, line := range b.lines {
		var e wire.Event
		if json.Unmarshal(line, &e) == nil && e.Type == wire.EventState {
			kept = append(kept, line)
		}
	}
	dropped := len(b.lines) - len(kept)
	r.o.Logger.Error("the server refused a report", "events", dropped, "error", cause)
	note, err := noteLine(r.o.Clock.Millis(), "error", fmt.Sprintf("%d events could not be reported: %v.", dropped, cause))
	if err != nil || dropped == 0 {
		return false
	}
	b.lines = append([][]byte{bytes.TrimSpace(note)}, kept...)
	b.encode(r.o.Fence)
	return true
}

// backoff doubles from 100 ms to 5 s with jitter, and never undercuts what the server asked for.
func backoff(tries int, err error) time.Duration {
	d := min(firstBackoff<<min(tries-1, 10), maxBackoff)
	d = d/2 + rand.N(d/2)
	return max(d, link.RetryAfter(err))
}
