package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/wire"
)

// breakOffTx ends the turn of a session that is stopped in its middle, in its worker's place: the fence ends in this transaction, so
// nothing that the worker still has to say is taken. A tool call that never ended is interrupted (design: worker.md), and a question
// that is still open is withdrawn.
func breakOffTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
	if s.TurnCommand == 0 {
		return evs, nil
	}
	open, _, err := openTools(ctx, tx, s.ID, evs)
	if err != nil {
		return nil, err
	}
	at := now.UnixMilli()
	if evs, err = s.withdrawTx(ctx, tx, evs, at); err != nil {
		return nil, err
	}
	for _, toolID := range open {
		evs = s.add(evs, at, wire.EventTool, wire.ToolData{ID: toolID, Status: wire.ToolInterrupted})
	}
	evs = s.add(evs, at, wire.EventTurn, wire.TurnData{Status: "ended", Command: s.TurnCommand, StopReason: "cancelled"})
	s.TurnCommand = 0
	return evs, nil
}

// withdrawTx ends the permission request that a session waits for.
func (s *Session) withdrawTx(ctx context.Context, tx *db.Tx, evs []Event, at int64) ([]Event, error) {
	if s.State.Detail != WaitingForApproval {
		return evs, nil
	}
	asked, err := lastAsked(ctx, tx, s.ID)
	if errors.Is(err, db.ErrNone) || err == nil && (asked.Request == "" || asked.Status != "requested") {
		return evs, nil // too large to be kept inline, or only just reported
	}
	if err != nil {
		return nil, err
	}
	asked.Status = "cancelled"
	return s.add(evs, at, wire.EventPermission, asked), nil
}

// lastAsked is what was last said of a permission request; db.ErrNone when there was none.
func lastAsked(ctx context.Context, q db.Querier, sessionID string) (wire.PermissionData, error) {
	text, err := db.One(ctx, q, db.Text, `SELECT data FROM session_events WHERE session_id = $1 AND type = $2 ORDER BY seq DESC LIMIT 1`,
		sessionID, wire.EventPermission)
	if err != nil {
		return wire.PermissionData{}, err
	}
	var asked wire.PermissionData
	return asked, json.Unmarshal([]byte(text), &asked)
}

// maxOpenTitle bounds the title of a call that a worker is told of, in bytes.
const maxOpenTitle = 500

// openTools lists the tool calls of the last turn that never ended, with their titles. Fresh are events that the caller is about to write.
func openTools(ctx context.Context, q db.Querier, sessionID string, fresh []Event) (ids, titles []string, err error) {
	told, err := db.All(ctx, q, scanTool, `SELECT data FROM session_events WHERE session_id = $1 AND type = 'tool'
		AND seq > COALESCE((SELECT MAX(seq) FROM session_events WHERE session_id = $1 AND type = 'turn'), 0) ORDER BY seq`, sessionID)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range fresh {
		switch e.Type {
		case wire.EventTurn:
			told = nil
		case wire.EventTool:
			t, err := readTool(e.Data)
			if err != nil {
				return nil, nil, err
			}
			told = append(told, t)
		}
	}
	open, title := map[string]bool{}, map[string]string{}
	var order []string
	for _, t := range told {
		if _, seen := open[t.ID]; !seen {
			order = append(order, t.ID)
		}
		if t.Title != "" {
			title[t.ID] = t.Title
		}
		switch t.Status {
		case wire.ToolCompleted, wire.ToolFailed, wire.ToolInterrupted:
			open[t.ID] = false
		case wire.ToolPending, wire.ToolInProgress:
			open[t.ID] = true
		default:
			open[t.ID] = open[t.ID] || t.Status == ""
		}
	}
	for _, toolID := range order {
		if open[toolID] {
			ids, titles = append(ids, toolID), append(titles, title[toolID])
		}
	}
	return ids, titles, nil
}

// readTool takes from a tool call's event what says how it stands, and leaves its input and output: a turn may have very many.
func readTool(data []byte) (wire.ToolData, error) {
	var t wire.ToolData
	err := json.Unmarshal(data, &t)
	return wire.ToolData{ID: t.ID, Title: plain(t.Title, maxOpenTitle), Status: t.Status}, err
}

func scanTool(r db.Scanner) (wire.ToolData, error) {
	var data []byte
	if err := r.Scan(&data); err != nil {
		return wire.ToolData{}, err
	}
	return readTool(data)
}
