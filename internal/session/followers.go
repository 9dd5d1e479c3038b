package session

import (
	"context"
	"sync"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
)

// A session that somebody follows is looked at once in a while, whatever is heard of it: notices may be lost. Soon after something
// came, then less and less often.
const (
	lookSoon = time.Second
	lookMost = 5 * time.Second
)

// followers are those who wait for sessions' events. All who follow one session share one subscription and one look: who merely waits
// costs no query.
type followers struct {
	mu sync.Mutex
	by map[string]*follower
}

// follower waits on behalf of everybody who follows one session.
type follower struct {
	stop    context.CancelFunc
	waiting map[chan struct{}]struct{}
}

// Follow gives a channel that fires when a session may have new events, at once for what this deployment hears of and within seconds
// for the rest. known is the newest event that the caller knows of, which reads only after this. It calls stop when it follows no longer.
func (v *Service) Follow(sessionID string, known int64) (wake <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	all := &v.followers
	all.mu.Lock()
	defer all.mu.Unlock()
	f := all.by[sessionID]
	if f == nil {
		if all.by == nil {
			all.by = map[string]*follower{}
		}
		ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // it belongs to no request: the first may leave before the others
		f = &follower{stop: cancel, waiting: map[chan struct{}]struct{}{}}
		all.by[sessionID] = f
		notices, unsubscribe := v.Hub.Subscribe(events.Session, sessionID)
		go func() {
			defer unsubscribe()
			v.lookOut(ctx, sessionID, known, notices, f)
		}()
	}
	f.waiting[ch] = struct{}{}
	return ch, func() { all.leave(sessionID, f, ch) }
}

func (all *followers) leave(sessionID string, f *follower, ch chan struct{}) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(f.waiting, ch)
	if len(f.waiting) == 0 && all.by[sessionID] == f {
		delete(all.by, sessionID)
		f.stop()
	}
}

func (all *followers) wake(f *follower) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for ch := range f.waiting {
		select {
		case ch <- struct{}{}:
		default: // it is going to look anyway
		}
	}
}

// lookOut passes notices on, and looks for what no notice came about.
func (v *Service) lookOut(ctx context.Context, sessionID string, last int64, notices <-chan struct{}, f *follower) {
	pause := lookSoon
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-notices:
			pause = lookSoon
			v.followers.wake(f)
		case <-timer.C:
			seq, err := v.lastEvent(ctx, sessionID)
			switch {
			case err != nil: // the next look may do better; who reads itself finds out
			case seq != last:
				pause, last = lookSoon, seq
				v.followers.wake(f)
			default:
				pause = min(2*pause, lookMost)
			}
		}
		timer.Reset(pause)
	}
}

// lastEvent is the number of a session's newest event, 0 without one.
func (v *Service) lastEvent(ctx context.Context, sessionID string) (int64, error) {
	return db.One(ctx, v.DB.Reader(), db.Int, `SELECT COALESCE(MAX(seq), 0) FROM session_events WHERE session_id = $1`, sessionID)
}
