package forge_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/secret"
)

// asked is how a kind of provider is asked about a pull request, and how it answers.
type asked struct {
	params     forge.ConnectionParams
	repository string
	address    string // of the pull request
	path       string // what is asked, escaped
	check      func(*http.Request) bool
	// answer tells of a pull request of the branch fix, in another repository when fork.
	answer func(state string, fork bool) object
	// open, merged and closed are the provider's own words.
	open, merged, closed []string
}

// otherIf is an id of the repository, or with fork of another.
func otherIf(fork bool) int {
	if fork {
		return 2
	}
	return 1
}

func github(state string, fork bool) object {
	o := object{
		"state": state, "merged_at": nil, "created_at": day, "head": object{"ref": "fix", "repo": object{"id": otherIf(fork)}}, "base": object{"ref": "main", "repo": object{"id": 1}},
	}
	if state == "merged" {
		o["state"], o["merged_at"] = "closed", day
	}
	return o
}

func pullProviders() map[string]asked {
	token := secret.New("tok-1")
	return map[string]asked{
		"github.com": {
			forge.ConnectionParams{Provider: forge.GitHubToken, Host: "github.com", Token: token},
			"acme/shop", "https://github.com/Acme/shop/pull/7",
			"/repos/acme/shop/pulls/7", func(r *http.Request) bool {
				return r.Host == "api.github.com" && r.Header.Get("Authorization") == "Bearer tok-1" && r.Header.Get("X-Github-Api-Version") != ""
			}, github,
			[]string{"open"},
			[]string{"merged"},
			[]string{"closed"},
		},
		"github enterprise": {
			forge.ConnectionParams{Provider: forge.GitHubIndividual, Host: "git.corp.example:8443", Token: token},
			"acme/shop",
			"https://git.corp.example:8443/acme/shop/pull/7", "/api/v3/repos/acme/shop/pulls/7", header("Authorization", "Bearer tok-1"),
			github,
			[]string{"open"},
			[]string{"merged"},
			[]string{"closed"},
		},
		"gitlab": {
			forge.ConnectionParams{Provider: forge.GitLabToken, Host: "gitlab.example.com", URL: "https://gitlab.example.com/sub", Token: token},
			"acme/web/shop",
			"https://gitlab.example.com/sub/acme/web/shop/-/merge_requests/7", "/sub/api/v4/projects/acme%2Fweb%2Fshop/merge_requests/7", header("Private-Token", "tok-1"),
			func(state string, fork bool) object {
				return object{"state": state, "created_at": day, "source_branch": "fix", "source_project_id": otherIf(fork), "target_project_id": 1}
			},
			[]string{"opened", "locked"},
			[]string{"merged"},
			[]string{"closed"},
		},
		"gitea": {
			forge.ConnectionParams{Provider: forge.GiteaToken, Host: "code.example.com", Token: token},
			"acme/shop",
			"https://code.example.com/acme/shop/pulls/7", "/api/v1/repos/acme/shop/pulls/7", header("Authorization", "token tok-1"),
			func(state string, fork bool) object {
				o := object{"state": state, "merged": false, "created_at": day, "head": object{"ref": "fix", "repo_id": otherIf(fork)}, "base": object{"ref": "main", "repo_id": 1}}
				if state == "merged" {
					o["state"], o["merged"] = "closed", true
				}
				return o
			},
			[]string{"open"},
			[]string{"merged"},
			[]string{"closed"},
		},
		"bitbucket cloud": {
			forge.ConnectionParams{Provider: forge.BitbucketToken, Host: "bitbucket.org", Token: token, Username: "bot"},
			"acme/one",
			"https://bitbucket.org/acme/one/pull-requests/7", "/2.0/repositories/acme/one/pullrequests/7", password("bot", "tok-1"),
			func(state string, fork bool) object {
				from := object{"branch": object{"name": "fix"}, "repository": object{"uuid": "{1}"}}
				if fork {
					from["repository"] = nil
				}
				return object{"state": state, "created_on": day, "source": from, "destination": object{"branch": object{"name": "main"}, "repository": object{"uuid": "{1}"}}}
			},
			[]string{"OPEN"},
			[]string{"MERGED"},
			[]string{"DECLINED", "SUPERSEDED"},
		},
		"bitbucket server": {
			forge.ConnectionParams{Provider: forge.BitbucketToken, Host: "bb.example.com", URL: "https://bb.example.com/ctx", Token: token},
			"PRJ/one",
			"https://bb.example.com/ctx/projects/PRJ/repos/one/pull-requests/7", "/ctx/rest/api/1.0/projects/PRJ/repos/one/pull-requests/7", header("Authorization", "Bearer tok-1"),
			func(state string, fork bool) object {
				return object{
					"state": state, "createdDate": day.UnixMilli(), "fromRef": object{"id": "refs/heads/fix", "repository": object{"id": otherIf(fork)}},
					"toRef": object{"id": "refs/heads/main", "repository": object{"id": 1}},
				}
			},
			[]string{"OPEN"},
			[]string{"MERGED"},
			[]string{"DECLINED"},
		},
		"azure devops": {
			forge.ConnectionParams{Provider: forge.AzureDevOps, Host: "dev.azure.com", URL: "https://dev.azure.com/acme", Token: token},
			"My Project/one",
			"https://dev.azure.com/acme/My%20Project/_git/one/pullrequest/7", "/acme/My%20Project/_apis/git/repositories/one/pullrequests/7", password("", "tok-1"),
			func(state string, fork bool) object {
				o := object{"status": state, "creationDate": day, "sourceRefName": "refs/heads/fix"}
				if fork {
					o["forkSource"] = object{"repository": object{}}
				}
				return o
			},
			[]string{"active"},
			[]string{"completed"},
			[]string{"abandoned"},
		},
	}
}

