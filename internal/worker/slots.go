package worker

import (
	"context"
	"sync"
)

// slots counts the turns that are being worked on. A session that waits for an approval gives its slot back and takes one again
// before its agent goes on.
type slots struct {
	capacity int

	mu      sync.Mutex
	used    int
	changed chan struct{} // closed and replaced whenever a slot was put back
}

func newSlots(capacity int) *slots {
	return &slots{capacity: capacity, changed: make(chan struct{})}
}

// free waits until there is a free slot, without taking it: a claim that comes of it takes it by force. So nobody who waits in
// take stands behind a queue that is empty.
func (s *slots) free(ctx context.Context) error {
	return s.wait(ctx, func() {})
}

// take waits for a free slot and takes it.
func (s *slots) take(ctx context.Context) error {
	return s.wait(ctx, func() { s.used++ })
}

// force takes a slot whether one is free or not.
func (s *slots) force() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
}

// put gives a slot back.
func (s *slots) put() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	close(s.changed)
	s.changed = make(chan struct{})
}

// inUse tells how many are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *slots) wait(ctx context.Context, then func()) error {
	for {
		s.mu.Lock()
		if s.used < s.capacity {
			then()
			s.mu.Unlock()
			return nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
