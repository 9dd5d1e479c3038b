package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gantry/internal/wire"
)

// Git reaches a repository that needs a credential through a relay out here: what is inside asks for the repository without one, the
// relay asks the server whether that may be, adds the credential and goes on. So the credential never is inside, and it serves the
// session's own repositories and the operation it was given for, whatever runs inside.

// relayHost is the name under which git finds the relay through the proxy. No name server knows it.
const relayHost = "git.gantry.internal"

// gitConfig is the file in the run directory that leads git to the relays; /etc/gitconfig includes it.
const gitConfig = "gitconfig"

// relayIdle is how long a host may take to begin its answer: a push may run checks there.
const relayIdle = 10 * time.Minute

// Ask asks the server for what git needs for one operation on one repository of the session.
type Ask func(ctx context.Context, repository, operation string) (wire.CredentialReply, error)

// ErrRefused is wrapped by an Ask when the session may not do that; the error's text says why and may be shown inside.
var ErrRefused = errors.New("not allowed")

// gitRelay answers git's smart HTTP protocol for the session's https repositories that need a credential.
type gitRelay struct {
	w      *Workspace
	log    *slog.Logger
	out    *http.Transport
	prefix string       // of every path; a secret where the relay listens on the machine's loopback
	base   string       // the address that git is given
	server *http.Server // nil where the proxy leads here
	done   chan struct{}
}

// relayed reports whether git reaches a repository through a relay.
func relayed(r wire.Repository) bool { return r.Credential && r.URL != "" }

func (w *Workspace) newRelay() (*gitRelay, error) {
	r := &gitRelay{w: w, log: w.sb.log.With("session_id", w.id), out: w.sb.guard.Transport(), base: "http://" + relayHost}
	r.out.ResponseHeaderTimeout = relayIdle
	if w.sb.opts.CABundle != "" {
		text, err := os.ReadFile(w.sb.opts.CABundle)
		if err != nil {
			return nil, fmt.Errorf("sandbox: certificate authorities: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("sandbox: %s holds no certificate", w.sb.opts.CABundle)
		}
		r.out.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	if w.sb.opts.Net == NetHost {
		return r, r.listen()
	}
	return r, nil
}

// listen serves a sandbox that shares the machine's network, where there is no proxy to lead here. Others of the machine reach the
// address too, so its path is a secret.
func (r *gitRelay) listen() error {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("sandbox: git relay: %w", err)
	}
	r.prefix = "/" + rand.Text()
	r.base = "http://" + ln.Addr().String() + r.prefix
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug)}
	r.done = make(chan struct{})
	go func() { defer close(r.done); _ = r.server.Serve(ln) }()
	return nil
}

func (r *gitRelay) close() {
	if r.server != nil {
		_ = r.server.Close()
		<-r.done
	}
	r.out.CloseIdleConnections()
}

// address is where git finds a repository's relay: the scheme, host and path of its own address.
func (r *gitRelay) address(rem remote) string {
	host := net.JoinHostPort(rem.host, rem.port)
	if rem.port == "443" {
		host = strings.TrimSuffix(host, ":443") // people see the address in `git remote -v`
	}
	return r.base + "/" + rem.scheme + "/" + host + "/" + (&url.URL{Path: repositoryPath(rem.path)}).EscapedPath()
}

func repositoryPath(p string) string { return strings.TrimSuffix(strings.Trim(p, "/"), ".git") }

