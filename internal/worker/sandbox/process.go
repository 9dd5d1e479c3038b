package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gantry/internal/wire"
)

// Process is one program to run in a workspace.
type Process struct {
	// Args is the command and its arguments; a command without a slash is looked up in PATH inside.
	Args []string
	// Env is the whole environment, NAME=VALUE, beside what the sandbox itself sets: PATH, HOME, USER, TMPDIR, LANG, NO_PROXY, all
	// of which Env may replace, and GANTRY_RUN and the proxy variables, which it may not. NO_PROXY names the sandbox's own
	// loopback; a program that is to reach the machine's, where Options.AllowCIDRs lets it, is given an empty one.
	Env []string
	// Dir is the working directory as seen inside (Paths); the working directory of the session when empty.
	Dir string
	// Stdin, Stdout and Stderr are the null device when nil. An *os.File is handed over as it is.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Binds are host paths this process may read besides Options.Binds.
	Binds []string
	// Limits are those of the whole session: the last process that is started sets them.
	Limits wire.Limits
}

// Reason says why a process ended.
type Reason string

// The reasons.
const (
	ReasonExited    Reason = "exited"    // by itself, with Exit.Code
	ReasonSignaled  Reason = "signaled"  // by a signal nobody here sent
	ReasonKilled    Reason = "killed"    // by Kill, Close or the end of the context
	ReasonMemory    Reason = "memory"    // the kernel killed it or a child at the memory limit
	ReasonProcesses Reason = "processes" // it failed after the process limit had been met
	ReasonSetup     Reason = "setup"     // the sandbox couldn't be set up; the program never ran
)

// Exit is how a process ended. Code is 128 plus the signal's number after a signal.
type Exit struct {
	Code   int
	Reason Reason
	// OOMKills and ForkFailures count what met a limit during the process's life, even when it went on and ended well.
	OOMKills, ForkFailures int64
	// DiskFull says that the workspace's filesystem had no room left when a process that failed ended.
	DiskFull bool
}

// OK reports whether the program ended by itself with status 0.
func (e Exit) OK() bool { return e.Reason == ReasonExited && e.Code == 0 }

// String is one sentence for the user.
func (e Exit) String() string {
	var s string
	switch e.Reason {
	case ReasonSignaled:
		s = fmt.Sprintf("ended by signal %d (%s)", e.Code-128, syscall.Signal(e.Code-128))
	case ReasonKilled:
		s = "was stopped"
	case ReasonMemory:
		s = "was killed at the session's memory limit"
	case ReasonProcesses:
		s = fmt.Sprintf("exit status %d after the session's process limit was met", e.Code)
	case ReasonSetup:
		s = "could not be started: the sandbox's setup failed"
	default:
		s = fmt.Sprintf("exit status %d", e.Code)
	}
	if e.DiskFull {
		s += " (the workspace's disk is full)"
	}
	return s
}

// Usage is what a process and its children use now.
type Usage struct {
	MemoryBytes int64
	CPU         time.Duration
	Processes   int
}

// Running is a started process. Its methods are safe for concurrent use.
type Running struct {
	ws      *Workspace
	cmd     *exec.Cmd
	group   cgroupLeaf
	status  *os.File      // reading end of bwrap's status; nil without bwrap
	started chan struct{} // closed when first is known, or the process has ended
	first   int           // pid out here of the first process in the pid namespace

	done   chan struct{}
	exit   Exit
	err    error
	killed atomic.Bool
	freeze sync.Mutex
}

// Start runs p in the workspace. When ctx ends the process and all its children are killed.
func (w *Workspace) Start(ctx context.Context, p Process) (*Running, error) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return nil, errors.New("sandbox: a process needs a command")
	}
	if err := w.open(); err != nil {
		return nil, err
	}
	defer w.starting.Done()
	if err := w.serveProxy(); err != nil {
		return nil, err
	}
	group, err := w.leaf(p.Limits)
	if err != nil {
		return nil, err
	}
	r := &Running{ws: w, group: group, done: make(chan struct{}), started: make(chan struct{})}
	if err := r.start(ctx, p); err != nil {
		group.remove()
		return nil, err
	}
	w.track(r)
	go r.wait()
	return r, nil
}

