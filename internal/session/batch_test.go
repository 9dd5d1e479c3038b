package session_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/fleet"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestABatchCountsOnceHoweverOftenItComes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		b := wire.Batch{Fence: r.row.Fence, Number: 2, Command: 1, Events: []wire.Event{
			ev(wire.EventMessage, wire.MessageData{Text: "once"}), ev(wire.EventPullRequest, wire.PullRequestData{URL: "https://git.example.com/acme/one/pull/1", State: "open"}),
		}}
		first, err := h.Apply(t.Context(), r.row, b)
		require.NoError(t, err)
		before := h.get(t, r.row.SessionID)
		for _, events := range [][]wire.Event{b.Events, {ev(wire.EventMessage, wire.MessageData{Text: "another"})}} {
			again, err := h.Apply(t.Context(), r.row, wire.Batch{Fence: r.row.Fence, Number: 2, Command: 1, Events: events})
			require.NoError(t, err)
			require.Equal(t, first, again)
		}
		require.Equal(t, before, h.get(t, r.row.SessionID))
		require.EqualValues(t, 1, before.DevinMessages)

		_, err = h.Apply(t.Context(), r.row, wire.Batch{Fence: r.row.Fence, Number: 4})
		isFault(t, err, fault.Conflict)
		_, err = h.Apply(t.Context(), r.row, wire.Batch{Fence: r.row.Fence + 1, Number: 3})
		isFault(t, err, fault.Conflict)
		forged := r.row
		forged.Fence++
		_, err = h.Apply(t.Context(), forged, wire.Batch{Fence: forged.Fence, Number: 3})
		isFault(t, err, fault.Conflict)
		require.Equal(t, before, h.get(t, r.row.SessionID), "a refused batch leaves nothing")
	})
}

func TestAHostileBatchIsRefusedWhole(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		before := h.all(t, r.row.SessionID)
		raw := func(typ, data string) wire.Event { return wire.Event{Type: typ, Data: json.RawMessage(data)} }
		for _, e := range []wire.Event{
			raw(session.EventStatus, `{"status":"exit"}`), raw(session.EventUserMessage, `{"text":"x"}`), raw(session.EventLimit, `{}`),
			raw("made_up", `{}`), raw("", `{}`),
			raw(wire.EventMessage, ``), raw(wire.EventMessage, `null`), raw(wire.EventMessage, `[]`), raw(wire.EventMessage, `"x"`),
			raw(wire.EventMessage, "{\"text\":\"\xff\"}"), raw(wire.EventMessage, `{"text":5}`), raw(wire.EventThought, `{"text":[]}`),
			raw(wire.EventTool, `{"id":{}}`), raw(wire.EventTool, `{"id":"a","status":1}`), raw(wire.EventState, `{"state":1}`),
			raw(wire.EventTurn, `{"command":"x"}`), raw(wire.EventPullRequest, `{"url":1}`), raw(wire.EventPermission, `{"options":1}`),
			raw(wire.EventPlan, `{"entries":{}}`), raw(wire.EventToolOutput, `{"text":1}`),
		} {
			_, err := r.try(ev(wire.EventMessage, wire.MessageData{Text: "good"}), e)
			isFault(t, err, fault.Invalid)
			require.Contains(t, fault.As(err).Message, "event 1", "%s", e.Data)
		}
		_, err := r.try(make([]wire.Event, wire.MaxBatchEvents+1)...)
		isFault(t, err, fault.Invalid)
		require.Equal(t, before, h.all(t, r.row.SessionID))

		// Unknown states change nothing, numbers from nowhere are capped, and a NUL in a reason is no trouble for either engine.
		r.command = 1 << 40
		r.send(
			state("asleep"), raw(wire.EventTurn, `{"status":"started","command":1099511627776}`),
			ev(wire.EventState, wire.StateData{State: wire.StateWaitingForApproval, Reason: "a\x00b" + strings.Repeat("é", 3000)}),
		)
		got := h.get(t, r.row.SessionID)
		require.EqualValues(t, 1, got.AckedCommand)
		require.EqualValues(t, 1, got.TurnCommand)
		require.True(t, strings.HasPrefix(got.Reason, "abé"))
		require.LessOrEqual(t, len(got.Reason), 2000)
	})
}

