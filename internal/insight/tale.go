package insight

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"gantry/internal/session"
	"gantry/internal/wire"
)

// tale is what the recorded events tell of a session, in the order in which it happened.
type tale struct {
	s     *session.Session
	steps []step
	calls map[string]*call
	notes []session.UsedNote
	// prompt is the first message, corrections are later ones that say that something was wrong.
	prompt      string
	corrections []correction
	paths       map[string]bool
	turns       int  // that began
	ended       int  // that ended as the agent wished
	cut         bool // there was more than is looked at
}

// step is one event that matters.
type step struct {
	seq  int64
	at   time.Time
	typ  string
	text string
	// call is the tool call that ended here.
	call    *call
	command int64
	status  string
	url     string
}

// call is one tool call.
type call struct {
	id, title, kind string
	status          string
	exit            *int
	output          string // the end of it, of failed calls only
}

func (c *call) failed() bool { return c.status == wire.ToolFailed || (c.exit != nil && *c.exit != 0) }

// correction is a message of the user that says that something was wrong.
type correction struct {
	command int64
	text    string
}

// Bounds on what is looked at.
const (
	maxEvents   = 20_000
	maxSteps    = 4000
	maxPaths    = 2000
	maxOutputs  = 20 // failed calls whose output is looked at
	pageSize    = 500
	outputBytes = 1500
)

// gather reads a session's past.
func (v *Service) gather(ctx context.Context, sessionID string) (*tale, error) {
	s, err := v.Sessions.Find(ctx, "", sessionID)
	if err != nil {
		return nil, err
	}
	t := &tale{s: s, calls: map[string]*call{}, paths: map[string]bool{}}
	seq, outputs := int64(0), 0
	for n := 0; ; n += pageSize {
		events, err := v.Sessions.StoryAfter(ctx, sessionID, seq, pageSize)
		if err != nil {
			return nil, err
		}
		for i := range events {
			e := &events[i]
			seq = e.Seq
			ended := t.take(e)
			if ended == nil || !ended.failed() || outputs == maxOutputs {
				continue
			}
			outputs++
			if ended.output, err = v.Sessions.OutputBefore(ctx, sessionID, ended.id, e.Seq, outputBytes); err != nil {
				return nil, err
			}
		}
		if len(events) < pageSize {
			break
		}
		if n+pageSize >= maxEvents || len(t.steps) >= maxSteps {
			t.cut = true
			break
		}
	}
	t.notes, err = v.Sessions.UsedNotes(ctx, sessionID)
	return t, err
}

// take reads one event and gives the tool call that ended with it. What can't be read as its type says is passed over: the head of a
// payload that went to the blobs may lack members.
func (t *tale) take(e *session.Event) *call {
	s := step{seq: e.Seq, at: time.UnixMilli(e.CreatedAt), typ: e.Type}
	switch e.Type {
	case session.EventUserMessage:
		t.message(e, &s)
	case wire.EventTurn:
		var d wire.TurnData
		read(e, &d)
		s.command, s.status, s.text = d.Command, d.Status, d.StopReason
		if d.Status == "started" {
			t.turns++
		} else if d.StopReason == "" || d.StopReason == "end_turn" {
			t.ended++
		}
	case wire.EventTool:
		if s.call = t.tool(e); s.call == nil {
			return nil
		}
	default:
		if !s.read(e) {
			return nil
		}
	}
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, s)
	}
	return s.call
}

func read(e *session.Event, into any) { _ = json.Unmarshal(e.Data, into) } // see take

func (t *tale) message(e *session.Event, s *step) {
	var d session.UserMessage
	read(e, &d)
	s.text, s.command = d.Text, d.Command
	if t.prompt == "" {
		t.prompt = d.Text
		return
	}
	if corrects(d.Text) && len(t.corrections) < maxItems {
		t.corrections = append(t.corrections, correction{d.Command, d.Text})
	}
}

// tool follows a call through its events and gives it when it ends.
func (t *tale) tool(e *session.Event) *call {
	var d wire.ToolData
	read(e, &d)
	c := t.calls[d.ID]
	if c == nil {
		if len(t.calls) >= maxSteps {
			return nil
		}
		c = &call{id: d.ID}
		t.calls[d.ID] = c
	}
	if d.Title != "" {
		c.title = oneLine(d.Title)
	}
	if d.Kind != "" {
		c.kind = d.Kind
	}
	if d.ExitCode != nil {
		c.exit = d.ExitCode
	}
	for _, p := range d.Paths {
		if len(t.paths) < maxPaths {
			t.paths[p] = true
		}
	}
	before := c.status
	if d.Status != "" {
		c.status = d.Status
	}
	ended := func(s string) bool {
		return s == wire.ToolCompleted || s == wire.ToolFailed || s == wire.ToolInterrupted
	}
	if ended(c.status) && !ended(before) {
		return c
	}
	return nil
}

// read takes from the rarer events what an analysis needs; false for those it doesn't.
func (s *step) read(e *session.Event) bool {
	switch e.Type {
	case wire.EventMessage:
		var d wire.MessageData
		read(e, &d)
		s.text = d.Text
	case session.EventStatus:
		var d session.StatusChange
		read(e, &d)
		s.status, s.text = string(d.Status), d.Reason
	case session.EventLimit:
		var d session.LimitData
		read(e, &d)
		s.status = d.Scope
	case session.EventLeaseLost:
	case wire.EventSetup:
		var d wire.SetupData
		read(e, &d)
		s.status, s.text, s.url = d.Status, d.Detail, d.Phase
	case wire.EventAgent:
		var d wire.AgentData
		read(e, &d)
		s.status, s.text = d.Status, d.Detail
	case wire.EventPermission:
		var d wire.PermissionData
		read(e, &d)
		s.status, s.text = d.Status, d.Title
	case wire.EventStructuredOutput:
		var d wire.OutputData
		read(e, &d)
		s.text = d.Error
	case wire.EventPullRequest:
		var d wire.PullRequestData
		read(e, &d)
		s.url, s.status = d.URL, d.State
	case wire.EventLog:
		var d wire.LogData
		read(e, &d)
		s.status, s.text = d.Level, d.Text
	default:
		return false
	}
	return true
}

// correcting are beginnings and phrases by which people say that something was wrong.
var (
	correctingFirst = []string{"no ", "nope", "wrong", "actually", "stop", "undo", "revert", "that s not", "that is not", "not what", "still "}
	correctingAny   = []string{
		" instead ", " not what i ", " you forgot ", " you missed ", " you should have ", " don t ", " do not ", " doesn t work ",
		" does not work ", " still fails ", " still broken ", " still not ", " is wrong ", " was wrong ", " are wrong ", " i meant ", " i said ",
		" i asked ", " revert ", " undo ", " must not ", " shouldn t ", " should not ",
	}
)

// corrects reports whether a follow-up message says that something was wrong.
func corrects(text string) bool {
	w := plainWords(short(text))
	for _, p := range correctingFirst {
		if strings.HasPrefix(w, " "+p) {
			return true
		}
	}
	for _, p := range correctingAny {
		if strings.Contains(w, p) {
			return true
		}
	}
	return false
}
