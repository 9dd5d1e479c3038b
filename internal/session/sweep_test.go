package session_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func (h *house) sweep(t testing.TB) {
	t.Helper()
	require.NoError(t, h.Sweep(t.Context()))
}

func TestALeaseLapsesWhenItIsOverAndNotBefore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.time.Advance(fleet.LeaseTime)
		r := h.work(t)
		h.time.Advance(30 * time.Second)
		r.beat()
		h.time.Advance(fleet.LeaseTime)
		h.sweep(t)
		require.Equal(t, "running/working", h.state(t, r.row.SessionID))
		h.time.Advance(time.Millisecond)
		h.sweep(t)
		require.Equal(t, "resuming/", h.state(t, r.row.SessionID))
		row := h.row(t, r.row.SessionID)
		require.Equal(t, fleet.Pending, row.Phase)
		require.Equal(t, wire.KindResume, row.Kind)
		require.Contains(t, h.types(t, r.row.SessionID), session.EventLeaseLost)
		require.Equal(t, cost(30*time.Second), h.get(t, r.row.SessionID).ACUMicros, "charged up to the last report")
		r.lost()
		_, lost := h.fleet.Counts()
		require.EqualValues(t, 1, lost)

		// A claim that nobody ever reported on has 300 s.
		s := h.create(t)
		h.claim(t, "w1")
		h.time.Advance(5 * time.Second)
		c := h.claim(t, "w1")
		require.ElementsMatch(t, []string{s.ID, r.row.SessionID}, []string{c.row.SessionID, func() string {
			if c.row.SessionID == s.ID {
				return r.row.SessionID
			}
			return s.ID
		}()})
		h.time.Advance(295 * time.Second)
		h.sweep(t)
		require.Equal(t, fleet.Claimed, h.row(t, c.row.SessionID).Phase)
		h.time.Advance(6 * time.Second)
		h.sweep(t)
		require.Equal(t, fleet.Pending, h.row(t, c.row.SessionID).Phase)
	})
}

func TestNoLeaseLapsesWithinOneLeaseOfTheStart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		h.exec(t, `UPDATE queue SET lease_until = $1`, noon.Add(-time.Hour).UnixMilli()) // from before the restart
		h.time.Advance(fleet.LeaseTime - time.Millisecond)
		h.sweep(t)
		require.Equal(t, "running/working", h.state(t, r.row.SessionID))
		h.time.Advance(time.Millisecond)
		h.sweep(t)
		require.Equal(t, "resuming/", h.state(t, r.row.SessionID))
	})
}

func TestNoLeaseLapsesWithinOneLeaseOfTroubleWithTheDatabase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.time.Advance(2 * fleet.LeaseTime)
		r := h.work(t)
		h.time.Advance(2 * fleet.LeaseTime)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, h.Sweep(gone), "the database doesn't answer")
		h.sweep(t)
		require.Equal(t, "running/working", h.state(t, r.row.SessionID))
		r.beat() // its worker gets through in time
		h.time.Advance(fleet.LeaseTime)
		h.sweep(t)
		require.Equal(t, "running/working", h.state(t, r.row.SessionID))
		h.time.Advance(time.Second)
		h.sweep(t)
		require.Equal(t, "resuming/", h.state(t, r.row.SessionID))
	})
}

func TestAReportThatCameMeanwhileSavesItsLease(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.time.Advance(2 * fleet.LeaseTime)
		r := h.work(t)
		h.time.Advance(fleet.LeaseTime + time.Second)
		require.False(t, r.beat().Stop, "the lease is over, and nobody took the session")
		h.sweep(t)
		require.Equal(t, "running/working", h.state(t, r.row.SessionID))
	})
}

