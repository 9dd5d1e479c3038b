package acp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/clock"
	"gantry/internal/worker/acp"
)

// pair connects a client to an agent served in this process.
func pair(t interface {
	Helper()
	Cleanup(func())
}, h acp.Handler, a acp.Agent,
) *acp.Client {
	t.Helper()
	agentIn, clientOut := io.Pipe()
	clientIn, agentOut := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- acp.ServeAgent(context.Background(), agentIn, agentOut, a)
		_ = agentOut.Close() // a pipe's Close never fails
	}()
	c := acp.Connect(clientIn, clientOut, h)
	t.Cleanup(func() {
		_ = clientOut.Close()
		<-served
		<-c.Done()
		_ = agentIn.Close()
		_ = clientIn.Close()
	})
	return c
}

func open(t require.TestingT, c *acp.Client) string {
	_, err := c.Initialize(context.Background(), acp.Implementation{Name: "test", Version: "0"})
	require.NoError(t, err)
	s, err := c.NewSession(context.Background(), acp.SessionParams{CWD: "/"})
	require.NoError(t, err)
	return s.SessionID
}

func newSession(context.Context, acp.SessionParams) (acp.SessionResult, error) {
	return acp.SessionResult{SessionID: "s"}, nil
}

func TestATurnEndsOnlyAfterEveryEarlierUpdateAndBarrier(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		// A step below 0 is a barrier, any other an update of that many bytes.
		steps := rapid.SliceOfN(rapid.IntRange(-1, 200), 0, 60).Draw(rt, "steps")
		slow := rapid.IntRange(0, 20).Draw(rt, "slow")
		var handled, sent atomic.Int64
		c := pair(t, acp.Handler{
			Update: func(_ context.Context, _, _ string, raw json.RawMessage) {
				var u struct{ N int64 }
				require.NoError(t, json.Unmarshal(raw, &u))
				if u.N%20 == int64(slow) {
					clock.Sleep(context.Background(), 100*time.Microsecond)
				}
				require.Equal(t, handled.Load(), u.N, "in order")
				handled.Add(1)
			},
			Barrier: func(context.Context, string) error {
				require.Equal(t, sent.Load(), handled.Load(), "a barrier comes after what was sent before it")
				return nil
			},
		}, acp.Agent{
			NewSession: newSession,
			Prompt: func(ctx context.Context, peer *acp.Peer, p acp.PromptParams) (acp.PromptResult, error) {
				for _, size := range steps {
					if size < 0 {
						if err := peer.Barrier(ctx, p.SessionID); err != nil {
							return acp.PromptResult{}, err
						}
						continue
					}
					n := sent.Add(1) - 1
					err := peer.Update(ctx, p.SessionID, map[string]any{"sessionUpdate": "x", "N": n, "pad": strings.Repeat("p", size)})
					if err != nil {
						return acp.PromptResult{}, err
					}
				}
				return acp.PromptResult{StopReason: acp.StopEndTurn}, nil
			},
		})
		_, err := c.Prompt(context.Background(), open(rt, c), nil, nil)
		require.NoError(rt, err)
		require.Equal(rt, sent.Load(), handled.Load())
	})
}

func TestASlowHandlerHoldsTheAgentBack(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var sent atomic.Int64
	c := pair(t, acp.Handler{
		Update: func(context.Context, string, string, json.RawMessage) { <-release },
	}, acp.Agent{
		NewSession: newSession,
		Prompt: func(ctx context.Context, peer *acp.Peer, p acp.PromptParams) (acp.PromptResult, error) {
			for range 150 {
				if err := peer.Update(ctx, p.SessionID, map[string]any{"sessionUpdate": "x", "pad": strings.Repeat("p", 20<<10)}); err != nil {
					return acp.PromptResult{}, err
				}
				sent.Add(1)
			}
			return acp.PromptResult{StopReason: acp.StopEndTurn}, nil
		},
	})
	s := open(t, c)
	done := make(chan error, 1)
	go func() {
		_, err := c.Prompt(context.Background(), s, nil, nil)
		done <- err
	}()
	require.Eventually(t, func() bool { return sent.Load() > 3 }, 5*time.Second, time.Millisecond)
	require.Never(t, func() bool { return sent.Load() > 60 }, 50*time.Millisecond, time.Millisecond, "the sender waits for the handler")
	close(release)
	require.NoError(t, <-done)
}

