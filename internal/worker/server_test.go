package worker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

const testKey = "gwk_test"

// server speaks the wire form of both doors, by the rules that package wire states. What the real one decides is decided here
// as simply as can be: a claim is parked when its session waits and every message was taken.
type server struct {
	url string

	mu       sync.Mutex
	sessions map[string]*session
	queue    []string
	reports  []wire.WorkerReport
	reply    wire.WorkerReply
	refuse   int  // status that claim-next answers, 0 for none
	down     bool // every connection breaks
}

// session is one session as the server keeps it.
type session struct {
	s    *server
	id   string
	spec wire.Spec
	env  []wire.EnvVar

	fence    int64
	claimed  bool
	batch    int64
	taken    int64 // acknowledged command
	commands []wire.Command
	events   []wire.Event
	files    map[string]string // uploaded, by name
	given    map[string]string // to be downloaded, by id
	secrets  bool              // handed out under this fence
	lease    int               // seconds
	wake     chan struct{}
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{sessions: map[string]*session{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /gantry/v1/outposts/default/claim-next", s.claimNext)
	mux.HandleFunc("POST /gantry/v1/outposts/default/workers", s.worker)
	for pattern, do := range map[string]func(*session, http.ResponseWriter, *http.Request){
		"GET /gw/{id}/spec": (*session).serveSpec, "POST /gw/{id}/secrets": (*session).serveSecrets,
		"POST /gw/{id}/batches": (*session).serveBatch, "POST /gw/{id}/heartbeat": (*session).serveHeartbeat,
		"GET /gw/{id}/commands": (*session).serveCommands, "POST /gw/{id}/attachments": (*session).serveUpload,
		"GET /gw/{id}/attachments/{file}": (*session).serveDownload,
	} {
		mux.HandleFunc(pattern, s.gateway(do))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = nil
	s.url = srv.URL
	t.Cleanup(srv.Close)
	return s
}

// setDown cuts the server off, or brings it back.
func (s *server) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	for _, one := range s.sessions {
		one.changed() // open streams break too
	}
}

// session adds a session with its prompt and queues it.
func (s *server) session(id, prompt string, spec wire.Spec) *session {
	spec.SessionID, spec.OrgID = id, "org-1"
	one := &session{s: s, id: id, spec: spec, files: map[string]string{}, given: map[string]string{}, wake: make(chan struct{}), lease: wire.LeaseSeconds}
	s.mu.Lock()
	s.sessions[id] = one
	s.mu.Unlock()
	one.tell(wire.Command{Kind: wire.CommandMessage, Text: prompt})
	one.enqueue(wire.KindNew)
	return one
}

// enqueue puts the session into the queue under a new fence.
func (one *session) enqueue(kind string) {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	one.fence++
	one.batch, one.claimed, one.secrets = 0, false, false
	one.spec.Kind = kind
	one.s.queue = append(one.s.queue, one.id)
	one.changed()
}

// tell gives the session a command.
func (one *session) tell(c wire.Command) {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	c.Number = int64(len(one.commands) + 1)
	one.commands = append(one.commands, c)
	one.changed()
}

// bring gives the last command playbooks and notes, before a worker hears of it.
func (one *session) bring(playbooks, notes []wire.Text) {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	c := &one.commands[len(one.commands)-1]
	c.Playbooks, c.Notes = playbooks, notes
}

// changed wakes the streams. The caller holds the lock.
func (one *session) changed() {
	close(one.wake)
	one.wake = make(chan struct{})
}

func (s *server) claimNext(w http.ResponseWriter, r *http.Request) {
	var c wire.ClaimNext
	_ = json.NewDecoder(r.Body).Decode(&c)
	deadline := time.After(time.Duration(c.WaitSeconds) * time.Second)
	for {
		s.mu.Lock()
		if s.refuse != 0 || r.Header.Get("Authorization") != "Bearer "+testKey {
			w.WriteHeader(max(s.refuse, http.StatusUnauthorized))
			s.mu.Unlock()
			return
		}
		if len(s.queue) > 0 {
			one := s.sessions[s.queue[0]]
			s.queue = s.queue[1:]
			one.claimed = true
			claim := wire.Claim{
				SessionID: one.id, OrgID: "org-1", OutpostID: "default", Kind: one.spec.Kind, Fence: one.fence,
				ConnectToken: one.token(), GatewayURL: s.url + "/gw/" + one.id,
			}
			s.mu.Unlock()
			_ = json.NewEncoder(w).Encode(claim)
			return
		}
		s.mu.Unlock()
		select {
		case <-r.Context().Done():
			return
		case <-deadline:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (one *session) token() string { return fmt.Sprintf("gct_%s_%d", one.id, one.fence) }

func (s *server) worker(w http.ResponseWriter, r *http.Request) {
	var report wire.WorkerReport
	_ = json.NewDecoder(r.Body).Decode(&report)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+testKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.reports = append(s.reports, report)
	_ = json.NewEncoder(w).Encode(s.reply)
}

func (s *server) gateway(do func(*session, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		one := s.sessions[r.PathValue("id")]
		ok := one != nil && one.claimed && r.Header.Get("Authorization") == "Bearer "+one.token()
		s.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		do(one, w, r)
	}
}

func (one *session) serveSpec(w http.ResponseWriter, _ *http.Request) {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	one.spec.Fence, one.spec.LastBatch, one.spec.LastCommand = one.fence, one.batch, one.taken
	_ = json.NewEncoder(w).Encode(one.spec)
}

func (one *session) serveSecrets(w http.ResponseWriter, _ *http.Request) {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	if one.secrets {
		w.WriteHeader(http.StatusConflict)
		return
	}
	one.secrets = true
	_ = json.NewEncoder(w).Encode(wire.SecretsReply{Environment: one.env})
}

func (one *session) serveBatch(w http.ResponseWriter, r *http.Request) {
	var b wire.Batch
	if json.NewDecoder(r.Body).Decode(&b) != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	if b.Fence != one.fence || b.Number > one.batch+1 {
		w.WriteHeader(http.StatusConflict)
		return
	}
	ack := wire.Ack{LeaseSeconds: one.lease}
	if b.Number == one.batch+1 {
		one.batch = b.Number
		one.taken = max(one.taken, b.Command)
		one.events = append(one.events, b.Events...)
		ack.Parked, ack.Stop = one.over(b.Events)
		one.claimed = one.claimed && !ack.Parked && !ack.Stop
		one.changed()
	}
	ack.Number = one.batch
	_ = json.NewEncoder(w).Encode(ack)
}

// over decides whether the claim ends with these events. The caller holds the lock.
func (one *session) over(events []wire.Event) (parked, stop bool) {
	for _, e := range events {
		var st wire.StateData
		if e.Type != wire.EventState || json.Unmarshal(e.Data, &st) != nil {
			continue
		}
		switch st.State {
		case wire.StateFinished, wire.StateWaitingForUser:
			parked = !slices.ContainsFunc(one.commands, func(c wire.Command) bool {
				return c.Number > one.taken && c.Kind == wire.CommandMessage
			})
		case wire.StateSuspended, wire.StateExited, wire.StateError:
			stop = true
		default:
			parked = false
		}
	}
	return parked, stop
}

func (one *session) serveHeartbeat(w http.ResponseWriter, r *http.Request) {
	var h wire.Heartbeat
	_ = json.NewDecoder(r.Body).Decode(&h)
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	if h.Fence != one.fence {
		w.WriteHeader(http.StatusConflict)
		return
	}
	one.taken = max(one.taken, h.Command)
	_ = json.NewEncoder(w).Encode(wire.Ack{Number: one.batch, LeaseSeconds: one.lease})
}

func (one *session) serveCommands(w http.ResponseWriter, r *http.Request) {
	var after int64
	_, _ = fmt.Sscan(r.URL.Query().Get("after"), &after)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	for {
		one.s.mu.Lock()
		wake, over := one.wake, !one.claimed || one.s.down
		fresh := slices.Clone(one.commands[min(int(after), len(one.commands)):])
		one.s.mu.Unlock()
		if over {
			return
		}
		for _, c := range fresh {
			data, _ := json.Marshal(c)
			_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", c.Number, data)
			after = c.Number
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-wake:
		}
	}
}

func (one *session) serveUpload(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	name := r.URL.Query().Get("name")
	one.files[name] = string(body)
	_ = json.NewEncoder(w).Encode(wire.AttachmentReply{ID: "att-" + name})
}

func (one *session) serveDownload(w http.ResponseWriter, r *http.Request) {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	_, _ = io.WriteString(w, one.given[r.PathValue("file")])
}

// await waits until done says so of everything that was reported, and gives the events.
func (one *session) await(t *testing.T, what string, done func([]wire.Event) bool) []wire.Event {
	t.Helper()
	var events []wire.Event
	require.Eventually(t, func() bool {
		one.s.mu.Lock()
		events = slices.Clone(one.events)
		one.s.mu.Unlock()
		return done(events)
	}, time.Minute, 10*time.Millisecond, "%s; got:\n%s", what, lazy(func() string { return tell(one.all()) }))
	return events
}

func (one *session) all() []wire.Event {
	one.s.mu.Lock()
	defer one.s.mu.Unlock()
	return slices.Clone(one.events)
}

// awaitState waits for the n-th report of a state and gives all events so far.
func (one *session) awaitState(t *testing.T, state string, n int) []wire.Event {
	t.Helper()
	return one.await(t, "state "+state, func(events []wire.Event) bool { return len(states(events, state)) >= n })
}

// lazy is text that is only made when it is printed.
type lazy func() string

func (l lazy) String() string { return l() }

// tell shows events, one a line.
func tell(events []wire.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s\n", e.Type, e.Data)
	}
	return b.String()
}

// pick decodes the data of all events of a type.
func pick[T any](events []wire.Event, kind string) []T {
	var out []T
	for _, e := range events {
		var d T
		if e.Type == kind && json.Unmarshal(e.Data, &d) == nil {
			out = append(out, d)
		}
	}
	return out
}

// states gives the reports of one state, of all with an empty name.
func states(events []wire.Event, state string) []wire.StateData {
	all := pick[wire.StateData](events, wire.EventState)
	return slices.DeleteFunc(all, func(s wire.StateData) bool { return state != "" && s.State != state })
}

// text joins what the agent said.
func text(events []wire.Event) string {
	var b strings.Builder
	for _, m := range pick[wire.MessageData](events, wire.EventMessage) {
		b.WriteString(m.Text + "\n")
	}
	return b.String()
}
