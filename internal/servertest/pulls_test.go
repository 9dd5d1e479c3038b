package servertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
	"gantry/internal/worker/sandbox"
)

// The whole way: an agent pushes a branch through the relay and prints the address of its pull request in two pieces, beside some that aren't
// its own; the provider confirms it, and tells of the merge later; session, events and metrics show it.
func TestAPullRequestIsNoticedConfirmedAndFollowedToItsMerge(t *testing.T) {
	t.Parallel()
	root, git, ca := gitHost(t, "acme/shop.git")
	var state atomic.Value
	state.Store("open")
	created := time.Now().Add(time.Second)
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number, api := strings.CutPrefix(r.URL.Path, "/api/v1/repos/acme/shop/pulls/")
		if !api {
			git.Config.Handler.ServeHTTP(w, r)
			return
		}
		require.Equal(t, "token "+gitPassword, r.Header.Get("Authorization"))
		branch := "fix"
		if number != "7" {
			branch = "somebody-elses"
		}
		merged := state.Load() == "merged"
		_ = json.NewEncoder(w).Encode(map[string]any{
			"state": map[bool]string{false: "open", true: "closed"}[merged], "merged": merged, "created_at": created,
			"head": map[string]any{"ref": branch, "repo_id": 1}, "base": map[string]any{"ref": "main", "repo_id": 1},
		})
	}))
	t.Cleanup(host.Close)
	s := servertest.New(t, servertest.Options{Listen: true, Providers: host.Client()})
	s.StartWorker(t, servertest.WorkerOptions{Sandbox: sandbox.Options{CABundle: ca, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	ask := func(method, path, key string, body any, into any) string {
		t.Helper()
		text, err := json.Marshal(body)
		require.NoError(t, err)
		a := s.Do(t, method, path, key, string(text))
		require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", method, path, a.Body)
		if into != nil {
			require.NoError(t, json.Unmarshal([]byte(a.Body), into))
		}
		return a.Body
	}
	admin := s.Admin.Token.Reveal()
	var connection struct {
		ID string `json:"git_connection_id"`
	}
	ask(http.MethodPost, "/gantry/v1/git-connections", admin, map[string]any{
		"name": "code", "git_provider_type": "gitea_token", "host": strings.TrimPrefix(host.URL, "https://"), "token": gitPassword, "username": "robot",
	}, &connection)
	ask(http.MethodPost, "/v3/enterprise/organizations/"+s.Org+"/git-providers/permissions", admin,
		map[string]any{"permissions": []any{map[string]any{"git_connection_id": connection.ID, "repo_path": "acme/shop"}}}, nil)

	sessions := "/v3/organizations/" + s.Org + "/sessions"
	key := s.NewKey(t, s.Org, access.RoleOrgAdmin).Token
	pulls := host.URL + "/acme/shop/pulls/"
	var made struct {
		ID string `json:"session_id"`
	}
	ask(http.MethodPost, sessions, key, map[string]any{"repos": []string{"acme/shop"}, "prompt": "```sh\n" + strings.Join([]string{
		"set -e", "echo read: " + pulls + "3", "git checkout -qb fix", "echo change >file", "git add file", "git commit -qm change", "git push -q origin fix",
		"printf %s " + pulls[:len(pulls)-4], "sleep 0.7", "echo " + pulls[len(pulls)-4:] + "7",
		"echo " + host.URL + "/acme/other/pulls/7 https://evil.example.com/acme/shop/pulls/7",
	}, "\n") + "\n```"}, &made)
	var session struct {
		PullRequests []struct {
			URL   string  `json:"pr_url"`
			State *string `json:"pr_state"`
		} `json:"pull_requests"`
	}
	shows := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			ask(http.MethodGet, sessions+"/"+made.ID, key, nil, &session)
			return len(session.PullRequests) == 1 && *session.PullRequests[0].State == want
		}, 3*patience, 10*step, "%v", session)
		require.Equal(t, pulls+"7", session.PullRequests[0].URL)
	}
	shows("open")
	require.Contains(t, run(t, root, "git", "-C", "acme/shop.git", "log", "--oneline", "fix"), "change")

	// The agent is done with it; somebody merges it, and the next look is brought forward.
	state.Store("merged")
	require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE session_pulls SET next_at = 1 WHERE next_at IS NOT NULL`)
		return err
	}))
	shows("merged")
	var counts map[string]int64
	ask(http.MethodGet, fmt.Sprintf("/v3/organizations/%s/metrics/prs?time_after=%d&time_before=%d", s.Org, time.Now().AddDate(0, 0, -1).Unix(), time.Now().AddDate(0, 0, 2).Unix()),
		key, nil, &counts)
	require.Equal(t, map[string]int64{
		"prs_created_count": 1, "prs_opened_count": 0, "prs_merged_count": 1, "prs_closed_count": 0, "prs_taken_over_count": 0,
		"prs_taken_over_opened_count": 0, "prs_taken_over_merged_count": 0, "prs_taken_over_closed_count": 0,
	}, counts)
	events := ask(http.MethodGet, "/gantry/v1/organizations/"+s.Org+"/sessions/"+made.ID+"/events?first=200", key, nil, nil)
	require.Equal(t, 2, strings.Count(events, `"type":"pull_request"`), events)
	for _, place := range []string{events, s.Log()} {
		require.NotContains(t, place, gitPassword)
	}
}