// writeGitConfig leads git to the relays for the repositories that the session has now. The caller holds w.mu.
func (w *Workspace) writeGitConfig() error {
	var b strings.Builder
	ssh := false
	for _, repo := range w.repos {
		rem, err := parseRemote(repo)
		if err != nil || !relayed(repo) {
			continue
		}
		switch rem.scheme {
		case "https":
			if w.relay == nil {
				if w.relay, err = w.newRelay(); err != nil {
					return err
				}
			}
			fmt.Fprintf(&b, "[url %s]\n\tinsteadOf = %s\n", quoted(w.relay.address(rem)), quoted(strings.TrimSuffix(rem.url, ".git")))
		case "ssh":
			ssh = true
		}
	}
	if w.relay != nil {
		proxy := ""
		if w.sb.opts.Net == NetProxy {
			proxy = "http://" + forwardAddress
		}
		fmt.Fprintf(&b, "[http %s]\n\tproxy = %s\n", quoted(w.relay.base), quoted(proxy))
	}
	if ssh {
		if err := w.serveSSH(); err != nil {
			return err
		}
		fmt.Fprintf(&b, "[core]\n\tsshCommand = %s\n[ssh]\n\tvariant = ssh\n", quoted(w.sshCommand()))
	}
	path := filepath.Join(w.host(dirRun), gitConfig)
	if b.Len() == 0 { // an earlier claim may have left one
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	// A git that reads meanwhile must see the old file or the new one.
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o644); err != nil {
		return diskError(err)
	}
	if err := os.Chmod(path+".new", 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// quoted writes a value or a subsection's name for git's configuration. Addresses hold no line ends.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "", "\x00", "").Replace(s) + `"`
}

// gitServices are the programs at the other end, by the operation they serve.
var gitServices = map[string]string{"git-upload-pack": wire.GitFetch, "git-receive-pack": wire.GitPush}

// repository finds the session's repository that needs a credential at an address.
func (w *Workspace) repository(scheme, hostport, path string) (wire.Repository, remote, bool) {
	for _, repo := range w.repositories() {
		rem, err := parseRemote(repo)
		if err == nil && relayed(repo) && rem.scheme == scheme && net.JoinHostPort(rem.host, rem.port) == strings.ToLower(hostport) &&
			repositoryPath(rem.path) == repositoryPath(path) {
			return repo, rem, true
		}
	}
	return wire.Repository{}, remote{}, false
}

// request is what git asks for: info/refs of a service, or the service itself.
type request struct {
	hostport, path, endpoint, service string
}

func (r *gitRelay) parse(req *http.Request) (request, bool) {
	rest, ok := strings.CutPrefix(req.URL.Path, r.prefix+"/https/")
	if !ok {
		return request{}, false
	}
	var q request
	if q.hostport, rest, ok = strings.Cut(rest, "/"); !ok {
		return q, false
	}
	for _, end := range []string{"info/refs", "git-upload-pack", "git-receive-pack"} {
		path, found := strings.CutSuffix(rest, "/"+end)
		if !found {
			continue
		}
		q.path, q.endpoint, q.service = path, end, end
		method := http.MethodPost
		if end == "info/refs" {
			method, q.service = http.MethodGet, req.URL.Query().Get("service")
		}
		return q, req.Method == method && gitServices[q.service] != ""
	}
	return q, false
}

// ServeHTTP carries one exchange of git's smart protocol.
func (r *gitRelay) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	q, ok := r.parse(req)
	if !ok {
		r.refuse(rw, http.StatusForbidden, "only git's smart protocol goes through here")
		return
	}
	repo, rem, ok := r.w.repository("https", hostPort(q.hostport, "443"), q.path)
	if !ok {
		r.elsewhere(rw, req, q)
		return
	}
	cred, err := r.w.askFor(req.Context(), repo.Name, gitServices[q.service])
	if errors.Is(err, ErrRefused) {
		r.refuse(rw, http.StatusForbidden, err.Error())
		return
	}
	if err != nil {
		r.log.Warn("git relay: no answer about a credential", "repository", repo.Name, "error", err)
		r.refuse(rw, http.StatusBadGateway, "the server can't be asked for a credential now")
		return
	}
	watch := watchPush(q.endpoint)
	if watch != nil {
		req.Body = struct {
			io.Reader
			io.Closer
		}{watch.out(req.Body), req.Body}
	}
	resp, err := r.forward(req, rem, q, cred)
	if err != nil {
		code, text := proxyError(err)
		r.refuse(rw, code, text)
		return
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	r.log.Info("git relay", "repository", repo.Name, "service", q.service, "endpoint", q.endpoint, "status", resp.StatusCode)
	if resp.StatusCode != http.StatusOK {
		r.refuse(rw, relayedStatus(resp.StatusCode), hostSays(resp.StatusCode))
		return
	}
	copyHeaders(rw.Header(), resp.Header, "Content-Type", "Content-Encoding", "Cache-Control", "Expires", "Pragma")
	rw.WriteHeader(http.StatusOK)
	_, _ = io.Copy(watch.back(flushing{rw, http.NewResponseController(rw)}), resp.Body) // a broken stream shows at git
	r.w.pushed(repo.Name, watch)
}

// elsewhere sends git to the address it meant, without a credential: the configuration leads here whatever begins like one of the
// session's repositories.
func (r *gitRelay) elsewhere(rw http.ResponseWriter, req *http.Request, q request) {
	if q.endpoint != "info/refs" {
		r.refuse(rw, http.StatusForbidden, "this repository is none of the session's")
		return
	}
	u := url.URL{Scheme: "https", Host: strings.TrimSuffix(q.hostport, ":443"), Path: "/" + q.path + "/" + q.endpoint, RawQuery: req.URL.RawQuery}
	http.Redirect(rw, req, u.String(), http.StatusTemporaryRedirect)
}

// forward asks the repository's own host. Of what git sent only what the protocol needs goes along.
func (r *gitRelay) forward(req *http.Request, rem remote, q request, cred wire.CredentialReply) (*http.Response, error) {
	u, err := url.Parse(rem.url)
	if err != nil {
		return nil, err
	}
	u = u.JoinPath(q.endpoint)
	if q.endpoint == "info/refs" {
		u.RawQuery = "service=" + q.service
	}
	out, err := http.NewRequestWithContext(req.Context(), req.Method, u.String(), req.Body)
	if err != nil {
		return nil, err
	}
	out.ContentLength = req.ContentLength
	copyHeaders(out.Header, req.Header, "Accept", "Content-Type", "Content-Encoding", "Git-Protocol", "User-Agent")
	if q.service != "git-receive-pack" { // what the host reports of a push is read on its way
		copyHeaders(out.Header, req.Header, "Accept-Encoding")
	}
	if cred.Password != "" {
		out.SetBasicAuth(cred.Username, cred.Password)
	}
	return r.out.RoundTrip(out)
}

func copyHeaders(to, from http.Header, names ...string) {
	for _, n := range names {
		if v := from.Values(n); len(v) > 0 {
			to[http.CanonicalHeaderKey(n)] = slices.Clone(v)
		}
	}
}

// relayedStatus keeps git from asking for a name and a password, and from following the host elsewhere.
func relayedStatus(status int) int {
	if status == http.StatusUnauthorized || status < 400 {
		return http.StatusForbidden
	}
	return status
}

func hostSays(status int) string {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Sprintf("the host refuses the git connection's credential for this (%d)", status)
	case status < 400:
		return "the host says that the repository is at another address now; use that"
	}
	return fmt.Sprintf("the host answers %d %s", status, http.StatusText(status))
}

func (r *gitRelay) refuse(rw http.ResponseWriter, code int, text string) {
	r.log.Warn("git relay refused", "status", code, "reason", text)
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8") // git shows it
	rw.WriteHeader(code)
	_, _ = io.WriteString(rw, "gantry: "+text+"\n")
}

// flushing hands every piece on as it comes: git shows progress.
type flushing struct {
	io.Writer
	control *http.ResponseController
}

// Write writes and flushes.
func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// askFor asks the server about one operation on one repository.
func (w *Workspace) askFor(ctx context.Context, repository, operation string) (wire.CredentialReply, error) {
	w.mu.Lock()
	ask := w.ask
	w.mu.Unlock()
	if ask == nil {
		return wire.CredentialReply{}, errors.New("there is nobody to ask for a credential")
	}
	return ask(ctx, repository, operation)
}

// Credentials names who is asked what git needs, at each operation, for as long as the workspace is open.
func (w *Workspace) Credentials(ask Ask) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ask = ask
}
