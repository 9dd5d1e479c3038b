package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	// No profile, key or address of whoever runs the tests gets in.
	dir, err := os.MkdirTemp("", "gantry-cli-test")
	if err != nil {
		panic(err)
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "DEVIN_") || strings.HasPrefix(name, "GANTRY_") && !strings.HasPrefix(name, "GANTRY_TEST_") {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("XDG_CONFIG_HOME", dir)
	_ = os.Setenv("XDG_DATA_HOME", dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// command runs gantry in this process and gives its exit code and output.
func command(t *testing.T, input string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &stdio{in: strings.NewReader(input), out: &o, err: &e})
	return code, o.String(), e.String()
}

// fakeAPI answers like a server of the API. Routes are "METHOD /path".
type fakeAPI struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seenRequest
}

type seenRequest struct {
	route, query, body string
	header             http.Header
}

func serveAPI(t *testing.T, routes map[string]http.HandlerFunc) *fakeAPI {
	t.Helper()
	f := &fakeAPI{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		f.mu.Lock()
		f.seen = append(f.seen, seenRequest{r.Method + " " + r.URL.Path, r.URL.RawQuery, b.String(), r.Header.Clone()})
		f.mu.Unlock()
		h, ok := routes[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"detail":"no route %s %s"}`, r.Method, r.URL.Path)
			return
		}
		h(w, r)
	}))
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func (f *fakeAPI) requests() []seenRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]seenRequest(nil), f.seen...)
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func refuses(status int, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"title": "Refused", "status": status, "detail": detail})
	}
}

// at adds the target to a client command.
func (f *fakeAPI) at(args ...string) []string {
	return append(args, "--url", f.URL, "--key", "cog_test", "--org", "org-1")
}

func TestWrongUsageExits1AndSaysWhereHelpIs(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"bogus":                       "gantry --help",
		"session create --bogus":      "gantry session create --help",
		"worker --bogus":              "gantry worker run --help",
		"openapi v9":                  "must be one of",
		"session show":                "expected \"<session>\"",
		"serve --listen nope":         "not HOST:PORT",
		"--config /nowhere/x version": "can't be read",
		"agent runbook":               "unexpected argument agent",
	} {
		code, _, errs := command(t, "", strings.Fields(args)...)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, errs, want, args)
	}
}

func TestAValueThatCannotBeReadIsBlamedOnTheFileThatHasIt(t *testing.T) {
	t.Parallel()
	for text, flag := range map[string]string{"rate-limit: abc": "--rate-limit", "log-format: xml": "--log-format"} {
		path := filepath.Join(t.TempDir(), "gantry.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, _, errs := command(t, "", "serve", "--config", path)
		require.Contains(t, errs, flag)
		require.Contains(t, errs, "(set by "+path+")")
		_, _, errs = command(t, "", "serve", "--config", path, flag+"=nope")
		require.Contains(t, errs, flag)
		require.NotContains(t, errs, path, "the flag comes before the file")
	}
}

func TestHelpExits0(t *testing.T) {
	t.Parallel()
	code, out, _ := command(t, "", "--help")
	require.Equal(t, exitOK, code)
	for _, c := range []string{"serve", "worker run", "admin key", "session create", "api", "login", "doctor", "completion"} {
		require.Contains(t, out, "\n  "+c)
	}
	require.NotContains(t, out, "embedded", "what only the server starts is hidden")
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	code, out, _ := command(t, "", "version")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "gantry devel go1.")
	code, out, errs := command(t, "", "completion", "-c", "bash")
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "complete -o default")
}

func TestTheShellCompletesCommandsFlagsAndValues(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"ses":                      "session\t",
		"session cre":              "create\t",
		"session create --fo":      "--follow\t",
		"worker --out":             "--outpost\t",
		"serve --sandbox-net=":     "proxy\n",
		"serve --log-level ":       "warn\n",
		"openapi ":                 "gantry\n",
		"completion -c ":           "fish\n",
		"session message s --atta": "--attach\t",
	} {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		code, out, _ := command(t, "", args...)
		require.Equal(t, exitOK, code, line)
		require.Contains(t, out, want, line)
	}
}

func TestAnAgentsCommandKeepsItsOwnFlags(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"claude --mode fast -- agent --mode slow -- x",
		"--mode fast claude agent --mode slow -- x",
		"claude --mode=fast agent --mode slow -- x",
	} {
		code, out, errs := command(t, "", append(strings.Fields("admin agent add --json --data "+t.TempDir()), strings.Fields(args)...)...)
		require.Equal(t, exitOK, code, errs)
		require.Contains(t, out, `"fast"`, args)
		var agents []struct {
			Name    string   `json:"name"`
			Command []string `json:"command"`
		}
		require.NoError(t, json.Unmarshal([]byte(out), &agents))
		require.Equal(t, "claude", agents[len(agents)-1].Name)
		require.Equal(t, strings.Fields("agent --mode slow -- x"), agents[len(agents)-1].Command, args)
	}
	code, out, _ := command(t, "", "admin", "agent", "add", "claude", "--help")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "Usage: gantry admin agent add <name> <command> ... [flags]")
}

func TestAnInterruptIsAShellsExitCode(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{
		"GET /gantry/v1/organizations/org-1/sessions/s/events": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"GET /v3/organizations/org-1/sessions/s": says(`{"session_id":"s","status":"running","status_detail":"working"}`),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var o, e bytes.Buffer
	done := make(chan int)
	go func() { done <- run(ctx, f.at("session", "follow", "s"), &stdio{in: &o, out: &o, err: &e}) }()
	require.Eventually(t, func() bool { return len(f.requests()) > 0 }, testPatience, testStep)
	cancel()
	require.Equal(t, 130, <-done)
	require.Contains(t, e.String(), "the session goes on")
	require.Contains(t, e.String(), "gantry session stop s")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
