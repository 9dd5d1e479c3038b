package sandbox

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/safehttp"
)

const proxySocket = "proxy.sock" // in the run directory

const (
	proxyConnections = 256              // at once, of one session
	proxyIdle        = 10 * time.Minute // without a byte either way
)

// proxy is one session's way out: plain HTTP and CONNECT through the guard. Ports 80 and 443 are open to every public address,
// others only where the operator or the session's repositories name host and port.
type proxy struct {
	log     *slog.Logger
	guard   *safehttp.Guard
	allowed func(hostport string) bool
	git     func() *gitRelay // nil without a repository that needs one
	server  *http.Server
	plain   *http.Transport
	ending  context.CancelFunc
	ctx     context.Context //nolint:containedctx // tunnels outlive their request's context and end with the session
	serving sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup
}

// serveProxy starts the session's proxy with its first process.
func (w *Workspace) serveProxy() error {
	if w.sb.opts.Net != NetProxy {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proxy != nil {
		return nil
	}
	ln, err := w.listen(proxySocket)
	if err != nil {
		return fmt.Errorf("sandbox: proxy of %s: %w", w.id, err)
	}
	p := &proxy{
		log:     w.sb.log.With("session_id", w.id),
		guard:   w.sb.guard,
		allowed: w.mayReach,
		git:     w.currentRelay,
		plain:   w.sb.guard.Transport(),
	}
	p.ctx, p.ending = context.WithCancel(context.Background())
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	p.serving.Go(func() { _ = p.server.Serve(&fewConns{Listener: ln, free: make(chan struct{}, proxyConnections)}) })
	w.proxy = p
	return nil
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ending()
	_ = p.server.Close()
	p.serving.Wait()
	p.handlers.Wait()
	p.plain.CloseIdleConnections()
}

// mayReach says which host:port pairs are open besides ports 80 and 443.
func (w *Workspace) mayReach(hostport string) bool {
	hostport = strings.ToLower(hostport)
	_, port, _ := net.SplitHostPort(hostport)
	if port == "80" || port == "443" || w.sb.targets[hostport] || w.sb.targets["*:"+port] {
		return true
	}
	for _, r := range w.repositories() {
		if t := repositoryTarget(r); t != "" && t == hostport {
			return true
		}
	}
	return false
}

// ServeHTTP answers one request of the session.
func (p *proxy) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.handlers.Add(1)
		defer p.handlers.Done()
	}
	p.mu.Unlock()
	switch {
	case closed:
		p.refuse(rw, req, http.StatusServiceUnavailable, "the session is closed")
	case req.Method == http.MethodConnect:
		p.connect(rw, req)
	default:
		p.forward(rw, req)
	}
}

// forward carries one plain HTTP exchange.
func (p *proxy) forward(rw http.ResponseWriter, req *http.Request) {
	if req.URL.Scheme != "http" || req.URL.Host == "" {
		p.refuse(rw, req, http.StatusBadRequest, "this is a proxy: name a whole http:// address, or use CONNECT")
		return
	}
	if git := p.git(); git != nil && req.URL.Host == relayHost {
		git.ServeHTTP(rw, req)
		return
	}
	target := hostPort(req.URL.Host, "80")
	if !p.allowed(target) {
		p.refuse(rw, req, http.StatusForbidden, "port not allowed: "+target)
		return
	}
	handler := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.Host
			r.Out.URL = &url.URL{Scheme: "http", Host: r.In.URL.Host, Path: r.In.URL.Path, RawPath: r.In.URL.RawPath, RawQuery: r.In.URL.RawQuery}
		},
		Transport:     p.plain,
		FlushInterval: -1,
		ErrorLog:      p.server.ErrorLog,
		ErrorHandler: func(rw http.ResponseWriter, req *http.Request, err error) {
			code, text := proxyError(err)
			p.refuse(rw, req, code, text)
		},
		ModifyResponse: func(resp *http.Response) error {
			p.log.Info("proxy", "method", req.Method, "target", target, "status", resp.StatusCode)
			return nil
		},
	}
	handler.ServeHTTP(rw, req)
}

