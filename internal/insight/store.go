package insight

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/session"
)

// record is a row of session_insights; the zero record stands for none.
type record struct {
	sessionID            string
	state                State
	generation, messages int64
	started              time.Time
	analysis             *Analysis
}

// at gives the state at a time: an analysis that takes too long was lost.
func (r record) at(now time.Time) State {
	switch {
	case r.state == "":
		return None
	case r.state == Running && now.Sub(r.started) > staleAfter:
		return Failed
	default:
		return r.state
	}
}

const columns = `session_id, state, generation, messages, started_at, analysis`

func scan(s db.Scanner) (record, error) {
	var r record
	var state string
	var started int64
	var analysis sql.NullString
	if err := s.Scan(&r.sessionID, &state, &r.generation, &r.messages, &started, &analysis); err != nil {
		return r, err
	}
	r.state, r.started = State(state), db.Time(started)
	if !analysis.Valid {
		return r, nil
	}
	r.analysis = &Analysis{}
	return r, json.Unmarshal([]byte(analysis.String), r.analysis)
}

// records reads what is known of some sessions.
func records(ctx context.Context, q db.Querier, ids []string) (map[string]record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, s := range ids {
		args[i] = s
	}
	var w db.Where
	w.Add("session_id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	rows, err := db.All(ctx, q, scan, `SELECT `+columns+` FROM session_insights`+w.SQL(), w.Args()...)
	if err != nil {
		return nil, err
	}
	out := make(map[string]record, len(rows))
	for _, r := range rows {
		out[r.sessionID] = r
	}
	return out, nil
}

// lockTx reads a session's record and holds it until the transaction ends; one that isn't there is made, so that of two who begin at
// once the second finds the first.
func lockTx(ctx context.Context, tx *db.Tx, s *session.Session) (record, error) {
	if _, err := db.Exec(ctx, tx, `INSERT INTO session_insights (session_id, org_id, state, generation, messages, started_at)
		VALUES ($1, $2, 'failed', 0, 0, 0) ON CONFLICT DO NOTHING`, s.ID, s.OrgID); err != nil {
		return record{}, err
	}
	query := `SELECT ` + columns + ` FROM session_insights WHERE session_id = $1`
	if tx.Engine() == db.Postgres {
		query += ` FOR UPDATE`
	}
	return db.One(ctx, tx, scan, query, s.ID)
}

// startTx notes that an analysis runs.
func startTx(ctx context.Context, tx *db.Tx, sessionID string, generation, messages int64, now time.Time) error {
	_, err := db.Exec(ctx, tx, `UPDATE session_insights SET state = 'running', generation = $1, messages = $2, started_at = $3
		WHERE session_id = $4`, generation, messages, now.UnixMilli(), sessionID)
	return err
}

// finishTx ends an analysis, unless a later one was started.
func finishTx(ctx context.Context, tx *db.Tx, sessionID string, generation int64, state State, a *Analysis, now time.Time) error {
	var text sql.NullString
	if a != nil {
		encoded, err := json.Marshal(a)
		if err != nil {
			return err
		}
		text = sql.NullString{String: string(encoded), Valid: true}
	}
	_, err := db.Exec(ctx, tx, `UPDATE session_insights SET state = $1, finished_at = $2, analysis = COALESCE($3, analysis)
		WHERE session_id = $4 AND generation = $5 AND state = 'running'`, string(state), now.UnixMilli(), text, sessionID, generation)
	return err
}
