package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/acp"
	"gantry/internal/worker/sandbox"
)

const (
	maxRestarts = 3 // after a crash, in one claim
	maxSilences = 2 // after a silence, in one claim
	// stateEvery repeats the last state while nothing comes: a server that parks on it may have missed its moment.
	stateEvery = 30 * time.Second
)

// converse takes one message after the other until the run ends.
func (r *run) converse() error {
	if r.spec.Interrupted {
		if err := r.pickUp(); err != nil {
			return err
		}
	}
	for {
		message, err := r.next()
		if err != nil {
			return err
		}
		if err := r.answer(message); err != nil {
			return err
		}
	}
}

// next waits for the next message. The run may be parked meanwhile.
func (r *run) next() (wire.Command, error) {
	if r.state.State == "" {
		// Nothing to do was found yet; if it stays so the session waits for its user.
		r.state = wire.StateData{State: wire.StateWaitingForUser}
	}
	again := time.NewTicker(stateEvery)
	defer again.Stop()
	for {
		r.sort(r.cancelWaiting)
		if len(r.waiting) > 0 {
			message := r.waiting[0]
			r.waiting = r.waiting[1:]
			return message, nil
		}
		select {
		case <-r.ctx.Done():
			return wire.Command{}, r.ctx.Err()
		case <-r.pausing:
			return wire.Command{}, r.paused.Load()
		case <-r.inbox.wake:
		case <-again.C:
			r.say.event(wire.EventState, r.state)
		}
	}
}

// cancelWaiting drops the messages that came before a cancel: it ends everything that was asked for so far.
func (r *run) cancelWaiting(c wire.Command) {
	if c.Kind == wire.CommandCancel && r.dropWaiting(c.Number) {
		r.report(wire.StateWaitingForUser, "The turn was cancelled.")
	}
}

func (r *run) dropWaiting(before int64) (any bool) {
	for len(r.waiting) > 0 && r.waiting[0].Number < before {
		r.say.event(wire.EventTurn, wire.TurnData{Status: "ended", Command: r.waiting[0].Number, StopReason: acp.StopCancelled})
		r.waiting, any = r.waiting[1:], true
	}
	return any
}

// pickUp deals with a turn that an earlier claim left in its middle. What may have been done in part is never done again by
// itself: an agent with a memory is asked to go on, the runbook goes on after a clean border, any other session waits for its user.
func (r *run) pickUp() error {
	for _, tool := range r.spec.OpenTools {
		r.say.event(wire.EventTool, wire.ToolData{ID: tool, Status: wire.ToolInterrupted})
	}
	if err := r.checkDisk(); err != nil {
		return err
	}
	t := &turn{r: r, command: r.spec.LastCommand}
	if len(r.spec.OpenTools) == 0 && len(r.spec.Agent.Command) == 0 && !r.anew {
		// The runbook was broken off between two blocks, here: it knows the rest.
		t.goOn = true
		r.report(wire.StateWorking, "")
		return t.run([]acp.ContentBlock{acp.ContextBlock("The turn was broken off between two blocks; go on with the rest.")})
	}
	if !r.spec.Agent.ResumesTurns {
		r.report(wire.StateWaitingForUser, interruptedReason(r.openTools()))
		return r.rep.Barrier(r.ctx)
	}
	r.report(wire.StateWorking, "")
	return t.run(r.goOn())
}

// openTools names the tool calls that an earlier claim left open in one phrase: by their titles, else by their ids.
func (r *run) openTools() string {
	names := slices.Clone(r.spec.OpenTools)
	for i, title := range r.spec.OpenTitles {
		if title != "" && i < len(names) {
			names[i] = title
		}
	}
	return strings.Join(names, ", ")
}

func interruptedReason(step string) string {
	if step == "" {
		return "The turn was interrupted; what it was doing is not repeated."
	}
	return "The turn was interrupted in: " + step + ". It may have run in part and is not repeated."
}

// answer runs the turn of one message.
func (r *run) answer(message wire.Command) error {
	if err := r.takeSlot(); err != nil {
		return err
	}
	if err := r.checkDisk(); err != nil {
		return err
	}
	t := &turn{r: r, command: message.Number}
	r.report(wire.StateWorking, "")
	r.say.event(wire.EventTurn, wire.TurnData{Status: "started", Command: message.Number})
	r.settle()
	if r.agent == nil || r.agent.gone() {
		if err := r.revive(); err != nil {
			return err
		}
	}
	files, err := r.fetch(message.Attachments)
	if err != nil {
		return err
	}
	r.say.told(message.Text)
	return t.run(r.prompt(message, files))
}

