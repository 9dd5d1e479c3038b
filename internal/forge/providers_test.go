package forge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

type object = map[string]any

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// linkPages serves a bare array in pages of a Link header, as GitHub, GitLab and Gitea do. asks is what the first request's query must hold.
func linkPages(t *testing.T, path, asks string, size int, rows []object, check func(r *http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !check(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != path || !strings.Contains("&"+r.URL.RawQuery, asks) {
			t.Errorf("asked %s?%s", r.URL.Path, r.URL.RawQuery)
		}
		p, _ := strconv.Atoi(r.URL.Query().Get("page"))
		p = max(p, 1)
		end := min(len(rows), p*size)
		if end < len(rows) {
			q := r.URL.Query()
			q.Set("page", strconv.Itoa(p+1))
			w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?first>; rel="first", <https://%s%s?%s>; rel="next"`, r.Host, path, r.Host, path, q.Encode()))
		}
		write(w, rows[(p-1)*size:end])
	}
}

func header(name, value string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get(name) == value }
}

func password(user, pw string) func(*http.Request) bool {
	return func(r *http.Request) bool { u, p, ok := r.BasicAuth(); return ok && u == user && p == pw }
}

// provider is one kind of connection with a server that speaks its protocol, and what must come of it.
type provider struct {
	params forge.ConnectionParams
	serve  func(t *testing.T) http.HandlerFunc
	paths  []string
	first  forge.Repository
	git    string // git's user name
}

var day = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func providers() map[string]provider {
	github := []object{
		{"id": 11, "full_name": "Acme/Shop", "description": "Sells", "language": "Go", "updated_at": day},
		{"id": 12, "full_name": "acme/site", "description": nil, "language": nil, "updated_at": day},
		{"id": 13, "full_name": "team/tools"},
	}
	gitlab := []object{
		{"id": 21, "path_with_namespace": "acme/web/shop", "description": "Sells", "last_activity_at": day},
		{"id": 22, "path_with_namespace": "acme/x"},
		{"id": 23, "path_with_namespace": "acme/y"},
	}
	token := secret.New("tok-1")
	return map[string]provider{
		"github.com": {
			forge.ConnectionParams{Provider: forge.GitHubToken, Host: "github.com", Token: token},
			func(t *testing.T) http.HandlerFunc {
				return linkPages(t, "/user/repos", "&per_page=100", 2, github, func(r *http.Request) bool {
					return r.Host == "api.github.com" && r.Header.Get("Authorization") == "Bearer tok-1" && r.Header.Get("X-Github-Api-Version") != ""
				})
			},
			[]string{"Acme/Shop", "acme/site", "team/tools"},
			forge.Repository{ProviderID: "11", URL: "https://github.com/Acme/Shop.git", Description: "Sells", Language: "Go", UpdatedAt: day},
			"x-access-token",
		},
		"github enterprise": {
			forge.ConnectionParams{Provider: forge.GitHubIndividual, Host: "git.corp.example:8443", URL: "https://git.corp.example:8443/", Token: token},
			func(t *testing.T) http.HandlerFunc {
				return linkPages(t, "/api/v3/user/repos", "&per_page=100", 10, github, header("Authorization", "Bearer tok-1"))
			},
			[]string{"Acme/Shop", "acme/site", "team/tools"},
			forge.Repository{ProviderID: "11", URL: "https://git.corp.example:8443/Acme/Shop.git", Description: "Sells", Language: "Go", UpdatedAt: day},
			"x-access-token",
		},
		"gitlab": {
			forge.ConnectionParams{Provider: forge.GitLabToken, Host: "gitlab.example.com", URL: "https://gitlab.example.com/sub", Token: token},
			func(t *testing.T) http.HandlerFunc {
				return linkPages(t, "/sub/api/v4/projects", "&membership=true", 1, gitlab, header("Private-Token", "tok-1"))
			},
			[]string{"acme/web/shop", "acme/x", "acme/y"},
			forge.Repository{ProviderID: "21", URL: "https://gitlab.example.com/sub/acme/web/shop.git", Description: "Sells", UpdatedAt: day},
			"oauth2",
		},
		"gitlab oauth": {
			forge.ConnectionParams{Provider: forge.GitLabOAuth, Host: "gitlab.com", Token: token},
			func(t *testing.T) http.HandlerFunc {
				return linkPages(t, "/api/v4/projects", "&pagination=keyset", 2, gitlab, header("Authorization", "Bearer tok-1"))
			},
			[]string{"acme/web/shop", "acme/x", "acme/y"},
			forge.Repository{ProviderID: "21", URL: "https://gitlab.com/acme/web/shop.git", Description: "Sells", UpdatedAt: day},
			"oauth2",
		},
		"gitea": {
			forge.ConnectionParams{Provider: forge.GiteaToken, Host: "code.example.com", Token: token},
			func(t *testing.T) http.HandlerFunc {
				return linkPages(t, "/api/v1/user/repos", "&limit=50", 2, github, header("Authorization", "token tok-1"))
			},
			[]string{"Acme/Shop", "acme/site", "team/tools"},
			forge.Repository{ProviderID: "11", URL: "https://code.example.com/Acme/Shop.git", Description: "Sells", Language: "Go", UpdatedAt: day},
			"oauth2",
		},
		"bitbucket cloud": {
			forge.ConnectionParams{Provider: forge.BitbucketToken, Host: "bitbucket.org", Token: token, Username: "bot"},
			bitbucketCloud(password("bot", "tok-1")),
			[]string{"acme/one", "acme/two", "team/three"},
			forge.Repository{ProviderID: "{acme/one}", URL: "https://bitbucket.org/acme/one.git", Description: "d", Language: "rust", UpdatedAt: day},
			"bot",
		},
		"bitbucket workspace": {
			forge.ConnectionParams{Provider: forge.BitbucketOAuth, Host: "bitbucket.org", URL: "https://bitbucket.org/team", Token: token},
			bitbucketCloud(header("Authorization", "Bearer tok-1")),
			[]string{"team/three"},
			forge.Repository{ProviderID: "{team/three}", URL: "https://bitbucket.org/team/three.git", Description: "d", Language: "rust", UpdatedAt: day},
			"x-token-auth",
		},
		"bitbucket server": {
			forge.ConnectionParams{Provider: forge.BitbucketToken, Host: "bb.example.com", URL: "https://bb.example.com/ctx", Token: token},
			bitbucketServer,
			[]string{"PRJ/one", "PRJ/two", "~me/three"},
			forge.Repository{ProviderID: "1", URL: "https://bb.example.com/ctx/scm/PRJ/one.git", Description: "d"},
			"x-token-auth",
		},
		"azure devops": {
			forge.ConnectionParams{Provider: forge.AzureDevOps, Host: "dev.azure.com", URL: "https://dev.azure.com/acme", Token: token},
			azure,
			[]string{"My Project/one", "My Project/two"},
			forge.Repository{ProviderID: "guid-one", URL: "https://dev.azure.com/acme/My%20Project/_git/one", Description: "d", UpdatedAt: day},
			"gantry",
		},
	}
}

