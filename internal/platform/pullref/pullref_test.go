package pullref_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/pullref"
)

// found gives the addresses in a text.
func found(refs []pullref.Ref) []string {
	out := []string{}
	for _, r := range refs {
		out = append(out, r.URL)
	}
	return out
}

func TestAnAddressIsOneOfARepositorysOwnPullRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, address string
		own, foreign  []string
	}{
		{
			"github", "https://github.com/Acme/shop/pull/12",
			[]string{"https://github.com/acme/shop.git", "https://github.com/acme/shop", "git@github.com:acme/shop.git", "ssh://git@ssh.github.com:443/acme/shop.git"},
			[]string{
				"https://github.com/acme/shop2.git", "https://github.com/other/shop.git", "https://github.example.com/acme/shop.git",
				"https://github.com/acme/shop/pull.git", "https://evil.example/github.com/acme/shop", "git@evil.example:acme/shop.git", "/srv/acme/shop", "file:///acme/shop",
				"acme/shop", "", "https://github.com/", "::",
			},
		},
		{
			"github enterprise on a port", "https://Git.corp.example:8443/acme/shop/pull/1",
			[]string{"https://git.corp.example:8443/acme/shop.git"},
			[]string{"https://git.corp.example/acme/shop.git", "ssh://git@git.corp.example:8443/acme/shop.git"},
		},
		{
			"the usual port", "https://github.com:443/acme/shop/pull/1",
			[]string{"https://github.com/acme/shop.git", "https://github.com:443/acme/shop.git"},
			[]string{"https://github.com:8443/acme/shop.git"},
		},
		{
			"gitlab", "https://gitlab.example.com/sub/acme/web/shop/-/merge_requests/7",
			[]string{"https://gitlab.example.com/sub/acme/web/shop.git"},
			[]string{"https://gitlab.example.com/acme/web/shop.git", "https://gitlab.example.com/sub/acme/web.git"},
		},
		{
			"bitbucket cloud", "https://bitbucket.org/acme/one/pull-requests/3",
			[]string{"https://bitbucket.org/acme/one.git", "git@bitbucket.org:acme/one.git", "ssh://git@altssh.bitbucket.org:443/acme/one.git"},
			[]string{"https://bitbucket.org/acme/two.git"},
		},
		{
			"bitbucket server", "https://bb.example.com/ctx/projects/PRJ/repos/one/pull-requests/3",
			[]string{"https://bb.example.com/ctx/scm/prj/one.git", "ssh://git@bb.example.com:7999/prj/one.git"},
			[]string{"https://bb.example.com/scm/prj/one.git", "https://bb.example.com/ctx/scm/prj/two.git", "ssh://git@bb.example.com:7999/j/one.git"},
		},
		{
			"somebody's own on bitbucket server", "https://bb.example.com/users/me/repos/three/pull-requests/3",
			[]string{"https://bb.example.com/scm/~me/three.git", "ssh://git@bb.example.com/~me/three.git"},
			[]string{"https://bb.example.com/scm/me/three.git"},
		},
		{
			"azure devops", "https://dev.azure.com/acme/My%20Project/_git/one/pullrequest/4",
			[]string{"https://dev.azure.com/acme/My%20Project/_git/one", "git@ssh.dev.azure.com:v3/acme/My Project/one"},
			[]string{"https://dev.azure.com/acme/Other/_git/one", "git@ssh.dev.azure.com:v3/acme/Other/one"},
		},
		{
			"gitea", "https://code.example.com/acme/shop/pulls/5",
			[]string{"https://code.example.com/acme/shop.git", "ssh://git@code.example.com:2222/acme/shop.git"},
			[]string{"https://code.example.com/acme/shop/pulls.git"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, ok := pullref.Parse(c.address)
			require.True(t, ok)
			for _, u := range c.own {
				require.True(t, r.Of(u), u)
			}
			for _, u := range c.foreign {
				require.False(t, r.Of(u), u)
			}
		})
	}
}