func (r *Running) start(ctx context.Context, p Process) error {
	cmd, files, err := r.ws.command(ctx, p)
	defer closeAll(files)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
	cmd.Cancel = func() error { r.Kill(); return nil }
	// What an escaped orphan would still hold open; with the pid namespace gone there is none, so this is short.
	cmd.WaitDelay = 2 * time.Second
	r.cmd = cmd

	var statusW *os.File
	if r.ws.sb.opts.Mode == ModeBubblewrap {
		if r.status, statusW, err = os.Pipe(); err != nil {
			return fmt.Errorf("sandbox: status pipe: %w", err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, statusW) // bwrapArgs counts on its place
	}
	err = r.ws.sb.spawner.do(func() error { return r.group.spawn(cmd) })
	if statusW != nil {
		_ = statusW.Close()
	}
	if err != nil {
		if r.status != nil {
			_ = r.status.Close()
		}
		return fmt.Errorf("sandbox: start %s: %w", p.Args[0], diskError(err))
	}
	return nil
}

// Wait waits for the end. The error is for what kept the end from being known or the output from being read; a program that
// failed is no error.
func (r *Running) Wait() (Exit, error) {
	<-r.done
	return r.exit, r.err
}

// Done is closed when the process and all its children have ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Kill ends the process and all its children at once, frozen or not.
func (r *Running) Kill() {
	r.killed.Store(true)
	if _, none := r.group.(noLeaf); none {
		killTree(r.cmd.Process)
	}
	r.killGroup()
}

// killGroup kills what the kernel ties together: bwrap and its pid namespace, a process group, a cgroup.
func (r *Running) killGroup() {
	_ = r.cmd.Process.Kill()
	if r.ws.sb.opts.Mode == ModeNone {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	}
	r.group.kill()
}

func (r *Running) wait() {
	defer close(r.done)
	setup := r.readStatus()
	err := r.cmd.Wait()
	r.killGroup() // children that left the process group, in the modes without a pid namespace
	r.exit = r.ending(setup)
	var exitErr *exec.ExitError
	if err != nil && !errors.As(err, &exitErr) && !errors.Is(err, exec.ErrWaitDelay) && !r.killed.Load() {
		r.err = fmt.Errorf("sandbox: wait: %w", err)
	}
	r.group.remove()
	r.ws.untrack(r)
}

// readStatus follows bwrap's reports until bwrap ends, and answers whether the program was never started.
func (r *Running) readStatus() (setup bool) {
	known := sync.OnceFunc(func() { close(r.started) })
	defer known()
	if r.status == nil {
		return false
	}
	defer r.status.Close()
	setup = true
	for in := json.NewDecoder(io.LimitReader(r.status, 1<<16)); ; {
		var report struct {
			Child *int `json:"child-pid"`
			Exit  *int `json:"exit-code"`
		}
		if err := in.Decode(&report); err != nil {
			return setup
		}
		if report.Child != nil && r.first == 0 {
			r.first = *report.Child
			known()
		}
		if report.Exit != nil {
			setup = false
		}
	}
}

// ending reads the process's end. bwrap's own last words carry an exit code only when the program had been started.
func (r *Running) ending(noExitCode bool) Exit {
	e := Exit{Reason: ReasonExited, Code: -1}
	signaled := false
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		if e.Code = ws.ExitStatus(); ws.Signaled() {
			e.Code, signaled = 128+int(ws.Signal()), true
		}
	}
	e.OOMKills, e.ForkFailures = r.group.events()
	if e.Code > 128 && e.Code < 128+65 {
		e.Reason = ReasonSignaled
	}
	switch {
	case r.killed.Load() && e.Code != 0:
		e.Reason = ReasonKilled
	case e.OOMKills > 0 && e.Code != 0:
		e.Reason = ReasonMemory
	case noExitCode && r.status != nil && !signaled && e.Code != 0:
		e.Reason = ReasonSetup
	case e.ForkFailures > 0 && e.Code != 0:
		e.Reason = ReasonProcesses
	}
	if e.Code != 0 && e.Reason != ReasonKilled {
		e.DiskFull = r.ws.full()
	}
	return e
}

// Signal sends a signal to the program itself, so that it may end well. It waits until the program has been started.
func (r *Running) Signal(sig syscall.Signal) error {
	if r.status == nil {
		return r.cmd.Process.Signal(sig)
	}
	<-r.started
	select {
	case <-r.done:
		return os.ErrProcessDone
	default:
	}
	pid := r.first
	if pid <= 0 {
		return os.ErrProcessDone // the setup failed
	}
	if !r.ws.needsInit() {
		// bwrap's own first process hands nothing on; sandbox-init does.
		family := tree(pid)
		if len(family) < 2 {
			return os.ErrProcessDone
		}
		pid = family[1]
	}
	return syscall.Kill(pid, sig)
}

// Freeze stops the process and all its children where they are; Thaw lets them go on. Both may be repeated.
func (r *Running) Freeze() error { return r.setFrozen(true) }

// Thaw undoes Freeze.
func (r *Running) Thaw() error { return r.setFrozen(false) }

func (r *Running) setFrozen(on bool) error {
	r.freeze.Lock()
	defer r.freeze.Unlock()
	select {
	case <-r.done:
		return nil
	default:
	}
	ok, err := r.group.freeze(on)
	if err == nil && !ok {
		err = signalTree(r.cmd.Process.Pid, on)
	}
	if err != nil {
		return fmt.Errorf("sandbox: freeze or thaw: %w", err)
	}
	return nil
}

// Usage measures the process and its children. A process that has ended uses nothing.
func (r *Running) Usage() (Usage, error) {
	select {
	case <-r.done:
		return Usage{}, nil
	default:
	}
	if u, ok, err := r.group.usage(); ok || err != nil {
		return u, err
	}
	return treeUsage(r.cmd.Process.Pid)
}

// Run starts p, waits and gives its end: a convenience for short programs.
func (w *Workspace) Run(ctx context.Context, p Process) (Exit, error) {
	r, err := w.Start(ctx, p)
	if err != nil {
		return Exit{}, err
	}
	return r.Wait()
}

// diskError marks an error of a full disk or quota as ErrDiskFull.
func diskError(err error) error {
	if err != nil && !errors.Is(err, ErrDiskFull) && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// saysDiskFull finds the C library's and git's words for a full disk in a program's output.
func saysDiskFull(text string) bool {
	return strings.Contains(text, "No space left on device") || strings.Contains(text, "Disk quota exceeded")
}
