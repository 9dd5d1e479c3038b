package worker

import (
	"sync"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/link"
)

// inbox holds the commands that the session's loop hasn't looked at yet.
type inbox struct {
	mu       sync.Mutex
	commands []wire.Command
	wake     chan struct{} // has an element while there may be commands
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(c wire.Command) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands = append(b.commands, c)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take gives all that is there, in order.
func (b *inbox) take() []wire.Command {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.commands
	b.commands = nil
	return out
}

// listen reads the command stream until the run ends, and opens it again whenever it breaks.
func (r *run) listen() {
	after, tries := r.spec.LastCommand, 0
	for r.ctx.Err() == nil {
		err := r.gateway.Commands(r.ctx, after, func(c wire.Command) {
			after, tries = c.Number, 0
			r.hear(c)
		})
		if r.ctx.Err() == nil && link.Lost(err) {
			// The server ends the token with the claim. Whether it was parked, stopped or lost, the report hears.
			r.log.Debug("the command stream is closed to this claim", "error", err)
			r.rep.Check()
		}
		tries++
		clock.Sleep(r.ctx, backoff(tries, err)/4)
	}
}

// hear acts at once on what must not wait, and leaves the rest to the loop.
func (r *run) hear(c wire.Command) {
	switch c.Kind {
	case wire.CommandTerminate:
		r.terminated.Store(true)
		r.inbox.put(c)
		r.cancel(errTerminated)
	case wire.CommandSuspend:
		r.inbox.put(c)
		r.pause(&pause{reason: c.Reason})
	default:
		r.inbox.put(c)
	}
}

// sort takes what came in: messages wait for their turn, the rest is given to act. A command counts as done only when every
// message before it was taken in hand, because the server acknowledges them by the highest number.
func (r *run) sort(act func(wire.Command)) {
	for _, c := range r.inbox.take() {
		r.heard = max(r.heard, c.Number)
		if c.Kind == wire.CommandMessage {
			r.waiting = append(r.waiting, c)
		}
		if act != nil {
			act(c)
		}
	}
	r.settle()
}

// settle tells the report which commands are done.
func (r *run) settle() {
	done := r.heard
	if len(r.waiting) > 0 {
		done = r.waiting[0].Number - 1
	}
	r.rep.Took(done)
}