func TestAnAddressIsFoundWhateverStandsAroundIt(t *testing.T) {
	t.Parallel()
	const one = "https://github.com/acme/shop/pull/12"
	for _, text := range []string{
		one, "see " + one + ".", "[the change](" + one + ")", "**" + one + "**", "<" + one + ">", one + "/files", one + "#discussion_r1", one + "?w=1",
		`{"url":"` + one + `","n":1}`, `"` + one + `\n"`, "\x1b]8;;" + one + "\x1b\\text", one + "\x00", one + "…", "ü" + one, "https://" + one,
		"HTTPS is " + strings.ReplaceAll(one, "github.com", "GitHub.com") + ",",
	} {
		require.Equal(t, []string{one}, found(pullref.Find(text)), "%q", text)
	}
	for _, text := range []string{
		"", "https://", "http://github.com/acme/shop/pull/12", "https://github.com/acme/shop/pull/", "https://github.com/acme/shop/pull/new/fix",
		"https://github.com/acme/shop/pull/0", "https://github.com/acme/shop/pull/12a", "https://github.com/acme/shop/pull/12-3", one + "%20",
		"https://github.com/pull/12", "https://github.com/acme/shop/pulls", "https://github.com/acme/shop/pull/1234567890",
		"https://token@github.com/acme/shop/pull/12", "https://***@github.com/acme/shop/pull/12", "https://github.com/acme/***/pull/12",
		"https://github.com/acme/shop/-/pull/12x", "https://gitlab.com/acme/shop/merge_requests/1", `https:\/\/github.com\/acme\/shop\/pull\/12`,
		"https://github.com/acme%2Fshop/pull/12", "https://github.com/acme/sh%zzop/pull/12", "https://github.com/" + strings.Repeat("a", pullref.MaxURL) + "/pull/1",
	} {
		require.Empty(t, pullref.Find(text), "%q", text)
	}
	require.Equal(t, []string{one, "https://github.com/acme/pull/pull/3"}, found(pullref.Find(one+" "+"https://github.com/acme/pull/pull/3")))
	require.Equal(t, []string{"https://github.com/acme/shop/pull/12"}, found(pullref.Find("https://github.com/acme/%73hop/pull/12")), "one spelling")
}

func TestAnAddressInTwoPiecesIsFoundOnce(t *testing.T) {
	t.Parallel()
	const text = "look: https://github.com/acme/shop/pull/12 and https://github.com/acme/shop/pull/13"
	for i := range len(text) {
		var s pullref.Scanner
		refs := append(s.Write(text[:i]), s.Write(text[i:])...)
		require.Equal(t, []string{"https://github.com/acme/shop/pull/12"}, found(refs), "cut at %d", i)
		require.Equal(t, []string{"https://github.com/acme/shop/pull/13"}, found(s.End()), "the text may go on with a digit")
		s.Reset()
		require.Empty(t, s.End())
	}
}

func FuzzPiecesSayWhatTheWholeSays(f *testing.F) {
	for _, text := range []string{
		"https://github.com/acme/shop/pull/12", "x https://gitlab.com/a/b/-/merge_requests/1https://bitbucket.org/a/b/pull-requests/2",
		"https://dev.azure.com/a/My%20P/_git/r/pullrequest/3 httphttps://h/a/pulls/4", strings.Repeat("https://h/", 300) + "a/pull/1", "https://h/%2e%2E/%41/pull/9%",
	} {
		f.Add(text, 7, 20)
	}
	f.Fuzz(func(t *testing.T, text string, a, b int) {
		a, b = max(0, min(a, len(text))), max(0, min(b, len(text)))
		a, b = min(a, b), max(a, b)
		var s pullref.Scanner
		pieces := append(s.Write(text[:a]), s.Write(text[a:b])...)
		pieces = append(pieces, s.Write(text[b:])...)
		pieces = append(pieces, s.End()...)
		whole := pullref.Find(text)
		require.Equal(t, found(whole), found(pieces))
		for _, r := range whole {
			again, ok := pullref.Parse(r.URL)
			require.True(t, ok, r.URL)
			require.Equal(t, r, again, "an address in its one spelling means the same")
			require.LessOrEqual(t, len(r.URL), pullref.MaxURL)
			require.Contains(t, text, "https://")
		}
	})
}
