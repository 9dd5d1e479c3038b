package servertest_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/servertest"
	"gantry/internal/worker/sandbox"
)

const gitPassword = "hunter2-of-the-git-host"

// gitHost serves bare repositories over https to whoever knows the password.
func gitHost(t *testing.T, names ...string) (root string, srv *httptest.Server, ca string) {
	t.Helper()
	const program = "/usr/lib/git-core/git-http-backend"
	if _, err := os.Stat(program); err != nil {
		t.Skip("git's http-backend isn't installed")
	}
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap isn't installed")
	}
	root = t.TempDir()
	for _, n := range names {
		run(t, root, "git", "init", "-q", "--bare", "-b", "main", n)
		run(t, root, "git", "clone", "-q", n, "seed")
		run(t, filepath.Join(root, "seed"), "git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "first")
		run(t, filepath.Join(root, "seed"), "git", "push", "-q", "origin", "HEAD:main")
		require.NoError(t, os.RemoveAll(filepath.Join(root, "seed")))
	}
	backend := &cgi.Handler{Path: program, Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=http.receivepack", "GIT_CONFIG_VALUE_1=true",
	}}
	srv = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pw, _ := r.BasicAuth(); user != "robot" || pw != gitPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body) // CGI takes no body of unknown length
		require.NoError(t, err)
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		backend.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(srv.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	return root, srv, ca
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// The whole way: a connection made and granted over the API, a session that clones and pushes in a real sandbox from a real host, and a
// permission that is narrowed and taken back while the session lives.
func TestASessionClonesAndPushesAsItsOrganizationsPermissionsSay(t *testing.T) {
	t.Parallel()
	root, host, ca := gitHost(t, "shop.git", "secret.git")
	s := servertest.New(t, servertest.Options{Listen: true})
	s.StartWorker(t, servertest.WorkerOptions{Sandbox: sandbox.Options{CABundle: ca, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	admin := func(method, path string, body any, status int) string {
		t.Helper()
		text, err := json.Marshal(body)
		require.NoError(t, err)
		a := s.Do(t, method, path, s.Admin.Token.Reveal(), string(text))
		require.Equal(t, status, a.Status, "%s %s: %s", method, path, a.Body)
		return a.Body
	}
	field := func(text, name string) string {
		t.Helper()
		var list []map[string]any
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			list = make([]map[string]any, 1)
			require.NoError(t, json.Unmarshal([]byte(text), &list[0]))
		}
		v, _ := list[0][name].(string)
		return v
	}
	made := admin(http.MethodPost, "/gantry/v1/git-connections", map[string]any{
		"name": "host", "git_provider_type": "git", "host": "127.0.0.1", "token": gitPassword, "username": "robot",
	}, http.StatusOK)
	require.NotContains(t, made, gitPassword)
	connection := field(made, "git_connection_id")
	for _, n := range []string{"shop", "secret"} {
		admin(http.MethodPost, "/gantry/v1/repositories", map[string]any{"name": "acme/" + n, "url": host.URL + "/" + n + ".git", "git_connection_id": connection}, http.StatusOK)
	}
	permissions := "/v3/enterprise/organizations/" + s.Org + "/git-providers/permissions"
	sessions := "/v3/organizations/" + s.Org + "/sessions"
	key := s.NewKey(t, s.Org, access.RoleOrgAdmin).Token
	start := map[string]any{"prompt": "```sh\n" + strings.Join([]string{
		"set -e", "echo change >file", "git add file", "git commit -qm change", "git push -q origin main",
		"env; git config --list; cat /run/gantry/gitconfig; cat /proc/[0-9]*/environ | tr '\\0' '\\n'",
		"! GIT_TERMINAL_PROMPT=0 git clone -q " + host.URL + "/secret.git /tmp/secret",
		"! GIT_TERMINAL_PROMPT=0 git clone -q http://git.gantry.internal/https/" + strings.TrimPrefix(host.URL, "https://") + "/secret.git /tmp/secret",
	}, "\n") + "\n```", "repos": []string{"acme/shop"}}
	text, err := json.Marshal(start)
	require.NoError(t, err)
	a := s.Do(t, http.MethodPost, sessions, key, string(text))
	require.Equal(t, http.StatusUnprocessableEntity, a.Status, "not granted: %s", a.Body)
	require.Contains(t, a.Body, `no repository named \"acme/shop\" is listed`)

	permission := field(admin(http.MethodPost, permissions, map[string]any{"permissions": []any{map[string]any{"git_connection_id": connection, "repo_path": "acme/shop"}}}, http.StatusOK), "git_permission_id")
	a = s.Do(t, http.MethodPost, sessions, key, string(text))
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	id := field(a.Body, "session_id")
	events := func() string {
		return s.Do(t, http.MethodGet, "/gantry/v1/organizations/"+s.Org+"/sessions/"+id+"/events", key, "").Body
	}
	settled := func(detail string) {
		t.Helper()
		require.Eventually(t, func() bool {
			return strings.Contains(s.Do(t, http.MethodGet, sessions+"/"+id, key, "").Body, `"status_detail":"`+detail+`"`)
		}, 3*patience, 10*step, "%s", step)
	}
	say := func(script string) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"message": "```sh\n" + script + "\n```"})
		require.NoError(t, err)
		a := s.Do(t, http.MethodPost, sessions+"/"+id+"/messages", key, string(text))
		require.Equal(t, http.StatusOK, a.Status, a.Body)
	}
	settled("finished")
	require.Contains(t, run(t, root, "git", "-C", "shop.git", "log", "--oneline", "main"), "change")

	admin(http.MethodPatch, permissions+"/"+permission, map[string]any{"read_only": true}, http.StatusOK)
	say("git fetch && git commit -q --allow-empty -m more && git push -q origin main")
	settled("waiting_for_user")
	require.Contains(t, events(), "may only read the repository acme/shop")
	admin(http.MethodDelete, permissions+"/"+permission, nil, http.StatusOK)
	say("git fetch")
	require.Eventually(t, func() bool { return strings.Contains(events(), "may not use the repository acme/shop any more") }, 3*patience, 10*step)
	require.NotContains(t, run(t, root, "git", "-C", "shop.git", "log", "--oneline", "main"), "more")
	for _, place := range []string{events(), s.Log(), admin(http.MethodGet, "/v3/enterprise/audit-logs", nil, http.StatusOK)} {
		require.NotContains(t, place, gitPassword)
	}
}
