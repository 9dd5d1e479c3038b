package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/client"
	"gantry/internal/platform/db"
	"gantry/internal/platform/secret"
)

// server is one data directory and the process on it.
type server struct {
	t    *testing.T
	dir  string
	url  string // of the process itself
	db   string
	args []string
	key  string
	org  string
	api  *client.Client
	*process
}

// newServer starts a server without an embedded worker. more are flags of serve.
func newServer(t *testing.T, database string, more ...string) *server {
	t.Helper()
	return startServer(t, database, append(more, "--no-worker")...)
}

// startServer starts a server. An empty database is SQLite in the data directory.
func startServer(t *testing.T, database string, more ...string) *server {
	t.Helper()
	requireSandbox(t)
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "data"), db: database}
	if s.db == "" {
		s.db = "sqlite://" + filepath.Join(s.dir, "gantry.db")
	}
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	s.url = "http://" + address
	s.args = append([]string{"serve", "--data", s.dir, "--database", s.db, "--listen", address, "--sandbox-net", "none"}, more...)
	s.start()
	var k struct {
		Token string `json:"token"`
		OrgID string `json:"org_id"`
	}
	s.admin(&k, "key")
	s.key, s.org = k.Token, k.OrgID
	var err error
	s.api, err = client.New(client.Options{URL: s.url, Key: secret.New(s.key), MaxWait: soon})
	require.NoError(t, err)
	return s
}

// start starts the process (again) and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.process = launch(s.t, nil, s.args...)
	require.Eventually(s.t, func() bool {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, soon, tick, "the server isn't ready")
}

// admin runs an admin command on the server's data and decodes what it prints.
func (s *server) admin(out any, args ...string) {
	s.t.Helper()
	text := command(s.t, append(append([]string{"admin"}, args...), "--data", s.dir, "--database", s.db, "--json")...)
	if out == nil {
		return
	}
	require.NoError(s.t, json.Unmarshal(text, out), "%s", text)
}

// create starts a session of a prompt.
func (s *server) create(p client.CreateSession) string {
	s.t.Helper()
	made, err := s.api.CreateSession(s.t.Context(), s.org, p)
	require.NoError(s.t, err)
	return made.SessionID
}

// run starts a session of runbook blocks.
func (s *server) run(blocks ...string) string {
	s.t.Helper()
	return s.create(client.CreateSession{Prompt: runbook(blocks...)})
}

func (s *server) say(session, text string) {
	s.t.Helper()
	_, err := s.api.SendMessage(s.t.Context(), s.org, session, client.SendMessage{Message: text})
	require.NoError(s.t, err)
}

func runbook(blocks ...string) string {
	var b strings.Builder
	for _, text := range blocks {
		fmt.Fprintf(&b, "```sh\n%s\n```\n", strings.TrimSpace(text))
	}
	return b.String()
}

// await waits until a session is in a state, like running/finished.
func (s *server) await(session, state string) client.Session {
	s.t.Helper()
	var got client.Session
	require.Eventually(s.t, func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
		defer cancel()
		now, err := s.api.GetSession(ctx, s.org, session)
		if err == nil {
			got = now
		}
		return err == nil && strings.TrimSuffix(now.Status+"/"+now.StatusDetail, "/") == state
	}, patient, tick, "the session doesn't become %s", state)
	return got
}

// events reads all events of a session and checks that they are numbered without a gap.
func (s *server) events(session string) timeline {
	s.t.Helper()
	all, err := s.readEvents(session)
	require.NoError(s.t, err)
	for i, e := range all {
		require.EqualValues(s.t, i+1, e.Seq, "event numbers have a gap or a repeat: %s", e.Data)
	}
	return all
}

func (s *server) readEvents(session string) (all timeline, err error) {
	for after := ""; ; {
		p, err := s.api.ListEvents(s.t.Context(), s.org, session, after)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if !p.HasNextPage {
			return all, nil
		}
		after = *p.EndCursor
	}
}

// awaitOutput waits until a session's blocks have printed a text.
func (s *server) awaitOutput(session, text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		all, err := s.readEvents(session)
		return err == nil && strings.Contains(all.output(), text)
	}, patient, 2*tick, "the session never prints %q", text)
}

// awaitMessage waits until a session's agent has said a text.
func (s *server) awaitMessage(session, text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		all, err := s.readEvents(session)
		return err == nil && strings.Contains(all.messages(), text)
	}, patient, 2*tick, "the agent never says %q", text)
}

// follow reads a session's stream as one reader, over whatever breaks in between. The result gives the first n events.
func (s *server) follow(session string) (first func(n int) timeline) {
	ctx, cancel := context.WithCancel(s.t.Context())
	got := make(chan client.Event, 10_000)
	go func() {
		defer close(got)
		for e, err := range s.api.Follow(ctx, s.org, session, 0) {
			if err != nil {
				return
			}
			got <- e
		}
	}()
	return func(n int) (all timeline) {
		defer cancel()
		late := time.AfterFunc(soon, cancel)
		defer late.Stop()
		for e := range got {
			if all = append(all, e); len(all) == n {
				break
			}
		}
		return all
	}
}

// answer is what a plain HTTP request got; status is 0 when there was no answer.
type answer struct {
	status     int
	retryAfter string
	body       string
	took       time.Duration
}

// call sends one request as any program would, without tries.
func (s *server) call(method, path, body string, header http.Header) answer {
	begun := live.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{body: err.Error()}
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{body: err.Error(), took: live.Since(begun)}
	}
	defer func() { _ = resp.Body.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		return answer{body: err.Error(), took: live.Since(begun)}
	}
	return answer{resp.StatusCode, resp.Header.Get("Retry-After"), text.String(), live.Since(begun)}
}

func (s *server) sessionsPath() string { return "/v3/organizations/" + s.org + "/sessions" }

// worker is a split worker's directory and the process on it.
type worker struct {
	s    *server
	dir  string
	args []string
	env  []string
	*process
}

// newWorker starts a split worker. more are flags of worker run.
func (s *server) newWorker(name string, more ...string) *worker {
	s.t.Helper()
	return s.workerAt(name, s.url, filepath.Join(s.t.TempDir(), "worker"), more...)
}

func (s *server) workerAt(name, url, dir string, more ...string) *worker {
	s.t.Helper()
	var k struct{ Token string }
	s.admin(&k, "worker-key", "add", name)
	w := &worker{s: s, dir: dir, env: []string{"GANTRY_WORKER_KEY=" + k.Token}}
	w.args = append([]string{
		"worker", "run", "--server", url, "--dir", w.dir, "--name", name, "--capacity", "4", "--sandbox-net", "none",
	}, more...)
	w.start()
	return w
}

func (w *worker) start() {
	w.s.t.Helper()
	w.process = launch(w.s.t, w.env, w.args...)
}

// file is a file of a session's working directory as the host sees it.
func (w *worker) file(session, name string) string {
	return filepath.Join(w.dir, "sessions", session, "work", name)
}

// open opens the server's database beside it.
func (s *server) open() *db.DB {
	s.t.Helper()
	d, err := db.Open(s.t.Context(), s.db, db.Options{MaxReaders: 2})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = d.Close() })
	return d
}

// requireSandbox skips where no session can run.
func requireSandbox(t *testing.T) {
	t.Helper()
	if err := exec.Command("bwrap", "--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "true").Run(); err != nil {
		t.Skipf("bubblewrap doesn't work here: %v", err)
	}
}
