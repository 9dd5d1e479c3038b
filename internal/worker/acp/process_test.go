package acp_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
	"gantry/internal/worker/acp"
)

// process is a real agent process and what it said.
type process struct {
	*acp.Client
	t    *testing.T
	cmd  *exec.Cmd
	home string
	cwd  string

	mu       sync.Mutex
	kinds    []string
	events   []wire.Event
	notified []string
	problems []string
}

// start runs a script of testdata with the real python3. Without home a new one is made.
func start(t *testing.T, script, home string, h acp.Handler) *process {
	t.Helper()
	if home == "" {
		home = t.TempDir()
	}
	p := &process{t: t, home: home, cwd: t.TempDir()}
	p.cmd = exec.Command("python3", filepath.Join("testdata", script))
	p.cmd.Env = append(os.Environ(), "HOME="+home)
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())

	var mapper acp.Mapper
	h.Update = func(_ context.Context, _, kind string, raw json.RawMessage) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.kinds = append(p.kinds, kind)
		p.events = append(p.events, mapper.Map(kind, raw)...)
	}
	h.Notification = func(_ context.Context, method string, _ json.RawMessage) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.notified = append(p.notified, method)
	}
	h.Problem = func(pr acp.Problem) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.problems = append(p.problems, pr.Text)
	}
	p.Client = acp.Connect(stdout, stdin, h)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		<-p.Done()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *process) open() string {
	p.t.Helper()
	_, err := p.Initialize(p.t.Context(), acp.Implementation{Name: "test", Version: "0"})
	require.NoError(p.t, err)
	s, err := p.NewSession(p.t.Context(), acp.SessionParams{CWD: p.cwd})
	require.NoError(p.t, err)
	return s.SessionID
}

func (p *process) prompt(session, text string) (acp.PromptResult, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	return p.Prompt(ctx, session, []acp.ContentBlock{acp.TextBlock(text)}, nil)
}

// said gives all the agent's messages joined.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sb strings.Builder
	for _, e := range p.events {
		if e.Type == wire.EventMessage {
			var d wire.MessageData
			require.NoError(p.t, json.Unmarshal(e.Data, &d))
			sb.WriteString(d.Text)
		}
	}
	return sb.String()
}

func TestAnAgentInAnotherLanguageWorksATurn(t *testing.T) {
	t.Parallel()
	p := start(t, "agent.py", "", acp.Handler{})
	s := p.open()
	require.True(t, p.CanLoad())
	res, err := p.prompt(s, "hello")
	require.NoError(t, err)
	require.Equal(t, acp.StopEndTurn, res.StopReason)
	require.Equal(t, []string{
		"plan", "agent_thought_chunk", "agent_message_chunk", "agent_message_chunk", "agent_message_chunk", "tool_call", "tool_call_update",
	}, p.kinds, "every update before the end of the turn was handled before Prompt returned")
	require.Equal(t, "I heard: hello.", p.said())
	written, err := os.ReadFile(filepath.Join(p.cwd, "hello.txt"))
	require.NoError(t, err)
	require.Equal(t, "hello from the agent\n", string(written))
	last := p.events[len(p.events)-1]
	require.JSONEq(t, `{"id":"call-1","status":"completed","paths":["`+p.cwd+`/hello.txt"],
		"output":{"diffs":[{"path":"`+p.cwd+`/hello.txt","old_text":null,"new_text":"hello from the agent\n"}]}}`, string(last.Data))
	require.NotEmpty(t, last.Raw)
	require.Empty(t, p.problems)
}

func TestAPermissionIsAskedAndAnswered(t *testing.T) {
	t.Parallel()
	var asked acp.PermissionParams
	p := start(t, "agent.py", "", acp.Handler{
		RequestPermission: func(_ context.Context, q acp.PermissionParams) (acp.PermissionOutcome, error) {
			asked = q
			return acp.PermissionOutcome{OptionID: "yes"}, nil
		},
	})
	s := p.open()
	_, err := p.prompt(s, "permission")
	require.NoError(t, err)
	require.Contains(t, p.said(), `The answer is {"optionId": "yes", "outcome": "selected"}`)
	require.Equal(t, wire.PermissionData{
		Request: "7", Status: "requested", Title: "Remove everything", Tool: "call-2",
		Options: []wire.PermissionOption{{ID: "yes", Name: "Allow", Kind: "allow_once"}, {ID: "no", Name: "Reject", Kind: "reject_once"}},
	}, asked.Data("7", "requested"))
}

func TestCancelEndsTheTurnAndItsOpenQuestion(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	p := start(t, "agent.py", "", acp.Handler{
		RequestPermission: func(ctx context.Context, _ acp.PermissionParams) (acp.PermissionOutcome, error) {
			close(asked)
			<-ctx.Done()
			return acp.PermissionOutcome{OptionID: "yes"}, nil // too late
		},
	})
	s := p.open()
	go func() {
		<-asked
		_ = p.Cancel(context.Background(), s) // a failure shows as a turn that never ends
	}()
	res, err := p.prompt(s, "permission")
	require.NoError(t, err)
	require.Equal(t, acp.StopCancelled, res.StopReason)
	require.Contains(t, p.said(), `The answer is {"outcome": "cancelled"}`)
	_, err = os.Stat(filepath.Join(p.cwd, "hello.txt"))
	require.ErrorIs(t, err, os.ErrNotExist)

	res, err = p.prompt(s, "again")
	require.NoError(t, err)
	require.Equal(t, acp.StopEndTurn, res.StopReason, "a cancelled turn leaves the next one alone")
}