func TestEventNumbersHaveNoGapsUnderConcurrentWriters(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		var wg sync.WaitGroup
		const each = 25
		for w := range 3 {
			wg.Go(func() {
				for i := range each {
					_, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: r.row.SessionID, Message: fmt.Sprint(w, "-", i)})
					if err != nil {
						t.Errorf("message: %v", err)
					}
				}
			})
		}
		wg.Go(func() {
			for i := range each {
				ack, err := r.try(ev(wire.EventMessage, wire.MessageData{Text: fmt.Sprint(i)}), ev(wire.EventThought, wire.MessageData{Text: "hm"}))
				if err != nil || ack.Parked {
					t.Errorf("batch: %v %v", ack, err)
				}
				r.number++
			}
		})
		wg.Wait()
		evs := h.all(t, r.row.SessionID)
		for i, e := range evs {
			require.EqualValues(t, i+1, e.Seq)
		}
		require.Len(t, evs, 2+2+1+3*each+2*each, "created, prompt, claimed, status, working, and what was written")
		commands, err := h.CommandsAfter(t.Context(), r.row.SessionID, 0, 1000)
		require.NoError(t, err)
		for i, c := range commands {
			require.EqualValues(t, i+1, c.Number)
		}
		s := h.get(t, r.row.SessionID)
		require.EqualValues(t, 1+3*each, s.UserMessages)
		require.EqualValues(t, each, s.DevinMessages)
		require.Len(t, evs, int(s.LastSeq))
	})
}

