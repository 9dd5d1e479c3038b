package session_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/metric"
	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
	"gantry/internal/platform/safehttp"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// gitea is a provider that tells of the pull requests of acme/shop.
type gitea struct {
	mu     sync.Mutex
	pulls  map[string]map[string]any // by number
	status int                       // what it answers instead, 0 for nothing
	asked  []string
	hold   chan struct{} // an answer waits for it; nil is no wait
}

const shop = "https://code.example.com/acme/shop/pulls/"

func (g *gitea) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	number, _ := strings.CutPrefix(r.URL.Path, "/api/v1/repos/acme/shop/pulls/")
	g.asked = append(g.asked, number)
	status, pull, hold := g.status, g.pulls[number], g.hold
	g.mu.Unlock()
	if hold != nil {
		<-hold
	}
	switch {
	case r.Header.Get("Authorization") != "token tok-1":
		w.WriteHeader(http.StatusUnauthorized)
	case status != 0:
		w.Header().Set("Retry-After", "1800")
		w.WriteHeader(status)
	case pull == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		_ = json.NewEncoder(w).Encode(pull)
	}
}

// says has the provider tell of a pull request. A branch with a colon is another repository's.
func (g *gitea) says(number, state, branch string, created time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := 1
	if _, rest, ok := strings.Cut(branch, ":"); ok {
		branch, from = rest, 2
	}
	g.pulls[number] = map[string]any{
		"state": strings.Replace(state, "merged", "closed", 1), "merged": state == "merged", "created_at": created,
		"head": map[string]any{"ref": branch, "repo_id": from}, "base": map[string]any{"ref": "main", "repo_id": 1},
	}
}

func (g *gitea) answers(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = status
}

// questions are the numbers that were asked about since the last call.
func (g *gitea) questions() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.asked
	g.asked = nil
	return out
}

// provided gives the house a git provider, and the organization its repository.
func (h *house) provided(t testing.TB) *gitea {
	t.Helper()
	g := &gitea{pulls: map[string]map[string]any{}}
	srv := httptest.NewTLSServer(g)
	t.Cleanup(srv.Close)
	guard := safehttp.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	client, tr := guard.Client(time.Minute), guard.Transport()
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return guard.DialContext(ctx, network, srv.Listener.Addr().String())
	}
	tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the name is made up
	client.Transport = tr
	t.Cleanup(client.CloseIdleConnections)
	h.forge = forge.New(h.db, forge.Options{Keeper: h.Keeper, Client: client})
	o := h.Options
	o.Forge = h.forge
	h.Service = session.New(o)
	c, err := h.forge.CreateConnection(t.Context(), h.boss, forge.ConnectionParams{
		Name: "code", Provider: forge.GiteaToken, Host: "code.example.com", Token: secret.New("tok-1"),
	})
	require.NoError(t, err)
	path := "acme/shop"
	_, err = h.forge.AddPermissions(t.Context(), h.boss, h.org, []forge.PermissionParams{{ConnectionID: c.ID, RepoPath: &path}})
	require.NoError(t, err)
	return g
}

func inShop(p *session.CreateParams) { p.Repos = []string{"acme/shop"} }

// sighting is what a worker reports of an address that its agent wrote.
func sighting(address string, pushed ...string) wire.Event {
	return ev(wire.EventPullRequest, wire.PullRequestData{URL: address, Pushed: pushed})
}

// ask asks about what is due and gives what the provider heard.
func (h *house) ask(t testing.TB, g *gitea) []string {
	t.Helper()
	_, err := h.AskDue(t.Context())
	require.NoError(t, err)
	return g.questions()
}

// pulls are the data of a session's pull_request events, in order.
func (h *house) pulls(t testing.TB, sessionID string) []string {
	t.Helper()
	out := []string{}
	for _, e := range h.all(t, sessionID) {
		if e.Type == wire.EventPullRequest {
			out = append(out, string(e.Data))
		}
	}
	return out
}

