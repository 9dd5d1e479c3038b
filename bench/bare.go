package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/id"
)

// The baseline: net/http, database/sql and encoding/json with nothing of Gantry's around them. It runs the statements that Gantry
// runs, gives the same JSON and writes the same line to its log; it asks nobody who they are.

// bareTask says on which database the baseline works.
type bareTask struct {
	Database, Org, Log string
	Asked              string // the file with what to replay; "" for nothing
}

type bare struct {
	read, write *sql.DB
	org         string
	log         *slog.Logger
	clock       clock.Clock
	replays     []*replayed
}

// bareMain serves until standard input ends.
func bareMain(ctx context.Context) error {
	var t bareTask
	if err := task(&t); err != nil {
		return err
	}
	log, err := os.OpenFile(t.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s := &bare{org: t.Org, log: slog.New(slog.NewJSONHandler(log, nil))}
	if s.read, err = openSQL(t.Database, false); err != nil {
		return err
	}
	s.write = s.read
	if strings.HasPrefix(t.Database, "sqlite:") {
		if s.write, err = openSQL(t.Database, true); err != nil {
			return err
		}
	}
	if t.Asked != "" {
		if err := s.prepare(ctx, t.Asked); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /replay/{n}", s.logged(s.replay))
	mux.HandleFunc("GET /sessions", s.logged(s.list))
	mux.HandleFunc("GET /sessions/{id}", s.logged(s.get))
	mux.HandleFunc("POST /sessions", s.logged(s.create))
	mux.HandleFunc("GET /sessions/{id}/events", s.stream)
	router := chi.NewRouter()
	router.Get("/v3/self", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	router.NotFound(mux.ServeHTTP)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(os.Stdout, l.Addr()) // whoever started this is gone otherwise
	server := http.Server{Handler: router, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openSQL opens a database as Gantry does (internal/platform/db).
func openSQL(rawURL string, writer bool) (*sql.DB, error) {
	path, ok := strings.CutPrefix(rawURL, "sqlite://")
	if !ok {
		d, err := sql.Open("pgx", rawURL)
		if err != nil {
			return nil, err
		}
		d.SetMaxOpenConns(16)
		d.SetMaxIdleConns(16)
		return d, nil
	}
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)", "synchronous(FULL)", "temp_store(MEMORY)"}}
	n := 8
	if writer {
		q.Set("_txlock", "immediate")
		n = 1
	}
	d, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	d.SetMaxOpenConns(n)
	d.SetMaxIdleConns(n)
	return d, nil
}

type bareWriter struct {
	http.ResponseWriter
	status, bytes int
}

func (w *bareWriter) WriteHeader(status int) { w.status = status; w.ResponseWriter.WriteHeader(status) }

func (w *bareWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += n
	return n, err
}

// logged writes the line that Gantry writes for each request.
func (s *bare) logged(f func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		begun := s.clock.Now()
		w := &bareWriter{ResponseWriter: rw, status: http.StatusOK}
		w.Header().Set("Content-Type", "application/json")
		if err := f(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		s.log.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("request_id", id.New(id.Request)), slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.String("query", r.URL.RawQuery), slog.Int("status", w.status), slog.Int("bytes", w.bytes),
			slog.Duration("took", s.clock.Since(begun)), slog.String("remote", r.RemoteAddr), slog.String("principal", ""),
			slog.String("org_id", s.org))
	}
}

func encode(w http.ResponseWriter, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (s *bare) list(w http.ResponseWriter, r *http.Request) error {
	first, err := strconv.Atoi(r.URL.Query().Get("first"))
	if err != nil {
		return err
	}
	rows, err := s.read.QueryContext(r.Context(), bareList, s.org, 0, first+1)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err has what matters
	page := barePage{Items: make([]bareSession, 0, first)}
	var at int64
	for rows.Next() {
		item, created, err := bareScan(rows)
		if err != nil {
			return err
		}
		if len(page.Items) == first {
			page.HasNextPage = true
			break
		}
		page.Items, at = append(page.Items, item), created
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if page.HasNextPage {
		cursor := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", at, page.Items[first-1].SessionID))
		page.EndCursor = &cursor
	}
	return encode(w, page)
}

func (s *bare) get(w http.ResponseWriter, r *http.Request) error {
	item, _, err := bareScan(s.read.QueryRowContext(r.Context(), bareGet, r.PathValue("id")))
	if err != nil {
		return err
	}
	return encode(w, item)
}

// bareCreate is the body of a POST as far as the load uses it.
type bareCreate struct {
	Prompt string   `json:"prompt"`
	Title  string   `json:"title"`
	Tags   []string `json:"tags"`
}

// create commits the rows that Gantry commits: the session with its tags, its first command and two events, its place in the queue,
// the audit entry, and the counters that metrics are answered from.
func (s *bare) create(w http.ResponseWriter, r *http.Request) error {
	var in bareCreate
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return err
	}
	now := s.clock.Now().Truncate(time.Second)
	at := s.clock.Millis()
	out := bareSession{
		SessionID: id.Session(), Status: "new", Title: &in.Title, Tags: in.Tags, OrgID: s.org, CreatedAt: now.Unix(), UpdatedAt: now.Unix(),
		ServiceUserID: new("bench"), Origin: new("api"), PullRequests: []barePull{}, ChildSessionIDs: []string{},
	}
	if out.Tags == nil {
		out.Tags = []string{}
	}
	out.URL = "http://" + r.Host + "/sessions/" + out.SessionID
	tx, err := s.write.BeginTx(r.Context(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing is left to roll back after a commit
	if err := s.insert(r.Context(), tx, out, in, at); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return encode(w, out)
}

type statementArgs struct {
	query string
	args  []any
}

func (s *bare) insert(ctx context.Context, tx *sql.Tx, out bareSession, in bareCreate, at int64) error {
	command, err := json.Marshal(map[string]any{"number": 1, "kind": "message", "text": in.Prompt})
	if err != nil {
		return err
	}
	created, err := json.Marshal(map[string]any{"title": in.Title, "agent": "runbook", "repos": []string{}, "platform": "", "devin_mode": ""})
	if err != nil {
		return err
	}
	said, err := json.Marshal(map[string]any{"text": in.Prompt, "command": 1, "service_user_id": out.ServiceUserID})
	if err != nil {
		return err
	}
	tags, err := json.Marshal(out.Tags)
	if err != nil {
		return err
	}
	audit, err := json.Marshal(map[string]any{"session_id": out.SessionID})
	if err != nil {
		return err
	}
	stamp := sha256.Sum256(audit)
	statements := []statementArgs{
		{bareInsertCommand, []any{out.SessionID, 1, "message", string(command), at}},
		{bareInsertSession, []any{
			out.SessionID, s.org, in.Title, "new", at, nil, out.ServiceUserID, nil, nil, nil, nil, nil, "api", nil, nil, "runbook",
			string(tags), "[]", "[]", nil, nil, 1, 0, nil, 1, nil, 2, 1, "default",
		}},
	}
	for _, t := range out.Tags {
		statements = append(statements, statementArgs{bareInsertTag, []any{out.SessionID, t, s.org, at}})
	}
	statements = append(statements,
		statementArgs{bareInsertEvents, []any{
			out.SessionID, 1, id.New(id.Event), "created", at, string(created), nil, nil,
			out.SessionID, 2, id.New(id.Event), "user_message", at, string(said), nil, nil,
		}},
		statementArgs{bareInsertQueue, []any{out.SessionID, s.org, "default", "new", nil, at}},
		statementArgs{bareInsertLane, []any{"default", s.org, 1}},
		statementArgs{bareInsertAudit, []any{
			id.New(id.AuditLog), at, "create_session", s.org, nil, nil, out.ServiceUserID, "bench", id.New(id.Request), string(audit), stamp[:],
		}},
		statementArgs{bareInsertDays, s.days(at)},
	)
	for _, q := range statements {
		if _, err := tx.ExecContext(ctx, q.query, q.args...); err != nil {
			return err
		}
	}
	return nil
}

// days are the rows of a day's counters that a session of a service user moves: the enterprise's and the organization's, each for
// everybody and for the service user.
func (s *bare) days(at int64) []any {
	var out []any
	for _, org := range []string{"", s.org} {
		for _, user := range []string{"", "bench"} {
			out = append(out, org, "", user, "", 0, at-at%(24*time.Hour).Milliseconds(), 1, 1, 1)
		}
	}
	return out
}

// stream sends a session's events as they come, and looks for more each second as Gantry's readers do that nobody wakes.
func (s *bare) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for after := int64(0); ; {
		var err error
		if after, err = s.events(w, r, after); err != nil {
			return
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-every.C:
		}
	}
}

func (s *bare) events(w http.ResponseWriter, r *http.Request, after int64) (int64, error) {
	rows, err := s.read.QueryContext(r.Context(), bareEvents, r.PathValue("id"), after, 200)
	if err != nil {
		return after, err
	}
	defer func() { _ = rows.Close() }() // Err has what matters
	for rows.Next() {
		var e bareEvent
		var eventID, data string
		if err := rows.Scan(&e.Seq, &eventID, &e.Type, &e.CreatedAt, &data); err != nil {
			return after, err
		}
		e.Data, after = json.RawMessage(data), e.Seq
		text, err := json.Marshal(e)
		if err != nil {
			return after, err
		}
		if _, err := fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, text); err != nil {
			return after, err
		}
	}
	return after, rows.Err()
}
