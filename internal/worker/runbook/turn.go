package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gantry/internal/worker/acp"
)

// nothingToRun is what a prompt without blocks is answered with.
const nothingToRun = "no `sh` block found; runbook runs fenced sh blocks and has no model"

// nothingLeft is what a prompt to go on is answered with when the turn wasn't broken off between two blocks.
const nothingLeft = "The turn was interrupted; what it was doing is not repeated."

// turn is one prompt at work.
type turn struct {
	a      *agent
	s      *session
	peer   *acp.Peer
	schema json.RawMessage
	shell  shell
	id     string // of no other turn, not even of one that died before its number was kept

	offer   offer
	command int64 // the message it answers
	goesOn  bool  // with the blocks that an earlier turn left
	whole   bool  // the turn was cancelled between two blocks: none was cut off
}

// verdict is how a turn ended and one sentence that says why, for people.
type verdict struct{ outcome, reason string }

// at says where in the turn the blocks of a prompt begin: a turn that goes on has run some.
type at struct{ done, of int }

// update is a session/update as runbook sends it.
type update struct {
	SessionUpdate string            `json:"sessionUpdate"`
	ToolCallID    string            `json:"toolCallId,omitempty"`
	Title         string            `json:"title,omitempty"`
	Kind          string            `json:"kind,omitempty"`
	Status        string            `json:"status,omitempty"`
	Content       *acp.ContentBlock `json:"content,omitempty"`
	RawInput      any               `json:"rawInput,omitempty"`
	RawOutput     any               `json:"rawOutput,omitempty"`
	Meta          *acp.Meta         `json:"_meta,omitempty"`
}

// toolResult is a finished block's rawOutput.
type toolResult struct {
	ExitCode   *int   `json:"exit_code,omitempty"` // absent for a block that could not be started or was not
	Signal     string `json:"signal,omitempty"`
	DurationMS int64  `json:"duration_ms"`
	Bytes      int64  `json:"output_bytes"`
	Truncated  bool   `json:"truncated,omitempty"`
	Error      string `json:"error,omitempty"`
}

func (t *turn) run(ctx context.Context, blocks []Block, from at) (acp.PromptResult, error) {
	end := context.WithoutCancel(ctx) // what is said first and last is said even to a client that has cancelled
	before, err := t.reportInterrupted(end)
	if err != nil {
		return acp.PromptResult{}, err
	}
	v := verdict{acp.OutcomeNothingToRun, nothingToRun}
	if t.goesOn {
		v.reason = nothingLeft
	}
	if len(blocks) > 0 {
		v = t.runAll(ctx, blocks, from)
	}
	if ctx.Err() != nil && v.outcome != acp.OutcomeCancelled {
		v = verdict{acp.OutcomeCancelled, "The turn was cancelled."}
	}
	said := v.reason
	if before && len(blocks) == 0 { // no call stands between the two, so a client takes them for pieces of one message
		said = "\n\n" + said
	}
	if err := t.say(end, said); err != nil { // nobody listens any more
		return acp.PromptResult{}, err
	}
	if err := t.close(); err != nil {
		return acp.PromptResult{}, acp.Errorf(acp.CodeInternal, "%v", err)
	}
	stop := acp.StopEndTurn
	if v.outcome == acp.OutcomeCancelled {
		stop = acp.StopCancelled
	}
	meta := &acp.Meta{Gantry: &acp.GantryMeta{Outcome: v.outcome, Reason: v.reason}}
	return acp.PromptResult{StopReason: stop, Meta: meta}, nil
}

