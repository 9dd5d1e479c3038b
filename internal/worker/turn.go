package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gantry/internal/wire"
	"gantry/internal/worker/acp"
	"gantry/internal/worker/sandbox"
)

const (
	tickTime       = 250 * time.Millisecond
	cancelGrace    = 5 * time.Second  // for an agent to end a cancelled turn by itself
	boundaryLimit  = 30 * time.Second // for a drain to reach a tool boundary
	defaultSilence = 15 * time.Minute
	defaultRetries = 3
)

// turn is one input at work: usually one prompt, more when a structured output is asked for again or the agent is restarted.
type turn struct {
	r       *run
	command int64
	retries int  // of the structured output
	goOn    bool // the prompt asks the runbook for the blocks that a drain left

	// One prompt's state.
	result   chan promptResult
	pausing  <-chan struct{}
	boundary time.Time // when a drain stops waiting for a tool boundary; zero without one
	broken   string    // why the turn is being cancelled: one of the causes below, empty while it isn't
	deadline time.Time // when a cancelled turn is ended by force
	asked    []*ask    // permission requests; the first is before the user
	slot     chan error
}

// Causes of a cancelled prompt.
const (
	brokenByUser    = "user"
	brokenByPause   = "pause"
	brokenBySilence = "silence"
)

type promptResult struct {
	result acp.PromptResult
	err    error
}

// ending is how one prompt ended. Exactly one of these holds: broken is set, crash is set, or the agent answered.
type ending struct {
	broken string
	crash  error
	result acp.PromptResult
	refuse error // the agent's own error answer
}

// run works until the turn has ended and its end is reported.
func (t *turn) run(prompt []acp.ContentBlock) error {
	for prompt != nil {
		end, err := t.exchange(prompt)
		if err != nil {
			return err
		}
		if prompt, err = t.after(end); err != nil {
			return err
		}
	}
	return nil
}

// after decides what follows: another prompt, or the reported end of the turn.
func (t *turn) after(end ending) ([]acp.ContentBlock, error) {
	r := t.r
	switch {
	case end.broken == brokenByPause:
		// After a drain the turn stays open: whoever claims the session next takes it up.
		if !r.paused.Load().atBoundary {
			t.ended(acp.StopCancelled)
		}
		return nil, r.paused.Load()
	case end.broken == brokenByUser:
		if r.agent == nil {
			r.say.interrupt()
		}
		return nil, t.finish(acp.StopCancelled, wire.StateWaitingForUser, "The turn was cancelled.")
	case end.broken == brokenBySilence:
		return t.recover(true, fmt.Sprintf("It was silent for %s.", t.silenceLimit()))
	case end.crash != nil:
		return t.recover(false, r.masker.String(end.crash.Error()))
	case end.refuse != nil && r.ws.Full():
		return nil, errDiskFull
	case end.refuse != nil:
		return nil, t.finish("", wire.StateWaitingForUser, "The agent failed: "+end.refuse.Error())
	}
	for _, e := range end.result.Events() {
		r.say.event(e.Type, e.Data)
	}
	state, why := verdict(end.result)
	if state != wire.StateFinished && r.ws.Full() {
		t.ended(end.result.StopReason)
		return nil, errDiskFull
	}
	if state == wire.StateFinished {
		again, problem := t.checkOutput()
		if again != nil {
			return again, nil
		}
		if problem != "" {
			state, why = wire.StateWaitingForUser, problem
		}
	} else {
		r.offerOutput() // a turn that failed may still have handed in something valid
	}
	return nil, t.finish(end.result.StopReason, state, why)
}

// verdict is the state that a turn's end means (docs/worker.md).
func verdict(res acp.PromptResult) (state, why string) {
	outcome, reason := res.Outcome()
	switch {
	case outcome == acp.OutcomeFailed || outcome == acp.OutcomeNothingToRun || outcome == acp.OutcomeCancelled:
		return wire.StateWaitingForUser, reason
	case res.StopReason == acp.StopEndTurn:
		return wire.StateFinished, ""
	}
	switch res.StopReason {
	case acp.StopMaxTokens:
		return wire.StateWaitingForUser, "The agent's model reached its token limit."
	case acp.StopMaxTurnRequests:
		return wire.StateWaitingForUser, "The agent reached its limit of model requests for one turn."
	case acp.StopRefusal:
		return wire.StateWaitingForUser, "The agent refused to go on."
	case acp.StopCancelled:
		return wire.StateWaitingForUser, "The agent ended the turn as cancelled."
	}
	return wire.StateWaitingForUser, fmt.Sprintf("The agent ended the turn for an unknown reason (%q).", res.StopReason)
}

// recover restarts an agent that crashed or fell silent. Only one that can take up a broken turn is asked to.
func (t *turn) recover(silent bool, why string) ([]acp.ContentBlock, error) {
	r := t.r
	r.say.event(wire.EventAgent, wire.AgentData{Status: "exited", Name: r.spec.Agent.Name, Detail: why})
	step := r.say.interrupt()
	if silent {
		r.silences++
		if r.silences > maxSilences {
			return nil, &failure{text: "The agent fell silent too often and is given up. " + why}
		}
		if err := r.revive(); err != nil {
			return nil, err
		}
	} else if err := r.restart(why); err != nil {
		return nil, err
	}
	if !r.spec.Agent.ResumesTurns {
		return nil, t.finish("", wire.StateWaitingForUser, interruptedReason(step))
	}
	return r.goOn(), nil
}