func TestASilentAgentCanBeCancelled(t *testing.T) {
	t.Parallel()
	p := start(t, "agent.py", "", acp.Handler{})
	s := p.open()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := p.Prompt(ctx, s, []acp.ContentBlock{acp.TextBlock("silent")}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.Cancel(t.Context(), s))
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.problems) == 1 && strings.Contains(p.problems[0], "no open request")
	}, 10*time.Second, 10*time.Millisecond, "the turn's late end is an answer nobody waits for")
}

func TestACrashedAgentIsStartedAgainAndTheSessionLoaded(t *testing.T) {
	t.Parallel()
	p := start(t, "agent.py", "", acp.Handler{})
	s := p.open()
	_, err := p.prompt(s, "crash")
	require.ErrorIs(t, err, acp.ErrClosed)
	<-p.Done()
	require.ErrorIs(t, p.Err(), acp.ErrClosed)

	q := start(t, "agent.py", p.home, acp.Handler{})
	_, err = q.Initialize(t.Context(), acp.Implementation{Name: "test", Version: "0"})
	require.NoError(t, err)
	_, err = q.LoadSession(t.Context(), acp.SessionParams{SessionID: s, CWD: q.cwd})
	require.NoError(t, err)
	require.Empty(t, q.said(), "what is replayed is known already")
	res, err := q.prompt(s, "crash")
	require.NoError(t, err)
	require.Equal(t, acp.StopEndTurn, res.StopReason)
	require.Equal(t, "I heard: crash.", q.said())
}

func TestJunkOnTheOutputIsSkippedAndReported(t *testing.T) {
	t.Parallel()
	p := start(t, "hostile.py", "", acp.Handler{})
	s := p.open()
	res, err := p.prompt(s, "junk, wrong ids")
	require.NoError(t, err)
	require.Equal(t, acp.StopEndTurn, res.StopReason, "only the answer with the right id, of the right type, counts")
	all := strings.Join(p.problems, "\n")
	require.Contains(t, all, "DEBUG: starting up")
	require.Contains(t, all, "not text")
	require.Contains(t, all, "424242")
	require.Len(t, p.problems, 10)
}

func TestALongLineIsTakenWhole(t *testing.T) {
	t.Parallel()
	p := start(t, "hostile.py", "", acp.Handler{})
	s := p.open()
	_, err := p.prompt(s, "long")
	require.NoError(t, err)
	require.Len(t, p.said(), 20<<20)
}

func TestALineBeyondTheLimitEndsTheConnection(t *testing.T) {
	t.Parallel()
	for words, limits := range map[string]acp.Limits{"endless": {Frame: 3 << 20}, "flood": {Junk: 500}, "greedy": {Requests: 100}} {
		block := make(chan struct{})
		p := start(t, "hostile.py", "", acp.Handler{Limits: limits, Barrier: func(ctx context.Context, _ string) error {
			select {
			case <-ctx.Done():
			case <-block:
			}
			return nil
		}})
		s := p.open()
		_, err := p.prompt(s, words)
		limit := new(acp.LimitError)
		require.ErrorAs(t, err, &limit, words)
		require.ErrorAs(t, p.Err(), &limit, words)
		close(block)
	}
}

func TestFileRequestsReachTheHandlerOnlyForAnOpenSessionAndInShape(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	p := start(t, "hostile.py", "", acp.Handler{
		ReadTextFile: func(_ context.Context, r acp.ReadTextFileParams) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.Path)
			if r.Path == "../../x" {
				return "", os.ErrPermission // its text must not reach the agent
			}
			return "", acp.Errorf(acp.CodeInvalidParams, "path: outside the workspace")
		},
		WriteTextFile: func(context.Context, acp.WriteTextFileParams) error { panic("never called") },
	})
	s := p.open()
	_, err := p.prompt(s, "files")
	require.NoError(t, err)
	require.Equal(t, []string{"/etc/passwd", "../../x"}, asked)
	require.Equal(t, "read /etc/passwd: -32602read ../../x: -32603foreign: -32602shapeless: -32602unknown: -32601", p.said())
}

func TestForeignAndUnknownUpdatesDoNoHarm(t *testing.T) {
	t.Parallel()
	p := start(t, "hostile.py", "", acp.Handler{
		StructuredOutput: func(context.Context, string, json.RawMessage) { panic("not for this session") },
	})
	s := p.open()
	_, err := p.prompt(s, "foreign")
	require.NoError(t, err)
	require.Empty(t, p.said())
	require.Equal(t, []string{"from_the_future"}, p.kinds)
	require.Equal(t, wire.EventLog, p.events[0].Type)
	require.JSONEq(t, `{"sessionUpdate":"from_the_future","x":1}`, string(p.events[0].Raw))
	require.Equal(t, []string{"_other/thing"}, p.notified)
	require.Len(t, p.problems, 4)
}

func TestManyNotificationsKeepTheirOrderAndNoneIsLost(t *testing.T) {
	t.Parallel()
	p := start(t, "hostile.py", "", acp.Handler{})
	s := p.open()
	_, err := p.prompt(s, "many")
	require.NoError(t, err)
	require.Len(t, p.events, 20000)
	words := strings.Fields(p.said())
	require.Len(t, words, 20000)
	require.Equal(t, "0", words[0])
	require.Equal(t, "19999", words[19999])
}
