package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"gantry/internal/client"
	"gantry/internal/wire"
)

// statusData is the data of the server's event `status`.
type statusData struct {
	Status string `json:"status"`
	Detail string `json:"status_detail"`
	Reason string `json:"reason"`
}

// stopped says whether a session in this state does nothing more by itself.
func stopped(status, detail string) bool {
	switch status {
	case "exit", "error", "suspended":
		return true
	case "running":
		return detail == wire.StateFinished || detail == wire.StateWaitingForUser || detail == wire.StateWaitingForApproval
	}
	return false
}

// ending is how a session stood when the watch ended.
type ending struct {
	session client.Session
	// finished says that its last turn had ended when idle time or a user put it to sleep.
	finished bool
	// slept says that it ended by itself.
	slept bool
}

// code is the exit code of docs/worker.md.
func (e ending) code() int {
	s := e.session
	switch {
	case s.Status == "error" || s.Status == "suspended" && s.StatusDetail == "error":
		return exitError
	case s.Status == "exit" && e.finished && e.slept:
		return exitOK
	case s.Status == "exit":
		return exitTerminated
	case s.Status == "running" && s.StatusDetail == wire.StateFinished:
		return exitOK
	case s.Status != "suspended":
		return exitWaiting
	case s.StatusDetail != "inactivity" && s.StatusDetail != "user_request":
		return exitLimit
	case e.finished:
		return exitOK
	}
	return exitWaiting
}

// asError is the exit code as a command's error.
func (e ending) asError() error {
	if c := e.code(); c != exitOK {
		return exitCode(c)
	}
	return nil
}

// watch reads a session's events until it is done or waits.
type watch struct {
	c       *client.Client
	org     string
	session string
	after   int64
	// sent says that a message was just sent, so that at least its event is still to come.
	sent   bool
	handle func(client.Event)
	// unclaimed is called when no worker has taken the session for patience (default takenWithin). It may be nil.
	unclaimed func()
	patience  time.Duration

	stands   standing
	finished bool // the last running state seen was finished
	slept    bool // it ended by itself: whoever ends a session gives no reason
}

// standing is what the events seen so far say about the session.
type standing int

const (
	unknown standing = iota // they say nothing: what counts came before them
	active
	resting // the last status is one of rest, and no message came after it
)

// settle is how long a resting session's stream must be still before the watch believes that it has seen everything. What a turn
// did was committed before its end was, so this bridges the way only.
const settle = 400 * time.Millisecond

type arrival struct {
	event client.Event
	err   error
}

// run watches. It starts from the events, because a state that is read may be older than a message that was just sent.
func (w *watch) run(ctx context.Context) (ending, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrivals := make(chan arrival)
	go func() {
		defer close(arrivals)
		for e, err := range w.c.Follow(ctx, w.org, w.session, w.after) {
			select {
			case arrivals <- arrival{e, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	still := time.NewTimer(settle)
	defer still.Stop()
	queued := w.queueTimer()
	defer queued.Stop()
	for {
		select {
		case a, ok := <-arrivals:
			if !ok || a.err != nil {
				return w.end(ctx, a.err)
			}
			w.see(a.event)
			w.setQueued(queued, a.event)
			still.Reset(settle)
		case <-queued.C:
			if w.unclaimed != nil {
				w.unclaimed()
			}
		case <-still.C:
			if w.stands == active || w.stands == unknown && w.sent {
				continue // the next event sets the timer again
			}
			end, err := w.end(ctx, nil)
			if err != nil || stopped(end.session.Status, end.session.StatusDetail) {
				return end, err
			}
			still.Reset(restCheck)
		}
	}
}

// takenWithin is how long a session may be queued before whoever watches is told that no worker has taken it.
const takenWithin = 10 * time.Second

// queueTimer is a timer that doesn't run yet: what the watch begins with may be in the middle of a session.
func (w *watch) queueTimer() *time.Timer {
	if w.patience == 0 {
		w.patience = takenWithin
	}
	t := time.NewTimer(w.patience)
	t.Stop()
	return t
}

// setQueued runs the timer while the session is queued.
func (w *watch) setQueued(t *time.Timer, e client.Event) {
	switch e.Type {
	case "created", "lease_lost":
		t.Reset(w.patience)
	case "claimed":
		t.Stop()
	case "status":
		var d statusData
		if json.Unmarshal(e.Data, &d) == nil && d.Status == "resuming" {
			t.Reset(w.patience)
		} else if d.Status != "new" {
			t.Stop()
		}
	}
}

// restCheck is how often a silent session's state is read while its events don't tell it.
const restCheck = 5 * time.Second

func (w *watch) end(ctx context.Context, err error) (ending, error) {
	if err != nil {
		return ending{}, err
	}
	if ctx.Err() != nil {
		return ending{}, ctx.Err()
	}
	s, err := w.c.GetSession(ctx, w.org, w.session)
	return ending{session: s, finished: w.finished, slept: w.slept}, err
}

func (w *watch) see(e client.Event) {
	switch e.Type {
	case "user_message":
		w.stands = active
	case "status":
		var d statusData
		if json.Unmarshal(e.Data, &d) == nil {
			w.stands = active
			if stopped(d.Status, d.Detail) {
				w.stands = resting
			}
			if d.Status == "running" {
				w.finished = d.Detail == wire.StateFinished
			}
			w.slept = d.Reason != ""
		}
	}
	w.handle(e)
}

// goesOn tells whoever interrupts a watch that this ends nothing but the watch.
func goesOn(ctx context.Context, io *stdio, session string) {
	if errors.Is(ctx.Err(), context.Canceled) {
		io.note("\nthe session goes on: `gantry session follow %s` shows it again, `gantry session stop %s` ends it", session, session)
	}
}

// follow shows a watch to a person, or as one JSON object a line, and gives the exit code as its error.
func follow(ctx context.Context, io *stdio, w *watch, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(io.out)
		enc.SetEscapeHTML(false)
		var broken error
		w.handle = func(e client.Event) { broken = errors.Join(broken, enc.Encode(e)) }
		end, err := w.run(ctx)
		if err = errors.Join(err, broken); err != nil {
			goesOn(ctx, io, w.session)
			return explain(err)
		}
		return end.asError()
	}
	live := startLive(ctx, io, w)
	r := &renderer{out: live, colour: io.terminal, org: w.org, session: w.session}
	w.handle = func(e client.Event) {
		r.event(e)
		live.heard(e)
	}
	w.unclaimed = r.unclaimed
	end, err := w.run(ctx)
	r.close()
	live.stop()
	if err != nil {
		goesOn(ctx, io, w.session)
		return explain(err)
	}
	r.summary(end, strings.TrimSuffix(w.c.URL(), "/"))
	io.missed(live.broken)
	return end.asError()
}
