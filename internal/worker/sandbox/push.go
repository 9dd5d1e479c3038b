package sandbox

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
)

// pushKept is how much is kept of either side of a push, in bytes. Commands come first and the report last; what is longer is left out.
const pushKept = 64 << 10

// push watches one exchange of git-receive-pack pass by: which branches git asks to change, and what the host reports of them. A nil push
// watches nothing. Its methods are safe for concurrent use.
type push struct {
	mu    sync.Mutex
	asked []byte // the beginning of what git sent
	said  []byte // the end of what the host said
}

// watchPush gives a watch for a push, nil for anything else.
func watchPush(service string) *push {
	if service == "git-receive-pack" {
		return &push{}
	}
	return nil
}

// out watches what git sends.
func (p *push) out(r io.Reader) io.Reader {
	if p == nil {
		return r
	}
	return io.TeeReader(r, watching(func(b []byte) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, b[:min(len(b), pushKept-len(p.asked))]...)
	}))
}

// back watches what the host says.
func (p *push) back(w io.Writer) io.Writer {
	if p == nil {
		return w
	}
	return io.MultiWriter(w, watching(func(b []byte) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.said = append(p.said, b...)
		if len(p.said) > 2*pushKept {
			p.said = append(p.said[:0], p.said[len(p.said)-pushKept:]...)
		}
	}))
}

// watching sees what passes by.
type watching func([]byte)

// Write never fails.
func (f watching) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// branches gives the branches that the push changed, as far as the host reports so.
func (p *push) branches() []string {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for rest := p.asked; len(rest) >= 4; {
		n, err := strconv.ParseUint(string(rest[:4]), 16, 16)
		if err != nil || n < 4 || int(n) > len(rest) { // 0000 ends the commands
			break
		}
		line, _, _ := bytes.Cut(rest[4:n], []byte{0}) // what git can do stands behind the first
		rest = rest[n:]
		f := strings.SplitN(strings.TrimSuffix(string(line), "\n"), " ", 3) // old, new, ref
		if len(f) != 3 || f[0] == f[1] || strings.Trim(f[1], "0") == "" {
			continue // no command, no change, or a branch that goes
		}
		branch, ok := strings.CutPrefix(f[2], "refs/heads/")
		if ok && bytes.Contains(p.said, []byte("ok "+f[2]+"\n")) {
			out = append(out, branch)
		}
	}
	return out
}

// Pushes names who hears of the branches that the session pushed to, for as long as the workspace is open.
func (w *Workspace) Pushes(hear func(repository string, branches []string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hear = hear
}

// pushed tells which branches a push changed.
func (w *Workspace) pushed(repository string, p *push) {
	w.mu.Lock()
	hear := w.hear
	w.mu.Unlock()
	if branches := p.branches(); hear != nil && len(branches) > 0 {
		hear(repository, branches)
	}
}
