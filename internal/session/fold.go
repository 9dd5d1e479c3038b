package session

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/wire"
)

// report is one event of a batch, decoded and checked.
type report struct {
	wire.Event
	state   wire.StateData
	turn    wire.TurnData
	pr      wire.PullRequestData
	output  wire.OutputData
	payload string // blob keys
	raw     string
}

// fromWorker are the types a worker may send.
var fromWorker = map[string]bool{
	wire.EventState: true, wire.EventSetup: true, wire.EventTurn: true, wire.EventMessage: true, wire.EventThought: true,
	wire.EventPlan: true, wire.EventTool: true, wire.EventToolOutput: true, wire.EventUsage: true, wire.EventPermission: true,
	wire.EventStructuredOutput: true, wire.EventPullRequest: true, wire.EventAttachment: true, wire.EventAgent: true,
	wire.EventLog: true, wire.EventMode: true, wire.EventCommandsAvailable: true,
}

// decode checks a batch's events: known types, objects, readable fields where they change the session.
func decode(events []wire.Event) ([]report, error) {
	if len(events) > wire.MaxBatchEvents {
		return nil, fault.InvalidField("events", "at most %d events in one batch", wire.MaxBatchEvents)
	}
	out := make([]report, len(events))
	for i, e := range events {
		out[i].Event = e
		if !fromWorker[e.Type] {
			return nil, fault.InvalidField("events", "event %d: a worker can't send the type %.40q", i, e.Type)
		}
		if len(e.Data) == 0 || e.Data[0] != '{' || !utf8.Valid(e.Data) {
			return nil, fault.InvalidField("events", "event %d: data must be an object", i)
		}
		if err := out[i].read(); err != nil {
			return nil, fault.InvalidField("events", "event %d: %s", i, firstLine(err))
		}
	}
	return out, nil
}

func (r *report) read() error {
	switch r.Type {
	case wire.EventState:
		return json.Unmarshal(r.Data, &r.state)
	case wire.EventTurn:
		return json.Unmarshal(r.Data, &r.turn)
	case wire.EventPullRequest:
		return json.Unmarshal(r.Data, &r.pr)
	case wire.EventStructuredOutput:
		return json.Unmarshal(r.Data, &r.output)
	}
	return nil
}

// folding turns reports into events and changes of one session.
type folding struct {
	s       *Session
	now     time.Time
	drained bool
}

// causes are the only transitions a worker may bring about.
var causes = map[string]Cause{
	wire.StateWorking: ByWorking, wire.StateWaitingForUser: ByWaiting, wire.StateWaitingForApproval: ByAsking,
	wire.StateFinished: ByFinishing, wire.StateError: ByFailing,
}

func (f *folding) fold(evs []Event, r *report) []Event {
	s := f.s
	switch r.Type {
	case wire.EventState:
		return f.state(evs, r)
	case wire.EventTurn:
		s.TurnCommand = 0
		if r.turn.Status == "started" {
			s.TurnCommand = max(1, r.turn.Command)
		}
	case wire.EventMessage:
		s.DevinMessages++
	case wire.EventPullRequest:
		if !f.pullRequest(r) {
			return evs
		}
	case wire.EventStructuredOutput:
		return f.output(evs, r)
	}
	return f.append(evs, r, r.Data)
}

// append adds a report as an event. A payload that was spilled leaves its head behind.
func (f *folding) append(evs []Event, r *report, data json.RawMessage) []Event {
	if r.payload != "" {
		data, _ = json.Marshal(map[string]any{"truncated": true, "size": len(r.Data)}) // plain values encode
	}
	f.s.LastSeq++
	return append(evs, Event{
		SessionID: f.s.ID, Seq: f.s.LastSeq, ID: id.New(id.Event), Type: r.Type, CreatedAt: f.now.UnixMilli(), Data: data,
		Payload: r.payload, Raw: r.raw,
	})
}

// maxReason is how much of a worker's sentence is kept.
const maxReason = 2000

func (f *folding) state(evs []Event, r *report) []Event {
	reason := plain(r.state.Reason)
	if r.state.State == wire.StateSuspended || r.state.State == wire.StateExited {
		f.drained = true
		return evs
	}
	c, known := causes[r.state.State]
	if !known {
		return evs
	}
	next, ok := f.s.State.Next(c, f.s.Resumable)
	if !ok {
		return evs
	}
	return f.s.enter(evs, f.now, next, reason)
}

// plain keeps a worker's sentence short and free of NUL, which PostgreSQL refuses.
func plain(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
}

// settle decides what a turn's end means once the whole batch is read: a message that came meanwhile keeps the session working, and a
// required structured output that is missing makes it wait (contract/behaviour.md §3.6).
func (f *folding) settle(evs []Event) []Event {
	s := f.s
	if !s.State.Parked() {
		return evs
	}
	if s.AckedCommand < s.LastCommand {
		return s.enter(evs, f.now, State{StatusRunning, Working}, "")
	}
	if s.State.Detail == Finished && s.OutputSchema != nil && s.OutputRequired && s.Output == nil {
		return s.enter(evs, f.now, State{StatusRunning, WaitingForUser}, "the turn ended without the structured output that the session requires")
	}
	return evs
}

// maxPullRequests is how many of them a session may report.
const maxPullRequests = 100

func (f *folding) pullRequest(r *report) bool {
	u, err := url.Parse(r.pr.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || len(r.pr.URL) > MaxAttachmentID {
		return false
	}
	for i, p := range f.s.PullRequests {
		if p.URL == r.pr.URL {
			f.s.PullRequests[i].State = plain(r.pr.State)
			return true
		}
	}
	if len(f.s.PullRequests) >= maxPullRequests {
		return false
	}
	f.s.PullRequests = append(f.s.PullRequests, PullRequest{URL: r.pr.URL, State: plain(r.pr.State)})
	return true
}

// output keeps the last valid object; an invalid one is recorded with what is wrong.
func (f *folding) output(evs []Event, r *report) []Event {
	if f.s.OutputSchema == nil {
		return evs
	}
	data := wire.OutputData{Value: r.output.Value, Error: checkOutput(f.s.OutputSchema, r.output.Value)}
	if data.Error == "" {
		f.s.Output = r.output.Value
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return evs
	}
	return f.append(evs, r, encoded)
}
