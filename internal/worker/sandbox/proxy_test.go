package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestProxyRefusesEveryAddressInside(t *testing.T) {
	t.Parallel()
	hit := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit <- struct{}{} }))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	// Ports are open, so that it is the address that is refused. localtest.me and its like are names that lead inside; without a
	// resolver here, the machine's own name for itself stands for them.
	w := newWorkspace(t, withNet(NetProxy), func(o *Options) { o.AllowTargets = []string{"*:" + port} })
	hosts := []string{
		"127.0.0.1", "localhost", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254",
		"100.64.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "224.0.0.1", "2130706433", "0x7f.1",
	}
	var script strings.Builder
	for _, h := range hosts {
		for _, scheme := range []string{"http", "https"} {
			fmt.Fprintf(&script, "curl -sg -o /dev/null -w '%%{http_code} %%{http_connect} ' --noproxy '' --max-time 20 '%s://%s:%s/'; ", scheme, h, port)
		}
	}
	out, _ := sh(t, w, script.String())
	for i, h := range hosts {
		f := strings.Fields(out)[4*i:]
		require.Contains(t, []string{"403", "502"}, f[0], "http to "+h)
		require.Contains(t, []string{"403", "502"}, f[3], "connect to "+h)
	}
	require.Equal(t, "403", strings.Fields(out)[0])
	require.Empty(t, hit)

	// Nothing but the proxy leads out.
	out, exit := sh(t, w, "curl -s --noproxy '*' --max-time 5 http://127.0.0.1:"+port+"/")
	require.NotZero(t, exit.Code, out)
	require.Empty(t, hit)
}

func TestProxyReachesLoopbackOnlyWhenItIsListed(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		require.Empty(t, r.Header.Get("X-Forwarded-For"))
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(rw, "%s %s %s", r.Method, r.URL, body)
	}))
	t.Cleanup(srv.Close)
	addr := srv.Listener.Addr().String()
	log := &logBuffer{}
	w := newWorkspace(t, allowLoopback(t), func(o *Options) {
		o.AllowTargets, o.Logger = []string{addr}, slog.New(slog.NewTextHandler(log, nil))
	})
	out, _ := sh(t, w, "curl -s --noproxy '' -d body 'http://"+addr+"/p?token=s3cret'; echo; curl -sp --noproxy '' 'http://"+addr+"/tunnel?token=s3cret'")
	require.Equal(t, "POST /p?token=s3cret body\nGET /tunnel?token=s3cret", out)
	eventually(t, func() bool {
		return strings.Contains(log.String(), "method=CONNECT") && strings.Contains(log.String(), "method=POST")
	}, "both are logged")
	require.NotContains(t, log.String(), "s3cret")
	require.Contains(t, log.String(), "session_id=s1")
	out, _ = sh(t, w, "curl -s --noproxy '' -o /dev/null -w %{http_code} http://127.0.0.2:"+strings.Split(addr, ":")[1])
	require.Equal(t, "403", out)
}

func TestConnectReachesOtherPortsOnlyOfListedRepositories(t *testing.T) {
	t.Parallel()
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
			_, _ = io.Copy(c, io.LimitReader(c, 5))
			_ = c.Close()
		}
	})
	host, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	w := newWorkspace(t, allowLoopback(t))
	script := "printf hello | /opt/gantry/gantry sandbox-connect " + host + " " + port
	out, exit := sh(t, w, script)
	require.Contains(t, out, "port not allowed")
	require.False(t, exit.OK())
	w.Allow(wire.Repository{Name: "r", URL: "ssh://git@" + ln.Addr().String() + "/r"})
	out, exit = sh(t, w, script)
	require.Equal(t, "hello", out)
	require.True(t, exit.OK())
	out, _ = sh(t, w, "printf hello | /opt/gantry/gantry sandbox-connect "+host+" 22")
	require.Contains(t, out, "port not allowed")
}

func TestProxyTurnsAwayTooManyConnectionsAndClosesWithTheSession(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, withNet(NetProxy))
	_, exit := sh(t, w, "true")
	require.True(t, exit.OK())
	socket := fmt.Sprintf("/proc/self/fd/%d/%s", w.runDir.Fd(), proxySocket)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	var last []byte
	for range proxyConnections + 1 {
		c, err := net.Dial("unix", socket)
		require.NoError(t, err)
		conns = append(conns, c)
	}
	last, err := io.ReadAll(conns[proxyConnections])
	require.NoError(t, err)
	require.Contains(t, string(last), "503")
	require.NoError(t, conns[0].Close())
	eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		b, _ := io.ReadAll(c)
		return bytes.Contains(b, []byte("400"))
	}, "a place is free again")
	require.NoError(t, w.Close())
	_, err = net.Dial("unix", socket)
	require.Error(t, err)
}

func TestTunnelEndsWithTheSession(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.AllowTargets = []string{ln.Addr().String()} })
	host, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	start(t, w, "sleep 1000 | /opt/gantry/gantry sandbox-connect "+host+" "+port)
	c, err := ln.Accept()
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	closed := make(chan struct{})
	go func() { defer close(closed); _, _ = io.ReadAll(c) }()
	require.NoError(t, w.Close())
	select {
	case <-closed:
	case <-ctx.Done():
		require.Fail(t, "the tunnel stayed open")
	}
}