// reportInterrupted says what a turn that died with its process may have done. It is said once: the state is closed after it. Whoever
// began the block's call has reported it as interrupted when its process ended.
func (t *turn) reportInterrupted(ctx context.Context) (said bool, err error) {
	st := t.s.state
	if !st.Open {
		return false, nil
	}
	text := fmt.Sprintf("The previous turn was interrupted after block %d of %d (`%s`) had ended.", st.Block, st.Blocks, st.Title)
	if st.Running {
		text = fmt.Sprintf("The previous turn was interrupted in block %d of %d (`%s`): it may have run in part, and it is not run again.",
			st.Block, st.Blocks, st.Title)
	}
	if rest := notRun(st.Block+1, st.Blocks); rest != "" {
		text += " " + rest
	}
	if err := t.say(ctx, text); err != nil {
		return false, err
	}
	return true, t.close()
}

// close notes that the turn has ended.
func (t *turn) close() error {
	if !t.s.state.Open && t.s.state.Rest == nil {
		return nil
	}
	t.s.state.Open, t.s.state.Running = false, false
	return t.s.state.save(t.a.home, t.s.id, false)
}

func (t *turn) say(ctx context.Context, text string) error {
	b := acp.TextBlock(text)
	return t.peer.Update(ctx, t.s.id, update{SessionUpdate: acp.UpdateAgentMessage, Content: &b})
}

// runAll runs the blocks until one fails. What a cancel leaves between two blocks is kept.
func (t *turn) runAll(ctx context.Context, blocks []Block, from at) verdict {
	st := &t.s.state
	st.Turn, st.Blocks, st.Block, st.Rest = st.Turn+1, from.of, from.done, nil
	if t.schema != nil {
		t.offer = begin(t.a.structured)
	}
	var last result
	for i, b := range blocks {
		n := from.done + i + 1
		v, done := t.runBlock(ctx, b, n, &last)
		if done {
			t.keepRest(v, blocks[min(len(blocks), max(0, st.Block-from.done)):])
			return v
		}
	}
	reason := fmt.Sprintf("Ran %d of %d blocks in %s; every one ended with exit status 0.", st.Blocks, st.Blocks, st.CWD)
	if st.Blocks == 1 {
		reason = fmt.Sprintf("Ran 1 of 1 block in %s; it ended with exit status 0.", st.CWD)
	}
	if t.schema != nil {
		said, err := t.offerOutput(ctx, last)
		if err != nil {
			return verdict{acp.OutcomeFailed, "The structured output could not be handed over."}
		}
		reason += said
	}
	return verdict{acp.OutcomeFinished, reason}
}

// keepRest remembers the blocks after the last one that ran when the turn was cancelled between two blocks.
func (t *turn) keepRest(v verdict, rest []Block) {
	if v.outcome != acp.OutcomeCancelled || !t.whole {
		return
	}
	t.s.state.Command = t.command
	for _, b := range rest {
		t.s.state.Rest = append(t.s.state.Rest, b.Script)
	}
}

// runBlock runs one block, the n-th. done says that the turn ends with the verdict.
func (t *turn) runBlock(ctx context.Context, b Block, n int, res *result) (v verdict, done bool) {
	st := &t.s.state
	tool, title := fmt.Sprintf("%s-%d", t.id, n), b.Title()
	err := t.announce(ctx, tool, title, b)
	if err == nil {
		st.Block, st.Title, st.Running, st.Open = n, title, true, true
		err = st.save(t.a.home, t.s.id, true)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		st.Running, st.Block = false, n-1
		t.whole = ctx.Err() != nil
		return t.notStarted(ctx, b, n, tool, err), true
	}

	// From here on the block's own end is reported even when the turn is cancelled.
	open := context.WithoutCancel(ctx)
	_ = t.tool(open, update{ToolCallID: tool, Status: "in_progress"}) // see tool
	*res = t.shell.run(ctx, b.Script, t.schema != nil && n == st.Blocks, func(text string) {
		_ = t.tool(open, update{ToolCallID: tool, Meta: &acp.Meta{Gantry: &acp.GantryMeta{OutputDelta: text}}})
	})
	if err := t.tool(open, finished(tool, *res, ctx.Err() != nil && res.failed())); err != nil {
		// The client is gone and the block was killed because of it: it stays on record as interrupted.
		return verdict{acp.OutcomeCancelled, "The connection ended."}, true
	}
	if ctx.Err() != nil && res.failed() {
		// Should the turn die before it is closed, the block was cut off, and stays on record so.
		return verdict{acp.OutcomeCancelled, sentence(n, st.Blocks, title, "was cancelled", st.CWD)}, true
	}
	st.Running = false
	if err := st.save(t.a.home, t.s.id, false); err != nil {
		return verdict{acp.OutcomeFailed, sentence(n, st.Blocks, title, "ended, but that can't be kept: "+err.Error(), st.CWD)}, true
	}
	switch {
	case ctx.Err() != nil:
		t.whole = true
		return verdict{acp.OutcomeCancelled, sentence(n, st.Blocks, title, "ended with exit status 0 before the turn was cancelled", st.CWD)}, true
	case res.failed():
		return verdict{acp.OutcomeFailed, sentence(n, st.Blocks, title, res.how(), st.CWD)}, true
	}
	return verdict{}, false
}