func bitbucketCloud(check func(*http.Request) bool) func(t *testing.T) http.HandlerFunc {
	return func(t *testing.T) http.HandlerFunc {
		repos := func(names ...string) (out []object) {
			for _, n := range names {
				out = append(out, object{"uuid": "{" + n + "}", "full_name": n, "description": "d", "language": "rust", "updated_on": day})
			}
			return out
		}
		return func(w http.ResponseWriter, r *http.Request) {
			if !check(r) || r.Host != "api.bitbucket.org" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			switch r.URL.Path + "?" + r.URL.Query().Get("page") {
			case "/2.0/user/workspaces?":
				write(w, object{"values": []object{{"workspace": object{"slug": "acme"}}}, "next": "https://api.bitbucket.org/2.0/user/workspaces?page=2"})
			case "/2.0/user/workspaces?2":
				write(w, object{"values": []object{{"workspace": object{"slug": "team"}}}})
			case "/2.0/repositories/acme?":
				write(w, object{"values": repos("acme/one"), "next": "https://api.bitbucket.org/2.0/repositories/acme?page=x"})
			case "/2.0/repositories/acme?x":
				write(w, object{"values": repos("acme/two")})
			case "/2.0/repositories/team?":
				write(w, object{"values": repos("team/three")})
			default:
				t.Errorf("asked %s", r.URL)
			}
		}
	}
}

func bitbucketServer(t *testing.T) http.HandlerFunc {
	rows := []object{}
	for i, n := range []string{"PRJ/one", "PRJ/two", "~me/three"} {
		project, slug, _ := strings.Cut(n, "/")
		rows = append(rows, object{"id": i + 1, "slug": slug, "description": "d", "project": object{"key": project}})
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		require.Equal(t, "/ctx/rest/api/1.0/repos", r.URL.Path)
		if r.URL.Query().Get("start") == "0" {
			write(w, object{"values": rows[:2], "isLastPage": false, "nextPageStart": 2})
			return
		}
		require.Equal(t, "2", r.URL.Query().Get("start"))
		write(w, object{"values": rows[2:], "isLastPage": true, "nextPageStart": nil})
	}
}

