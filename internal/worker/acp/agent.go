package acp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
)

// Agent is an agent's side: what it does for a client. ServeAgent checks the order of calls and turns session/cancel into the
// end of the prompt's context.
type Agent struct {
	Info         Implementation
	Capabilities AgentCapabilities
	Limits       Limits

	NewSession  func(ctx context.Context, p SessionParams) (SessionResult, error)
	LoadSession func(ctx context.Context, p SessionParams) error // nil when Capabilities.LoadSession is false
	// Prompt runs one turn; there is never more than one at a time in a session. Its ctx ends on cancel and with the
	// connection; it then answers StopCancelled.
	Prompt func(ctx context.Context, peer *Peer, p PromptParams) (PromptResult, error)
}

// Peer is the client as an agent sees it.
type Peer struct {
	c       *conn
	barrier bool // the client answers MethodBarrier
}

// Update sends a session/update. update must say its kind in `sessionUpdate`. It blocks while the client doesn't read.
func (p *Peer) Update(ctx context.Context, sessionID string, update any) error {
	raw, err := encodeParams(update)
	if err != nil {
		return err
	}
	return p.c.tell(ctx, MethodUpdate, updateParams{SessionID: sessionID, Update: raw})
}

// Barrier waits until the client's server has acknowledged everything that was sent. With a client that has no such thing it
// returns at once.
func (p *Peer) Barrier(ctx context.Context, sessionID string) error {
	if !p.barrier {
		return nil
	}
	_, err := p.c.call(ctx, MethodBarrier, sessionOnly{sessionID}, nil)
	return err
}

// StructuredOutput offers a value as the session's structured output.
func (p *Peer) StructuredOutput(ctx context.Context, sessionID string, value json.RawMessage) error {
	return p.c.tell(ctx, MethodStructuredOutput, StructuredOutputParams{SessionID: sessionID, Value: value})
}

// agentConn is the state of one served connection.
type agentConn struct {
	agent Agent
	peer  *Peer

	mu    sync.Mutex
	ready bool                          // initialize was answered
	turns map[string]context.CancelFunc // by session, while a prompt runs
}

// ServeAgent answers a client until r or ctx ends. Prompts that still run are then cancelled and waited for. It returns nil when the
// client simply closed the connection.
func ServeAgent(ctx context.Context, r io.Reader, w io.Writer, a Agent) error {
	c := newConn(ctx, a.Limits)
	ac := &agentConn{agent: a, peer: &Peer{c: c}, turns: map[string]context.CancelFunc{}}
	c.accept, c.notify = ac.accept, ac.notified
	stop := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer stop()
	go func() { _ = c.run(r, w) }() // the reason is kept; a reader that can't be interrupted is left behind when ctx ends
	<-c.done
	c.wg.Wait()
	if err := c.reason(); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

func (ac *agentConn) notified(method string, params json.RawMessage) {
	if method != MethodCancel {
		return
	}
	p, err := decodeParams[sessionOnly](params)
	if err != nil {
		return
	}
	ac.mu.Lock()
	defer ac.mu.Unlock()
	if cancel := ac.turns[p.SessionID]; cancel != nil {
		cancel()
	}
}

func (ac *agentConn) accept(method string, params json.RawMessage) (work, error) {
	if method == MethodInitialize {
		return ac.initialize(params)
	}
	ac.mu.Lock()
	ready := ac.ready
	ac.mu.Unlock()
	if !ready {
		return nil, Errorf(CodeInvalidRequest, "initialize comes first")
	}
	switch method {
	case MethodAuthenticate:
		return func(context.Context) (any, error) { return nil, nil }, nil
	case MethodNewSession:
		p, err := decodeParams[SessionParams](params)
		return func(ctx context.Context) (any, error) { return ac.agent.NewSession(ctx, p) }, err
	case MethodLoadSession:
		if ac.agent.LoadSession == nil {
			break
		}
		p, err := decodeParams[SessionParams](params)
		return func(ctx context.Context) (any, error) { return nil, ac.agent.LoadSession(ctx, p) }, err
	case MethodPrompt:
		return ac.prompt(params)
	}
	return nil, Errorf(CodeMethodNotFound, "method not found")
}

func (ac *agentConn) initialize(params json.RawMessage) (work, error) {
	p, err := decodeParams[InitializeParams](params)
	if err != nil {
		return nil, err
	}
	var meta Meta
	if len(p.ClientCapabilities.Meta) > 0 {
		// A `_meta` of another shape is simply not ours.
		_ = json.Unmarshal(p.ClientCapabilities.Meta, &meta)
	}
	ac.mu.Lock()
	defer ac.mu.Unlock()
	if ac.ready {
		return nil, Errorf(CodeInvalidRequest, "the connection is initialized already")
	}
	ac.ready = true
	ac.peer.barrier = meta.Gantry != nil && meta.Gantry.Barrier
	return func(context.Context) (any, error) {
		return InitializeResult{
			ProtocolVersion: ProtocolVersion, AgentCapabilities: ac.agent.Capabilities, AgentInfo: &ac.agent.Info,
			AuthMethods: []AuthMethod{},
		}, nil
	}, nil
}

// prompt registers the turn in the reading goroutine, so that a cancel on the very next line finds it.
func (ac *agentConn) prompt(params json.RawMessage) (work, error) {
	p, err := decodeParams[PromptParams](params)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ac.peer.c.ctx)
	ac.mu.Lock()
	defer ac.mu.Unlock()
	if ac.turns[p.SessionID] != nil {
		cancel()
		return nil, Errorf(CodeInvalidRequest, "the session is in a turn already")
	}
	ac.turns[p.SessionID] = cancel
	return func(context.Context) (any, error) {
		res, err := ac.agent.Prompt(ctx, ac.peer, p)
		ac.mu.Lock()
		defer ac.mu.Unlock()
		if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			res.StopReason, err = StopCancelled, nil
		}
		cancel()
		delete(ac.turns, p.SessionID)
		return res, err
	}, nil
}
