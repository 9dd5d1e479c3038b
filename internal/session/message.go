package session

import (
	"context"
	"encoding/json"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

// MessageParams say something to a session. OrgID is empty on the enterprise's routes.
type MessageParams struct {
	OrgID          string
	SessionID      string
	Message        string
	AttachmentURLs []string
	AsUserID       string
}

// SendMessage writes to a session and wakes it when it sleeps or waits (contract/behaviour.md §3.2). It needs ManageOrgSessions, on
// the enterprise's routes ManageAccountSessions; speaking for a member needs ImpersonateOrgSessions too. It grants the session another
// run of its ACU limit (§3.17). 409 when the session has ended, or when a limit forbids more work.
func (v *Service) SendMessage(ctx context.Context, who access.Subject, p MessageParams) (*Session, error) {
	l, err := v.Letter(ctx, who, p)
	if err != nil {
		return nil, err
	}
	var s *Session
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		s, err = v.SendTx(ctx, tx, l)
		return err
	})
	return s, err
}

// Letter is a message that may be sent: checked, with everything that has to be done before the transaction.
type Letter struct {
	sessionID string
	who       access.Subject
	msg       UserMessage
}

// Letter does the part of SendMessage that comes before its transaction, with SendMessage's errors.
func (v *Service) Letter(ctx context.Context, who access.Subject, p MessageParams) (*Letter, error) {
	if err := require(who, p.OrgID, access.ManageAccountSessions, access.ManageOrgSessions); err != nil {
		return nil, err
	}
	if err := validText("message", p.Message); err != nil {
		return nil, err
	}
	if err := validURLs("attachment_urls", p.AttachmentURLs); err != nil {
		return nil, err
	}
	seen, err := find(ctx, v.DB.Reader(), p.OrgID, p.SessionID)
	if err != nil {
		return nil, err
	}
	msg := UserMessage{Text: p.Message, UserID: p.AsUserID}
	switch who.Kind {
	case access.Person:
		if msg.UserID == "" {
			msg.UserID = who.ID
		}
	case access.ServiceUser:
		msg.ServiceUserID = who.ID
	case access.Nobody, access.SessionToken, access.Worker, access.System:
	}
	if p.AsUserID != "" {
		if err := v.mayActFor(ctx, who, seen.OrgID, "message_as_user_id", p.AsUserID); err != nil {
			return nil, err
		}
	}
	if seen.State.Over() {
		return nil, errEnded(seen.State)
	}
	if msg.reading, err = v.readMore(ctx, seen, p.Message); err != nil {
		return nil, err
	}
	if msg.Attachments, err = v.collect(ctx, seen.OrgID, "attachment_urls", v.attached(p.AttachmentURLs, p.Message)); err != nil {
		return nil, err
	}
	return &Letter{sessionID: seen.ID, who: who, msg: msg}, nil
}

// SendTx sends a message in the caller's transaction.
func (v *Service) SendTx(ctx context.Context, tx *db.Tx, l *Letter) (*Session, error) {
	return v.changeInTx(ctx, tx, l.sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		return v.messageTx(ctx, tx, l.who, s, evs, now, l.msg)
	})
}

func (v *Service) messageTx(ctx context.Context, tx *db.Tx, who access.Subject, s *Session, evs []Event, now time.Time, msg UserMessage,
) ([]Event, error) {
	if s.State.Over() {
		return nil, errEnded(s.State)
	}
	if err := v.moreTx(ctx, tx, s, now); err != nil {
		return nil, err
	}
	at := now.UnixMilli()
	evs, err := s.sayTx(ctx, tx, evs, at, msg)
	if err != nil {
		return nil, err
	}
	s.UserMessages++
	s.RunACUMicros = 0
	if err := attachTx(ctx, tx, s.ID, msg.Attachments); err != nil {
		return nil, err
	}
	if next, ok := s.State.Next(Message, s.Resumable); ok {
		evs = s.enter(evs, now, next, "")
		if err := v.wakeTx(ctx, tx, s, now); err != nil {
			return nil, err
		}
	}
	v.notifyCommand(tx, s.ID)
	data := map[string]any{"session_id": s.ID}
	if msg.UserID != "" && msg.UserID != who.ID {
		data["message_as_user_id"], data["target_user_id"] = msg.UserID, msg.UserID
	}
	return evs, audit.RecordTx(ctx, tx, who, at, audit.Entry{Action: audit.SendMessage, OrgID: s.OrgID, Data: data})
}

