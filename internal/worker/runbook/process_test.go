package runbook_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
	"gantry/internal/worker/acp"
)

// process is a real runbook process, its client, and what it reported.
type process struct {
	*acp.Client
	t         *testing.T
	cmd       *exec.Cmd
	stdin     io.Closer
	home, cwd string
	session   string

	mu      sync.Mutex
	events  []wire.Event
	offered []string
	barrier func(context.Context) error
}

type option func(*process)

func at(home, cwd string) option { return func(p *process) { p.home, p.cwd = home, cwd } }

func behind(barrier func(context.Context) error) option {
	return func(p *process) { p.barrier = barrier }
}

func env(kv string) option { return func(p *process) { p.cmd.Env = append(p.cmd.Env, kv) } }

// start starts the process and initializes it.
func start(t *testing.T, opts ...option) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, home: t.TempDir(), cwd: t.TempDir(), cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), "RUNBOOK_TEST_AGENT=1")
	p.barrier = func(context.Context) error { return nil }
	for _, o := range opts {
		o(p)
	}
	p.cmd.Env = append(p.cmd.Env, "HOME="+p.home)
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdin = stdin
	require.NoError(t, p.cmd.Start())
	p.Client = acp.Connect(stdout, stdin, p.handler())
	t.Cleanup(p.kill)
	res, err := p.Initialize(t.Context(), acp.Implementation{Name: "test", Version: "0"})
	require.NoError(t, err)
	require.True(t, res.AgentCapabilities.LoadSession)
	return p
}

func (p *process) handler() acp.Handler {
	var m acp.Mapper
	return acp.Handler{
		Update: func(_ context.Context, _, kind string, raw json.RawMessage) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, m.Map(kind, raw)...)
		},
		Barrier: func(ctx context.Context, _ string) error { return p.barrier(ctx) },
		StructuredOutput: func(_ context.Context, _ string, v json.RawMessage) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.offered = append(p.offered, string(v))
		},
	}
}

// kill ends the process as a machine's death would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.Done()
	_ = p.cmd.Wait()
}

// open starts a new session.
func open(t *testing.T, opts ...option) *process {
	t.Helper()
	p := start(t, opts...)
	s, err := p.NewSession(t.Context(), acp.SessionParams{CWD: p.cwd})
	require.NoError(t, err)
	p.session = s.SessionID
	return p
}

func (p *process) ask(text string, meta *acp.GantryMeta) acp.PromptResult {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	res, err := p.Prompt(ctx, p.session, []acp.ContentBlock{acp.TextBlock(text)}, meta)
	require.NoError(p.t, err)
	return res
}

// do runs scripts, one block each, and gives the turn's outcome.
func (p *process) do(scripts ...string) string {
	p.t.Helper()
	outcome, _ := p.ask(fenced(scripts...), nil).Outcome()
	return outcome
}

func fenced(scripts ...string) string {
	var sb strings.Builder
	for _, s := range scripts {
		sb.WriteString("text\n\n```sh\n" + s + "\n```\n\n")
	}
	return sb.String()
}

// output gives all that blocks printed.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sb strings.Builder
	for _, e := range p.events {
		var d wire.ToolOutputData
		if e.Type == wire.EventToolOutput {
			require.NoError(p.t, json.Unmarshal(e.Data, &d))
			sb.WriteString(d.Text)
		}
	}
	return sb.String()
}

// said gives the agent's messages.
func (p *process) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, e := range p.events {
		var d wire.MessageData
		if e.Type == wire.EventMessage {
			require.NoError(p.t, json.Unmarshal(e.Data, &d))
			out = append(out, d.Text)
		}
	}
	return out
}

// tools gives what was said of each tool call, in order.
func (p *process) tools() []wire.ToolData {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []wire.ToolData
	for _, e := range p.events {
		var d wire.ToolData
		if e.Type == wire.EventTool {
			require.NoError(p.t, json.Unmarshal(e.Data, &d))
			out = append(out, d)
		}
	}
	return out
}

func (p *process) statuses() string {
	var s []string
	for _, d := range p.tools() {
		s = append(s, d.Status)
	}
	return strings.Join(s, " ")
}

// awaitOutput waits until something was printed.
func (p *process) awaitOutput(want string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.output(), want) }, 20*time.Second, 5*time.Millisecond, want)
}
