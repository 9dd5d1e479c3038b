package worker_test

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
	"gantry/internal/worker"
	"gantry/internal/worker/sandbox"
)

// gitHost serves a directory of bare repositories as plain files. busy is how often a repository answers 503 first; what isn't there is 404.
type gitHost struct {
	*httptest.Server
	ca string

	mu    sync.Mutex
	busy  map[string]int
	asked map[string]int
}

func newGitHost(t *testing.T, root string) *gitHost {
	t.Helper()
	h := &gitHost{busy: map[string]int{}, asked: map[string]int{}}
	files := http.FileServer(http.Dir(root))
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		h.mu.Lock()
		if rest == "info/refs" {
			h.asked[name]++
		}
		busy := h.busy[name] > 0
		h.busy[name]--
		h.mu.Unlock()
		if busy {
			http.Error(rw, "busy", http.StatusServiceUnavailable)
			return
		}
		files.ServeHTTP(rw, r)
	}))
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(h.Close)
	h.ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(h.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o644))
	return h
}

func (h *gitHost) tries(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[name]
}

func TestACloneIsTriedAgainWhileItsHostCannotBeReached(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	source := filepath.Join(root, "source")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", source},
		{"-C", source, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "first"},
		{"clone", "-q", "--bare", source, filepath.Join(root, "busy.git")},
		{"-C", filepath.Join(root, "busy.git"), "update-server-info"},
	} {
		out, err := exec.Command("git", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	host := newGitHost(t, root)
	host.busy["busy.git"], host.busy["down.git"] = 2, 1000
	s := newServer(t)
	of := func(name string) wire.Spec {
		return wire.Spec{Repositories: []wire.Repository{{Name: name, URL: host.URL + "/" + name + ".git", Dir: "r"}}}
	}
	busy := s.session("again1", block("git -C r log --oneline"), of("busy"))
	gone := s.session("again2", block("true"), of("gone"))
	down := s.session("again3", block("true"), of("down"))
	work(t, s, func(o *worker.Options) {
		o.Capacity = 3
		o.Sandbox.Net, o.Sandbox.CABundle = sandbox.NetProxy, host.ca
		o.Sandbox.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	require.Contains(t, states(gone.awaitState(t, wire.StateError, 1), wire.StateError)[0].Reason, "not found")
	require.Equal(t, 1, host.tries("gone.git"), "it won't come by itself")

	events := busy.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, output(events), "first")
	var waits []string
	for _, d := range pick[wire.SetupData](events, wire.EventSetup) {
		if strings.Contains(d.Detail, "trying again") {
			require.Equal(t, "clone started", d.Phase+" "+d.Status)
			require.Contains(t, d.Detail, "503")
			waits = append(waits, strings.TrimPrefix(d.Detail[:strings.Index(d.Detail, ": clone")], "busy: "))
		}
	}
	require.Equal(t, []string{"trying again in 2s", "trying again in 5s"}, waits)

	require.Contains(t, states(down.awaitState(t, wire.StateError, 1), wire.StateError)[0].Reason, "The repository down can't be cloned")
	require.Equal(t, 4, host.tries("down.git"))
}