func TestASessionThatWaitsTooLongSleeps(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		done := h.work(t)
		done.send(state(wire.StateFinished))
		asks := h.work(t)
		asks.send(state(wire.StateWaitingForApproval))
		throwaway := h.work(t, func(p *session.CreateParams) { p.Resumable = new(false) })
		throwaway.send(state(wire.StateWaitingForUser))
		busy := h.work(t)
		wait := func(d time.Duration) {
			for ; d > 0; d -= 10 * time.Second {
				h.time.Advance(10 * time.Second)
				busy.beat()
				if h.row(t, asks.row.SessionID).Phase == fleet.Claimed {
					asks.send(state(wire.StateWaitingForApproval))
				}
			}
			h.sweep(t)
		}
		wait(30*time.Minute - 10*time.Second)
		require.Equal(t, "running/finished", h.state(t, done.row.SessionID))
		before := h.get(t, done.row.SessionID).UpdatedAt
		h.sweep(t)
		require.Equal(t, before, h.get(t, done.row.SessionID).UpdatedAt)
		wait(20 * time.Second)
		require.Equal(t, "suspended/inactivity", h.state(t, done.row.SessionID))
		require.Equal(t, "suspended/inactivity", h.state(t, asks.row.SessionID))
		reason := func(sessionID string) string {
			text, err := db.One(t.Context(), h.db.Reader(), db.Text, `SELECT data FROM session_events
				WHERE session_id = $1 AND type = 'status' ORDER BY seq DESC LIMIT 1`, sessionID)
			require.NoError(t, err)
			return text
		}
		require.Contains(t, reason(throwaway.row.SessionID), "it can't be resumed", "who waits for it tells this from an end that somebody wanted")
		require.NotContains(t, reason(done.row.SessionID), "reason")
		require.Equal(t, "exit/", h.state(t, throwaway.row.SessionID))
		require.Equal(t, "running/working", h.state(t, busy.row.SessionID))
		asks.lost()
		require.Equal(t, fleet.Ended, h.row(t, throwaway.row.SessionID).Phase)
		_, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: throwaway.row.SessionID, Message: "m"})
		isFault(t, err, fault.Conflict)
		require.Equal(t, resuming, h.say(t, done.row.SessionID, "wake up").State)
	})
}

func TestTheSessionsOfADeletedOrganizationEnd(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t)
		queued := h.create(t)
		theirs := h.create(t, func(p *session.CreateParams) { p.OrgID = h.other })
		over := h.create(t)
		_, err := h.Terminate(t.Context(), h.boss, h.org, over.ID, false)
		require.NoError(t, err)
		ended := h.get(t, over.ID)
		_, err = h.orgs.Delete(t.Context(), h.boss, h.org)
		require.NoError(t, err)
		h.sweep(t)
		for _, id := range []string{r.row.SessionID, queued.ID} {
			require.Equal(t, "exit/", h.state(t, id))
			require.Equal(t, fleet.Ended, h.row(t, id).Phase)
		}
		r.lost()
		require.Equal(t, "new/", h.state(t, theirs.ID))
		require.Equal(t, ended, h.get(t, over.ID))
		require.EqualValues(t, 1, h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
	})
}

func TestAWorkerThatCameBackLostWhatItHeld(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		mine, others := h.work(t), h.create(t)
		w2 := h.claim(t, "w2")
		h.time.Advance(5 * time.Second)
		elsewhere := h.worker
		elsewhere.WorkerOrgs = []string{h.other}
		require.NoError(t, h.Restarted(t.Context(), elsewhere, fleet.DefaultOutpost, "w1"))
		require.Equal(t, fleet.Claimed, h.row(t, mine.row.SessionID).Phase, "a key of other organizations ends nothing here")
		require.NoError(t, h.Restarted(t.Context(), h.worker, fleet.DefaultOutpost, "w1"))
		require.Equal(t, "resuming/", h.state(t, mine.row.SessionID))
		mine.lost()
		require.Equal(t, fleet.Claimed, h.row(t, others.ID).Phase)
		require.Equal(t, w2.row.Fence, h.row(t, others.ID).Fence)
	})
}

func TestAClaimWhoseAnswerWasLostIsGivenOutAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		runs := h.work(t)
		known, lost := h.create(t), h.create(t)
		h.claim(t, "w1")
		h.claim(t, "w1")
		working := []string{known.ID}
		h.time.Advance(20 * time.Second)
		require.NoError(t, h.Unheard(ctx, h.worker, fleet.DefaultOutpost, "w1", working))
		require.Equal(t, fleet.Claimed, h.row(t, lost.ID).Phase, "it may still be on its way")
		h.time.Advance(time.Second)
		elsewhere := h.worker
		elsewhere.WorkerOrgs = []string{h.other}
		require.NoError(t, h.Unheard(ctx, elsewhere, fleet.DefaultOutpost, "w1", nil))
		require.Equal(t, fleet.Claimed, h.row(t, lost.ID).Phase, "a key of other organizations ends nothing here")
		require.NoError(t, h.Unheard(ctx, h.worker, fleet.DefaultOutpost, "w1", working))
		require.Equal(t, fleet.Pending, h.row(t, lost.ID).Phase)
		require.Equal(t, fleet.Claimed, h.row(t, known.ID).Phase)
		require.Equal(t, fleet.Claimed, h.row(t, runs.row.SessionID).Phase, "one that reported is left to its lease")
	})
}

