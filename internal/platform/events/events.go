// Package events carries thin notices: "something about this id changed, look". No notice is a fact. A woken reader reads the
// database, and a reader that is never woken looks by itself once a second or so; so notices may be lost, doubled or merged.
package events

import "sync"

// Topics of the notices. An id below a topic says which one; "" stands for any.
const (
	Access  = "access"  // access_changes has a new row; no id
	Session = "session" // a session has new events; the session's id
	Queue   = "queue"   // an outpost's queue changed; the outpost's id
	Command = "command" // a session has new commands; the session's id
)

// Hub hands notices to subscribers in this process, and with a Bridge to the other replicas.
type Hub struct {
	mu     sync.RWMutex
	topics map[string]*topic
	// forward hears of every notice made in this process; nil without a bridge.
	forward func(topic, id string)
}

type topic struct {
	all  map[*subscriber]struct{}
	byID map[string]map[*subscriber]struct{}
}

// subscriber has room for one wake-up. A full channel is fine: the reader will look anyway.
type subscriber struct{ wake chan struct{} }

// New makes a hub.
func New() *Hub { return &Hub{topics: map[string]*topic{}} }

// Publish wakes those who listen to the topic and id. With id "" it wakes every listener of the topic. It never blocks.
func (h *Hub) Publish(topicName, id string) {
	h.deliver(topicName, id)
	h.mu.RLock()
	forward := h.forward
	h.mu.RUnlock()
	if forward != nil {
		forward(topicName, id)
	}
}

func (h *Hub) deliver(topicName, id string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	t := h.topics[topicName]
	if t == nil {
		return
	}
	wake(t.all)
	if id != "" {
		wake(t.byID[id])
		return
	}
	for _, subs := range t.byID {
		wake(subs)
	}
}

// deliverAll wakes everybody: after a gap nobody knows what was missed.
func (h *Hub) deliverAll() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.topics {
		wake(t.all)
		for _, subs := range t.byID {
			wake(subs)
		}
	}
}

func wake(subs map[*subscriber]struct{}) {
	for s := range subs {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Subscribe gives a channel that is woken for notices of the topic and id, or with id "" for all of the topic. Wake-ups merge.
// The caller calls cancel when it stops listening; the channel is never closed.
func (h *Hub) Subscribe(topicName, id string) (<-chan struct{}, func()) {
	s := &subscriber{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[topicName]
	if t == nil {
		t = &topic{all: map[*subscriber]struct{}{}, byID: map[string]map[*subscriber]struct{}{}}
		h.topics[topicName] = t
	}
	if id == "" {
		t.all[s] = struct{}{}
	} else {
		if t.byID[id] == nil {
			t.byID[id] = map[*subscriber]struct{}{}
		}
		t.byID[id][s] = struct{}{}
	}
	return s.wake, func() { h.drop(topicName, id, s) }
}

func (h *Hub) drop(topicName, id string, s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[topicName]
	if t == nil {
		return
	}
	delete(t.all, s)
	if subs := t.byID[id]; subs != nil {
		delete(subs, s)
		if len(subs) == 0 {
			delete(t.byID, id)
		}
	}
	if len(t.all) == 0 && len(t.byID) == 0 {
		delete(h.topics, topicName)
	}
}
