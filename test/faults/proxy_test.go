package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes connections on to a server. Those of one process can be cut off: they stay open, and nothing passes.
type proxy struct {
	t      *testing.T
	url    string
	target string

	mu   sync.Mutex
	cut  int           // pid that is cut off, 0 for none
	heal chan struct{} // closed when the cut ends
	conn []net.Conn
}

// newProxy starts a proxy to host:port. Its address is known before the server's.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{t: t, url: "http://" + l.Addr().String()}
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
		for _, c := range p.conn {
			_ = c.Close()
		}
	})
	return p
}

func (p *proxy) serve(c net.Conn) {
	pid := owner(c.RemoteAddr().(*net.TCPAddr).Port)
	p.wait(pid)
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	p.conn = append(p.conn, c, up)
	p.mu.Unlock()
	go p.pass(pid, up, c)
	p.pass(pid, c, up)
}

// pass copies one way, and holds what it has while the process is cut off.
func (p *proxy) pass(pid int, to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.wait(pid)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
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

// cutOff lets nothing of a process pass until uncut.
func (p *proxy) cutOff(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.heal = pid, make(chan struct{})
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
