// Package clock is the only place that reads the time, so that tests can turn it.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time. The zero value is the machine's clock.
type Clock struct{ fake *Fake }

// Now gives the current time. With the machine's clock it carries the monotonic reading.
func (c Clock) Now() time.Time {
	if c.fake != nil {
		return c.fake.now()
	}
	return time.Now()
}

// Millis gives the current time in Unix milliseconds, the form the database keeps.
func (c Clock) Millis() int64 { return c.Now().UnixMilli() }

// Since gives the time passed since t.
func (c Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Sleep waits for d or until ctx ends, and reports whether it waited in full. It waits by the machine's time even with a fake
// clock: what is awaited there is other goroutines.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Fake is a clock that a test turns by hand.
type Fake struct {
	mu sync.Mutex
	t  time.Time
}

// NewFake makes a fake clock that shows t.
func NewFake(t time.Time) *Fake { return &Fake{t: t} }

// Clock gives the clock that reads f.
func (f *Fake) Clock() Clock { return Clock{fake: f} }

// Advance turns the clock forward.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t = f.t.Add(d)
}

func (f *Fake) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.t
}
