package worker

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"unicode/utf8"

	"gantry/internal/worker/acp"
	"gantry/internal/worker/sandbox"
)

const (
	maxTerminals   = 64      // at once
	terminalOutput = 1 << 20 // bytes kept when the agent sets no limit of its own, and at most
	unshownOutput  = 256 << 10
)

// terminals are the commands that one agent process has the worker run for it, in the same sandbox.
type terminals struct {
	r *run

	mu     sync.Mutex
	closed bool
	count  int
	byID   map[string]*terminal
}

// terminal is one command and the last part of its output. It is its command's standard output and error.
type terminal struct {
	id      string
	limit   int
	running *sandbox.Running
	owner   *terminals

	mu        sync.Mutex
	output    []byte
	truncated bool
	unshown   []byte // not yet reported as output of the tool call that shows the terminal
}

func newTerminals(r *run) *terminals { return &terminals{r: r, byID: map[string]*terminal{}} }

// offer puts the terminal methods into a handler.
func (t *terminals) offer(h *acp.Handler) {
	h.CreateTerminal = t.create
	h.TerminalOutput = func(_ context.Context, p acp.TerminalParams) (acp.TerminalOutput, error) {
		return withTerminal(t, p, (*terminal).state)
	}
	h.WaitTerminal = func(ctx context.Context, p acp.TerminalParams) (acp.TerminalExit, error) {
		return withTerminal(t, p, func(one *terminal) (acp.TerminalExit, error) {
			select {
			case <-one.running.Done():
			case <-ctx.Done():
				return acp.TerminalExit{}, ctx.Err()
			}
			return *one.exit(), nil
		})
	}
	h.KillTerminal = func(_ context.Context, p acp.TerminalParams) error {
		_, err := withTerminal(t, p, func(one *terminal) (struct{}, error) { one.running.Kill(); return struct{}{}, nil })
		return err
	}
	h.ReleaseTerminal = func(_ context.Context, p acp.TerminalParams) error {
		_, err := withTerminal(t, p, func(one *terminal) (struct{}, error) {
			one.running.Kill()
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.byID, one.id)
			return struct{}{}, nil
		})
		return err
	}
}

func withTerminal[T any](t *terminals, p acp.TerminalParams, do func(*terminal) (T, error)) (T, error) {
	t.mu.Lock()
	one := t.byID[p.TerminalID]
	t.mu.Unlock()
	if one == nil {
		var zero T
		return zero, acp.Errorf(acp.CodeInvalidParams, "terminalId: no such terminal")
	}
	return do(one)
}

func (t *terminals) create(_ context.Context, p acp.CreateTerminalParams) (string, error) {
	one := &terminal{limit: terminalOutput, owner: t}
	if p.OutputByteLimit != nil && *p.OutputByteLimit >= 0 {
		one.limit = int(min(*p.OutputByteLimit, terminalOutput))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.byID) >= maxTerminals {
		return "", acp.Errorf(acp.CodeInternal, "too many terminals: at most %d at once", maxTerminals)
	}
	env := t.r.agentEnv()
	for _, v := range p.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	t.count++
	one.id = fmt.Sprintf("term-%d", t.count)
	running, err := t.r.ws.Start(t.r.ctx, sandbox.Process{
		Args: append([]string{p.Command}, p.Args...), Env: env, Dir: p.CWD, Stdout: one, Stderr: one,
		Binds: t.r.spec.Agent.Binds, Limits: t.r.spec.Limits,
	})
	if err != nil {
		return "", acp.Errorf(acp.CodeInternal, "the command can't be started: %v", err)
	}
	one.running = running
	t.byID[one.id] = one
	t.r.procs.add(running, t.r.log)
	t.r.w.wg.Go(func() { <-running.Done(); t.r.procs.remove(running) })
	return one.id, nil
}

// Write keeps the output's end and reports it under the tool call that shows the terminal.
func (one *terminal) Write(p []byte) (int, error) {
	one.mu.Lock()
	one.output = append(one.output, p...)
	if over := len(one.output) - one.limit; over > 0 {
		for over < len(one.output) && !utf8.RuneStart(one.output[over]) {
			over++ // the protocol cuts at a character's border
		}
		one.output, one.truncated = append(one.output[:0], one.output[over:]...), true
	}
	one.unshown = append(one.unshown, p...)
	if over := len(one.unshown) - unshownOutput; over > 0 {
		one.unshown = append(one.unshown[:0], one.unshown[over:]...)
	}
	one.mu.Unlock()
	one.show()
	return len(p), nil
}

// show reports what wasn't reported yet, up to a whole character, once a tool call shows the terminal.
func (one *terminal) show() {
	one.mu.Lock()
	defer one.mu.Unlock()
	if len(one.unshown) == 0 {
		return
	}
	whole := len(one.unshown)
	for cut := whole - 1; cut >= 0 && cut >= whole-utf8.UTFMax; cut-- {
		if utf8.RuneStart(one.unshown[cut]) {
			if !utf8.FullRune(one.unshown[cut:]) {
				whole = cut
			}
			break
		}
	}
	if one.owner.r.say.output(one.id, string(one.unshown[:whole])) {
		one.unshown = append(one.unshown[:0], one.unshown[whole:]...)
	}
}

// show gives every terminal's output to the tool call that has just begun to show it.
func (t *terminals) show() {
	t.mu.Lock()
	all := make([]*terminal, 0, len(t.byID))
	for _, one := range t.byID {
		all = append(all, one)
	}
	t.mu.Unlock()
	for _, one := range all {
		one.show()
	}
}

// close kills every command and takes no new one.
func (t *terminals) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for id, one := range t.byID {
		one.running.Kill()
		delete(t.byID, id)
	}
}

func (one *terminal) state() (acp.TerminalOutput, error) {
	one.mu.Lock()
	defer one.mu.Unlock()
	return acp.TerminalOutput{Output: string(one.output), Truncated: one.truncated, Exit: one.exit()}, nil
}

// exit is how the command ended, nil while it runs.
func (one *terminal) exit() *acp.TerminalExit {
	select {
	case <-one.running.Done():
	default:
		return nil
	}
	end, err := one.running.Wait()
	if err != nil {
		end.Code = -1
	}
	if end.Code > 128 && end.Reason != sandbox.ReasonExited {
		name := syscall.Signal(end.Code - 128).String()
		return &acp.TerminalExit{Signal: &name}
	}
	return &acp.TerminalExit{ExitCode: &end.Code}
}
