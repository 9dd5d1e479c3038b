package session

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

const columns = `session_id, org_id, title, status, status_detail, status_reason, created_at, updated_at, user_id, service_user_id,
	playbook_id, child_playbook_id, parent_session_id, child_session_ids, schedule_id, automation_id, origin, category, subcategory,
	devin_mode, platform, agent, tags, repos, session_links, pull_requests, is_archived, resumable, bypass_approval,
	structured_output, structured_output_schema, structured_output_required, max_acu_limit, acu_micros, run_acu_micros,
	metered_at, interval_start, idle_since, turn_command, last_seq, last_command, acked_command, num_user_messages,
	num_devin_messages, ended_at, outpost_id, size, counted`

// scan reads one session. Rows share places to be read into, which saves an allocation for each column.
func scan(r db.Scanner) (*Session, error) {
	s := scans.Get().(func(db.Scanner) (*Session, error))
	defer scans.Put(s)
	return s(r)
}

var scans = sync.Pool{New: func() any { return newScan() }}

// scanned is what a row is read into. Its columns are those of the constant above, in their order.
type scanned struct {
	Session
	children, tags, repos, links, prs string
	limit, turn                       sql.NullInt64
}

// newScan gives a scan that reads into a place of its own.
func newScan() func(r db.Scanner) (*Session, error) {
	v := &scanned{}
	into := []any{
		&v.ID, &v.OrgID, db.OrEmpty(&v.Title), &v.State.Status, db.OrEmpty((*string)(&v.State.Detail)), db.OrEmpty(&v.Reason),
		db.OrZero(&v.CreatedAt), db.OrZero(&v.UpdatedAt), db.OrEmpty(&v.UserID), db.OrEmpty(&v.ServiceUserID),
		db.OrEmpty(&v.PlaybookID), db.OrEmpty(&v.ChildPlaybookID), db.OrEmpty(&v.ParentID), &v.children, db.OrEmpty(&v.ScheduleID),
		db.OrEmpty(&v.AutomationID), &v.Origin, db.OrEmpty(&v.Category), db.OrEmpty(&v.Subcategory),
		db.OrEmpty(&v.Mode), db.OrEmpty(&v.Platform), &v.Agent, &v.tags, &v.repos, &v.links, &v.prs, &v.Archived, &v.Resumable, &v.BypassApproval,
		(*[]byte)(&v.Output), (*[]byte)(&v.OutputSchema), &v.OutputRequired, &v.limit, &v.ACUMicros, &v.RunACUMicros,
		db.OrZero(&v.MeteredAt), db.OrZero(&v.IntervalStart), db.OrZero(&v.IdleSince), &v.turn, &v.LastSeq, &v.LastCommand, &v.AckedCommand,
		&v.UserMessages, &v.DevinMessages, db.OrZero(&v.EndedAt), &v.OutpostID, &v.Size, &v.isCounted,
	}
	return func(r db.Scanner) (*Session, error) {
		if err := r.Scan(into...); err != nil {
			return nil, err
		}
		return v.session()
	}
}

// session copies the row out.
func (v *scanned) session() (*Session, error) {
	s := v.Session
	s.MaxACU, s.TurnCommand = v.limit.Int64, v.turn.Int64
	err := errors.Join(texts(v.children, &s.ChildIDs), texts(v.tags, &s.Tags), texts(v.repos, &s.Repos), texts(v.links, &s.Links),
		list(v.prs, &s.PullRequests))
	s.counted = s.measure()
	return &s, err
}

