package sandbox

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"gantry/internal/platform/safehttp"
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

// gitServer serves repositories over https with a password.
func gitServer(t *testing.T, root string) (srv *httptest.Server, ca string) {
	t.Helper()
	if _, err := os.Stat("/usr/lib/git-core/git-http-backend"); err != nil {
		t.Skip("git's http-backend isn't installed")
	}
	backend := &cgi.Handler{
		Path: "/usr/lib/git-core/git-http-backend",
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	srv = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if user, pw, _ := r.BasicAuth(); user != "git" || pw != "s3cret-token" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "no", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o644))
	return srv, ca
}

func allowLoopback(t testing.TB) func(*Options) {
	t.Helper()
	allow, err := safehttp.ParsePrefixes([]string{"127.0.0.1"})
	require.NoError(t, err)
	return func(o *Options) { o.Net, o.AllowCIDRs = NetProxy, allow }
}

func TestCloneOverHTTPSWithACredentialThatIsNeverInside(t *testing.T) {
	t.Parallel()
	repo := makeRepository(t, nil)
	srv, ca := gitServer(t, filepath.Dir(repo))
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca })
	var asked atomic.Int32
	p := CloneParams{
		Repository: wire.Repository{Name: "repo", URL: srv.URL + "/repo/.git", Dir: "repo", Credential: true},
		Credential: func(_ context.Context, op string) (wire.CredentialReply, error) {
			asked.Add(1)
			require.Equal(t, "clone", op)
			return wire.CredentialReply{Username: "git", Password: "s3cret-token"}, nil
		},
	}
	require.NoError(t, w.Clone(t.Context(), p))
	require.EqualValues(t, 1, asked.Load())
	out, _ := sh(t, w, "cat repo/README; env; cat repo/.git/config; grep -r s3cret-token /work /tmp /home/agent /run/gantry 2>/dev/null; ls /run/gantry")
	require.True(t, strings.HasPrefix(out, "hello\n"))
	require.NotContains(t, out, "s3cret-token")
	require.NotContains(t, out, credentialSocket, "the offer ends with the clone")

	// A wrong password ends with git's word, without a prompt.
	p.Repository.Dir = "again"
	p.Credential = func(context.Context, string) (wire.CredentialReply, error) {
		return wire.CredentialReply{Username: "git", Password: "wrong"}, nil
	}
	err := w.Clone(t.Context(), p)
	require.ErrorContains(t, err, "clone repo: git exit status 128")
	p.Credential = func(context.Context, string) (wire.CredentialReply, error) {
		return wire.CredentialReply{}, errors.New("denied")
	}
	require.ErrorContains(t, w.Clone(t.Context(), p), "denied")
	p.Credential = nil
	require.ErrorContains(t, w.Clone(t.Context(), p), "nobody to ask")
}

func TestCredentialIsGivenOnceAndForItsOwnRepositoryOnly(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	rem, err := parseRemote(wire.Repository{Name: "r", URL: "https://git.example.com/org/repo.git"})
	require.NoError(t, err)
	stop, err := w.offerPassword(rem, wire.CredentialReply{Username: "u", Password: "p"})
	require.NoError(t, err)
	defer stop()
	ask := func(q string) (string, int) {
		out, exit := sh(t, w, "printf '"+q+"\\n\\n' | /opt/gantry/gantry git-credential get 2>/dev/null")
		return out, exit.Code
	}
	for _, q := range []string{
		`protocol=https\nhost=git.example.com\npath=org/other.git`, `protocol=https\nhost=evil.example.com\npath=org/repo.git`,
		`protocol=http\nhost=git.example.com\npath=org/repo.git`, `protocol=https\nhost=git.example.com:8443\npath=org/repo.git`, `protocol=https\nhost=git.example.com`,
	} {
		out, code := ask(q)
		require.Equal(t, "quit=true", out, q)
		require.Zero(t, code)
	}
	right := `protocol=https\nhost=git.example.com\npath=org/repo.git`
	out, _ := ask(right)
	require.Equal(t, "username=u\npassword=p", out)
	out, _ = ask(right)
	require.Equal(t, "quit=true", out, "one operation, one answer")
	for _, op := range []string{"store", "erase"} {
		out, exit := sh(t, w, "echo x | /opt/gantry/gantry git-credential "+op)
		require.Empty(t, out)
		require.True(t, exit.OK())
	}
}

func TestCloneOverSSHWithAKeyThatStaysOutside(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh isn't installed")
	}
	repo := makeRepository(t, nil)
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	addr, hostKey := sshServer(t, pub)
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	reply := wire.CredentialReply{PrivateKey: string(pem.EncodeToMemory(block))}
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	w := newWorkspace(t, allowLoopback(t))
	p := CloneParams{
		Repository: wire.Repository{Name: "repo", URL: "ssh://git@" + addr + repo, Dir: "repo", Credential: true},
		Credential: func(context.Context, string) (wire.CredentialReply, error) { return reply, nil },
	}
	require.ErrorContains(t, w.Clone(t.Context(), p), "known hosts")
	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	wrong, err := ssh.NewPublicKey(other.Public())
	require.NoError(t, err)
	reply.KnownHosts = fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(wrong))
	require.ErrorContains(t, w.Clone(t.Context(), p), "Host key verification failed")
	reply.KnownHosts = fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(hostKey))
	require.NoError(t, w.Clone(t.Context(), p))
	out, _ := sh(t, w, "cat repo/README; ls /run/gantry; ls -A $HOME")
	require.Equal(t, "hello\nproxy.sock", out)
}

// sshServer lets one key run git-upload-pack.
func sshServer(t *testing.T, allowed ed25519.PublicKey) (addr string, hostKey ssh.PublicKey) {
	t.Helper()
	want, err := ssh.NewPublicKey(allowed)
	require.NoError(t, err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(want.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(signer)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var open sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); open.Wait() })
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() { serveSSH(c, config) })
		}
	})
	return ln.Addr().String(), signer.PublicKey()
}

func serveSSH(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			var payload struct{ Command string }
			_ = ssh.Unmarshal(r.Payload, &payload)
			cmd := exec.Command("sh", "-c", payload.Command)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = ch, ch, ch.Stderr()
			status := struct{ Code uint32 }{}
			if cmd.Run() != nil {
				status.Code = 1
			}
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(status))
			_ = ch.Close() // the client hangs up
		}
	}
}