// takeSlot makes sure that the run holds a slot.
func (r *run) takeSlot() error {
	if r.holds {
		return nil
	}
	ctx, cancel := r.untilPaused()
	defer cancel()
	if err := r.w.slots.take(ctx); err != nil {
		return err
	}
	r.holds = true
	return nil
}

// prompt makes the blocks of a turn's input: what happened before when the agent doesn't know, the notes and playbooks that came with
// the message, the message, and what the agent needs to know about files and output. A playbook is input like the message itself: the
// runbook runs its blocks first. A note is not.
func (r *run) prompt(message wire.Command, files []string) []acp.ContentBlock {
	anew := r.anew || (!r.mem.Prompted && r.spec.LastCommand == 0)
	blocks := append(r.before(), noteBlocks(message.Notes)...)
	for _, p := range message.Playbooks {
		blocks = append(blocks, acp.TextBlock(p.Body))
	}
	blocks = append(blocks, acp.TextBlock(message.Text))
	if len(files) > 0 {
		blocks = append(blocks, acp.ContextBlock("The user attached these files:\n"+strings.Join(files, "\n")))
	}
	if anew {
		blocks = append(blocks, r.handOver()...)
	}
	// An agent that has to be started again without its memory is told of these too.
	r.spec.Notes = append(r.spec.Notes, message.Notes...)
	r.spec.Playbooks = append(r.spec.Playbooks, message.Playbooks...)
	r.mem.Prompted, r.anew = true, false
	return blocks
}

// noteBlocks tells the agent what is known.
func noteBlocks(notes []wire.Text) []acp.ContentBlock {
	if len(notes) == 0 {
		return nil
	}
	return []acp.ContentBlock{acp.ContextBlock("Notes of this organization that may help:" + titled(notes))}
}

func titled(texts []wire.Text) string {
	var b strings.Builder
	for _, t := range texts {
		fmt.Fprintf(&b, "\n\n# %s\n\n%s", t.Name, t.Body)
	}
	return b.String()
}

// goOn is the prompt of a turn that was broken off.
func (r *run) goOn() []acp.ContentBlock {
	blocks := r.before()
	if r.anew {
		blocks = append(blocks, r.handOver()...)
	}
	r.anew = false
	return append(blocks, acp.TextBlock("Your work was interrupted before you had finished. Look at what is already done, then go on with it."))
}

// before is what happened so far for an agent that doesn't remember it: the notes and playbooks it was given, and the conversation.
func (r *run) before() []acp.ContentBlock {
	if !r.anew {
		return nil
	}
	blocks := noteBlocks(r.spec.Notes)
	if len(r.spec.Playbooks) > 0 {
		blocks = append(blocks, acp.ContextBlock("Playbooks that the user has given you in this conversation:"+titled(r.spec.Playbooks)))
	}
	said := append(append([]wire.TranscriptEntry(nil), r.spec.Transcript...), r.say.transcript()...)
	if len(said) == 0 {
		return blocks
	}
	var b strings.Builder
	b.WriteString("This is the conversation so far, in which you are devin:\n")
	for _, e := range said {
		fmt.Fprintf(&b, "\n[%s]\n%s\n", e.Source, e.Text)
	}
	return append(blocks, acp.ContextBlock(b.String()))
}

// handOver tells the agent how to hand over files and the structured output.
func (r *run) handOver() []acp.ContentBlock {
	text := "Files that you put into the directory $GANTRY_ATTACHMENTS are handed to the user when the turn ends."
	if r.spec.OutputSchema != nil {
		text += "\n\nBefore you finish, write the result as one JSON object to the file $GANTRY_STRUCTURED_OUTPUT (" + r.outputPath() +
			"). It has to be valid against this JSON Schema (draft 7):\n" + string(r.spec.OutputSchema)
	}
	return []acp.ContentBlock{acp.ContextBlock(text)}
}

// revive starts an agent that was ended on purpose, or went away between turns.
func (r *run) revive() error {
	ctx, cancel := r.untilPaused()
	defer cancel()
	if err := r.startAgent(ctx); err != nil {
		return r.restart(r.masker.String(err.Error()))
	}
	return nil
}

// restart starts the agent again, a little later each time, until it was tried too often.
func (r *run) restart(why string) error {
	ctx, cancel := r.untilPaused()
	defer cancel()
	for {
		r.restarts++
		if r.restarts > maxRestarts {
			return &failure{text: fmt.Sprintf("The agent ended %d times in this run and is given up. %s", r.restarts, why)}
		}
		if !clock.Sleep(ctx, time.Second<<(r.restarts-1)) {
			return ctx.Err()
		}
		err := r.startAgent(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, sandbox.ErrDiskFull) {
			return errDiskFull
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		why = "Last: " + r.masker.String(err.Error())
	}
}