func TestACancelRightBehindThePromptIsNotLost(t *testing.T) {
	t.Parallel()
	for range 50 {
		c := pair(t, acp.Handler{}, acp.Agent{
			NewSession: newSession,
			Prompt: func(ctx context.Context, _ *acp.Peer, _ acp.PromptParams) (acp.PromptResult, error) {
				<-ctx.Done()
				return acp.PromptResult{}, ctx.Err()
			},
		})
		s := open(t, c)
		done := make(chan acp.PromptResult, 1)
		go func() {
			res, err := c.Prompt(context.Background(), s, nil, nil)
			require.NoError(t, err)
			done <- res
		}()
		// Until the prompt is under way a cancel is for no turn, so it is repeated as a person would.
		for ended := false; !ended; {
			require.NoError(t, c.Cancel(context.Background(), s))
			select {
			case res := <-done:
				require.Equal(t, acp.StopCancelled, res.StopReason)
				ended = true
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func TestCancelWinsOverWhateverTheAgentAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{"end of turn": nil, "error": acp.Errorf(acp.CodeInternal, "aborted")} {
		began := make(chan struct{})
		c := pair(t, acp.Handler{}, acp.Agent{
			NewSession: newSession,
			Prompt: func(ctx context.Context, _ *acp.Peer, _ acp.PromptParams) (acp.PromptResult, error) {
				close(began)
				<-ctx.Done()
				return acp.PromptResult{StopReason: acp.StopEndTurn}, answer
			},
		})
		s := open(t, c)
		go func() {
			<-began
			_ = c.Cancel(context.Background(), s) // a failure shows as a turn that never ends
		}()
		res, err := c.Prompt(context.Background(), s, nil, nil)
		require.NoError(t, err, name)
		require.Equal(t, acp.StopCancelled, res.StopReason, name)
	}
}

func TestOneTurnAtATime(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	c := pair(t, acp.Handler{}, acp.Agent{
		NewSession: newSession,
		Prompt: func(context.Context, *acp.Peer, acp.PromptParams) (acp.PromptResult, error) {
			close(began)
			<-release
			return acp.PromptResult{StopReason: acp.StopEndTurn}, nil
		},
	})
	s := open(t, c)
	done := make(chan error, 1)
	go func() {
		_, err := c.Prompt(context.Background(), s, nil, nil)
		done <- err
	}()
	<-began
	_, err := c.Prompt(context.Background(), s, nil, nil)
	require.ErrorContains(t, err, "in a turn already")
	_, err = c.Prompt(context.Background(), "other", nil, nil)
	require.ErrorContains(t, err, "isn't open")
	close(release)
	require.NoError(t, <-done)
}

func TestAClosedConnectionEndsEveryCall(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	c := pair(t, acp.Handler{}, acp.Agent{
		NewSession: newSession,
		Prompt: func(ctx context.Context, _ *acp.Peer, _ acp.PromptParams) (acp.PromptResult, error) {
			close(began)
			<-ctx.Done()
			return acp.PromptResult{}, nil
		},
	})
	s := open(t, c)
	go func() {
		<-began
		c.Close()
	}()
	_, err := c.Prompt(context.Background(), s, nil, nil)
	require.ErrorIs(t, err, acp.ErrClosed)
	require.ErrorIs(t, c.Err(), acp.ErrClosed)
	_, err = c.NewSession(context.Background(), acp.SessionParams{})
	require.ErrorIs(t, err, acp.ErrClosed)
}

// talk gives the answers of an agent to lines typed by hand.
func talk(t *testing.T, lines ...string) []string {
	t.Helper()
	in, typed := io.Pipe()
	answers, out := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- acp.ServeAgent(context.Background(), in, out, acp.Agent{NewSession: newSession, Prompt: func(context.Context, *acp.Peer, acp.PromptParams) (acp.PromptResult, error) {
			return acp.PromptResult{StopReason: acp.StopEndTurn}, nil
		}})
		_ = out.Close() // a pipe's Close never fails
	}()
	var got []string
	dec := json.NewDecoder(answers)
	for _, l := range lines {
		_, err := io.WriteString(typed, l+"\n")
		require.NoError(t, err)
		var m json.RawMessage
		require.NoError(t, dec.Decode(&m))
		got = append(got, string(m))
	}
	require.NoError(t, typed.Close())
	require.NoError(t, <-served)
	return got
}

func TestAgentAnswersInTheProtocolsForm(t *testing.T) {
	t.Parallel()
	got := talk(t,
		`{"jsonrpc":"2.0","id":1,"method":"session/new","params":{"cwd":"/","mcpServers":[]}}`,
		`{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":2}}`,
		`{"jsonrpc":"2.0","id":2,"method":"session/load","params":{"sessionId":"s","cwd":"/","mcpServers":[]}}`,
		`{"jsonrpc":"2.0","id":3,"method":"session/prompt","params":7}`,
		`{"jsonrpc":"2.0","id":-4,"method":"session/new","params":{"cwd":"/","mcpServers":[]}}`,
		`{"jsonrpc":"2.0","id":5.5,"method":"session/prompt","params":{"sessionId":"s","prompt":[{"type":"text","text":"<&>"}]}}`,
	)
	want := []string{
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"initialize comes first"}}`,
		`{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":1,"agentCapabilities":{"loadSession":false,"promptCapabilities":{"image":false,"audio":false,"embeddedContext":false}},"agentInfo":{"name":"","version":""},"authMethods":[]}}`,
		`{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"method not found"}}`,
		`{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"params are not of the method's shape"}}`,
		`{"jsonrpc":"2.0","id":-4,"result":{"sessionId":"s"}}`,
		`{"jsonrpc":"2.0","id":5.5,"result":{"stopReason":"end_turn"}}`,
	}
	require.Equal(t, want, got)
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}` + "\n" + `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"plan","entries":[]}}}`))
	f.Add([]byte(`{"id":"x","method":"fs/read_text_file","params":{"sessionId":"s","path":"/etc/passwd"}}` + "\n\xff{}\n[]\n"))
	f.Add([]byte(`{"id":1,"error":null}` + "\n" + `{"id":{},"method":"x"}` + "\n" + `{"method":""}`))
	f.Add([]byte(`{"method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"tool_call_update","toolCallId":"a","content":[{"type":"content","content":{"type":"text","text":"x"}}],"_meta":{"gantry":{"output_delta":"y"}}}}}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		var m acp.Mapper
		var j acp.Joiner
		calls := 0
		c := acp.Connect(bytes.NewReader(said), io.Discard, acp.Handler{
			Limits: acp.Limits{Frame: 1 << 20, Junk: 10},
			Update: func(_ context.Context, _, kind string, raw json.RawMessage) {
				for _, e := range m.Map(kind, raw) {
					require.True(t, json.Valid(e.Data), "%s", e.Data)
					for _, e := range j.Add(e) {
						require.True(t, e.Raw == nil || json.Valid(e.Raw), "%s", e.Raw)
					}
				}
			},
			Problem: func(p acp.Problem) { calls++ },
		})
		<-c.Done()
		require.Error(t, c.Err())
		require.LessOrEqual(t, calls, bytes.Count(said, []byte("\n"))+1)
	})
}

func BenchmarkUpdates(b *testing.B) {
	line := fmt.Sprintf(`{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":%q}}}}`+"\n", "some words")
	r, w := io.Pipe()
	var m acp.Mapper
	var j acp.Joiner
	c := acp.Connect(r, io.Discard, acp.Handler{Update: func(_ context.Context, _, kind string, raw json.RawMessage) {
		for _, e := range m.Map(kind, raw) {
			j.Add(e)
		}
	}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(w, line); err != nil {
			b.Fatal(err)
		}
	}
	_ = w.Close()
	<-c.Done()
}
