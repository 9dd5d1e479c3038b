package report

import (
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
)

// lease is the worker's own view of its claim's lease. It counts from the moment a renewing request was sent, not from its
// answer, and by the monotonic clock: it always ends before the server's.
type lease struct {
	clock        clock.Clock
	freeze, thaw func()

	mu      sync.Mutex
	timer   *time.Timer
	until   time.Time
	frozen  bool
	stopped bool
}

// leaseTime is the lease that an acknowledgement grants; a server that doesn't say grants the usual one.
func leaseTime(seconds int) time.Duration {
	if seconds <= 0 {
		seconds = wire.LeaseSeconds
	}
	return time.Duration(seconds) * time.Second
}

// renew takes note that a request sent at that time was acknowledged.
func (l *lease) renew(sent time.Time, granted time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.until = sent.Add(wire.FreezeAfter(granted))
	left := l.until.Sub(l.clock.Now())
	if l.timer == nil {
		l.timer = time.AfterFunc(left, l.expire)
	} else {
		l.timer.Reset(left)
	}
	if l.frozen && left > 0 {
		l.frozen = false
		if l.thaw != nil {
			l.thaw()
		}
	}
}

// expire freezes unless a renewal came in between.
func (l *lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || l.frozen || l.clock.Now().Before(l.until) {
		return
	}
	l.frozen = true
	if l.freeze != nil {
		l.freeze()
	}
}

// stop ends the watch; a frozen agent stays frozen, for it is about to be killed.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