// connect opens a tunnel and stays with it until it ends.
func (p *proxy) connect(rw http.ResponseWriter, req *http.Request) {
	target := hostPort(req.Host, "443")
	if !p.allowed(target) {
		p.refuse(rw, req, http.StatusForbidden, "port not allowed: "+target)
		return
	}
	up, err := p.guard.DialContext(p.ctx, "tcp", target)
	if err != nil {
		code, text := proxyError(err)
		p.refuse(rw, req, code, text)
		return
	}
	hijacker, ok := rw.(http.Hijacker)
	if !ok {
		_ = up.Close()
		p.refuse(rw, req, http.StatusBadRequest, "CONNECT needs HTTP/1.1")
		return
	}
	down, buffered, err := hijacker.Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	if _, err := io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		closeBoth(up, down)
		return
	}
	start := clock.Clock{}.Now()
	sent, received := p.tunnel(down, buffered.Reader, up)
	p.log.Info("proxy", "method", "CONNECT", "target", target, "status", http.StatusOK, "bytes_sent", sent,
		"bytes_received", received, "duration_ms", clock.Clock{}.Since(start).Milliseconds())
}

// tunnel copies both ways until both are through, the tunnel is idle for too long, or the session closes.
func (p *proxy) tunnel(down net.Conn, buffered io.Reader, up net.Conn) (sent, received int64) {
	stop := context.AfterFunc(p.ctx, func() { closeBoth(up, down) })
	defer stop()
	touch := func() {
		t := clock.Clock{}.Now().Add(proxyIdle)
		_, _ = down.SetReadDeadline(t), up.SetReadDeadline(t)
	}
	touch()
	done := make(chan struct{})
	go func() {
		defer close(done)
		sent = copyOneWay(up, buffered, touch, down)
	}()
	received = copyOneWay(down, up, touch, up)
	<-done
	closeBoth(up, down)
	return sent, received
}

// copyOneWay copies src to dst; from is the connection src reads.
func copyOneWay(dst net.Conn, src io.Reader, touch func(), from net.Conn) int64 {
	var total int64
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			touch()
			if _, werr := dst.Write(buf[:n]); werr != nil {
				closeBoth(dst, from)
				return total
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			if c, ok := dst.(closeWriter); ok {
				_ = c.CloseWrite()
			}
			return total
		}
		if err != nil {
			closeBoth(dst, from)
			return total
		}
	}
}

func closeBoth(a, b net.Conn) { _, _ = a.Close(), b.Close() }

func (p *proxy) refuse(rw http.ResponseWriter, req *http.Request, code int, text string) {
	p.log.Warn("proxy refused", "method", req.Method, "target", hostPort(req.Host, ""), "status", code, "reason", text)
	rw.Header().Set("X-Gantry-Proxy", "refused")
	http.Error(rw, "gantry proxy: "+text, code)
}

// proxyError says what a program inside may know: what another try won't change is 403, everything else 502.
func proxyError(err error) (int, string) {
	if errors.Is(err, safehttp.ErrRefused) {
		return http.StatusForbidden, "address not allowed: it isn't on the public internet and the operator doesn't list it"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return http.StatusForbidden, "the host's certificate can't be verified"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return http.StatusBadGateway, "name not found: " + dns.Name
	}
	return http.StatusBadGateway, "no connection"
}

// hostPort gives host:port in lower case, with the port a scheme implies when there is none.
func hostPort(host, implied string) string {
	if _, _, err := net.SplitHostPort(host); err == nil || implied == "" {
		return strings.ToLower(host)
	}
	return strings.ToLower(net.JoinHostPort(strings.Trim(host, "[]"), implied))
}

// fewConns is a listener that turns connections away while too many are open.
type fewConns struct {
	net.Listener
	free chan struct{}
}

const busyAnswer = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n" +
	"gantry proxy: too many connections of this session at once\n"

// Accept gives the next connection there is room for.
func (l *fewConns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		unix, ok := c.(*net.UnixConn)
		if !ok {
			return nil, fmt.Errorf("proxy: a %T was accepted", c)
		}
		select {
		case l.free <- struct{}{}:
			return &countedConn{UnixConn: unix, release: sync.OnceFunc(func() { <-l.free })}, nil
		default:
			_ = c.SetWriteDeadline(clock.Clock{}.Now().Add(time.Second))
			_, _ = io.WriteString(c, busyAnswer)
			_ = c.Close()
		}
	}
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	*net.UnixConn
	release func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.release()
	return c.UnixConn.Close()
}

// connectThrough asks the proxy behind a socket for a tunnel. What the proxy sent ahead is in the reader.
func connectThrough(socket, target string) (net.Conn, io.Reader, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("the proxy isn't there: %w", err)
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the proxy's answer: %w", err), conn.Close())
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, nil, errors.Join(errors.New(strings.TrimSpace(string(text))), conn.Close())
	}
	return conn, in, nil
}