func azure(t *testing.T) http.HandlerFunc {
	project := object{"name": "My Project", "description": "d", "lastUpdateTime": day}
	return func(w http.ResponseWriter, r *http.Request) {
		if !password("", "tok-1")(r) {
			w.WriteHeader(http.StatusNonAuthoritativeInfo) // a page to sign in
			_, _ = w.Write([]byte("<html>"))
			return
		}
		require.Equal(t, "/acme/_apis/git/repositories", r.URL.Path)
		if r.URL.Query().Get("continuationToken") == "" {
			w.Header().Set("X-Ms-Continuationtoken", "more&")
			write(w, object{"value": []object{{"id": "guid-one", "name": "one", "project": project}, {"id": "guid-off", "name": "off", "isDisabled": true, "project": project}}})
			return
		}
		require.Equal(t, "more&", r.URL.Query().Get("continuationToken"))
		write(w, object{"value": []object{{"id": "guid-two", "name": "two", "project": project}}})
	}
}

func TestEveryProviderListsItsRepositoriesInItsOwnWay(t *testing.T) {
	t.Parallel()
	for name, p := range providers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, db.SQLite, p.serve(t))
			c := h.connect(t, p.params)
			l, err := h.ConnectionRepositories(t.Context(), operator, forge.ListingParams{ConnectionID: c.ID, Page: page.Request{First: 100}})
			require.NoError(t, err)
			var paths []string
			for _, r := range l.Items {
				paths = append(paths, r.Path)
			}
			require.Equal(t, p.paths, paths)
			got := l.Items[0]
			said := forge.Repository{ProviderID: got.ProviderID, URL: got.URL, Description: got.Description, Language: got.Language, UpdatedAt: got.UpdatedAt}
			require.Equal(t, p.first, said)

			// git gets the same token with the name that the provider wants.
			h.allow(t, "org-a", forge.PermissionParams{ConnectionID: c.ID, RepoPath: &got.Path})
			use := h.session(t, "org-a", "s1", got.Path)
			reply, err := h.Credential(t.Context(), use, "clone")
			require.NoError(t, err)
			require.Equal(t, p.git, reply.Username)
			require.Equal(t, "tok-1", reply.Password)

			wrong := p.params
			wrong.Token = secret.New("wrong")
			bad := h.connect(t, wrong)
			_, err = h.ConnectionRepositories(t.Context(), operator, forge.ListingParams{ConnectionID: bad.ID, Page: page.Request{First: 1}})
			require.True(t, fault.Is(err, fault.Conflict), "%v", err)
			require.ErrorContains(t, err, "refuses the connection's token")
			require.NotContains(t, err.Error(), "wrong")
		})
	}
}

func TestAProviderThatFailsIsToldApart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		kind  fault.Kind
		says  string
		after time.Duration
	}{
		"limit with a pause": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(http.StatusTooManyRequests)
		}, fault.Unavailable, "asks for a pause", 90 * time.Second},
		"github's limit": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Date(2026, 3, 10, 12, 10, 0, 0, time.UTC).Unix(), 10))
			w.WriteHeader(http.StatusForbidden)
		}, fault.Unavailable, "asks for a pause", 10 * time.Minute},
		"down":           {text(http.StatusBadGateway, "oops"), fault.Unavailable, "failed (502)", 30 * time.Second},
		"hangs up":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, "can't be reached", 30 * time.Second},
		"something else": {text(http.StatusOK, "<html>hello"), fault.Conflict, "isn't that of a github_token provider", 0},
		"not there":      {text(http.StatusNotFound, "{}"), fault.Conflict, "answers 404", 0},
		"another host's next page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<https://evil.example.com/steal>; rel="next"`)
			write(w, []object{})
		}, fault.Conflict, "another host", 0},
		"a redirect to another host": {func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "evil.example.com" {
				t.Error("the token went along")
			}
			http.Redirect(w, r, "https://evil.example.com/steal", http.StatusFound)
		}, fault.Conflict, "may not be reached", 0},
		"pages without end": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://`+r.Host+`/api/v3/user/repos>; rel="next"`)
			write(w, []object{})
		}, fault.Conflict, "pages", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, db.SQLite, c.serve)
			con := h.github(t)
			ask := func() error {
				_, err := h.ConnectionRepositories(t.Context(), operator, forge.ListingParams{ConnectionID: con.ID, Page: page.Request{First: 1}})
				return err
			}
			for range 2 { // the second time by what is kept of the first
				err := ask()
				require.True(t, fault.Is(err, c.kind), "%v", err)
				require.ErrorContains(t, err, c.says)
				require.Equal(t, c.after, fault.As(err).RetryAfter)
			}
			got, err := h.Connection(t.Context(), operator, con.ID)
			require.NoError(t, err)
			require.Contains(t, got.ListError, c.says)
		})
	}
}

