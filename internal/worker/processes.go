package worker

import (
	"log/slog"
	"sync"

	"gantry/internal/worker/sandbox"
)

// processes are the running programs of one session, as far as they are frozen and thawed together. The zero value is ready.
type processes struct {
	mu     sync.Mutex
	frozen bool
	live   map[*sandbox.Running]struct{}
}

// add takes a program in, and out again when it ends. One that starts while the session is frozen is frozen too.
func (p *processes) add(r *sandbox.Running, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		p.live = map[*sandbox.Running]struct{}{}
	}
	p.live[r] = struct{}{}
	if p.frozen {
		warn(log, r.Freeze())
	}
}

func (p *processes) remove(r *sandbox.Running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, r)
}

func (p *processes) freeze(log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
	for r := range p.live {
		warn(log, r.Freeze())
	}
}

func (p *processes) thaw(log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	for r := range p.live {
		warn(log, r.Thaw())
	}
}

func warn(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("a program can't be frozen or thawed", "error", err)
	}
}
