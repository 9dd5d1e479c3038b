package org

import "sync"

const (
	// aliveMillis is how long a yes is kept.
	aliveMillis = 1000
	// aliveMost bounds what is kept; beyond it everything is forgotten and asked again.
	aliveMost = 10_000
)

// alive remembers which organizations were there a moment ago.
type alive struct {
	mu   sync.RWMutex
	seen map[string]int64
}

func (a *alive) has(orgID string, now int64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	at, ok := a.seen[orgID]
	return ok && now-at < aliveMillis
}

func (a *alive) note(orgID string, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil || len(a.seen) >= aliveMost {
		a.seen = map[string]int64{}
	}
	a.seen[orgID] = now
}

func (a *alive) forget(orgID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seen, orgID)
}
