package acp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Handler is what the worker does for an agent. A nil function means that the method isn't offered: it is answered with
// -32601, and the matching capability isn't announced. Functions with an error or a result run in a goroutine of their own
// each; Update, StructuredOutput, Notification and Problem run one after the other in the reading goroutine, in the order the
// agent sent them, and slow the agent down for as long as they take.
//
// Every request names an open session, which the client has checked. ctx ends with the connection.
type Handler struct {
	Limits Limits

	// Update gets each session/update of an open session: its kind (`sessionUpdate`) and the raw update object.
	Update func(ctx context.Context, sessionID, kind string, raw json.RawMessage)
	// RequestPermission waits for somebody's answer. Its ctx also ends when the turn is cancelled; the agent is then told
	// `cancelled`, whatever is returned. Without it every question is answered `cancelled`.
	RequestPermission func(ctx context.Context, p PermissionParams) (PermissionOutcome, error)

	ReadTextFile  func(ctx context.Context, p ReadTextFileParams) (content string, err error)
	WriteTextFile func(ctx context.Context, p WriteTextFileParams) error

	// The terminal functions are offered together, by CreateTerminal.
	CreateTerminal  func(ctx context.Context, p CreateTerminalParams) (terminalID string, err error)
	TerminalOutput  func(ctx context.Context, p TerminalParams) (TerminalOutput, error)
	WaitTerminal    func(ctx context.Context, p TerminalParams) (TerminalExit, error)
	KillTerminal    func(ctx context.Context, p TerminalParams) error
	ReleaseTerminal func(ctx context.Context, p TerminalParams) error

	// Barrier returns once everything the agent sent before it is acknowledged by the server. Update was called for all of that
	// already; what a Joiner still holds must be flushed here.
	Barrier func(ctx context.Context, sessionID string) error
	// StructuredOutput gets a value that the agent offers as the session's structured output.
	StructuredOutput func(ctx context.Context, sessionID string, value json.RawMessage)
	// Notification gets every notification of another method, raw.
	Notification func(ctx context.Context, method string, params json.RawMessage)
	// Problem gets what had to be skipped.
	Problem func(Problem)
}

// Client is the worker's side of one connection to one agent process.
type Client struct {
	// AuthMethod is the id of the method used when the agent asks for authentication; empty means the first it advertised.
	AuthMethod string

	h    Handler
	c    *conn
	init InitializeResult

	mu       sync.Mutex
	sessions map[string]*clientSession
}

// clientSession is what the client knows of one open session.
type clientSession struct {
	loading   bool // session/load is under way: the updates are replays
	cancelled bool // Cancel was called in this turn
	turn      context.Context
	endTurn   context.CancelFunc
}

// Connect starts to read from an agent's output r and to write to its input w. The caller owns both and closes them (by
// ending the process) to free the goroutines; until then the connection lives.
func Connect(r io.Reader, w io.Writer, h Handler) *Client {
	cl := &Client{h: h, c: newConn(context.Background(), h.Limits), sessions: map[string]*clientSession{}}
	cl.c.accept, cl.c.notify = cl.accept, cl.notified
	if h.Problem != nil {
		cl.c.problem = h.Problem
	}
	go func() { _ = cl.c.run(r, w) }() // the reason is kept for Err
	return cl
}

// Done is closed when the connection has ended.
func (cl *Client) Done() <-chan struct{} { return cl.c.done }

// Err says why the connection ended: ErrClosed, an error that wraps it, or a LimitError. It is nil before Done.
func (cl *Client) Err() error { return cl.c.reason() }

// Close ends the connection from here: calls fail, handlers' contexts end, and nothing more is sent. It doesn't close the
// reader and writer.
func (cl *Client) Close() { cl.c.fail(ErrClosed) }

// Initialize agrees on the version and capabilities. It must be the first call.
func (cl *Client) Initialize(ctx context.Context, info Implementation) (InitializeResult, error) {
	caps := ClientCapabilities{
		FS:       FileCapability{ReadTextFile: cl.h.ReadTextFile != nil, WriteTextFile: cl.h.WriteTextFile != nil},
		Terminal: cl.h.CreateTerminal != nil,
	}
	if cl.h.Barrier != nil {
		caps.Meta = json.RawMessage(`{"gantry":{"barrier":true}}`)
	}
	res, err := callFor[InitializeResult](ctx, cl.c, MethodInitialize, InitializeParams{
		ProtocolVersion: ProtocolVersion, ClientCapabilities: caps, ClientInfo: &info,
	}, nil)
	if err != nil {
		return res, err
	}
	if res.ProtocolVersion != ProtocolVersion {
		return res, fmt.Errorf("acp: the agent speaks protocol version %d, only %d is supported", res.ProtocolVersion, ProtocolVersion)
	}
	cl.init = res
	return res, nil
}

// Authenticate uses one of the methods the agent advertised. NewSession and LoadSession call it by themselves when the agent
// asks for it.
func (cl *Client) Authenticate(ctx context.Context, methodID string) error {
	_, err := cl.c.call(ctx, MethodAuthenticate, map[string]string{"methodId": methodID}, nil)
	if err != nil {
		return fmt.Errorf("acp: authenticate with %q: %w", methodID, err)
	}
	return nil
}

// NewSession opens a session. Its updates are passed on from the moment the agent's answer is read.
func (cl *Client) NewSession(ctx context.Context, p SessionParams) (SessionResult, error) {
	p.SessionID = ""
	return cl.authenticated(ctx, func() (SessionResult, error) {
		return cl.openSession(ctx, MethodNewSession, p, func(res *SessionResult) error {
			if res.SessionID == "" {
				return fmt.Errorf("acp: %s: the agent named no session", MethodNewSession)
			}
			return nil
		})
	})
}