func TestWhoTagsArchivesOrBringsBackASessionIsAuditedOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		s := h.create(t)
		before := len(h.actions(t, 0))
		for range 2 { // the second changes nothing
			_, err := h.SetTags(ctx, h.ours, h.org, s.ID, []string{"x"}, true)
			require.NoError(t, err)
		}
		for range 2 {
			_, err := h.Archive(ctx, h.ours, h.org, s.ID)
			require.NoError(t, err)
		}
		for range 2 {
			_, err := h.Unarchive(ctx, h.ours, h.org, s.ID)
			require.NoError(t, err)
		}
		for range 2 {
			_, err := h.Terminate(ctx, h.ours, h.org, s.ID, true)
			require.NoError(t, err)
		}
		require.Equal(t, []audit.Action{
			audit.TagSession, audit.ArchiveSession, audit.SleepSession, audit.UnarchiveSession, audit.TerminateSession, audit.ArchiveSession,
		}, h.actions(t, before))
		logs, err := h.audit.List(ctx, h.boss, audit.ListParams{Action: audit.TagSession, Page: page.Request{First: 1}})
		require.NoError(t, err)
		require.Equal(t, h.org, logs.Items[0].OrgID)
		require.JSONEq(t, `{"session_id":"`+s.ID+`","tags":["x"]}`, string(logs.Items[0].Data))
	})
}

func TestATurnThatIsStoppedInItsMiddleEndsWithWhatItWasDoing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		done, open := wire.ToolData{ID: "a", Status: wire.ToolCompleted}, wire.ToolData{ID: "b", Status: wire.ToolInProgress}
		for name, stop := range map[string]func(r *run){
			"terminated": func(r *run) {
				_, err := h.Terminate(ctx, h.ours, h.org, r.row.SessionID, false)
				require.NoError(t, err)
			},
			"archived": func(r *run) {
				_, err := h.Archive(ctx, h.ours, h.org, r.row.SessionID)
				require.NoError(t, err)
			},
			"at its limit, in the batch that tells of the call": func(r *run) {
				r.worked(15*time.Minute - time.Second)
				h.time.Advance(10 * time.Second)
				require.True(t, r.send(ev(wire.EventTool, wire.ToolData{ID: "b", Status: wire.ToolFailed}), ev(wire.EventTool, open)).Stop)
			},
		} {
			r := h.work(t, func(p *session.CreateParams) { p.MaxACU = new(int64(1)) })
			r.send(ev(wire.EventTurn, wire.TurnData{Status: "started", Command: 1}), ev(wire.EventTool, done), ev(wire.EventTool, open))
			stop(r)
			evs := h.all(t, r.row.SessionID)
			evs = slices.DeleteFunc(evs, func(e session.Event) bool { return e.Type == session.EventArchived || e.Type == session.EventLimit })
			last := evs[len(evs)-3:]
			require.JSONEq(t, `{"id":"b","status":"interrupted"}`, string(last[0].Data), name)
			require.JSONEq(t, `{"status":"ended","command":1,"stop_reason":"cancelled"}`, string(last[1].Data), name)
			require.Equal(t, session.EventStatus, last[2].Type, "a reader that leaves with the state has seen the turn's end: %s", name)
			require.Zero(t, h.get(t, r.row.SessionID).TurnCommand)
		}

		r := h.work(t)
		asks := wire.PermissionData{Request: "1", Status: "requested", Title: "x"}
		r.send(ev(wire.EventTurn, wire.TurnData{Status: "started", Command: 1}), ev(wire.EventPermission, asks), state(wire.StateWaitingForApproval))
		_, err := h.Terminate(ctx, h.ours, h.org, r.row.SessionID, false)
		require.NoError(t, err)
		evs := h.all(t, r.row.SessionID)
		require.JSONEq(t, `{"request":"1","status":"cancelled","title":"x"}`, string(evs[len(evs)-3].Data), "nobody can answer it any more")
	})
}

func TestTerminateAndArchiveEndTheFenceAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r := h.work(t)
		h.time.Advance(10 * time.Second)
		before := len(h.actions(t, 0))
		s, err := h.Terminate(ctx, h.ours, h.org, r.row.SessionID, false)
		require.NoError(t, err)
		require.Equal(t, exited, s.State)
		require.Equal(t, cost(10*time.Second), s.ACUMicros)
		r.lost()
		row := h.row(t, s.ID)
		require.Equal(t, fleet.Ended, row.Phase)
		require.Equal(t, fleet.StatusTerminated, row.SessionStatus)
		commands, err := h.CommandsAfter(ctx, s.ID, 1, 10)
		require.NoError(t, err)
		require.Equal(t, wire.CommandTerminate, commands[0].Kind)
		events, updated := h.all(t, s.ID), h.get(t, s.ID).UpdatedAt
		h.time.Advance(time.Second)
		again, err := h.Terminate(ctx, h.ours, h.org, s.ID, false)
		require.NoError(t, err)
		require.Equal(t, exited, again.State)
		require.Equal(t, events, h.all(t, s.ID), "a second call changes nothing")
		require.Equal(t, updated, h.get(t, s.ID).UpdatedAt)
		require.Equal(t, []audit.Action{audit.TerminateSession}, h.actions(t, before))

		parent := h.work(t)
		child := h.create(t, func(p *session.CreateParams) { p.ParentID = parent.row.SessionID })
		gone, err := h.Archive(ctx, h.ours, h.org, parent.row.SessionID)
		require.NoError(t, err)
		require.Equal(t, asleep, gone.State)
		parent.lost()
		require.True(t, gone.Archived && h.get(t, child.ID).Archived)
		require.Equal(t, asleep, h.get(t, child.ID).State)
		h.nothingToClaim(t, "w1")
		back, err := h.Unarchive(ctx, h.ours, h.org, parent.row.SessionID)
		require.NoError(t, err)
		require.Equal(t, asleep, back.State)
		require.False(t, back.Archived)
		require.True(t, h.get(t, child.ID).Archived, "one session comes back, not its children")

		// Its prompt was never taken in hand: it is done when the session wakes, and the order to sleep is not.
		woken := h.say(t, child.ID, "do it now")
		require.Equal(t, resuming, woken.State)
		require.True(t, woken.Archived)
		c := h.claim(t, "w2")
		require.Equal(t, child.ID, c.row.SessionID)
		spec, err := h.Spec(ctx, c.row)
		require.NoError(t, err)
		commands, err = h.CommandsAfter(ctx, child.ID, spec.LastCommand, 10)
		require.NoError(t, err)
		require.Len(t, commands, 2)
		require.Equal(t, []string{"do it", "do it now"}, []string{commands[0].Text, commands[1].Text})
		require.Empty(t, spec.Transcript)
	})
}

func TestAnApprovalGoesToTheWorkerThatAsked(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r := h.work(t)
		_, err := h.Approve(ctx, h.ours, h.org, r.row.SessionID, "1", "yes")
		isFault(t, err, fault.Conflict)
		asks := ev(wire.EventPermission, wire.PermissionData{Request: "1", Status: "requested", Options: []wire.PermissionOption{{ID: "yes"}, {ID: "no"}}})
		require.False(t, r.send(asks, state(wire.StateWaitingForApproval)).Parked, "the claim stays")
		before := len(h.actions(t, 0))
		_, err = h.Approve(ctx, h.ours, h.org, r.row.SessionID, "2", "yes")
		isFault(t, err, fault.Conflict)
		_, err = h.Approve(ctx, h.ours, h.org, r.row.SessionID, "1", "maybe")
		require.Equal(t, "option", field(t, err))
		_, err = h.Approve(ctx, h.ours, h.org, r.row.SessionID, "1", "")
		require.Equal(t, "option", field(t, err))
		_, err = h.Approve(ctx, h.ours, h.org, r.row.SessionID, "1", "yes")
		require.NoError(t, err)
		commands, err := h.CommandsAfter(ctx, r.row.SessionID, 1, 10)
		require.NoError(t, err)
		require.Equal(t, wire.Command{Number: 2, Kind: wire.CommandApprove, Request: "1", Option: "yes"}, commands[0])
		_, err = h.Approve(ctx, h.ours, h.org, r.row.SessionID, "1", "no")
		isFault(t, err, fault.Conflict)
		require.Equal(t, []audit.Action{audit.PermissionResponse}, h.actions(t, before), "an answer that came too late is no decision")
		_, err = h.Approve(ctx, h.theirs, h.other, r.row.SessionID, "1", "yes")
		isFault(t, err, fault.NotFound)
	})
}

func TestRunSweepsUntilItIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite)
	s := h.create(t)
	_, err := h.orgs.Delete(t.Context(), h.boss, h.org)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx)
	}()
	require.Eventually(t, func() bool { return h.state(t, s.ID) == "exit/" }, 10*time.Second, 50*time.Millisecond)
	cancel()
	<-done
}