// list decodes a JSON column; the empty list, by far the most common, costs nothing.
func list[T any](text string, into *[]T) error {
	if text == "[]" {
		*into = []T{}
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// texts decodes a JSON column of texts. Where text wrote nothing that had to be escaped, its quotes are only those around each, and cutting
// it there takes a tenth of a decoder's time.
func texts(column string, into *[]string) error {
	inner, opened := strings.CutPrefix(column, `["`)
	inner, closed := strings.CutSuffix(inner, `"]`)
	if !opened || !closed || strings.Contains(column, `\`) {
		return list(column, into)
	}
	*into = strings.Split(inner, `","`)
	return nil
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("session: unencodable column: " + err.Error())
	}
	if string(b) == "null" {
		return "[]"
	}
	return string(b)
}

func nullRaw(r json.RawMessage) sql.NullString {
	return sql.NullString{String: string(r), Valid: r != nil}
}

func nullInt(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }

// choice is what a caller left to choose: which knowledge and secrets. Nil means all, empty none.
type choice struct{ knowledge, secrets []string }

func nullList(l []string) sql.NullString {
	return sql.NullString{String: text(l), Valid: l != nil}
}

func insertTx(ctx context.Context, tx *db.Tx, s *Session, c choice) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO sessions (session_id, org_id, title, status, created_at, updated_at, user_id,
			service_user_id, playbook_id, child_playbook_id, parent_session_id, child_session_ids, schedule_id, automation_id, origin,
			devin_mode, platform, agent, tags, repos, session_links, knowledge_ids, secret_ids, pull_requests, is_archived, resumable,
			bypass_approval, structured_output_schema, structured_output_required, max_acu_limit, acu_micros, run_acu_micros, last_seq,
			last_command, acked_command, num_user_messages, num_devin_messages, outpost_id, size, counted)
		VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, '[]', $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, '[]', 0, $22,
			$23, $24, $25, $26, 0, 0, $27, $28, 0, 1, 0, $29, $30, 1)`,
		s.ID, s.OrgID, db.Null(s.Title), string(s.State.Status), s.CreatedAt.UnixMilli(), db.Null(s.UserID),
		db.Null(s.ServiceUserID), db.Null(s.PlaybookID), db.Null(s.ChildPlaybookID), db.Null(s.ParentID), db.Null(s.ScheduleID),
		db.Null(s.AutomationID), s.Origin, db.Null(s.Mode), db.Null(s.Platform), s.Agent, text(s.Tags), text(s.Repos), text(s.Links),
		nullList(c.knowledge), nullList(c.secrets), db.Bool(s.Resumable), db.Bool(s.BypassApproval), nullRaw(s.OutputSchema),
		db.Bool(s.OutputRequired), nullInt(s.MaxACU), s.LastSeq, s.LastCommand, s.OutpostID, s.Size)
	if err != nil {
		return err
	}
	if err := insertLabelsTx(ctx, tx, "session_tags", "tag", s, s.Tags); err != nil {
		return err
	}
	return insertLabelsTx(ctx, tx, "session_repos", "repo", s, s.Repos)
}

// insertLabelsTx writes the rows that the list's filters search. Table and column are constants of this file.
func insertLabelsTx(ctx context.Context, tx *db.Tx, table, column string, s *Session, labels []string) error {
	for _, l := range labels {
		if _, err := db.Exec(ctx, tx, `INSERT INTO `+table+` (session_id, `+column+`, org_id, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING`, s.ID, l, s.OrgID, s.CreatedAt.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// lockTx reads a session and holds its row until the transaction ends, so that what is decided on it stays true. It comes before the
// queue's row in every transaction, or two of them would wait for one another.
func lockTx(ctx context.Context, tx *db.Tx, sessionID string) (*Session, error) {
	s, err := lockedTx(ctx, tx, sessionID, "")
	if errors.Is(err, db.ErrNone) {
		return nil, errUnknown()
	}
	return s, err
}

// tryLockTx is lockTx without waiting: nil when another transaction has the row. SQLite has one writer and never waits here.
func tryLockTx(ctx context.Context, tx *db.Tx, sessionID string) (*Session, error) {
	s, err := lockedTx(ctx, tx, sessionID, " SKIP LOCKED")
	if errors.Is(err, db.ErrNone) {
		return nil, nil
	}
	return s, err
}

func lockedTx(ctx context.Context, tx *db.Tx, sessionID, wait string) (*Session, error) {
	query := `SELECT ` + columns + ` FROM sessions WHERE session_id = $1`
	if tx.Engine() == db.Postgres {
		query += ` FOR UPDATE` + wait
	}
	return db.One(ctx, tx, scan, query, sessionID)
}

// updateTx writes back what a running session changes.
func updateTx(ctx context.Context, tx *db.Tx, s *Session) error {
	_, err := db.Exec(ctx, tx, `UPDATE sessions SET title = $1, status = $2, status_detail = $3, status_reason = $4, updated_at = $5,
			tags = $6, pull_requests = $7, is_archived = $8, structured_output = $9, acu_micros = $10, run_acu_micros = $11,
			metered_at = $12, interval_start = $13, idle_since = $14, turn_command = $15, last_seq = $16, last_command = $17,
			acked_command = $18, num_user_messages = $19, num_devin_messages = $20, ended_at = $21
		WHERE session_id = $22`,
		db.Null(s.Title), string(s.State.Status), db.Null(string(s.State.Detail)), db.Null(s.Reason), s.UpdatedAt.UnixMilli(),
		text(s.Tags), text(s.PullRequests), db.Bool(s.Archived), nullRaw(s.Output), s.ACUMicros, s.RunACUMicros,
		db.NullMillis(s.MeteredAt), db.NullMillis(s.IntervalStart), db.NullMillis(s.IdleSince), nullInt(s.TurnCommand), s.LastSeq,
		s.LastCommand, s.AckedCommand, s.UserMessages, s.DevinMessages, db.NullMillis(s.EndedAt), s.ID)
	return err
}

func errUnknown() error { return fault.New(fault.NotFound, "session not found") }

// find reads a session of one organization, or with "" of any. A foreign session looks like a missing one.
func find(ctx context.Context, q db.Querier, orgID, sessionID string) (*Session, error) {
	s, err := db.One(ctx, q, scan, `SELECT `+columns+` FROM sessions WHERE session_id = $1`, sessionID)
	if errors.Is(err, db.ErrNone) || (err == nil && orgID != "" && s.OrgID != orgID) {
		return nil, errUnknown()
	}
	return s, err
}
