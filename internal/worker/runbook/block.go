package runbook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gantry/internal/platform/clock"
)

const (
	throttle   = 100 * time.Millisecond // at most this long until something printed is reported
	leftover   = time.Second            // how long a process left behind may hold the output open
	drainAfter = 100 * time.Millisecond // for reading what is left in the pipes after that
	maxArg     = 64 << 10               // bytes of a script passed as an argument; the kernel takes 128 KiB
)

// result is how a block ended. err is set when it could not be started; the other fields say nothing then.
type result struct {
	err       error
	exit      int    // exit status, 128+n for a signal as a shell reports it
	signal    string // name of the signal that ended it, empty for a normal exit
	duration  time.Duration
	output    int64 // bytes printed
	truncated bool
	stdout    []byte // standard output, when it was to be kept and wasn't too long
}

// failed says whether the block counts as failed.
func (r result) failed() bool { return r.err != nil || r.exit != 0 }

// how says in words how the block ended.
func (r result) how() string {
	switch {
	case r.err != nil:
		return "could not be started: " + r.err.Error()
	case r.signal != "":
		return fmt.Sprintf("was ended by a signal (%s), exit status %d", r.signal, r.exit)
	}
	return fmt.Sprintf("ended with exit status %d", r.exit)
}

// shell runs scripts in one directory.
type shell struct {
	dir     string // working directory of every block
	scratch string // where a script too long for an argument is put
	clock   clock.Clock
}

// run runs one script by /bin/sh with standard input empty and reports its output through emit, from this goroutine. It
// returns when the shell has exited and its output has ended. A process left behind that holds the output open is given a
// second; then the block's process group is killed. When ctx ends, the group is killed at once.
//
// keepStdout gives standard output a pipe of its own, so that it can be told from standard error; the order between the two
// is then that of arrival and no longer exact.
func (sh shell) run(ctx context.Context, script string, keepStdout bool, emit func(string)) result {
	began := sh.clock.Now()
	cmd, cleanup, err := sh.command(script)
	if err != nil {
		return result{err: err}
	}
	defer cleanup()
	pipes, err := attach(cmd, keepStdout)
	if err != nil {
		return result{err: err}
	}
	defer pipes.close()
	if err := cmd.Start(); err != nil {
		return result{err: plain(err)}
	}
	pipes.closeWriters()
	kill := func() {
		// The group is gone already when this fails.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	stop := context.AfterFunc(ctx, kill)
	defer stop()

	out := &output{emit: emit, keep: keepStdout}
	sh.collect(ctx, cmd, pipes, out, kill)
	res := result{duration: sh.clock.Since(began), output: out.total, truncated: out.truncated}
	res.exit, res.signal = exitOf(cmd.ProcessState)
	if keepStdout && !out.overflow {
		res.stdout = out.capture
	}
	return res
}

// command prepares the shell. Only a script too long for an argument becomes a file: error messages then name it.
func (sh shell) command(script string) (cmd *exec.Cmd, cleanup func(), err error) {
	cleanup = func() {}
	args := []string{"-c", script, "sh"}
	if len(script) > maxArg || strings.ContainsRune(script, 0) {
		path := filepath.Join(sh.scratch, "block.sh")
		if err := os.MkdirAll(sh.scratch, 0o700); err != nil {
			return nil, nil, plain(err)
		}
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			return nil, nil, plain(err)
		}
		cleanup = func() { _ = os.Remove(path) } // the next long script overwrites what could not be removed
		args = []string{path}
	}
	cmd = exec.Command("/bin/sh", args...)
	cmd.Args[0] = "sh"
	cmd.Dir = sh.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, cleanup, nil
}

// plain drops the operation from a path error, which says nothing to a user.
func plain(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// pipes carry a block's output: one pipe for both streams, or one for each.
type pipes struct{ readers, writers []*os.File }

func attach(cmd *exec.Cmd, separate bool) (*pipes, error) {
	p := &pipes{}
	n := 1
	if separate {
		n = 2
	}
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, err
		}
		p.readers, p.writers = append(p.readers, r), append(p.writers, w)
	}
	cmd.Stdout, cmd.Stderr = p.writers[0], p.writers[n-1]
	return p, nil
}

// closeWriters leaves the writing ends to the block. Closing a pipe doesn't fail.
func (p *pipes) closeWriters() {
	for _, w := range p.writers {
		_ = w.Close()
	}
	p.writers = nil
}

func (p *pipes) close() {
	p.closeWriters()
	for _, r := range p.readers {
		_ = r.Close()
	}
}

type piece struct {
	stream int
	b      []byte
}

// read gives everything that is printed, until both streams have ended.
func (p *pipes) read() <-chan piece {
	ch := make(chan piece)
	var wg sync.WaitGroup
	for stream, r := range p.readers {
		wg.Go(func() {
			for {
				b := make([]byte, readSize)
				n, err := r.Read(b)
				if n > 0 {
					ch <- piece{stream, b[:n]}
				}
				if err != nil {
					return // the end, or the deadline that collect set
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(ch)
	}()
	return ch
}

// collect waits for the shell and for the end of its output.
func (sh shell) collect(ctx context.Context, cmd *exec.Cmd, p *pipes, out *output, kill func()) {
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(exited)
	}()
	var report, patience <-chan time.Time
	pieces, running := p.read(), (<-chan struct{})(exited)
	for pieces != nil || running != nil {
		select {
		case pc, ok := <-pieces:
			if !ok {
				pieces = nil
				continue
			}
			out.add(pc.stream, pc.b)
			if report == nil && out.pending.Len() > 0 {
				report = time.After(throttle)
			}
		case <-report:
			report = nil
			out.flush()
		case <-running:
			running = nil
			wait := leftover
			if ctx.Err() != nil {
				wait = 0
			}
			patience = time.After(wait)
		case <-patience:
			patience = nil
			if pieces == nil {
				continue
			}
			kill()
			if ctx.Err() == nil {
				out.note("a process left in the background held the output open and was ended")
			}
			p.expire(sh.clock.Now().Add(drainAfter))
		}
	}
	out.end()
}

// expire ends reading even if a process that left the group still holds the pipe.
func (p *pipes) expire(at time.Time) {
	for _, r := range p.readers {
		_ = r.SetReadDeadline(at) // a pipe has deadlines
	}
}

func exitOf(ps *os.ProcessState) (exit int, signal string) {
	ws, ok := ps.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal()), ws.Signal().String()
	}
	return ps.ExitCode(), ""
}
