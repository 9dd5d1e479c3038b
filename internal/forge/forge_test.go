package forge_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/forge"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

var operator = access.As("test", access.ManageGitIntegrations, access.ManageEnterpriseSettings)

func TestAddressesAreCheckedBeforeTheyAreKept(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	real, err := filepath.EvalSymlinks(root)
	require.NoError(t, err)
	outside := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "repo"), 0o700))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "escape")))
	require.NoError(t, os.Symlink(filepath.Join(root, "repo"), filepath.Join(outside, "back")))
	s := forge.New(dbtest.Open(t, db.SQLite, clock.Clock{}), forge.Options{FileRoots: []string{filepath.Join(root, "."), "/not/there"}})

	for in, want := range map[string]struct {
		kept string
		kind forge.Kind
		host string
	}{
		"https://git.example.com/a/b.git":         {"https://git.example.com/a/b.git", forge.HTTPS, "git.example.com"},
		"https://git.example.com:8443/a/b":        {"https://git.example.com:8443/a/b", forge.HTTPS, "git.example.com"},
		"ssh://git@git.example.com:2222/a/b":      {"ssh://git@git.example.com:2222/a/b", forge.SSH, "git.example.com"},
		"git@Git.example.com:a/b.git":             {"git@Git.example.com:a/b.git", forge.SSH, "git.example.com"},
		filepath.Join(root, "repo"):               {"file://" + real + "/repo", forge.File, ""},
		"file://" + root + "/repo":                {"file://" + real + "/repo", forge.File, ""},
		filepath.Join(outside, "back"):            {"file://" + real + "/repo", forge.File, ""},
		filepath.Join(root, "repo", "..", "repo"): {"file://" + real + "/repo", forge.File, ""},
	} {
		r, err := s.Add(t.Context(), operator, forge.Listed, "a/b", in)
		require.NoError(t, err, in)
		require.Equal(t, want.kept, r.URL)
		require.Equal(t, want.kind, r.Kind(), in)
		require.Equal(t, want.host, r.Host(), in)
		require.NoError(t, s.Remove(t.Context(), operator, forge.Listed, "a/b"))
	}
	for _, bad := range []string{
		"", "x", "http://git.example.com/a", "git://git.example.com/a", "ext::sh -c id", "https://", "https://git.example.com", "https://git.example.com/",
		"https://user:pw@git.example.com/a", "https://token@git.example.com/a", "ssh://git:pw@git.example.com/a", "ssh://-oProxyCommand=x/a",
		"ssh://-x@git.example.com/a", "-oProxyCommand=x:a", "git@-host:a", "git@host:-a", "https://git.example.com/a?b=c", "https://git.example.com/a#b",
		"https://git.example.com/a b", "https://git.example.com/a\n", "file://host/a", "file:relative", outside, filepath.Join(root, "escape"),
		filepath.Join(root, "missing"), filepath.Join(root, ".."), root + "x", "/etc",
	} {
		_, err := s.Add(t.Context(), operator, forge.Listed, "a/b", bad)
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", bad, err)
	}
	for _, bad := range []string{"", "a b", "../a", "a/../b", "-a", "a//b", "/a", "a/", ".git", "a/.b", "a\x00"} {
		_, err := s.Add(t.Context(), operator, forge.Listed, bad, "https://git.example.com/a")
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", bad, err)
	}
}

func TestNoFileIsAllowedWithoutARoot(t *testing.T) {
	t.Parallel()
	s := forge.New(dbtest.Open(t, db.SQLite, clock.Clock{}), forge.Options{})
	_, err := s.Add(t.Context(), operator, forge.Listed, "a", t.TempDir())
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
}

