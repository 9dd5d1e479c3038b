package acp

import (
	"context"
	"encoding/json"
)

// notified handles an agent's notification in the reading goroutine.
func (cl *Client) notified(method string, params json.RawMessage) {
	switch method {
	case MethodUpdate:
		cl.updated(params)
	case MethodStructuredOutput:
		p, err := decodeParams[StructuredOutputParams](params)
		if err != nil || len(p.Value) == 0 || cl.session(p.SessionID) == nil {
			cl.c.report("a structured output of no open session or without a value", params)
			return
		}
		if cl.h.StructuredOutput != nil {
			cl.h.StructuredOutput(cl.c.ctx, p.SessionID, p.Value)
		}
	default:
		if cl.h.Notification != nil {
			cl.h.Notification(cl.c.ctx, method, params)
		}
	}
}

func (cl *Client) updated(params json.RawMessage) {
	p, err := decodeParams[updateParams](params)
	if err != nil {
		cl.c.report("an update without session and content", params)
		return
	}
	var kind struct {
		SessionUpdate string `json:"sessionUpdate"`
	}
	if err := json.Unmarshal(p.Update, &kind); err != nil || kind.SessionUpdate == "" {
		cl.c.report("an update that doesn't say its kind", params)
		return
	}
	open, loading := cl.state(p.SessionID)
	if !open {
		cl.c.report("an update for a session that isn't open", params)
		return
	}
	if loading && isReplay(kind.SessionUpdate) {
		return
	}
	if cl.h.Update != nil {
		cl.h.Update(cl.c.ctx, p.SessionID, kind.SessionUpdate, p.Update)
	}
}

// state says whether updates of the session are taken. While no session is open yet any is: some agents speak of the new
// session before they have answered session/new.
func (cl *Client) state(sessionID string) (open, loading bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s := cl.sessions[sessionID]
	if s == nil {
		return len(cl.sessions) == 0, false
	}
	return true, s.loading
}

func isReplay(kind string) bool {
	switch kind {
	case UpdateUserMessage, UpdateAgentMessage, UpdateAgentThought, UpdateToolCall, UpdateToolChange, UpdatePlan:
		return true
	}
	return false
}

func (cl *Client) session(id string) *clientSession {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.sessions[id]
}

// accept looks at an agent's request in the reading goroutine and gives what is to be done for it.
func (cl *Client) accept(method string, params json.RawMessage) (work, error) {
	do := cl.method(method)
	if do == nil {
		return nil, Errorf(CodeMethodNotFound, "method not found")
	}
	p, err := decodeParams[sessionOnly](params)
	if err != nil {
		return nil, err
	}
	if cl.session(p.SessionID) == nil {
		return nil, Errorf(CodeInvalidParams, "sessionId: no such session")
	}
	return do(params)
}

// method gives the decoder of a request's params, nil when the method isn't offered.
func (cl *Client) method(method string) func(json.RawMessage) (work, error) {
	h := cl.h
	switch method {
	case MethodRequestPermission:
		return cl.permission
	case MethodReadTextFile:
		return handle(h.ReadTextFile != nil, func(ctx context.Context, p ReadTextFileParams) (any, error) {
			content, err := h.ReadTextFile(ctx, p)
			return map[string]string{"content": content}, err
		})
	case MethodWriteTextFile:
		return handle(h.WriteTextFile != nil, func(ctx context.Context, p WriteTextFileParams) (any, error) {
			return nil, h.WriteTextFile(ctx, p)
		})
	case MethodCreateTerminal:
		return handle(h.CreateTerminal != nil, func(ctx context.Context, p CreateTerminalParams) (any, error) {
			id, err := h.CreateTerminal(ctx, p)
			return map[string]string{"terminalId": id}, err
		})
	case MethodTerminalOutput:
		return handle(h.TerminalOutput != nil, func(ctx context.Context, p TerminalParams) (any, error) {
			return h.TerminalOutput(ctx, p)
		})
	case MethodWaitTerminal:
		return handle(h.WaitTerminal != nil, func(ctx context.Context, p TerminalParams) (any, error) {
			return h.WaitTerminal(ctx, p)
		})
	case MethodKillTerminal:
		return handle(h.KillTerminal != nil, func(ctx context.Context, p TerminalParams) (any, error) {
			return nil, h.KillTerminal(ctx, p)
		})
	case MethodReleaseTerminal:
		return handle(h.ReleaseTerminal != nil, func(ctx context.Context, p TerminalParams) (any, error) {
			return nil, h.ReleaseTerminal(ctx, p)
		})
	case MethodBarrier:
		return handle(h.Barrier != nil, func(ctx context.Context, p sessionOnly) (any, error) {
			return nil, h.Barrier(ctx, p.SessionID)
		})
	}
	return nil
}

func handle[T any](offered bool, do func(context.Context, T) (any, error)) func(json.RawMessage) (work, error) {
	if !offered {
		return nil
	}
	return func(params json.RawMessage) (work, error) {
		p, err := decodeParams[T](params)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (any, error) { return do(ctx, p) }, nil
	}
}

// permission ties the question to the turn it was asked in. A question outside a turn is bound to the connection alone.
func (cl *Client) permission(params json.RawMessage) (work, error) {
	p, err := decodeParams[PermissionParams](params)
	if err != nil {
		return nil, err
	}
	cl.mu.Lock()
	turn := cl.sessions[p.SessionID].turn
	cl.mu.Unlock()
	if turn == nil {
		turn = cl.c.ctx
	}
	return func(context.Context) (any, error) {
		if cl.h.RequestPermission == nil || turn.Err() != nil {
			return PermissionOutcome{}, nil //nolint:nilerr // a cancelled turn answers its questions with cancelled
		}
		out, err := cl.h.RequestPermission(turn, p)
		if turn.Err() != nil {
			return PermissionOutcome{}, nil //nolint:nilerr // likewise
		}
		return out, err
	}, nil
}
