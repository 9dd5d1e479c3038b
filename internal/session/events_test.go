package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/page"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestEventsArePagedInOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		for range 5 {
			r.send(ev(wire.EventMessage, wire.MessageData{Text: "hi"}), ev(wire.EventThought, wire.MessageData{Text: "hm"}))
		}
		all := h.all(t, r.row.SessionID)
		var got []session.Event
		req := page.Request{First: 4}
		for {
			p, err := h.Events(t.Context(), h.ours, h.org, r.row.SessionID, req)
			require.NoError(t, err)
			got = append(got, p.Items...)
			if !p.More {
				break
			}
			req.After = p.End
		}
		require.Equal(t, all, got)
		tail, err := h.EventsAfter(t.Context(), r.row.SessionID, all[len(all)-3].Seq, 100)
		require.NoError(t, err)
		require.Equal(t, all[len(all)-2:], tail)
		tail, err = h.EventsAfter(t.Context(), r.row.SessionID, all[len(all)-1].Seq, 100)
		require.NoError(t, err)
		require.Empty(t, tail)
	})
}

func TestReadersAreWokenAfterTheCommitAndByNothingElse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r, other := h.work(t), h.work(t)
		id := r.row.SessionID
		notices, stop := h.Hub.Subscribe(events.Session, id)
		defer stop()
		commands, stopCommands := h.WakeCommands(id)
		defer stopCommands()
		quiet := func(c <-chan struct{}) {
			t.Helper()
			select {
			case <-c:
				require.Fail(t, "woken for nothing")
			default:
			}
		}
		woken := func(c <-chan struct{}) {
			t.Helper()
			select {
			case <-c:
			default:
				require.Fail(t, "not woken")
			}
		}
		other.send(ev(wire.EventMessage, wire.MessageData{Text: "hi"}))
		_, err := r.try(ev("made_up", struct{}{}))
		require.Error(t, err)
		quiet(notices)
		seen := h.get(t, id).LastSeq
		r.send(ev(wire.EventMessage, wire.MessageData{Text: "hi"}))
		woken(notices)
		quiet(commands)
		tail, err := h.EventsAfter(t.Context(), id, seen, 10)
		require.NoError(t, err)
		require.Len(t, tail, 1)
		h.say(t, id, "m")
		woken(notices)
		woken(commands)
		_, err = h.Terminate(t.Context(), h.ours, h.org, id, false)
		require.NoError(t, err)
		woken(notices)
		woken(commands)
	})
}

func TestTheConversationBeginsWithThePrompt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		r.send(ev(wire.EventMessage, wire.MessageData{Text: "on it"}), ev(wire.EventThought, wire.MessageData{Text: "hm"}), state(wire.StateFinished))
		woken := h.say(t, r.row.SessionID, "thanks")
		require.Equal(t, resuming, woken.State, "the session is answered, and it wakes")
		var got []string
		req := page.Request{First: 2}
		for {
			p, err := h.Messages(t.Context(), h.ours, h.org, r.row.SessionID, req)
			require.NoError(t, err)
			for _, m := range p.Items {
				require.NotEmpty(t, m.EventID)
				got = append(got, m.Source+": "+m.Text)
			}
			if !p.More {
				break
			}
			req.After = p.End
		}
		require.Equal(t, []string{"user: do it", "devin: on it", "user: thanks"}, got)
		_, err := h.SendMessage(t.Context(), h.ours, session.MessageParams{OrgID: h.org, SessionID: r.row.SessionID, Message: " "})
		require.Equal(t, "message", field(t, err))
		_, err = h.SendMessage(t.Context(), h.ours, session.MessageParams{OrgID: h.org, SessionID: r.row.SessionID, Message: "a\x00"})
		require.Equal(t, "message", field(t, err))
	})
}

func TestAFollowerIsWokenWhateverIsHeardOfTheSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		id := r.row.SessionID
		known := h.get(t, id).LastSeq
		first, stopFirst := h.Follow(id, known)
		second, stopSecond := h.Follow(id, known)
		woken := func(c <-chan struct{}, most time.Duration) bool {
			select {
			case <-c:
				return true
			case <-time.After(most):
				return false
			}
		}
		const patience = 20 * time.Second
		r.send(ev(wire.EventMessage, wire.MessageData{Text: "hi"}))
		require.True(t, woken(first, patience))
		require.True(t, woken(second, patience))
		require.True(t, woken(first, patience), "the next look finds it too")
		// No notice comes about this one.
		require.NoError(t, h.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO session_events (session_id, seq, event_id, type, created_at, data)
				VALUES ($1, $2, 'unheard', 'message', 1, '{}')`, id, h.get(t, id).LastSeq+100)
			return err
		}))
		require.True(t, woken(first, patience))
		stopFirst()
		r.send(ev(wire.EventMessage, wire.MessageData{Text: "hi"}))
		require.True(t, woken(second, patience))
		require.False(t, woken(first, 0), "who left hears no more")
		stopSecond()
	})
}
