package session

import (
	"context"
	"encoding/json"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/wire"
)

// What other rooms read of a session's past. Their use cases have checked who asks.

// Find gives a session of one organization, or with "" of any; 404 for one that isn't there.
func (v *Service) Find(ctx context.Context, orgID, sessionID string) (*Session, error) {
	return find(ctx, v.DB.Reader(), orgID, sessionID)
}

// StoryAfter reads at most n events after a number that tell what happened: all but the pieces of output and the agent's reasoning.
func (v *Service) StoryAfter(ctx context.Context, sessionID string, seq int64, n int) ([]Event, error) {
	return db.All(ctx, v.DB.Reader(), scanEvent, `SELECT seq, event_id, type, created_at, data FROM session_events
		WHERE session_id = $1 AND seq > $2 AND type NOT IN ('tool_output', 'thought', 'usage', 'commands_available') ORDER BY seq LIMIT $3`,
		sessionID, seq, n)
}

// UsedNote is a note that a session was given with one of its messages, and why: chosen, pinned, trigger or macro.
type UsedNote struct {
	ID, Name, Reason string
	Command          int64
}

// UsedNotes lists the notes that a session was given, in order.
func (v *Service) UsedNotes(ctx context.Context, sessionID string) ([]UsedNote, error) {
	return db.All(ctx, v.DB.Reader(), func(r db.Scanner) (UsedNote, error) {
		var u UsedNote
		err := r.Scan(&u.ID, &u.Name, &u.Reason, &u.Command)
		return u, err
	}, `SELECT note_id, name, reason, command FROM session_notes WHERE session_id = $1 ORDER BY command, position LIMIT $2`,
		sessionID, maxNotes)
}

// outputLook is how many events before a call's end are looked through for the last of its output.
const outputLook = 40

// OutputBefore gives the end of what a tool call put out, at most n bytes. seq is the number of the event that ended the call.
func (v *Service) OutputBefore(ctx context.Context, sessionID, call string, seq int64, n int) (string, error) {
	rows, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT data FROM session_events
		WHERE session_id = $1 AND seq >= $2 AND seq < $3 AND type = 'tool_output' ORDER BY seq DESC`, sessionID, seq-outputLook, seq)
	if err != nil {
		return "", err
	}
	out := ""
	for _, r := range rows {
		var d wire.ToolOutputData
		if err := json.Unmarshal([]byte(r), &d); err != nil {
			return "", err
		}
		if d.ID == call {
			out = d.Text + out
		}
		if len(out) >= n {
			return strings.ToValidUTF8(out[len(out)-n:], ""), nil
		}
	}
	return out, nil
}
