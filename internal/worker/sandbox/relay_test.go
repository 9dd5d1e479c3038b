package sandbox

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"gantry/internal/wire"
)

const secretToken = "s3cret-token"

// gitServer serves the bare repositories of a directory over https, with a password but for those whose name begins with public.
func gitServer(t *testing.T, root string) (srv *httptest.Server, ca string) {
	t.Helper()
	if _, err := os.Stat("/usr/lib/git-core/git-http-backend"); err != nil {
		t.Skip("git's http-backend isn't installed")
	}
	backend := &cgi.Handler{
		Path: "/usr/lib/git-core/git-http-backend",
		Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
			"GIT_CONFIG_KEY_1=http.receivepack", "GIT_CONFIG_VALUE_1=true",
		},
	}
	srv = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, pw, _ := r.BasicAuth()
		if (user != "git" || pw != secretToken) && !strings.Contains(r.URL.Path, "public") {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "no", http.StatusUnauthorized)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/moved") {
			http.Redirect(rw, r, "/elsewhere", http.StatusMovedPermanently)
			return
		}
		body, err := io.ReadAll(r.Body) // CGI takes no body of unknown length
		require.NoError(t, err)
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		backend.ServeHTTP(rw, r)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(srv.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o644))
	return srv, ca
}

// bareRepositories makes bare repositories of these names and gives the directory they are in.
func bareRepositories(t *testing.T, names ...string) string {
	t.Helper()
	source, root := makeRepository(t, nil), t.TempDir()
	for _, n := range names {
		git(t, root, "clone", "-q", "--bare", source, filepath.Join(root, n))
	}
	return root
}

// server is who is asked for credentials.
type server struct {
	reply wire.CredentialReply

	mu     sync.Mutex
	refuse map[string]string // operation -> why
	asked  []string
}

func (s *server) ask(_ context.Context, repository, operation string) (wire.CredentialReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, operation+" "+repository)
	if why := s.refuse[operation]; why != "" {
		return wire.CredentialReply{}, fmt.Errorf("%w: %s", ErrRefused, why)
	}
	return s.reply, nil
}

func (s *server) refuses(operation, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = map[string]string{operation: why}
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

func passwords() *server {
	return &server{reply: wire.CredentialReply{Username: "git", Password: secretToken}}
}

func allowLoopback(t testing.TB) func(*Options) {
	t.Helper()
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	return func(o *Options) { o.Net, o.AllowCIDRs = NetProxy, loopback }
}

const commit = `echo change >>README && git -c user.name=a -c user.email=a@b commit -qam change`

// everything a program inside can read of itself, of git and of what is bound.
const look = `env; cat .git/config /etc/gitconfig /run/gantry/*config; git config --list --show-origin; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\0' '\n'
	grep -rsaF s3cret /work /tmp /home/agent /run/gantry /etc; ls -A /run/gantry $HOME`

func TestGitClonesFetchesAndPushesWithACredentialThatIsNeverInside(t *testing.T) {
	t.Parallel()
	for mode, change := range map[string]func(*Options){
		"proxy": func(*Options) {},
		"host":  func(o *Options) { o.Net = NetHost },
		"none":  func(o *Options) { o.Mode, o.Net = ModeNone, "" },
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			show := look
			if mode == "none" {
				show = "env; cat .git/config" // the machine's own processes and files are in sight
			}
			root := bareRepositories(t, "repo.git")
			srv, ca := gitServer(t, root)
			w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca }, change)
			who := passwords()
			w.Credentials(who.ask)
			repo := wire.Repository{Name: "acme/repo", URL: srv.URL + "/repo.git", Dir: "repo", Credential: true}
			require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: repo}))
			require.Equal(t, []string{"clone acme/repo", "fetch acme/repo"}, compacted(who.questions()))

			out, exit := sh(t, w, `cd repo && git config remote.origin.url && git fetch -q && `+commit+` && head -c 3000000 /dev/urandom >big && git add big && git -c user.name=a -c user.email=a@b commit -qm big &&
				GIT_TRACE_CURL=1 GIT_CURL_VERBOSE=1 GIT_TRACE=1 git push 2>trace; code=$?; cat trace; `+show+`; exit $code`)
			require.True(t, exit.OK(), out)
			require.NotContains(t, out, secretToken)
			require.NotContains(t, out, "Authorization")
			require.Equal(t, []string{"fetch acme/repo", "push acme/repo"}, compacted(who.questions()))
			require.True(t, strings.HasPrefix(out, repo.URL+"\n"), "the repository knows its own address")
			require.Contains(t, git(t, filepath.Join(root, "repo.git"), "log", "--oneline", "main"), "big")
			require.NotContains(t, processes(t), secretToken)

			// A permission that was taken back ends the next operation, and says so.
			who.refuses("push", "the organization may only read the repository acme/repo")
			out, exit = sh(t, w, "cd repo && "+commit+" && git push")
			require.False(t, exit.OK())
			require.Contains(t, out, "may only read the repository acme/repo")
			out, exit = sh(t, w, "cd repo && git fetch")
			require.True(t, exit.OK(), out)
			who.refuses("fetch", "the organization may not use it any more")
			out, exit = sh(t, w, "cd repo && git fetch")
			require.False(t, exit.OK())
			require.Contains(t, out, "may not use it any more")
			require.NotContains(t, git(t, filepath.Join(root, "repo.git"), "log", "--oneline", "main"), "change\nchange")
		})
	}
}

