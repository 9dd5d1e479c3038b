package forge_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/forge"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/safehttp"
	"gantry/internal/platform/secret"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// house is the room with a provider that a test writes.
type house struct {
	*forge.Service
	db   *db.DB
	time *clock.Fake
	jobs *jobs.Runner
	root string // below which repositories may be files
}

// provider answers for every host, over TLS.
func newHouse(t *testing.T, e db.Engine, provider http.HandlerFunc) *house {
	t.Helper()
	fake := clock.NewFake(time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC))
	h := &house{db: dbtest.Open(t, e, fake.Clock()), time: fake, root: t.TempDir()}
	k, err := keeper.Open(t.Context(), "", t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	require.NoError(t, k.Attach(t.Context(), h.db))
	log := slog.New(slog.DiscardHandler)
	h.Service = forge.New(h.db, forge.Options{Keeper: k, Client: clientOf(t, provider), FileRoots: []string{h.root}, Logger: log})
	h.jobs = jobs.New(h.db, log)
	h.jobs.Handle(forge.JobList, jobs.Policy{Timeout: forge.ListTime, Attempts: 1}, h.ListJob)
	return h
}

// clientOf is the client that asks providers, with a way to the test's own server for every name.
func clientOf(t *testing.T, provider http.HandlerFunc) *http.Client {
	t.Helper()
	if provider == nil {
		provider = func(http.ResponseWriter, *http.Request) { t.Error("nobody is to be asked") }
	}
	srv := httptest.NewTLSServer(provider)
	t.Cleanup(srv.Close)
	guard := safehttp.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	c := forge.NewClient(guard)
	tr := guard.Transport()
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return guard.DialContext(ctx, network, srv.Listener.Addr().String())
	}
	tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the names are made up
	c.Transport = tr
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func each(t *testing.T, provider http.HandlerFunc, f func(t *testing.T, h *house)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(t, newHouse(t, e, provider))
		})
	}
}

func (h *house) connect(t *testing.T, p forge.ConnectionParams) forge.Connection {
	t.Helper()
	if p.Name == "" {
		p.Name = "a connection"
	}
	c, err := h.CreateConnection(t.Context(), operator, p)
	require.NoError(t, err)
	return c
}

func (h *house) github(t *testing.T) forge.Connection {
	t.Helper()
	return h.connect(t, forge.ConnectionParams{Provider: forge.GitHubToken, Host: "github.example.com", Token: secret.New("ghp_secret")})
}

func (h *house) allow(t *testing.T, orgID string, p ...forge.PermissionParams) []forge.Permission {
	t.Helper()
	out, err := h.AddPermissions(t.Context(), operator, orgID, p)
	require.NoError(t, err)
	return out
}

// job does the jobs that wait.
func (h *house) job(t *testing.T) (did int) {
	t.Helper()
	for {
		ok, err := h.jobs.Step(t.Context())
		require.NoError(t, err)
		if !ok {
			return did
		}
		did++
	}
}

func (h *house) actions(t *testing.T) (out []string) {
	t.Helper()
	logs, err := audit.New(h.db).List(t.Context(), operator, audit.ListParams{Page: page.Request{First: 200}})
	require.NoError(t, err)
	for _, l := range logs.Items {
		out = append([]string{string(l.Action)}, out...)
	}
	return out
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var reader = access.As("reader", access.ViewGitIntegrations)
