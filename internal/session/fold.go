package session

import (
	"encoding/json"
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
	asked   bool // a provider is asked about the pull request: see pulls.go
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

// read opens what changes the session, and refuses data of another shape than its type's: it is opened again whenever the
// conversation or a broken turn is read.
func (r *report) read() error {
	var into any
	switch r.Type {
	case wire.EventState:
		into = &r.state
	case wire.EventTurn:
		into = &r.turn
	case wire.EventPullRequest:
		into = &r.pr
	case wire.EventStructuredOutput:
		into = &r.output
	case wire.EventMessage, wire.EventThought:
		into = &wire.MessageData{}
	case wire.EventTool:
		into = &wire.ToolData{}
	case wire.EventToolOutput:
		into = &wire.ToolOutputData{}
	case wire.EventPermission:
		into = &wire.PermissionData{}
	case wire.EventPlan:
		into = &wire.PlanData{}
	case wire.EventAttachment:
		into = &wire.AttachmentData{}
	default:
		return nil
	}
	return json.Unmarshal(r.Data, into)
}

// folding turns reports into events and changes of one session.
type folding struct {
	s       *Session
	now     time.Time
	drained bool
	rest    *rest
	sighted []wire.PullRequestData // that providers are asked about
}

// rest is how a turn ended, until the whole batch is read: see settle.
type rest struct {
	state  State
	reason string
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
			s.TurnCommand = min(max(1, r.turn.Command), s.LastCommand)
		}
	case wire.EventMessage:
		s.DevinMessages++
	case wire.EventPullRequest:
		if !r.asked {
			return f.pullRequest(evs, r)
		}
		f.sighted = append(f.sighted, r.pr)
		return evs
	case wire.EventStructuredOutput:
		return f.output(evs, r)
	}
	return f.append(evs, r, r.Data)
}

// append adds a report as an event. A payload that was spilled leaves its head behind.
func (f *folding) append(evs []Event, r *report, data json.RawMessage) []Event {
	if r.payload != "" {
		data = head(data)
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
	reason := plain(r.state.Reason, maxReason)
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
	f.rest = nil
	if next.Parked() {
		f.rest = &rest{next, reason}
		return evs
	}
	return f.s.enter(evs, f.now, next, reason)
}

// plain keeps a worker's text short and free of NUL, which PostgreSQL refuses.
func plain(text string, most int) string {
	text = strings.ReplaceAll(text, "\x00", "")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// settle decides what a turn's end means once the whole batch is read: a message that came meanwhile keeps the session working, and a
// required structured output that is missing makes it wait (contract/behaviour.md §3.6). Nobody hears of an end that wasn't one.
func (f *folding) settle(evs []Event) []Event {
	s, end := f.s, f.rest
	switch {
	case end == nil || s.State.Over():
		return evs
	case s.AckedCommand < s.LastCommand:
		return s.enter(evs, f.now, State{StatusRunning, Working}, "")
	case end.state.Detail == Finished && s.OutputSchema != nil && s.OutputRequired && s.Output == nil:
		end = &rest{State{StatusRunning, WaitingForUser}, "the turn ended without the structured output that the session requires"}
	}
	s.TurnCommand = 0
	return s.enter(evs, f.now, end.state, end.reason)
}

// output keeps the last valid object; an invalid one is recorded with what is wrong.
func (f *folding) output(evs []Event, r *report) []Event {
	if f.s.OutputSchema == nil {
		return evs
	}
	if r.output.Error == "" {
		f.s.Output = r.output.Value
	}
	encoded, err := json.Marshal(r.output)
	if err != nil {
		return evs
	}
	return f.append(evs, r, encoded)
}