func TestALargePayloadGoesToTheBlobsAndItsHeadStays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		text := strings.Repeat("long é ", 20_000)
		message := ev(wire.EventMessage, wire.MessageData{Text: text})
		message.Raw = json.RawMessage("{\"jsonrpc\": \"2.0\",\n\"x\": 1}")
		r.send(message, ev(wire.EventTool, wire.ToolData{ID: "t1", Status: wire.ToolCompleted, Output: json.RawMessage(`["` + text + `"]`)}))
		evs := h.all(t, r.row.SessionID)
		evs = evs[len(evs)-2:]
		for i, e := range evs {
			require.LessOrEqual(t, len(e.Data), wire.InlinePayload)
			body, err := h.Payload(t.Context(), h.ours, h.org, r.row.SessionID, e.Seq)
			require.NoError(t, err)
			got, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			if i == 0 {
				require.JSONEq(t, string(message.Data), string(got))
			}
			var head struct {
				wire.ToolData
				Text      string
				Truncated bool
				Size      int
			}
			require.NoError(t, json.Unmarshal(e.Data, &head))
			require.True(t, head.Truncated)
			require.Len(t, got, head.Size)
			if i == 0 {
				require.True(t, len(head.Text) > 1000 && strings.HasPrefix(text, head.Text), "the beginning of the text stays")
			} else {
				require.Equal(t, wire.ToolData{ID: "t1", Status: wire.ToolCompleted}, head.ToolData)
			}
		}
		messages, err := h.Messages(t.Context(), h.ours, h.org, r.row.SessionID, page.Request{First: 10})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(messages.Items[1].Text, "long é long"))

		// What was acknowledged can't be rewritten by sending its number again.
		r.number--
		_, err = r.try(ev(wire.EventMessage, wire.MessageData{Text: strings.Repeat("forged ", 20_000)}))
		require.NoError(t, err)
		body, err := h.Payload(t.Context(), h.ours, h.org, r.row.SessionID, evs[0].Seq)
		require.NoError(t, err)
		got, err := io.ReadAll(body)
		require.NoError(t, err)
		require.NoError(t, body.Close())
		require.NotContains(t, string(got), "forged")
		require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM session_events WHERE raw LIKE '%.raw#0'`))
		_, err = h.Payload(t.Context(), h.ours, h.org, r.row.SessionID, 1)
		isFault(t, err, fault.NotFound)
		_, err = h.Payload(t.Context(), h.ours, h.org, r.row.SessionID, 999)
		isFault(t, err, fault.NotFound)
	})
}

func TestPullRequestsAreHTTPSOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		for _, u := range []string{
			"http://git.example.com/1", "javascript:alert(1)", "https:///x", "", "https://git.example.com/" + strings.Repeat("x", 3000), "//git.example.com/1",
		} {
			r.send(ev(wire.EventPullRequest, wire.PullRequestData{URL: u}))
		}
		require.Empty(t, h.get(t, r.row.SessionID).PullRequests)
		require.NotContains(t, h.types(t, r.row.SessionID), wire.EventPullRequest)
		r.send(ev(wire.EventPullRequest, wire.PullRequestData{URL: "https://git.example.com/1"}))
		r.send(ev(wire.EventPullRequest, wire.PullRequestData{URL: "https://git.example.com/1", State: "merged\x00"}))
		require.Equal(t, []session.PullRequest{{URL: "https://git.example.com/1", State: "merged", At: noon.UnixMilli()}}, h.get(t, r.row.SessionID).PullRequests)
		var many []wire.Event
		for i := range 200 {
			many = append(many, ev(wire.EventPullRequest, wire.PullRequestData{URL: fmt.Sprint("https://git.example.com/x", i)}))
		}
		r.send(many...)
		require.Len(t, h.get(t, r.row.SessionID).PullRequests, 100)
	})
}

func TestTheLastValidStructuredOutputIsKept(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		offer := func(v string) wire.Event {
			return ev(wire.EventStructuredOutput, wire.OutputData{Value: json.RawMessage(v), Error: "the worker's own opinion"})
		}
		schema := json.RawMessage(`{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`)
		r := h.work(t, func(p *session.CreateParams) { p.OutputSchema = schema })
		last := func() wire.OutputData {
			evs := h.all(t, r.row.SessionID)
			var d wire.OutputData
			require.NoError(t, json.Unmarshal(evs[len(evs)-1].Data, &d))
			return d
		}
		for _, bad := range []string{`{}`, `{"n":"x"}`, `5`, `null`, `[]`} {
			r.send(offer(bad))
			require.NotEmpty(t, last().Error)
			require.NotContains(t, last().Error, "opinion")
		}
		require.Nil(t, h.get(t, r.row.SessionID).Output)
		r.send(offer(`{"n":1}`), offer(`{"n":2}`))
		require.Empty(t, last().Error)
		r.send(offer(`{"n":"worse"}`))
		require.JSONEq(t, `{"n":2}`, string(h.get(t, r.row.SessionID).Output))
		require.True(t, r.send(state(wire.StateFinished)).Parked)
		require.Equal(t, "running/finished", h.state(t, r.row.SessionID))

		missing := h.work(t, func(p *session.CreateParams) { p.OutputSchema = schema })
		require.True(t, missing.send(offer(`{}`), state(wire.StateFinished)).Parked)
		require.Equal(t, "running/waiting_for_user", h.state(t, missing.row.SessionID))
		require.Contains(t, h.get(t, missing.row.SessionID).Reason, "structured output")
		require.NotContains(t, h.statuses(t, missing.row.SessionID), "finished")

		optional := h.work(t, func(p *session.CreateParams) { p.OutputSchema, p.OutputRequired = schema, new(false) })
		optional.send(state(wire.StateFinished))
		require.Equal(t, "running/finished", h.state(t, optional.row.SessionID))

		none := h.work(t)
		none.send(offer(`{"n":1}`))
		require.Nil(t, h.get(t, none.row.SessionID).Output)
	})
}

// statuses are the details that a reader of the events saw.
func (h *house) statuses(t testing.TB, sessionID string) []string {
	t.Helper()
	var out []string
	for _, e := range h.all(t, sessionID) {
		if e.Type != session.EventStatus {
			continue
		}
		var c session.StatusChange
		require.NoError(t, json.Unmarshal(e.Data, &c))
		out = append(out, string(c.Detail))
	}
	return out
}

func TestASchemaThatRefersToItselfEndsNoServer(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`{"$ref":"#"}`, `{"allOf":[{"$ref":"#"}]}`, `{"not":{"$ref":"#"}}`, `{"properties":{"a":{"$ref":"#"}}}`} {
		h := newHouse(t, "sqlite")
		made, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "x", OutputSchema: json.RawMessage(s)})
		if err != nil {
			require.Equal(t, "structured_output_schema", field(t, err), s)
			continue
		}
		r := h.claim(t, "w1")
		require.Equal(t, made.ID, r.row.SessionID)
		r.send(ev(wire.EventStructuredOutput, wire.OutputData{Value: json.RawMessage(`{"a":{"a":{}}}`)}))
	}
}

func TestAMessageThatCameMeanwhileKeepsTheSessionWorking(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		h.say(t, r.row.SessionID, "and this")
		ack := r.send(state(wire.StateFinished))
		require.False(t, ack.Parked || ack.Stop)
		require.Equal(t, "running/working", h.state(t, r.row.SessionID))
		require.NotContains(t, h.statuses(t, r.row.SessionID), "finished", "nobody hears of an end that wasn't one")
		require.Equal(t, fleet.Claimed, h.row(t, r.row.SessionID).Phase)
		r.command = 2
		require.True(t, r.send(state(wire.StateFinished)).Parked)
		require.Equal(t, "running/finished", h.state(t, r.row.SessionID))
		require.Equal(t, fleet.Parked, h.row(t, r.row.SessionID).Phase)
		r.lost()
		h.nothingToClaim(t, "w1")
	})
}

func TestADrainedSessionGoesToAnotherWorker(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		require.True(t, r.send(state(wire.StateSuspended)).Stop)
		require.Equal(t, "resuming/", h.state(t, r.row.SessionID))
		r.lost()
		again := h.claim(t, "w1")
		require.Equal(t, wire.KindResume, again.row.Kind)

		// A turn that ended in the batch of the farewell has ended: there is nothing to go on with.
		again.command = 1
		ack := again.send(state(wire.StateWorking), state(wire.StateFinished), state(wire.StateSuspended))
		require.True(t, ack.Parked)
		require.Equal(t, "running/finished", h.state(t, r.row.SessionID))
		require.Equal(t, fleet.Parked, h.row(t, r.row.SessionID).Phase)
		h.nothingToClaim(t, "w1")

		fresh := h.create(t)
		early := h.claim(t, "w1")
		require.True(t, early.send(state(wire.StateExited)).Stop)
		require.Equal(t, "new/", h.state(t, fresh.ID))
		require.Equal(t, wire.KindNew, h.claim(t, "w1").row.Kind)
	})
}

func TestAnErrorBeyondRepairEndsSessionAndClaim(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		ack := r.send(ev(wire.EventState, wire.StateData{State: wire.StateError, Reason: "no disk"}))
		require.True(t, ack.Stop)
		s := h.get(t, r.row.SessionID)
		require.Equal(t, session.State{Status: session.StatusError}, s.State)
		require.Equal(t, "no disk", s.Reason)
		require.False(t, s.EndedAt.IsZero())
		require.Equal(t, fleet.Ended, h.row(t, s.ID).Phase)
		r.lost()
		_, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: s.ID, Message: "m"})
		isFault(t, err, fault.Conflict)
		got, err := h.Terminate(t.Context(), h.boss, h.org, s.ID, true)
		require.NoError(t, err)
		require.Equal(t, session.StatusError, got.State.Status, "an error is final")
		require.True(t, got.Archived)
	})
}