func (h *house) prs(t testing.TB) metric.PullRequests {
	t.Helper()
	n, err := metric.New(h.db).PullRequests(t.Context(), h.boss, metric.Filter{Range: wide})
	require.NoError(t, err)
	return n
}

func TestAPullRequestCountsOnceItsProviderSaysWhoseItIs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		g := h.provided(t)
		r := h.work(t, inShop)
		id := r.row.SessionID
		began := h.time.Clock().Now()
		h.time.Advance(10 * time.Minute)
		now := h.time.Clock().Now()
		g.says("1", "open", "theirs", now)                  // another's, younger than the session
		g.says("2", "open", "old", began.Add(-time.Hour))   // another's, older
		g.says("3", "open", "fix", now)                     // the session's own
		g.says("4", "open", "fork:fix", now)                // of a branch of the same name elsewhere
		g.says("5", "closed", "old", began.Add(-time.Hour)) // taken over, and closed by now
		r.send(sighting(shop+"1"), sighting(shop+"2"), sighting(shop+"3"))
		require.Empty(t, h.ask(t, g), "a session that pushed nothing has none, and nobody is asked")

		r.send(sighting(shop+"1", "fix"), sighting(shop+"2", "fix"), sighting(shop+"3", "fix"), sighting(shop+"4", "fix"))
		require.Empty(t, h.pulls(t, id))
		require.ElementsMatch(t, []string{"1", "2", "3", "4"}, h.ask(t, g))
		require.Equal(t, []string{`{"url":"` + shop + `3","state":"open"}`}, h.pulls(t, id))
		require.Equal(t, []session.PullRequest{{URL: shop + "3", State: "open", At: now.UnixMilli()}}, h.get(t, id).PullRequests)
		require.Equal(t, metric.PullRequests{Created: 1, Opened: 1}, h.prs(t))

		// Another push makes a question of those alone whose branch it is, and of new ones.
		r.send(sighting(shop+"1", "fix", "old"), sighting(shop+"2", "fix", "old"), sighting(shop+"3", "fix", "old"), sighting(shop+"5", "old"))
		r.send(sighting(shop+"2", "fix", "old"), sighting("https://code.example.com/ACME/shop/pulls/3", "fix"))
		require.ElementsMatch(t, []string{"2", "5"}, h.ask(t, g))
		require.ElementsMatch(t, []string{
			`{"url":"` + shop + `2","state":"open","taken_over":true}`, `{"url":"` + shop + `5","state":"closed","taken_over":true}`,
		}, h.pulls(t, id)[1:])
		require.Equal(t, metric.PullRequests{Created: 1, Opened: 1, TakenOver: 2, TakenOverOpened: 1, TakenOverClosed: 1}, h.prs(t))
		h.time.Advance(time.Hour)
		require.ElementsMatch(t, []string{"2", "3"}, h.ask(t, g), "those that are open are asked about again")
		require.Len(t, h.pulls(t, id), 3, "nothing new is no event")
	})
}

func TestAPullRequestIsFollowedUntilItIsMergedOrClosedWhateverBecameOfItsSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		g := h.provided(t)
		r := h.work(t, inShop)
		id := r.row.SessionID
		g.says("3", "open", "fix", h.time.Clock().Now())
		r.send(sighting(shop+"3", "fix"))
		h.ask(t, g)
		_, err := h.Terminate(t.Context(), h.boss, h.org, id, false)
		require.NoError(t, err)

		// Often while it is young, once a day when it is old, and a month long.
		began := h.time.Clock().Now()
		var asked []time.Duration
		step := func(age time.Duration) time.Duration { return max(time.Minute, age/50) }
		for age := time.Duration(0); age < 35*24*time.Hour; age = h.time.Clock().Since(began) {
			h.time.Advance(step(age))
			if len(h.ask(t, g)) > 0 {
				asked = append(asked, h.time.Clock().Since(began))
			}
		}
		require.Equal(t, []time.Duration{2 * time.Minute, 4 * time.Minute, 6 * time.Minute}, asked[:3])
		require.Less(t, len(asked), 150)
		for i, at := range asked[1:] {
			pause := max(2*time.Minute, min(asked[i]/12, 24*time.Hour))
			require.GreaterOrEqual(t, at-asked[i], pause)
			require.LessOrEqual(t, at-asked[i], pause+step(at))
		}
		last := asked[len(asked)-1]
		require.Greater(t, last, 29*24*time.Hour)
		require.Less(t, last, 32*24*time.Hour)
		require.Len(t, h.pulls(t, id), 1)
	})
}