// finish hands over what the agent left, and reports the turn's end and the state after it, unless the session wrote more than it may.
// It returns when the server has it all: by then the run may be parked.
func (t *turn) finish(stop, state, why string) error {
	r := t.r
	r.upload()
	t.ended(stop)
	if err := r.checkDisk(); err != nil {
		return err
	}
	r.report(state, why)
	if err := r.mem.save(); err != nil {
		r.log.Warn("can't keep what is known of the session", "error", err)
	}
	if err := r.rep.Barrier(r.ctx); err != nil {
		return err
	}
	return r.rep.Err() // parked or stopped with that very report
}

func (t *turn) ended(stop string) {
	t.r.say.event(wire.EventTurn, wire.TurnData{Status: "ended", Command: t.command, StopReason: stop})
}

// exchange sends one prompt and deals with everything until it has ended. An error means that the run is over.
func (t *turn) exchange(prompt []acp.ContentBlock) (ending, error) {
	r := t.r
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	if err := r.takeSlot(); err != nil {
		return ending{}, err
	}
	a := r.agent
	r.say.silent.touch()
	t.begin()
	defer t.forget()
	go func(result chan<- promptResult) {
		meta := &acp.GantryMeta{OutputSchema: r.spec.OutputSchema, Command: t.command, GoOn: t.goOn}
		res, err := a.client.Prompt(ctx, a.session, prompt, meta)
		result <- promptResult{res, err}
	}(t.result)
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return ending{}, r.ctx.Err()
		case p := <-t.result:
			return t.outcome(p)
		case <-r.inbox.wake:
			r.sort(t.obey)
		case question := <-r.asks:
			t.ask(question)
		case err := <-t.slot:
			if err != nil {
				return ending{}, err
			}
			t.reply()
		case <-t.pausing:
			t.pause()
		case <-r.say.idle: // a drain may have waited for this
			if end := t.look(); end != nil {
				return *end, nil
			}
		case <-tick.C:
			if end := t.look(); end != nil {
				return *end, nil
			}
		}
	}
}

func (t *turn) begin() {
	t.result = make(chan promptResult, 1)
	t.pausing, t.boundary, t.broken, t.deadline, t.slot = t.r.pausing, time.Time{}, "", time.Time{}, nil
}

// outcome sorts a prompt's result.
func (t *turn) outcome(p promptResult) (ending, error) {
	r := t.r
	r.say.flush()
	if t.broken != "" {
		if r.agent.gone() || t.broken == brokenBySilence {
			r.stopAgent()
		}
		return ending{broken: t.broken}, nil
	}
	if p.err == nil {
		return ending{result: p.result}, nil
	}
	if refused, ok := errors.AsType[*acp.Error](p.err); ok && !r.agent.gone() {
		return ending{refuse: refused}, nil
	}
	crash := r.agent.ending(2 * time.Second)
	if crash == nil {
		crash = p.err // it closed its output, or broke the protocol, and lives on
	}
	r.stopAgent()
	if errors.Is(crash, sandbox.ErrDiskFull) {
		return ending{}, errDiskFull
	}
	return ending{crash: crash}, nil
}

// obey acts on a command that came in mid-turn. A message waits for its turn, but while a question is open it is an answer
// to it: no.
func (t *turn) obey(c wire.Command) {
	switch c.Kind {
	case wire.CommandMessage:
		t.deny()
	case wire.CommandApprove:
		t.approve(c)
	case wire.CommandCancel:
		t.r.dropWaiting(c.Number)
		t.breakOff(brokenByUser)
	}
}

// breakOff cancels the prompt; the first cause counts. An agent that doesn't end it soon is killed.
func (t *turn) breakOff(cause string) {
	if t.broken != "" {
		return
	}
	r := t.r
	t.broken, t.deadline = cause, r.w.o.Clock.Now().Add(cancelGrace)
	a := r.agent
	r.w.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, cancelGrace)
		defer cancel()
		if err := a.client.Cancel(ctx, a.session); err != nil {
			r.log.Debug("the agent can't be told of the cancel", "error", err)
		}
	})
}

// pause begins a graceful stop: at once, or at the next tool boundary.
func (t *turn) pause() {
	t.pausing = nil
	if !t.r.paused.Load().atBoundary {
		t.breakOff(brokenByPause)
		return
	}
	t.boundary = t.r.w.o.Clock.Now().Add(boundaryLimit)
	t.look()
}

// look is done a few times a second: it watches the clock for everything that has a limit.
func (t *turn) look() *ending {
	r := t.r
	r.say.due()
	now := r.w.o.Clock.Now()
	switch {
	case t.broken != "":
		if now.After(t.deadline) {
			r.stopAgent()
			r.say.flush()
			return &ending{broken: t.broken}
		}
	case !t.boundary.IsZero():
		if len(t.asked) > 0 || !r.say.busy() || now.After(t.boundary) {
			t.breakOff(brokenByPause)
		}
	case len(t.asked) == 0 && r.say.silent.lasts() > t.silenceLimit():
		r.say.event(wire.EventAgent, wire.AgentData{
			Status: "silent", Name: r.spec.Agent.Name, Detail: fmt.Sprintf("Nothing was heard for %s.", t.silenceLimit()),
		})
		t.breakOff(brokenBySilence)
	}
	return nil
}

func (t *turn) silenceLimit() time.Duration {
	if s := t.r.spec.Limits.SilentSeconds; s > 0 {
		return time.Duration(s) * time.Second
	}
	return defaultSilence
}
