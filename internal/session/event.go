package session

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
	"gantry/internal/wire"
)

// Event types that the server adds to the worker's (wire/events.go). docs/events.md documents all of them.
const (
	EventCreated     = "created"      // the first event: what was asked for
	EventUserMessage = "user_message" // UserMessage
	EventStatus      = "status"       // StatusChange
	EventClaimed     = "claimed"      // ClaimedData
	EventLeaseLost   = "lease_lost"   // LeaseLost
	EventLimit       = "limit"        // LimitData
	EventTags        = "tags"         // TagsData
	EventArchived    = "archived"     // ArchivedData
	EventContext     = "context"      // ContextData
)

// Event is one numbered thing that a session did. Seq has no gaps within a session. Data is the documented object of its type.
type Event struct {
	SessionID string
	Seq       int64
	ID        string
	Type      string
	CreatedAt int64 // Unix milliseconds, the server's
	Data      json.RawMessage
	Payload   string // blob key of data too large to keep inline
	Raw       string // blob key of the agent's own frame
}

// UserMessage is the data of EventUserMessage. The prompt is the first one.
type UserMessage struct {
	Text          string            `json:"text"`
	Command       int64             `json:"command"`
	UserID        string            `json:"user_id,omitempty"`
	ServiceUserID string            `json:"service_user_id,omitempty"`
	Attachments   []wire.Attachment `json:"attachments,omitempty"`

	reading *reading // what it brings for the agent to read; nil for nothing
}

// ContextData is the data of EventContext: what a message brought for the agent to read, and what of it was left out.
type ContextData struct {
	Command     int64             `json:"command"`
	Playbooks   []ContextPlaybook `json:"playbooks,omitempty"`
	Notes       []ContextNote     `json:"notes,omitempty"`
	LeftOut     []LeftOut         `json:"left_out,omitempty"`
	MoreLeftOut int               `json:"more_left_out,omitempty"` // beyond those listed
}

// ContextPlaybook is a playbook that came with a message. Reason is chosen, macro or parent.
type ContextPlaybook struct {
	PlaybookID string `json:"playbook_id"`
	Title      string `json:"title"`
	AccessType string `json:"access_type"`
	Reason     string `json:"reason"`
}

// ContextNote is a note that came with a message. Reason is chosen, macro, pinned or trigger.
type ContextNote struct {
	NoteID     string `json:"note_id"`
	Name       string `json:"name"`
	AccessType string `json:"access_type"`
	Reason     string `json:"reason"`
}

// LeftOut is a note or playbook that would have come with a message, and why it didn't.
type LeftOut struct {
	NoteID     string `json:"note_id,omitempty"`
	PlaybookID string `json:"playbook_id,omitempty"`
	Name       string `json:"name,omitempty"`
	Reason     string `json:"reason"`
}

// StatusChange is the data of EventStatus: the state after the change and, where it needs one, a sentence on why.
type StatusChange struct {
	Status Status `json:"status"`
	Detail Detail `json:"status_detail,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ClaimedData is the data of EventClaimed.
type ClaimedData struct {
	Hypervisor string `json:"hypervisor_id"`
	Fence      int64  `json:"fence"`
	Kind       string `json:"kind"`
}

// LeaseLost is the data of EventLeaseLost.
type LeaseLost struct {
	Hypervisor string `json:"hypervisor_id"`
	Fence      int64  `json:"fence"`
}

// LimitData is the data of EventLimit. Limit is in ACUs.
type LimitData struct {
	Limit int64   `json:"limit"`
	ACUs  float64 `json:"acus"`
	Scope string  `json:"scope"` // session, session_total, user, organization, group or enterprise
}

// TagsData is the data of EventTags: the whole list.
type TagsData struct {
	Tags []string `json:"tags"`
}

// ArchivedData is the data of EventArchived.
type ArchivedData struct {
	Archived bool `json:"archived"`
}

// add appends an event to a session that the transaction holds; insertEventsTx writes it.
func (s *Session) add(evs []Event, at int64, typ string, data any) []Event {
	text, err := json.Marshal(data)
	if err != nil {
		panic("session: unencodable event data: " + err.Error())
	}
	s.LastSeq++
	return append(evs, Event{SessionID: s.ID, Seq: s.LastSeq, ID: id.New(id.Event), Type: typ, CreatedAt: at, Data: text})
}

// insertRows is how many events one statement takes: 8 arguments each, far below both engines' limits.
const insertRows = 100

func insertEventsTx(ctx context.Context, tx *db.Tx, evs []Event) error {
	for len(evs) > 0 {
		n := min(len(evs), insertRows)
		if err := insertEventRowsTx(ctx, tx, evs[:n]); err != nil {
			return err
		}
		evs = evs[n:]
	}
	return nil
}

func insertEventRowsTx(ctx context.Context, tx *db.Tx, evs []Event) error {
	var b strings.Builder
	b.WriteString(`INSERT INTO session_events (session_id, seq, event_id, type, created_at, data, payload, raw) VALUES `)
	args := make([]any, 0, len(evs)*8)
	for i, e := range evs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(")
		for k := range 8 {
			if k > 0 {
				b.WriteString(", ")
			}
			b.WriteString("$" + strconv.Itoa(i*8+k+1))
		}
		b.WriteString(")")
		args = append(args, e.SessionID, e.Seq, e.ID, e.Type, e.CreatedAt, string(e.Data), db.Null(e.Payload), db.Null(e.Raw))
	}
	_, err := db.Exec(ctx, tx, b.String(), args...)
	return err
}
