package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"gantry/internal/wire"
	"gantry/internal/worker/acp"
	"gantry/internal/worker/sandbox"
)

const (
	handshakeLimit = 2 * time.Minute // for an agent to start and open a session on a busy machine
	stderrKept     = 4 << 10
)

// agent is one agent process and the conversation with it.
type agent struct {
	running *sandbox.Running
	client  *acp.Client
	session string // ACP's id
	stderr  *tail
	ends    []io.Closer // our ends of its pipes
}

// startAgent starts the agent in the sandbox and opens its conversation: the earlier one when the agent can load it.
func (r *run) startAgent(ctx context.Context) error {
	r.stopAgent()
	a, err := r.launch()
	if err != nil {
		return err
	}
	r.agent = a
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	info, err := r.converseWith(ctx, a)
	if err != nil {
		ended := a.ending(time.Second)
		r.stopAgent()
		if ended != nil {
			err = fmt.Errorf("%w; %w", err, ended)
		}
		return err
	}
	data := wire.AgentData{Status: "started", Name: r.spec.Agent.Name}
	if info.AgentInfo != nil {
		data.Version = info.AgentInfo.Version
	}
	if r.started {
		data.Status = "restarted"
	}
	r.started = true
	r.say.event(wire.EventAgent, data)
	return nil
}

// launch starts the process.
func (r *run) launch() (*agent, error) {
	ourIn, itsOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	itsIn, ourOut, err := os.Pipe()
	if err != nil {
		_, _ = ourIn.Close(), itsOut.Close()
		return nil, fmt.Errorf("pipe: %w", err)
	}
	a := &agent{stderr: &tail{}, ends: []io.Closer{ourOut, ourIn}}
	args := r.spec.Agent.Command
	if len(args) == 0 {
		args = []string{r.ws.Paths().Self, "agent", "runbook"}
	}
	a.running, err = r.ws.Start(r.ctx, sandbox.Process{
		Args: args, Env: r.agentEnv(), Stdin: itsIn, Stdout: itsOut, Stderr: a.stderr, Binds: r.spec.Agent.Binds, Limits: r.spec.Limits,
	})
	_, _ = itsIn.Close(), itsOut.Close()
	if err != nil {
		a.closeEnds()
		return nil, err
	}
	r.procs.add(a.running, r.log)
	a.client = acp.Connect(ourIn, ourOut, r.handler())
	return a, nil
}

// agentEnv is the session's environment: its secrets, the agent's own settings, and where to put what it hands over.
func (r *run) agentEnv() []string {
	env := append([]string(nil), r.environ...)
	for name, value := range r.spec.Agent.Env {
		env = append(env, name+"="+value)
	}
	return append(env, "GANTRY_SESSION_ID="+r.claim.SessionID, "GANTRY_STRUCTURED_OUTPUT="+r.outputPath(),
		"GANTRY_ATTACHMENTS="+path.Join(r.ws.Paths().Home, dirAttachments))
}

func (r *run) outputPath() string { return path.Join(r.ws.Paths().Home, fileOutput) }

// converseWith agrees on the protocol and opens a conversation.
func (r *run) converseWith(ctx context.Context, a *agent) (acp.InitializeResult, error) {
	info, err := a.client.Initialize(ctx, acp.Implementation{Name: "gantry", Title: "Gantry", Version: version(r.w.o.Version)})
	if err != nil {
		return info, err
	}
	params := acp.SessionParams{SessionID: r.mem.ACPSession, CWD: r.ws.Paths().Work}
	if r.spec.OutputSchema != nil {
		params.Meta = &acp.Meta{Gantry: &acp.GantryMeta{OutputSchema: r.spec.OutputSchema}}
	}
	if r.mem.ACPSession != "" && r.mem.Agent == r.spec.Agent.Name && a.client.CanLoad() {
		res, err := a.client.LoadSession(ctx, params)
		if err == nil {
			a.session = res.SessionID
			return info, nil
		}
		if ctx.Err() != nil || a.gone() {
			return info, err
		}
		r.say.event(wire.EventLog, wire.LogData{Level: "warning", Text: "The agent can't load its conversation; it gets the transcript: " + err.Error()})
	}
	res, err := a.client.NewSession(ctx, params)
	if err != nil {
		return info, err
	}
	a.session = res.SessionID
	r.anew = r.spec.Kind == wire.KindResume || r.mem.Prompted
	r.mem.Agent, r.mem.ACPSession = r.spec.Agent.Name, res.SessionID
	return info, r.mem.save()
}

func version(v string) string {
	if v == "" {
		return "0"
	}
	return v
}

// handler is what the agent may ask for.
func (r *run) handler() acp.Handler {
	terms := newTerminals(r)
	r.terms = terms
	h := acp.Handler{
		Update:            func(_ context.Context, _, kind string, raw json.RawMessage) { r.say.update(kind, raw); terms.show() },
		RequestPermission: r.requestPermission,
		ReadTextFile:      r.readTextFile,
		WriteTextFile:     r.writeTextFile,
		Barrier:           func(ctx context.Context, _ string) error { return r.barrier(ctx) },
		StructuredOutput:  func(_ context.Context, _ string, value json.RawMessage) { r.offers.put(value) },
		Problem: func(p acp.Problem) {
			r.say.silent.touch()
			r.log.Debug("the agent said something unexpected", "text", r.masker.String(p.Text), "count", p.Count)
		},
	}
	terms.offer(&h)
	return h
}

// barrier lets the agent go on once the server has everything that was reported. It is a tool boundary: who is to be stopped
// isn't let past it.
func (r *run) barrier(ctx context.Context) error {
	r.say.flush()
	r.say.silent.hold()
	defer r.say.silent.release()
	if err := r.rep.Barrier(ctx); err != nil {
		return err
	}
	select {
	case <-r.pausing:
	default:
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// stopAgent kills the agent and everything it started, and waits for its end.
func (r *run) stopAgent() {
	if r.terms != nil {
		r.terms.close()
	}
	a := r.agent
	if a == nil {
		return
	}
	r.agent = nil
	a.client.Close()
	a.running.Kill()
	<-a.running.Done()
	r.procs.remove(a.running)
	a.closeEnds()
	<-a.client.Done()
}

func (a *agent) closeEnds() {
	for _, c := range a.ends {
		_ = c.Close() // only breaks when it is closed already
	}
}

// gone says whether the agent closed the conversation or ended.
func (a *agent) gone() bool {
	select {
	case <-a.client.Done():
		return true
	case <-a.running.Done():
		return true
	default:
		return false
	}
}

// ending waits a moment for the agent's end and describes it; nil while it lives on.
func (a *agent) ending(wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-a.running.Done():
	case <-timer.C:
		return nil
	}
	exit, err := a.running.Wait()
	if err != nil {
		return err
	}
	return &agentExit{exit: exit, said: a.stderr.String()}
}

// agentExit is an agent process that ended by itself.
type agentExit struct {
	exit sandbox.Exit
	said string
}

// Error says how it ended, with the end of its standard error.
func (e *agentExit) Error() string {
	how := e.exit.String()
	if strings.HasPrefix(how, "exit status") {
		how = "ended with " + how
	}
	text := "the agent " + how
	if e.said != "" {
		text += "; its last words: " + e.said
	}
	return text
}

// Is makes a full disk known as such.
func (e *agentExit) Is(target error) bool { return target == sandbox.ErrDiskFull && e.exit.DiskFull }

// tail keeps the last part of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - stderrKept; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String gives the text as far as it can be shown.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.text), ""))
}