// CanLoad says whether the agent supports LoadSession.
func (cl *Client) CanLoad() bool { return cl.init.AgentCapabilities.LoadSession }

// LoadSession goes on with an earlier session. What the agent replays of the conversation (messages, thoughts, tool calls,
// plans) isn't passed to Update: the server has it already.
func (cl *Client) LoadSession(ctx context.Context, p SessionParams) (SessionResult, error) {
	cl.mu.Lock()
	cl.sessions[p.SessionID] = &clientSession{loading: true}
	cl.mu.Unlock()
	res, err := cl.authenticated(ctx, func() (SessionResult, error) {
		return cl.openSession(ctx, MethodLoadSession, p, func(res *SessionResult) error {
			res.SessionID = p.SessionID
			return nil
		})
	})
	if err != nil {
		cl.mu.Lock()
		delete(cl.sessions, p.SessionID)
		cl.mu.Unlock()
	}
	return res, err
}

// openSession calls and, before the next line is read, makes the session known.
func (cl *Client) openSession(ctx context.Context, method string, p SessionParams, check func(*SessionResult) error) (SessionResult, error) {
	if p.MCPServers == nil {
		p.MCPServers = []json.RawMessage{}
	}
	return callFor(ctx, cl.c, method, p, func(res *SessionResult) error {
		if err := check(res); err != nil {
			return err
		}
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.sessions[res.SessionID] = &clientSession{}
		return nil
	})
}

// authenticated runs do, and once more after authenticating when the agent asks for that.
func (cl *Client) authenticated(ctx context.Context, do func() (SessionResult, error)) (SessionResult, error) {
	res, err := do()
	if !IsCode(err, CodeAuthRequired) {
		return res, err
	}
	method := cl.AuthMethod
	if method == "" && len(cl.init.AuthMethods) > 0 {
		method = cl.init.AuthMethods[0].ID
	}
	if method == "" {
		return res, fmt.Errorf("acp: the agent asks for authentication but offers no method: %w", err)
	}
	if err := cl.Authenticate(ctx, method); err != nil {
		return res, err
	}
	return do()
}

// Prompt runs one turn and returns when it has ended and every update before its end was handled. meta may be nil. When
// Cancel was called meanwhile the stop reason is `cancelled` whatever the agent answered. If ctx ends first, Prompt returns
// its error and the turn goes on without anybody waiting; call Cancel to end it.
func (cl *Client) Prompt(ctx context.Context, sessionID string, prompt []ContentBlock, meta *GantryMeta) (PromptResult, error) {
	s, err := cl.beginTurn(sessionID)
	if err != nil {
		return PromptResult{}, err
	}
	p := PromptParams{SessionID: sessionID, Prompt: prompt}
	if meta != nil {
		p.Meta = &Meta{Gantry: meta}
	}
	res, err := callFor[PromptResult](ctx, cl.c, MethodPrompt, p, nil)
	cancelled := cl.endTurn(s)
	_, answered := errors.AsType[*Error](err)
	if cancelled && (err == nil || answered) {
		res.StopReason, err = StopCancelled, nil
	}
	return res, err
}

func (cl *Client) beginTurn(sessionID string) (*clientSession, error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s := cl.sessions[sessionID]
	if s == nil {
		return nil, fmt.Errorf("acp: session %q isn't open", sessionID)
	}
	if s.turn != nil {
		return nil, fmt.Errorf("acp: session %q is in a turn already", sessionID)
	}
	s.cancelled = false
	s.turn, s.endTurn = context.WithCancel(cl.c.ctx)
	return s, nil
}

func (cl *Client) endTurn(s *clientSession) (cancelled bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s.endTurn()
	s.turn, s.endTurn = nil, nil
	return s.cancelled
}

// Cancel asks the agent to end the session's turn and answers its open permission requests with `cancelled`. It doesn't wait
// for the turn to end.
func (cl *Client) Cancel(ctx context.Context, sessionID string) error {
	endTurn := func() {}
	cl.mu.Lock()
	if s := cl.sessions[sessionID]; s != nil && s.turn != nil {
		s.cancelled = true
		endTurn = s.endTurn
	}
	cl.mu.Unlock()
	// The agent hears of the cancel before it hears that its questions are cancelled, lest it goes on with something else.
	defer endTurn()
	return cl.c.tell(ctx, MethodCancel, sessionOnly{sessionID})
}

// SetMode changes the agent's mode.
func (cl *Client) SetMode(ctx context.Context, sessionID, modeID string) error {
	_, err := cl.c.call(ctx, MethodSetMode, map[string]string{"sessionId": sessionID, "modeId": modeID}, nil)
	return err
}

// callFor calls and decodes the result. check runs in the reading goroutine, before the next line is read.
func callFor[T any](ctx context.Context, c *conn, method string, params any, check func(*T) error) (T, error) {
	// Both are written before the answer is handed over, so reading them after call is safe; when ctx ends first they are not
	// read.
	var res T
	var bad error
	_, err := c.call(ctx, method, params, func(raw json.RawMessage, err error) {
		if err != nil {
			return
		}
		if len(raw) > 0 {
			if bad = json.Unmarshal(raw, &res); bad != nil {
				bad = fmt.Errorf("acp: the agent's answer to %s isn't of its shape: %w", method, bad)
				return
			}
		}
		if check != nil {
			bad = check(&res)
		}
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return res, bad
}