// pullOf binds a session to a repository and names a pull request of it.
func (h *house) pullOf(t *testing.T, c forge.Connection, repository, address string) forge.Pull {
	t.Helper()
	h.allow(t, "org-a", repo(c.ID, repository))
	use := h.session(t, "org-a", "s1", repository)
	return forge.Pull{OrgID: "org-a", SessionID: "s1", Repos: []string{use.Name}, URL: address}
}

func TestEveryProviderIsAskedAboutAPullRequestInItsOwnWay(t *testing.T) {
	t.Parallel()
	for name, p := range pullProviders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var says atomic.Pointer[object]
			h := newHouse(t, db.SQLite, func(w http.ResponseWriter, r *http.Request) {
				if !p.check(r) {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if r.URL.EscapedPath() != p.path {
					t.Errorf("asked %s", r.URL)
				}
				write(w, *says.Load())
			})
			pull := h.pullOf(t, h.connect(t, p.params), p.repository, p.address)
			asks, err := h.AsksAbout(t.Context(), pull)
			require.NoError(t, err)
			require.True(t, asks)
			for state, words := range map[string][]string{forge.PullOpen: p.open, forge.PullMerged: p.merged, forge.PullClosed: p.closed} {
				for _, word := range words {
					for _, fork := range []bool{false, true} {
						answer := p.answer(word, fork)
						says.Store(&answer)
						want := forge.PullRequest{State: state, Branch: "fix", CreatedAt: day}
						if fork {
							want.Branch = ""
						}
						got, err := h.AskAbout(t.Context(), pull)
						require.NoError(t, err)
						require.True(t, want.CreatedAt.Equal(got.CreatedAt))
						got.CreatedAt = day
						require.Equal(t, want, got, "%s, in another repository: %v", word, fork)
					}
				}
			}
		})
	}
}

