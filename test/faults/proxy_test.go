package faults

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy passes connections on to a server. Those of one process can be cut off: the server sees them break, the process sees nothing
// at all, whatever it sends and however often it dials.
type proxy struct {
	url    string
	target string // host:port

	mu    sync.Mutex
	cut   int           // pid that is cut off, 0 for none
	heal  chan struct{} // closed when the cut ends
	pairs map[*pair]struct{}
}

// pair is a connection and its continuation.
type pair struct {
	pid      int
	down, up net.Conn
	deaf     atomic.Bool // what comes back is thrown away
}

// Write passes an answer on, unless it is to be lost.
func (c *pair) Write(b []byte) (int, error) {
	if c.deaf.Load() {
		return len(b), nil
	}
	return c.down.Write(b)
}

// Close ends the process's side.
func (c *pair) Close() error { return c.down.Close() }

// newProxy starts a proxy. Its address is known before the server's, which is to be set as target.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{url: "http://" + l.Addr().String(), pairs: map[*pair]struct{}{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.uncut()
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.pairs {
			_, _ = c.down.Close(), c.up.Close()
		}
	})
	return p
}

func (p *proxy) serve(down net.Conn) {
	defer func() { _ = down.Close() }()
	pid := owner(down.RemoteAddr().(*net.TCPAddr).Port)
	p.wait(pid)
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	c := &pair{pid: pid, down: down, up: up}
	p.mu.Lock()
	p.pairs[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(c.up, c.down, pid) })
	both.Go(func() { p.pass(c, c.up, pid) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
}

// pass copies one way. While the process is cut off its own end stays open.
func (p *proxy) pass(to io.WriteCloser, from net.Conn, pid int) {
	_, _ = io.Copy(to, from) // any end is the end
	p.wait(pid)
	_, _ = to.Close(), from.Close()
}

func (p *proxy) wait(pid int) {
	p.mu.Lock()
	heal := p.heal
	if pid != p.cut {
		heal = nil
	}
	p.mu.Unlock()
	if heal != nil {
		<-heal
	}
}

// loseAnswers has the server hear and do what a process asks for a while, and the process hear nothing of it.
func (p *proxy) loseAnswers(t *testing.T, pid int, d time.Duration) {
	t.Helper()
	lost := p.of(pid)
	for _, c := range lost {
		c.deaf.Store(true)
	}
	sleep(t, d)
	for _, c := range lost {
		_, _ = c.up.Close(), c.down.Close()
	}
}

// of gives the open connections of a process.
func (p *proxy) of(pid int) (out []*pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		if c.pid == pid {
			out = append(out, c)
		}
	}
	return out
}

// cutOff lets nothing of a process pass until uncut.
func (p *proxy) cutOff(pid int) {
	p.mu.Lock()
	p.cut, p.heal = pid, make(chan struct{})
	p.mu.Unlock()
	for _, c := range p.of(pid) {
		_ = c.up.Close()
	}
}

func (p *proxy) uncut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heal != nil {
		close(p.heal)
	}
	p.cut, p.heal = 0, nil
}

// owner finds the process that has a local TCP port, 0 when it is gone.
func owner(port int) int {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) || f[9] == "0" {
			continue
		}
		links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil && to == "socket:["+f[9]+"]" {
				var pid int
				_, _ = fmt.Sscanf(l, "/proc/%d/", &pid)
				return pid
			}
		}
	}
	return 0
}
