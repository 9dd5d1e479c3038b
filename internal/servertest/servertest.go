// Package servertest starts the whole server in process for tests: the real rooms and doors on a real database, on request with a
// real listener and a real worker. Every answer that goes through it is checked against the emitted OpenAPI document.
package servertest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/client"
	"gantry/internal/kit/kittest"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/secret"
	"gantry/internal/server"
)

// Options of New. The zero value is a server on SQLite, reached through its handler only, with nothing in the background.
type Options struct {
	Engine db.Engine // default SQLite
	// Clock turns the server's time by hand; nil is the machine's clock.
	Clock *clock.Fake
	// Listen gives the server an address, and runs what goes on in its background.
	Listen bool
	// Worker runs a worker with the real sandbox against the listener. The test binary's TestMain must call Main.
	Worker bool
	// EarlyCheckOff leaves permissions to the use cases.
	EarlyCheckOff bool
	// Providers asks git's providers; nil is the guarded client.
	Providers *http.Client
	// Of makes the server another replica of a running one: same database, blobs and keeper.
	Of *Server
	// Configure changes the settings, which are the program's defaults.
	Configure func(*config.Serve)
}

// Server is a running server.
type Server struct {
	*server.Server
	// Admin is the first enterprise admin, Org the first organization.
	Admin member.Admin
	Org   string
	// URL is the listener's address, empty without one.
	URL string
	// Config are the settings that it runs with.
	Config *config.Serve

	t     testing.TB
	log   *logBuffer
	check *Checker
}

// Each runs a test on every engine, in parallel.
func Each(t *testing.T, o Options, f func(t *testing.T, s *Server)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			o := o
			o.Engine = e
			f(t, New(t, o))
		})
	}
}

// New starts a server that ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Engine == "" {
		o.Engine = db.SQLite
	}
	s := &Server{t: t, log: &logBuffer{}, Config: settings(t, o)}
	opts := server.Options{EarlyCheckOff: o.EarlyCheckOff, Providers: o.Providers}
	if o.Clock != nil {
		opts.Clock = o.Clock.Clock()
	}
	var front *httptest.Server
	if o.Listen || o.Worker {
		front = httptest.NewUnstartedServer(nil)
		s.Config.PublicURL = "http://" + front.Listener.Addr().String()
	}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	s.Server, err = server.New(t.Context(), s.Config, log, opts)
	require.NoError(t, err)
	if o.Of != nil {
		require.Nil(t, s.First(), "a replica makes nothing")
		s.Admin, s.Org = o.Of.Admin, o.Of.Org
	} else {
		require.NotNil(t, s.First(), "the database was used before")
		s.Admin, s.Org = *s.First(), s.First().OrgID
	}
	s.check = newChecker(t, s.Kit)
	if front != nil {
		s.listen(front)
	}
	t.Cleanup(s.end)
	if o.Worker {
		s.StartWorker(t, WorkerOptions{})
	}
	return s
}

// settings are the program's defaults in a directory of the test's.
func settings(t testing.TB, o Options) *config.Serve {
	t.Helper()
	cfg := &config.Serve{}
	config.Bind(cfg) // the defaults
	if o.Of != nil {
		cfg.Data, cfg.Database = o.Of.Config.Data, o.Of.Config.Database
	} else {
		cfg.Data, cfg.Database = t.TempDir(), dbtest.URL(t, o.Engine)
	}
	cfg.Listen.Listen, cfg.PublicURL, cfg.NoWorker = "127.0.0.1:0", "http://gantry.test", true
	if o.Configure != nil {
		o.Configure(cfg)
	}
	require.NoError(t, cfg.Finish(config.Sources{}))
	return cfg
}

func (s *Server) listen(front *httptest.Server) {
	front.Config.Handler = s.Handler()
	front.Start()
	s.URL = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) }) // ends with ctx; what fails is in the log
	s.t.Cleanup(func() {
		s.Drain()
		front.Close()
		cancel()
		wg.Wait()
	})
}

// end closes the server. When the test failed, what it warned of tells why.
func (s *Server) end() {
	if s.t.Failed() {
		for line := range strings.Lines(s.Log()) {
			if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
				s.t.Log(strings.TrimSpace(line))
			}
		}
	}
	require.NoError(s.t, s.Close())
}

// Log is everything the server and its worker said so far.
func (s *Server) Log() string { return s.log.String() }

// Data is a path below the server's data directory.
func (s *Server) Data(name string) string { return filepath.Join(s.Config.Data, name) }

// Do sends a request through the handler and checks the answer against the document. An empty key sends none; header holds names
// and values in turn.
func (s *Server) Do(t testing.TB, method, target, key, body string, header ...string) kittest.Answer {
	t.Helper()
	a := kittest.Do(t, s.Handler(), method, target, key, body, header...)
	s.check.Answer(t, method, target, a)
	return a
}

// Send is Do for requests that kittest can't make. The recorder's answer is checked alike.
func (s *Server) Send(t testing.TB, r *http.Request) kittest.Answer {
	t.Helper()
	target := r.URL.RequestURI()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	a := kittest.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
	s.check.Answer(t, r.Method, target, a)
	return a
}

// Client is the CLI's client on the listener. Its answers are checked too.
func (s *Server) Client(t testing.TB, key string) *client.Client {
	t.Helper()
	require.NotEmpty(t, s.URL, "the server has no listener")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(client.Options{URL: s.URL, Key: secret.New(key), Transport: checking{s.check, t, transport}})
	require.NoError(t, err)
	return c
}

// logBuffer is a writer that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