// compacted drops repetitions: one operation of git is several requests, and each asks.
func compacted(list []string) []string { return slices.Compact(list) }

// processes are the arguments and environments of everything that runs on the machine as this user.
func processes(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, f := range files {
			text, _ := os.ReadFile(f)
			b.Write(text)
		}
	}
	return b.String()
}

func TestTheRelayServesTheSessionsOwnRepositoriesOnly(t *testing.T) {
	t.Parallel()
	root := bareRepositories(t, "repo.git", "repo-other.git", "repo-public.git", "moved.git")
	srv, ca := gitServer(t, root)
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca })
	who := passwords()
	w.Credentials(who.ask)
	require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: srv.URL + "/repo", Dir: "repo", Credential: true}}))
	host := strings.TrimPrefix(srv.URL, "https://")
	who.questions()
	for _, address := range []string{
		srv.URL + "/repo-other.git", "http://git.gantry.internal/https/" + host + "/repo-other.git", "http://git.gantry.internal/https/" + host + "/repo/../repo-other.git",
		"http://git.gantry.internal/https/" + host + "/repo.git/%2e%2e/repo-other.git", "http://git.gantry.internal/https/other.example.com/repo.git",
		"http://git.gantry.internal/http/" + host + "/repo.git", "http://git.gantry.internal/",
	} {
		out, exit := sh(t, w, "GIT_TERMINAL_PROMPT=0 git clone -q "+address+" /tmp/x")
		require.False(t, exit.OK(), "%s: %s", address, out)
		require.NotContains(t, out, secretToken)
	}
	for _, address := range []string{"/repo/HEAD", "/repo/objects/info/packs", "/repo/info/refs", "/repo/info/refs?service=x", "/repo/info/lfs/objects/batch", "/repo/git-upload-pack", "/repo.git"} {
		out, exit := sh(t, w, "curl -sS -o - -w ' %{http_code}' -x http://127.0.0.1:3128 http://git.gantry.internal/https/"+host+address)
		require.True(t, exit.OK(), out)
		require.True(t, strings.HasSuffix(out, " 403"), "%s: %s", address, out)
	}
	require.Empty(t, who.questions(), "nobody was asked for a credential")

	out, exit := sh(t, w, "export NO_PROXY= no_proxy=; git clone -q "+srv.URL+"/repo-public.git /work/public && cat /work/public/README && git -C /work/public fetch")
	require.True(t, exit.OK(), out)
	require.Contains(t, out, "hello", "what begins like one of the session's repositories goes its own way")
	require.Empty(t, who.questions())

	// What a program inside says of itself doesn't reach the host.
	out, exit = sh(t, w, "git -C repo -c http.extraHeader='Authorization: Basic eDp5' -c http.extraHeader='X-Evil: 1' fetch && git -c http.extraHeader='Cookie: a=b' -C repo fetch")
	require.True(t, exit.OK(), out)

	err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "m", URL: srv.URL + "/moved.git", Dir: "m", Credential: true}})
	require.ErrorContains(t, err, "another address")
}

func TestAFailingCredentialSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	root := bareRepositories(t, "repo.git")
	srv, ca := gitServer(t, root)
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca })
	clone := CloneParams{Repository: wire.Repository{Name: "acme/repo", URL: srv.URL + "/repo.git", Dir: "repo", Credential: true}}
	require.ErrorContains(t, w.Clone(t.Context(), clone), "nobody to ask")
	who := passwords()
	w.Credentials(who.ask)
	who.reply.Password = "wrong"
	err := w.Clone(t.Context(), clone)
	require.ErrorContains(t, err, "the host refuses the git connection's credential")
	require.NotContains(t, err.Error(), "wrong")
	who.refuses("clone", "the organization may not use the repository")
	require.ErrorContains(t, w.Clone(t.Context(), clone), "repository acme/repo: not allowed: the organization may not use the repository")
	who.refuses("fetch", "it was taken back in between")
	require.ErrorContains(t, w.Clone(t.Context(), clone), "taken back in between")
	w.Credentials(func(context.Context, string, string) (wire.CredentialReply, error) {
		return wire.CredentialReply{}, errors.New("server answered 503: hidden")
	})
	require.ErrorContains(t, w.Clone(t.Context(), clone), "503")
	clone.Repository = wire.Repository{Name: "gone", Dir: "gone", Refused: "the repository gone is not listed any more"}
	require.EqualError(t, w.Clone(t.Context(), clone), "the repository gone is not listed any more")
	clone.Repository = wire.Repository{Name: "ssh", Dir: "ssh", URL: "git@git.example.com:a/b"}
	require.ErrorContains(t, w.Clone(t.Context(), clone), "ssh needs a key")
}

func TestARepositoryWithoutACredentialOfItsConnectionIsReachedAnonymously(t *testing.T) {
	t.Parallel()
	srv, ca := gitServer(t, bareRepositories(t, "public.git"))
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca })
	w.Credentials((&server{}).ask)
	require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "p", URL: srv.URL + "/public.git", Dir: ".", Credential: true}}))
}

func TestGitOverSSHWithAKeyThatStaysOutside(t *testing.T) {
	t.Parallel()
	root := bareRepositories(t, "repo.git", "other.git")
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	addr, hostKey := sshServer(t, pub)
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	known := func(k ssh.PublicKey) string {
		return fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(k))
	}
	w := newWorkspace(t, allowLoopback(t))
	who := &server{reply: wire.CredentialReply{PrivateKey: string(pem.EncodeToMemory(block))}}
	w.Credentials(who.ask)
	p := CloneParams{Repository: wire.Repository{Name: "repo", URL: "ssh://git@" + addr + root + "/repo.git", Dir: "repo", Credential: true}}
	require.ErrorContains(t, w.Clone(t.Context(), p), "host key verification failed")
	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	wrong, err := ssh.NewPublicKey(other.Public())
	require.NoError(t, err)
	who.reply.KnownHosts = known(wrong)
	require.ErrorContains(t, w.Clone(t.Context(), p), "host key verification failed")
	who.reply.KnownHosts = known(hostKey)
	require.NoError(t, w.Clone(t.Context(), p))
	who.questions()

	out, exit := sh(t, w, "cd repo && "+commit+" && git push -q 2>&1 && git fetch && "+look)
	require.True(t, exit.OK(), out)
	require.NotContains(t, out, "PRIVATE KEY")
	require.Equal(t, []string{"push repo", "fetch repo"}, compacted(who.questions()))
	require.Contains(t, git(t, filepath.Join(root, "repo.git"), "log", "--oneline", "main"), "change")

	who.refuses("push", "the organization may only read the repository repo")
	out, exit = sh(t, w, "cd repo && "+commit+" && git push")
	require.False(t, exit.OK())
	require.Contains(t, out, "may only read the repository repo")

	// The key opens other.git as well, so only the relay keeps it shut.
	out, exit = sh(t, w, "git -c core.sshCommand='/opt/gantry/gantry git-ssh -o BatchMode=yes -o StrictHostKeyChecking=no' clone -q ssh://git@"+addr+root+"/other.git /tmp/x")
	require.False(t, exit.OK(), out)
	for _, command := range []string{"sh", "git-upload-pack '" + root + "/other.git'", "git-upload-pack '" + root + "/repo.git'; id", "git-upload-pack '" + root + "/repo.git' '; id'", "git-upload-archive '" + root + "/repo.git'"} {
		run, answer := w.ssh.open(sshAsk{Host: host, Port: port, Command: command})
		require.Nil(t, run, command)
		require.True(t, answer.Foreign, command)
	}
	who.reply.PrivateKey = ""
	who.refuses("none", "")
	out, exit = sh(t, w, "cd repo && git fetch")
	require.False(t, exit.OK())
	require.Contains(t, out, "no ssh key")
}

func TestWhatGitQuotesIsTakenApartAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.StringMatching(`[a-z'! $\\;"\t~/.-]{1,20}`).Draw(t, "path")
		service, got, ok := gitCommand("git-upload-pack " + shellQuoted(path))
		require.True(t, ok)
		require.Equal(t, []string{"git-upload-pack", path}, []string{service, got})
	})
}

// sshServer lets one key run commands.
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