// sayTx appends a user's message: an event for readers, and a command for the worker.
func (s *Session) sayTx(ctx context.Context, tx *db.Tx, evs []Event, at int64, msg UserMessage) ([]Event, error) {
	s.LastCommand++
	msg.Command = s.LastCommand
	cmd := wire.Command{Number: msg.Command, Kind: wire.CommandMessage, Text: msg.Text, Attachments: msg.Attachments}
	if err := insertCommandTx(ctx, tx, s.ID, cmd, at); err != nil {
		return nil, err
	}
	return msg.reading.recordTx(ctx, tx, s, s.add(evs, at, EventUserMessage, msg), at, msg.Command)
}

func insertCommandTx(ctx context.Context, tx *db.Tx, sessionID string, c wire.Command, at int64) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO session_commands (session_id, number, kind, data, created_at) VALUES ($1, $2, $3, $4, $5)`,
		sessionID, c.Number, c.Kind, string(data), at)
	return err
}

// wakeTx puts a session back into the queue, where the machine that has its workspace may take it first.
func (v *Service) wakeTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time) error {
	v.notifyQueue(tx, s.OutpostID)
	return fleet.EnqueueTx(ctx, tx, fleet.Enqueue{
		SessionID: s.ID, OrgID: s.OrgID, OutpostID: s.OutpostID, Platform: s.Platform, Kind: wire.KindResume, At: now,
	})
}

// SessionMessage is one message of the conversation. Source is user or devin. UserID says which person a user's message is from,
// empty for a service user's.
type SessionMessage struct {
	EventID   string
	Source    string
	Text      string
	UserID    string
	CreatedAt time.Time
	seq       int64
}

// Messages lists the conversation, oldest first; the opening prompt is the first user message (contract/behaviour.md §3.2 10). It
// needs ViewOrgSessions or ViewAccountSessions.
func (v *Service) Messages(ctx context.Context, who access.Subject, orgID, sessionID string, r page.Request) (page.Page[SessionMessage], error) {
	var none page.Page[SessionMessage]
	s, err := v.Get(ctx, who, orgID, sessionID)
	if err != nil {
		return none, err
	}
	after := int64(0)
	if r.After != nil {
		after, _ = r.After[0].(int64) // a sealed position is what Cut made
	}
	rows, err := db.All(ctx, v.DB.Reader(), scanMessage, `SELECT seq, event_id, type, created_at, data FROM session_events
		WHERE session_id = $1 AND seq > $2 AND type IN ('message', 'user_message') ORDER BY seq LIMIT $3`, s.ID, after, r.Limit())
	if err != nil {
		return none, err
	}
	return page.Cut(rows, r, func(m SessionMessage) page.Position { return page.Position{m.seq} }), nil
}

func scanMessage(r db.Scanner) (SessionMessage, error) {
	var m SessionMessage
	var typ, data string
	var at int64
	if err := r.Scan(&m.seq, &m.EventID, &typ, &at, &data); err != nil {
		return m, err
	}
	m.CreatedAt, m.Source = db.Time(at), "devin"
	if typ == EventUserMessage {
		m.Source = "user"
	}
	var d struct {
		Text   string `json:"text"`
		UserID string `json:"user_id"`
	}
	err := json.Unmarshal([]byte(data), &d)
	m.Text, m.UserID = d.Text, d.UserID
	return m, err
}

// Prompts gives the opening message of sessions. It authorises nobody: who may read a session may read how it began.
func (v *Service) Prompts(ctx context.Context, sessionIDs []string) (map[string]string, error) {
	out := make(map[string]string, len(sessionIDs))
	if len(sessionIDs) == 0 {
		return out, nil
	}
	var w db.Where
	w.In("session_id", sessionIDs)
	w.Add("seq <= 20 AND type = 'user_message'") // it follows what creation says of itself
	_, err := db.All(ctx, v.DB.Reader(), func(r db.Scanner) (struct{}, error) {
		var id, data string
		if err := r.Scan(&id, &data); err != nil {
			return struct{}{}, err
		}
		var m UserMessage
		err := json.Unmarshal([]byte(data), &m)
		out[id] = m.Text
		return struct{}{}, err
	}, `SELECT session_id, data FROM session_events`+w.SQL()+` ORDER BY seq DESC`, w.Args()...) // the earliest is read last and stays
	return out, err
}
