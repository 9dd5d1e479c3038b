package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

func scanEvent(r db.Scanner) (Event, error) {
	var e Event
	var data string
	err := r.Scan(&e.Seq, &e.ID, &e.Type, &e.CreatedAt, &data)
	e.Data = json.RawMessage(data)
	return e, err
}

// Events gives a page of a session's events in order. It needs ViewOrgSessions or ViewAccountSessions.
func (v *Service) Events(ctx context.Context, who access.Subject, orgID, sessionID string, r page.Request) (page.Page[Event], error) {
	s, err := v.Get(ctx, who, orgID, sessionID)
	if err != nil {
		return page.Page[Event]{}, err
	}
	after := int64(0)
	if r.After != nil {
		after, _ = r.After[0].(int64) // a sealed position is what Cut made
	}
	rows, err := v.EventsAfter(ctx, s.ID, after, r.Limit())
	if err != nil {
		return page.Page[Event]{}, err
	}
	return page.Cut(rows, r, func(e Event) page.Position { return page.Position{e.Seq} }), nil
}

// EventsAfter reads at most n events after a number. The caller has checked who asks.
func (v *Service) EventsAfter(ctx context.Context, sessionID string, seq int64, n int) ([]Event, error) {
	return db.All(ctx, v.DB.Reader(), scanEvent, `SELECT seq, event_id, type, created_at, data FROM session_events
		WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, sessionID, seq, n)
}

// WakeCommands subscribes to notices about a session's commands.
func (v *Service) WakeCommands(sessionID string) (<-chan struct{}, func()) {
	return v.Hub.Subscribe(events.Command, sessionID)
}

// Payload opens an event's data that was too large to keep inline. It needs ViewOrgSessions or ViewAccountSessions.
func (v *Service) Payload(ctx context.Context, who access.Subject, orgID, sessionID string, seq int64) (io.ReadCloser, error) {
	s, err := v.Get(ctx, who, orgID, sessionID)
	if err != nil {
		return nil, err
	}
	key, err := db.One(ctx, v.DB.Reader(), db.Text, `SELECT COALESCE(payload, '') FROM session_events
		WHERE session_id = $1 AND seq = $2`, s.ID, seq)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return nil, err
	}
	if key == "" {
		return nil, fault.New(fault.NotFound, "this event has no payload of its own")
	}
	return v.Blobs.Get(ctx, key)
}

// CommandsAfter reads a session's commands after a number, at most n.
func (v *Service) CommandsAfter(ctx context.Context, sessionID string, number int64, n int) ([]wire.Command, error) {
	commands, err := db.All(ctx, v.DB.Reader(), scanCommand, `SELECT data FROM session_commands
		WHERE session_id = $1 AND number > $2 ORDER BY number LIMIT $3`, sessionID, number, n)
	if err != nil {
		return nil, err
	}
	return commands, v.bring(ctx, sessionID, commands)
}

func scanCommand(r db.Scanner) (wire.Command, error) {
	var c wire.Command
	var data string
	if err := r.Scan(&data); err != nil {
		return c, err
	}
	return c, json.NewDecoder(strings.NewReader(data)).Decode(&c)
}
