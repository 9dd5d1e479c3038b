package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

func fileRoot(dir string) func(*Options) {
	return func(o *Options) { o.FileRoots = []string{filepath.Dir(dir)} }
}

func TestCloneOfARepositoryOnThisMachine(t *testing.T) {
	t.Parallel()
	repo := makeRepository(t, nil)
	git(t, repo, "branch", "other")
	w := newWorkspace(t, fileRoot(repo))
	var progress []string
	p := CloneParams{
		Repository: wire.Repository{Name: "org/repo", URL: "file://" + repo, Dir: "group/repo", Branch: "other"},
		Progress:   func(l string) { progress = append(progress, l) },
	}
	require.NoError(t, w.Clone(t.Context(), p))
	require.Contains(t, strings.Join(progress, "\n"), "Receiving objects")
	out, exit := sh(t, w, `cd group/repo && cat README && git branch --show-current && git log --oneline | wc -l && git fetch -q origin && git status --short && stat -c %u .git README`)
	require.Equal(t, "hello\nother\n1\n1000\n1000", out)
	require.True(t, exit.OK())
	if os.Geteuid() == 0 {
		require.Equal(t, uint32(DefaultID), ownerOf(t, filepath.Join(w.Dir(), "work/group/repo/.git")))
	}

	// A second clone leaves the folder alone, unless it is broken.
	_, _ = sh(t, w, "echo mine >group/repo/mine")
	require.NoError(t, w.Clone(t.Context(), p))
	out, _ = sh(t, w, "cat group/repo/mine; rm -rf group/repo/.git")
	require.Equal(t, "mine", out)
	require.NoError(t, w.Clone(t.Context(), p))
	out, _ = sh(t, w, "ls group/repo")
	require.Equal(t, "README", out)
}

func TestCloneIntoTheWorkingDirectoryItself(t *testing.T) {
	t.Parallel()
	repo := makeRepository(t, nil)
	w := newWorkspace(t, fileRoot(repo))
	require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "repo", URL: repo, Dir: "."}}))
	require.NoError(t, os.RemoveAll(repo))
	out, _ := sh(t, w, "cat README; git status --short; ls -A /srv/repositories 2>/dev/null")
	require.Equal(t, "hello", out, "a source that is gone doesn't end the session")
}

func TestARepositoryTheSandboxMayNotReadSaysSo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only a root worker runs sandboxes as another user")
	}
	repo := makeRepository(t, nil)
	require.NoError(t, os.Chmod(filepath.Join(repo, ".git"), 0o700))
	w := newWorkspace(t, fileRoot(repo))
	err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: repo, Dir: "r"}})
	require.ErrorContains(t, err, "must be able to read it")
}

func TestFileRepositoriesOutsideTheListedRootsAreRefused(t *testing.T) {
	t.Parallel()
	inside, outside := makeRepository(t, nil), makeRepository(t, nil)
	root := filepath.Dir(inside)
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "link")))
	w := newWorkspace(t, func(o *Options) { o.FileRoots = []string{root} })
	for _, url := range []string{outside, "file://" + outside, root + "/link", "file://" + root + "/../" + filepath.Base(filepath.Dir(outside)) + "/repo", "/", "/etc", w.Dir(), "file://host" + inside} {
		err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: url, Dir: "r"}})
		require.Error(t, err, url)
		require.NoDirExists(t, filepath.Join(w.Dir(), "work", "r"), url)
	}
	err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: root + "/missing", Dir: "r"}})
	require.ErrorContains(t, err, "doesn't exist")
}

func TestAddressesGitMayNotBeGivenAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, withNet(NetProxy))
	for _, url := range []string{
		"ext::sh -c touch% /tmp/pwned", "fd::17", "git://example.com/x", "http://example.com/x", "ftp://example.com/x", "-oProxyCommand=x",
		"--upload-pack=x", "https://user:pw@example.com/x", "https://token@example.com/x", "ssh://-oProxyCommand=x/y", "ssh://-x@h/y",
		"-x@h:y", "", "repo", "../repo", "https://", "https://example.com", "transport::https://x/y",
	} {
		err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: url, Dir: "r"}})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "pw@")
		require.Contains(t, err.Error(), "repository r:", url)
	}
	for _, dir := range []string{"", "..", "../x", "/abs", "a/../b", "a/.git/hooks", ".git"} {
		err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: "https://example.com/x", Dir: dir}})
		require.ErrorContains(t, err, "no folder", dir)
	}
	err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: "https://example.com/x", Dir: "r", Branch: "--upload-pack=x"}})
	require.ErrorContains(t, err, "no branch")
	require.Equal(t, "example.com:22", repositoryTarget(wire.Repository{URL: "git@Example.com:org/x.git"}))
	require.Equal(t, "example.com:2222", repositoryTarget(wire.Repository{URL: "ssh://git@example.com:2222/org/x"}))
	require.Equal(t, "example.com:443", repositoryTarget(wire.Repository{URL: "https://example.com/org/x"}))
}

func TestAHostileRepositoryRunsNothingWhileItIsCloned(t *testing.T) {
	t.Parallel()
	witness := "touch /work/pwned /tmp/pwned /home/agent/pwned"
	repo := makeRepository(t, func(dir string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".gitattributes"), []byte("* filter=evil diff=evil merge=evil\n"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".gitmodules"), []byte("[submodule \"m\"]\n\tpath = m\n\turl = ext::sh -c \""+witness+"\"\n\tupdate = !"+witness+"\n"), 0o644))
		require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "leak")))
		require.NoError(t, os.Symlink("../../../..", filepath.Join(dir, "up")))
	})
	git(t, repo, "update-index", "--add", "--cacheinfo", "160000,1234567890123456789012345678901234567890,m")
	git(t, repo, "commit", "-q", "-m", "submodule")
	// What only the repository's own directory can carry: its settings and hooks run nothing on our side either.
	for _, s := range [][]string{
		{"core.fsmonitor", witness},
		{"filter.evil.smudge", witness},
		{"filter.evil.process", witness},
		{"core.sshCommand", witness},
		{"uploadpack.packObjectsHook", witness},
		{"core.hooksPath", repo + "/hooks"},
		{"protocol.ext.allow", "always"},
	} {
		git(t, repo, "config", s[0], s[1])
	}
	require.NoError(t, os.Mkdir(repo+"/hooks", 0o755))
	for _, h := range []string{"post-checkout", "pre-upload", "reference-transaction", "post-index-change"} {
		require.NoError(t, os.WriteFile(repo+"/hooks/"+h, []byte("#!/bin/sh\n"+witness+"\n"), 0o755))
	}
	w := newWorkspace(t, fileRoot(repo))
	require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "evil", URL: repo, Dir: "evil"}}))
	out, exit := sh(t, w, "ls -d /work/pwned /tmp/pwned /home/agent/pwned 2>/dev/null; cat evil/README; ls -A evil/m; git -C evil config --list --local | grep -c filter.evil; ls evil/.git/hooks 2>/dev/null; true")
	require.True(t, exit.OK())
	require.Equal(t, "hello\n0", out)
	_, err := w.OpenRegular("evil/leak", 1<<20)
	require.ErrorIs(t, err, ErrNotRegular)
	_, err = w.OpenRegular("evil/up/etc/passwd", 1<<20)
	require.Error(t, err)
	require.Error(t, w.WriteFile("evil/up/x", strings.NewReader("x"), 10, 0o600))
}
