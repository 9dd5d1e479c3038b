package worker

import (
	"context"
	"fmt"
	"strings"

	"gantry/internal/wire"
	"gantry/internal/worker/acp"
)

// ask is one permission request that waits for its answer: an option's id, or empty for none.
type ask struct {
	id     string
	params acp.PermissionParams
	answer chan string
	ctx    context.Context
	chosen string
}

// requestPermission brings an agent's question to the turn's loop and waits for the answer, in a goroutine of its own.
func (r *run) requestPermission(ctx context.Context, p acp.PermissionParams) (acp.PermissionOutcome, error) {
	if r.spec.BypassApproval {
		if option := optionOf(p, "allow"); option != "" {
			return acp.PermissionOutcome{OptionID: option}, nil
		}
	}
	a := &ask{params: p, answer: make(chan string, 1), ctx: ctx}
	select {
	case r.asks <- a:
	case <-ctx.Done():
		return acp.PermissionOutcome{}, nil
	}
	select {
	case option := <-a.answer:
		return acp.PermissionOutcome{OptionID: option}, nil
	case <-ctx.Done():
		return acp.PermissionOutcome{}, nil
	}
}

// optionOf finds the first option of a kind: allow or reject, for once rather than for ever.
func optionOf(p acp.PermissionParams, kind string) string {
	for _, want := range []string{kind + "_once", kind + "_always"} {
		for _, o := range p.Options {
			if o.Kind == want {
				return o.ID
			}
		}
	}
	return ""
}

// ask takes a question in. One at a time is before the user.
func (t *turn) ask(a *ask) {
	t.asked = append(t.asked, a)
	if len(t.asked) == 1 {
		t.present()
	}
}

// present shows the first question to the user. While it is open the session doesn't count as work, and its slot is free.
func (t *turn) present() {
	r, a := t.r, t.asked[0]
	r.askCount++
	a.id = fmt.Sprintf("perm-%d-%d", r.claim.Fence, r.askCount)
	r.say.event(wire.EventPermission, a.params.Data(a.id, "requested"))
	r.report(wire.StateWaitingForApproval, strings.TrimSpace("The agent asks for permission. "+a.params.Data(a.id, "").Title))
	r.freeSlot()
}

// approve answers the open question with one of its options. An answer to another question, or with an option that wasn't
// offered, is told to the user and changes nothing.
func (t *turn) approve(c wire.Command) {
	if len(t.asked) == 0 || t.asked[0].id != c.Request || t.slot != nil {
		t.r.say.event(wire.EventLog, wire.LogData{Level: "warning", Text: "An approval came for a question that isn't open."})
		return
	}
	for _, o := range t.asked[0].params.Options {
		if o.ID == c.Option {
			t.decide(o.ID)
			return
		}
	}
	t.r.say.event(wire.EventLog, wire.LogData{Level: "warning", Text: fmt.Sprintf("The agent offered no option %q.", c.Option)})
}

// deny answers the open question with no, because the user said something else.
func (t *turn) deny() {
	if len(t.asked) > 0 && t.slot == nil {
		t.decide(optionOf(t.asked[0].params, "reject"))
	}
}

// decide takes note of the answer and asks for a slot; the agent hears the answer when there is one.
func (t *turn) decide(option string) {
	t.asked[0].chosen = option
	slot := make(chan error, 1)
	t.slot = slot
	ctx, cancel := t.r.untilPaused()
	question := t.asked[0].ctx
	t.r.w.wg.Go(func() {
		defer cancel()
		defer context.AfterFunc(question, cancel)()
		slot <- t.r.w.slots.take(ctx)
	})
}

// reply gives the agent its answer, now that it may go on, and shows the next question.
func (t *turn) reply() {
	r, a := t.r, t.asked[0]
	t.slot, t.asked = nil, t.asked[1:]
	r.holds = true
	data := a.params.Data(a.id, "denied")
	for _, o := range a.params.Options {
		if o.ID == a.chosen && strings.HasPrefix(o.Kind, "allow") {
			data.Status = "granted"
		}
	}
	data.Option = a.chosen
	r.say.event(wire.EventPermission, data)
	r.report(wire.StateWorking, "")
	r.say.silent.touch()
	a.answer <- a.chosen
	if len(t.asked) > 0 {
		t.present()
	}
}

// forget reports the questions that ended without an answer, with the prompt, and takes back a slot that nobody needs now.
func (t *turn) forget() {
	for _, a := range t.asked {
		if a.id != "" {
			t.r.say.event(wire.EventPermission, a.params.Data(a.id, "cancelled"))
		}
	}
	t.asked = nil
	if t.slot != nil {
		if err := <-t.slot; err == nil {
			t.r.holds = true
		}
		t.slot = nil
	}
}