func TestOnlyPullRequestsOfTheSessionsOwnRepositoriesAreAskedAbout(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, h *house) {
		const own = "https://github.example.com/acme/shop/pull/7"
		c := h.github(t)
		pull := h.pullOf(t, c, "acme/shop", own)
		plain := h.connect(t, forge.ConnectionParams{Provider: forge.Plain, Host: "git.example.com", Token: secret.New("tok-1")})
		_, err := h.Add(t.Context(), operator, plain.ID, "acme/plain", "https://git.example.com/acme/plain.git")
		require.NoError(t, err)
		open := h.connect(t, forge.ConnectionParams{Provider: forge.GiteaToken, Host: "code.example.com"})
		h.allow(t, "org-a", repo(plain.ID, "acme/plain"), repo(open.ID, "acme/open"))
		h.session(t, "org-a", "s2", "acme/shop", "acme/plain", "acme/open")
		all := []string{"acme/shop", "acme/plain", "acme/open"}
		for _, q := range []struct {
			session string
			repos   []string
			address string
			asks    bool
		}{
			{"s1", pull.Repos, own, true},
			{"s2", all, own, true},
			{"s1", pull.Repos, "https://github.example.com/acme/other/pull/7", false},
			{"s1", pull.Repos, "https://github.example.com/other/shop/pull/7", false},
			{"s1", pull.Repos, "https://evil.example.com/acme/shop/pull/7", false},
			{"s1", pull.Repos, "https://github.example.com:8443/acme/shop/pull/7", false},
			{"s1", pull.Repos, own + "/files", false},
			{"s1", pull.Repos, "http://github.example.com/acme/shop/pull/7", false},
			{"s1", nil, own, false},
			{"s3", pull.Repos, own, false},
			{"s2", all, "https://git.example.com/acme/plain/pulls/1", false}, // nobody to ask
			{"s2", all, "https://code.example.com/acme/open/pulls/1", false}, // no token to ask with
		} {
			p := forge.Pull{OrgID: "org-a", SessionID: q.session, Repos: q.repos, URL: q.address}
			asks, err := h.AsksAbout(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, q.asks, asks, "%s of %s", q.address, q.session)
			if !q.asks {
				_, err = h.AskAbout(t.Context(), p)
				require.True(t, fault.Is(err, fault.NotFound), "%v", err)
			}
		}
		// An address as another provider writes it is none of GitHub's; and a permission that was taken back ends the questions.
		wrong := pull
		wrong.URL = "https://github.example.com/acme/shop/pulls/7"
		_, err = h.AskAbout(t.Context(), wrong)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		_, err = h.ClearPermissions(t.Context(), operator, "org-a")
		require.NoError(t, err)
		_, err = h.AskAbout(t.Context(), pull)
		require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
	})
}

func TestAProviderThatWantsAPauseIsAskedAboutNothingUntilItEnds(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			var count, status atomic.Int32
			status.Store(http.StatusTooManyRequests)
			h := newHouse(t, e, func(w http.ResponseWriter, _ *http.Request) {
				count.Add(1)
				if s := int(status.Load()); s != http.StatusOK {
					w.Header().Set("Retry-After", "600")
					w.WriteHeader(s)
					return
				}
				write(w, github("open", false))
			})
			pull := h.pullOf(t, h.github(t), "acme/shop", "https://github.example.com/acme/shop/pull/7")
			for i := range 2 {
				_, err := h.AskAbout(t.Context(), pull)
				require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
				require.Equal(t, 10*time.Minute, fault.As(err).RetryAfter)
				require.EqualValues(t, 1, count.Load(), "try %d", i)
			}
			status.Store(http.StatusNotFound)
			h.time.Advance(10 * time.Minute)
			_, err := h.AskAbout(t.Context(), pull)
			require.True(t, fault.Is(err, fault.Conflict), "%v", err)
			status.Store(http.StatusOK)
			_, err = h.AskAbout(t.Context(), pull)
			require.NoError(t, err, "what isn't there is no reason for a pause")
			require.EqualValues(t, 3, count.Load())
		})
	}
}