func TestAPrivateProviderIsAskedOnlyWhereTheOperatorAllowsIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, nil)
	s := forge.New(h.db, forge.Options{})
	c, err := s.CreateConnection(t.Context(), operator, forge.ConnectionParams{Name: "inside", Provider: forge.GiteaToken, Host: "127.0.0.1"})
	require.NoError(t, err)
	_, err = s.ConnectionRepositories(t.Context(), operator, forge.ListingParams{ConnectionID: c.ID, Page: page.Request{First: 1}})
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	require.ErrorContains(t, err, "--allow-networks")
}

func TestWhatAProviderSaidStandsUntilItIsAskedAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	rows := atomic.Pointer[[]object]{}
	rows.Store(&[]object{{"id": 1, "full_name": "a/one"}, {"id": 2, "full_name": "a/Two"}, {"id": 3, "full_name": "b/three"}})
	down := atomic.Bool{}
	each(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		write(w, *rows.Load())
	}, func(t *testing.T, h *house) {
		ctx := t.Context()
		if h.db.Engine() == db.Postgres {
			t.Skip("the provider is shared; one engine is enough to follow the clock")
		}
		c := h.github(t)
		list := func(after page.Position, name string) forge.Listing {
			t.Helper()
			l, err := h.ConnectionRepositories(ctx, reader, forge.ListingParams{ConnectionID: c.ID, Page: page.Request{First: 2, After: after}, Name: name})
			require.NoError(t, err)
			return l
		}
		paths := func(l forge.Listing) (out []string) {
			for _, r := range l.Items {
				out = append(out, r.Path)
			}
			return out
		}
		l := list(nil, "")
		require.Equal(t, []string{"a/one", "a/Two"}, paths(l))
		require.True(t, l.More)
		require.Equal(t, []string{"b/three"}, paths(list(l.End, "")))
		require.Equal(t, []string{"a/Two"}, paths(list(nil, "TWO")))
		require.Empty(t, paths(list(nil, "a%o")), "the filter is no pattern")
		require.EqualValues(t, 1, asked.Load())

		h.time.Advance(forge.Fresh + time.Second)
		rows.Store(&[]object{{"id": 2, "full_name": "a/two", "description": "new"}})
		l = list(nil, "")
		require.Equal(t, []string{"a/one", "a/Two"}, paths(l), "the kept answer comes at once")
		require.Equal(t, forge.Fresh+time.Second, l.Age)
		list(nil, "")
		require.Equal(t, 1, h.job(t), "and it is asked again once, in the background")
		l = list(nil, "")
		require.Equal(t, []string{"a/two"}, paths(l))
		require.Zero(t, l.Age)
		require.Empty(t, l.Failed)

		down.Store(true)
		h.time.Advance(time.Hour)
		list(nil, "")
		h.job(t)
		l = list(nil, "")
		require.Equal(t, []string{"a/two"}, paths(l), "a provider that is away takes nothing from what is known")
		require.Equal(t, time.Hour, l.Age)
		require.Contains(t, l.Failed, "failed (503)")
		before := asked.Load()
		list(nil, "")
		require.Zero(t, h.job(t), "and is left alone for a while")
		_, err := h.RefreshConnection(ctx, operator, c.ID)
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		require.Equal(t, before, asked.Load())
		down.Store(false)
		h.time.Advance(forge.RetryListing)
		got, err := h.RefreshConnection(ctx, operator, c.ID)
		require.NoError(t, err)
		require.Equal(t, h.time.Clock().Now(), got.ListedAt)
		require.Empty(t, got.ListError)
		require.Len(t, slices.DeleteFunc(h.actions(t), func(a string) bool { return a != "refresh_github_integration" }), 2)
	})
}

func TestTwoWhoAskAtOnceAskTheProviderOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	entered, release := make(chan struct{}), make(chan struct{})
	h := newHouse(t, db.SQLite, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		close(entered)
		<-release
		write(w, []object{{"id": 1, "full_name": "a/one"}})
	})
	c := h.github(t)
	results := make(chan error, 2)
	ask := func() {
		_, err := h.ConnectionRepositories(t.Context(), operator, forge.ListingParams{ConnectionID: c.ID, Page: page.Request{First: 1}})
		results <- err
	}
	go ask()
	<-entered
	go ask()
	time.AfterFunc(300*time.Millisecond, func() { close(release) })
	require.NoError(t, <-results)
	h.time.Advance(time.Millisecond)
	require.NoError(t, <-results)
	require.EqualValues(t, 1, asked.Load())
}