func TestSessionsNameRepositoriesInEveryForm(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), forge.New(d, forge.Options{})
		for name, u := range map[string]string{
			"acme/shop": "https://git.example.com/acme/shop.git", "acme/site": "git@code.example.org:acme/site.git", "tools": "https://git.example.com/x/tools",
			"team/shop": "https://git.example.com/team/shop",
		} {
			_, err := s.Add(ctx, operator, forge.Listed, name, u)
			require.NoError(t, err)
		}
		names := func(in ...string) (out []string) {
			got, err := s.Resolve(ctx, "org-a", in)
			require.NoError(t, err)
			for _, r := range got {
				out = append(out, r.Name)
			}
			return out
		}
		require.Empty(t, names())
		require.Equal(t, []string{"tools", "acme/shop"}, names("tools", "acme/shop", "tools"), "in their order, each once")
		for _, in := range []string{"git.example.com/acme/shop", "https://git.example.com/acme/shop", "https://git.example.com/acme/shop.git/", " acme/shop.git", "GIT.example.com/acme/shop", "https://git.example.com:8443/acme/shop"} {
			require.Equal(t, []string{"acme/shop"}, names(in), in)
		}
		require.Equal(t, []string{"acme/site"}, names("git@code.example.org:acme/site.git"))
		for _, bad := range []string{"acme/none", "code.example.org/acme/shop", "shop", "git.example.com/", "", "' OR 1=1"} {
			_, err := s.Resolve(ctx, "org-a", []string{"tools", bad})
			require.True(t, fault.Is(err, fault.Invalid), "%q: %v", bad, err)
			require.Equal(t, []string{"body", "repos", "1"}, fault.As(err).Fields[0].Loc)
		}

		spec, err := s.Spec(ctx, "org-a", "s1", []string{"acme/shop"})
		require.NoError(t, err)
		require.Equal(t, []wire.Repository{{Name: "acme/shop", URL: "https://git.example.com/acme/shop.git", Dir: "."}}, spec)
		spec, err = s.Spec(ctx, "org-a", "s1", []string{"acme/shop", "tools", "team/shop"})
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]string{"acme-shop", "tools", "team-shop"}, []string{spec[0].Dir, spec[1].Dir, spec[2].Dir}))
		spec, err = s.Spec(ctx, "org-a", "s1", []string{"gone"})
		require.NoError(t, err)
		require.Equal(t, []wire.Repository{{Name: "gone", Dir: ".", Refused: "the repository gone is not listed any more"}}, spec,
			"a session goes on with what it cloned, and says why it can't clone")
	})
}

func TestAFileIsCheckedAgainWhenItIsHandedOut(t *testing.T) {
	t.Parallel()
	d, root := dbtest.Open(t, db.SQLite, clock.Clock{}), t.TempDir()
	repo := filepath.Join(root, "repo")
	require.NoError(t, os.Mkdir(repo, 0o700))
	s := forge.New(d, forge.Options{FileRoots: []string{root}})
	_, err := s.Add(t.Context(), operator, forge.Listed, "a", repo)
	require.NoError(t, err)
	spec := func(s *forge.Service) wire.Repository {
		t.Helper()
		list, err := s.Spec(t.Context(), "org-a", "s1", []string{"a"})
		require.NoError(t, err)
		return list[0]
	}
	require.Empty(t, spec(s).Refused)
	gone := spec(forge.New(d, forge.Options{}))
	require.Contains(t, gone.Refused, "not below a listed root any more", "the root was taken off the list")
	require.Empty(t, gone.URL)
	require.NoError(t, os.Remove(repo))
	require.NoError(t, os.Symlink("/etc", repo))
	require.NotEmpty(t, spec(s).Refused, "a link was put in its place")
}

func TestTheListIsKeptAndAudited(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), forge.New(d, forge.Options{})
		for _, n := range []string{"c", "a", "b"} {
			_, err := s.Add(ctx, operator, forge.Listed, n, "https://git.example.com/x/"+n)
			require.NoError(t, err)
		}
		_, err := s.Add(ctx, operator, forge.Listed, "a", "https://git.example.com/other")
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		again, err := s.Add(ctx, operator, forge.Listed, "a", "https://git.example.com/x/a")
		require.NoError(t, err, "the same once more is no conflict, and no change that is audited")
		require.Equal(t, "https://git.example.com/x/a", again.URL)
		p, err := s.List(ctx, operator, page.Request{First: 2})
		require.NoError(t, err)
		require.True(t, p.More)
		require.Equal(t, "a", p.Items[0].Name)
		p, err = s.List(ctx, operator, page.Request{First: 2, After: p.End})
		require.NoError(t, err)
		require.Equal(t, "c", p.Items[0].Name)
		require.NoError(t, s.Remove(ctx, operator, forge.Listed, "a"))
		require.True(t, fault.Is(s.Remove(ctx, operator, forge.Listed, "a"), fault.NotFound))
		logs, err := audit.New(d).List(ctx, operator, audit.ListParams{Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 4)
		require.Equal(t, audit.RemoveRepository, logs.Items[0].Action)

		reader := access.As("test", access.ViewGitIntegrations)
		_, err = s.List(ctx, reader, page.Request{First: 1})
		require.NoError(t, err)
		_, err = s.Add(ctx, reader, forge.Listed, "", "")
		require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
		require.True(t, fault.Is(s.Remove(ctx, reader, forge.Listed, "b"), fault.Forbidden))
		_, err = s.List(ctx, access.As("test"), page.Request{First: 1})
		require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
	})
}