// announce reports the block and waits until that is acknowledged.
func (t *turn) announce(ctx context.Context, tool, title string, b Block) error {
	err := t.peer.Update(ctx, t.s.id, update{
		SessionUpdate: acp.UpdateToolCall, ToolCallID: tool, Title: title, Kind: "execute", Status: "pending",
		RawInput: map[string]string{"script": b.Script},
	})
	if err != nil {
		return err
	}
	return t.peer.Barrier(ctx, t.s.id)
}

// notStarted ends the turn at a block whose start was cancelled, could not be recorded or was not acknowledged.
func (t *turn) notStarted(ctx context.Context, b Block, n int, tool string, err error) verdict {
	_ = t.tool(context.WithoutCancel(ctx), update{ToolCallID: tool, Status: "failed", RawOutput: toolResult{Error: "not started"}}) // see tool
	st := t.s.state
	if ctx.Err() != nil {
		return verdict{acp.OutcomeCancelled, sentence(n, st.Blocks, b.Title(), "was cancelled before it started", st.CWD)}
	}
	how := "was not started: its start was not acknowledged"
	if _, answered := errors.AsType[*acp.Error](err); !answered {
		how = "was not started: " + err.Error()
	}
	return verdict{acp.OutcomeFailed, sentence(n, st.Blocks, b.Title(), how, st.CWD)}
}

// tool sends a change of a tool call. An error means that the connection is gone; the turn's context has ended with it, and a
// running block is killed without more ado.
func (t *turn) tool(ctx context.Context, u update) error {
	u.SessionUpdate = acp.UpdateToolChange
	return t.peer.Update(ctx, t.s.id, u)
}

func finished(tool string, res result, cancelled bool) update {
	out := toolResult{DurationMS: res.duration.Milliseconds(), Bytes: res.output, Truncated: res.truncated, Signal: res.signal}
	status := "completed"
	if res.failed() || cancelled {
		status = "failed"
	}
	if res.err != nil {
		out.Error = res.err.Error()
	} else {
		out.ExitCode = &res.exit
	}
	if cancelled {
		out.Error = "cancelled"
	}
	return update{ToolCallID: tool, Status: status, RawOutput: out}
}

// sentence says how the n-th block of a turn ended, where, and what was not run because of it.
func sentence(n, of int, title, how, dir string) string {
	s := fmt.Sprintf("Block %d of %d (`%s`) %s, in %s.", n, of, title, how, dir)
	if rest := notRun(n+1, of); rest != "" {
		s += " " + rest
	}
	return s
}

func notRun(from, to int) string {
	switch {
	case from > to:
		return ""
	case from == to:
		return fmt.Sprintf("Block %d was not run.", from)
	}
	return fmt.Sprintf("Blocks %d to %d were not run.", from, to)
}