func TestAMergeIsAnEventOfASessionThatEndedAndMovesTheCounters(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		g := h.provided(t)
		r := h.work(t, inShop)
		id := r.row.SessionID
		g.says("3", "open", "fix", h.time.Clock().Now())
		g.says("4", "open", "more", h.time.Clock().Now())
		r.send(sighting(shop+"3", "fix", "more"), sighting(shop+"4", "fix", "more"))
		h.ask(t, g)
		require.Equal(t, metric.PullRequests{Created: 2, Opened: 2}, h.prs(t))
		_, err := h.Terminate(t.Context(), h.boss, h.org, id, false)
		require.NoError(t, err)
		ended := h.get(t, id)

		g.says("3", "merged", "fix", noon)
		g.says("4", "closed", "more", noon)
		h.time.Advance(2 * time.Minute)
		require.ElementsMatch(t, []string{"3", "4"}, h.ask(t, g))
		require.ElementsMatch(t, []string{`{"url":"` + shop + `3","state":"merged"}`, `{"url":"` + shop + `4","state":"closed"}`}, h.pulls(t, id)[2:])
		require.Equal(t, metric.PullRequests{Created: 2, Merged: 1, Closed: 1}, h.prs(t))
		now := h.get(t, id)
		require.Equal(t, ended.State, now.State)
		require.Equal(t, ended.EndedAt, now.EndedAt)
		require.Greater(t, now.LastSeq, ended.LastSeq)
		h.balanced(t)
		h.time.Advance(20 * 24 * time.Hour)
		require.Empty(t, h.ask(t, g), "nobody asks any more")
	})
}

func TestAProviderThatFailsFailsNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		g := h.provided(t)
		r := h.work(t, inShop)
		id := r.row.SessionID
		r.send(sighting(shop+"3", "fix"), sighting(shop+"4", "fix"))
		g.answers(http.StatusTooManyRequests)
		require.NotEmpty(t, h.ask(t, g)) // both at once, at most
		h.time.Advance(29 * time.Minute)
		require.Empty(t, h.ask(t, g), "it wants to be left alone for half an hour")
		g.answers(0)
		g.says("3", "open", "fix", h.time.Clock().Now())
		h.time.Advance(time.Minute)
		require.ElementsMatch(t, []string{"3", "4"}, h.ask(t, g))
		require.Len(t, h.pulls(t, id), 1)

		// What isn't there may come yet; after a day nobody believes it.
		var asked int
		for range 40 {
			h.time.Advance(time.Hour)
			for _, n := range h.ask(t, g) {
				if n == "4" {
					asked++
				}
			}
		}
		require.Greater(t, asked, 5)
		require.Less(t, asked, 26)
		g.says("4", "open", "fix", noon)
		h.time.Advance(24 * time.Hour)
		require.NotContains(t, h.ask(t, g), "4")

		// A connection that is gone leaves what is known.
		require.Len(t, h.get(t, id).PullRequests, 1)
		list, err := h.forge.Connections(t.Context(), h.boss, page.Request{First: 10})
		require.NoError(t, err)
		for _, c := range list.Items {
			_, err := h.forge.DeleteConnection(t.Context(), h.boss, c.ID)
			require.NoError(t, err)
		}
		h.time.Advance(24 * time.Hour)
		require.Empty(t, h.ask(t, g))
		require.Equal(t, "open", h.get(t, id).PullRequests[0].State)
	})
}

func TestSeveralReplicasAskOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		g := h.provided(t)
		r := h.work(t, inShop)
		g.hold = make(chan struct{})
		g.says("3", "open", "fix", h.time.Clock().Now())
		r.send(sighting(shop+"3", "fix"))
		other := session.New(h.Options)
		done := make(chan error, 3)
		for _, v := range []*session.Service{h.Service, other, h.Service} {
			go func() { _, err := v.AskDue(t.Context()); done <- err }()
		}
		require.Eventually(t, func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.asked) > 0 }, 30*time.Second, 10*time.Millisecond)
		_, err := other.AskDue(t.Context())
		require.NoError(t, err)
		// The session pushes again while the answer is on its way: what comes back is of before, so it is asked again.
		h.time.Advance(time.Second)
		r.send(sighting(shop+"3", "fix", "more"))
		close(g.hold)
		for range 3 {
			require.NoError(t, <-done)
		}
		require.Equal(t, []string{"3"}, g.questions())
		require.Empty(t, h.pulls(t, r.row.SessionID))
		require.Equal(t, []string{"3"}, h.ask(t, g))
		require.Len(t, h.pulls(t, r.row.SessionID), 1)
	})
}

func TestWhereNobodyCanBeAskedTheFirstReportCounts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		const address = "https://git.example.com/acme/shop/pulls/1"
		r.send(sighting(address))
		r.send(sighting(address, "fix"), sighting("https://GIT.example.com/acme/shop/pulls/1"))
		require.Equal(t, []string{`{"url":"` + address + `","state":"open"}`}, h.pulls(t, r.row.SessionID), "once, and without what the worker says besides")
		require.Equal(t, metric.PullRequests{Created: 1, Opened: 1}, h.prs(t))
		n, err := h.AskDue(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestWhatASessionMayHaveAskedAboutIsBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.provided(t)
		r := h.work(t, inShop)
		for batch := range 5 {
			var evs []wire.Event
			for i := range 120 {
				evs = append(evs, sighting(fmt.Sprint(shop, 1+batch*200+i), "fix", strings.Repeat("x", 300), "", "a\x00b"))
			}
			r.send(evs...)
			if batch == 0 {
				require.EqualValues(t, 100, h.count(t, `SELECT COUNT(*) FROM session_pulls`), "of one batch")
			}
		}
		require.EqualValues(t, 300, h.count(t, `SELECT COUNT(*) FROM session_pulls`))
		require.Zero(t, h.count(t, `SELECT COUNT(*) FROM session_pulls WHERE pushed <> '["fix"]'`))
		var many []string
		for i := range 300 {
			many = append(many, fmt.Sprint("b", i))
		}
		r.send(sighting(shop+"1", many...))
		require.Less(t, h.count(t, `SELECT MAX(LENGTH(pushed)) FROM session_pulls`), int64(1000))
		require.Empty(t, h.get(t, r.row.SessionID).PullRequests)
	})
}

func TestTheLookForPullRequestsThatAreDueReadsAnIndex(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		if h.db.Engine() == db.Postgres {
			h.exec(t, `INSERT INTO session_pulls (session_id, url, pushed, counted, since, next_at)
				SELECT 's' || i, 'u', '[]', 0, i, CASE WHEN i % 50 = 0 THEN i END FROM generate_series(1, 20000) i`)
			h.exec(t, `ANALYZE`)
		}
		h.reads(t, "due", "session_pulls_due", strings.NewReplacer("$1", "5", "$2", "8").Replace(session.DueQuery))
		h.reads(t, "a session's", "session_pulls", `SELECT COUNT(*) FROM session_pulls WHERE session_id = 's'`)
	})
}

func TestNobodyAsksForADeletedOrganization(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		g := h.provided(t)
		r := h.work(t, inShop)
		g.says("3", "open", "fix", h.time.Clock().Now())
		r.send(sighting(shop+"3", "fix"), sighting(shop+"4", "fix"))
		require.Len(t, h.ask(t, g), 2)
		_, err := h.orgs.Delete(t.Context(), h.boss, h.org)
		require.NoError(t, err)
		h.time.Advance(time.Hour)
		n, err := h.AskDue(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Empty(t, g.questions())
		h.time.Advance(24 * time.Hour)
		n, err = h.AskDue(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
	})
}
