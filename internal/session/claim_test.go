package session_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestAThousandQueuedSessionsDoNotKeepAnothersFirstWaiting(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for range 1000 {
			h.create(t)
		}
		h.time.Advance(time.Hour)
		theirs := h.create(t, func(p *session.CreateParams) { p.OrgID = h.other })
		first, second := h.claim(t, "w1"), h.claim(t, "w1")
		require.Contains(t, []string{first.row.SessionID, second.row.SessionID}, theirs.ID)
		// Whoever comes again is served in turn, also within one millisecond and however long the other's queue is.
		for range 5 {
			again := h.create(t, func(p *session.CreateParams) { p.OrgID = h.other })
			require.Equal(t, h.org, h.claim(t, "w1").row.OrgID)
			require.Equal(t, again.ID, h.claim(t, "w1").row.SessionID)
		}
		// A replica whose clock is behind doesn't favour the organization it serves.
		h.time.Advance(-time.Minute)
		h.create(t, func(p *session.CreateParams) { p.OrgID = h.other })
		h.create(t, func(p *session.CreateParams) { p.OrgID = h.other })
		var got []string
		for range 4 {
			got = append(got, h.claim(t, "w1").row.OrgID)
		}
		require.Equal(t, []string{h.org, h.other, h.org, h.other}, got)
	})
}

func TestTheOldestOfAnOrganizationComesFirst(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var want []string
		for range 5 {
			want = append(want, h.create(t).ID)
			h.time.Advance(time.Second)
		}
		for _, id := range want {
			require.Equal(t, id, h.claim(t, "w1").row.SessionID)
		}
		h.nothingToClaim(t, "w1")
		require.Zero(t, h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
	})
}

func TestTheFenceGrowsAndTheOldClaimIsWorthless(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t, func(p *session.CreateParams) { p.Secrets = []session.SecretParam{{Key: "A", Value: secret.New("v")}} })
		r := h.claim(t, "w1")
		require.EqualValues(t, 1, r.row.Fence)
		require.Equal(t, "claimed/", h.state(t, s.ID))
		r.send(ev(wire.EventLog, wire.LogData{Level: "info", Text: "x"}))
		r.send()
		_, err := h.Release(t.Context(), h.boss, s.ID, "w1")
		require.NoError(t, err)
		require.Equal(t, "new/", h.state(t, s.ID))
		r.lost()
		again := h.claim(t, "w1")
		require.EqualValues(t, 2, again.row.Fence)
		require.Zero(t, again.row.LastBatch, "numbers begin anew under each fence")
		require.NotEqual(t, r.token, again.token)
		r.lost()
		_, err = h.Secrets(t.Context(), h.worker, r.row)
		isFault(t, err, fault.Conflict)
		_, err = h.Credential(t.Context(), again.row, wire.CredentialRequest{Fence: r.row.Fence})
		isFault(t, err, fault.Conflict)
		again.send(state(wire.StateWorking))
	})
}

func TestAResumedSessionPrefersItsMachineForFiveSeconds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, home := range []bool{true, false} {
			r := h.work(t)
			require.True(t, r.send(state(wire.StateFinished)).Parked)
			h.say(t, r.row.SessionID, "more")
			h.time.Advance(4 * time.Second)
			h.nothingToClaim(t, "w2")
			by := "w1"
			if !home {
				h.time.Advance(time.Second)
				by = "w2"
			}
			got := h.claim(t, by)
			require.Equal(t, r.row.SessionID, got.row.SessionID)
			require.Equal(t, wire.KindResume, got.row.Kind)
			_, err := h.Terminate(t.Context(), h.boss, h.org, r.row.SessionID, false)
			require.NoError(t, err)
		}
	})
}

func TestAWorkerKeyReachesItsOutpostsAndOrganizationsOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t)
		_, _, err := h.ClaimNext(t.Context(), h.worker, "outpost_env-1", "w1")
		isFault(t, err, fault.Forbidden)
		_, _, err = h.ClaimNext(t.Context(), h.boss, fleet.DefaultOutpost, "w1")
		isFault(t, err, fault.Forbidden)
		for _, orgs := range [][]string{{h.other}, {}} {
			bound := h.worker
			bound.WorkerOrgs = orgs
			_, ok, err := h.ClaimNext(t.Context(), bound, fleet.DefaultOutpost, "w1")
			require.NoError(t, err)
			require.False(t, ok)
			_, err = h.ClaimByName(t.Context(), bound, s.ID, "w1")
			isFault(t, err, fault.NotFound)
		}
		elsewhere := access.Subject{Kind: access.Worker, ID: "wk-2", Outposts: []string{"outpost_env-1"}}
		_, err = h.ClaimByName(t.Context(), elsewhere, s.ID, "w1")
		isFault(t, err, fault.NotFound)
		_, err = h.Release(t.Context(), elsewhere, s.ID, "w1")
		isFault(t, err, fault.NotFound)
		_, err = h.ClaimByName(t.Context(), h.ours, s.ID, "w1")
		isFault(t, err, fault.Forbidden)
		for _, name := range []string{"", strings.Repeat("x", 201), "a\x00b", "\xff"} {
			_, err = h.ClaimByName(t.Context(), h.worker, s.ID, name)
			require.Equal(t, "acceptor_id", field(t, err))
		}
		bound := h.worker
		bound.WorkerOrgs = []string{h.org}
		_, ok, err := h.ClaimNext(t.Context(), bound, fleet.DefaultOutpost, "w1")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

func TestConcurrentWorkersNeverGetTheSameSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		const sessions, workers = 60, 6
		for i := range sessions {
			h.create(t, func(p *session.CreateParams) {
				if i%2 == 1 {
					p.OrgID = h.other
				}
			})
		}
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for {
					c, ok, err := h.ClaimNext(t.Context(), h.worker, fleet.DefaultOutpost, fmt.Sprint("w", w))
					if err != nil {
						t.Errorf("claim: %v", err)
						return
					}
					mu.Lock()
					if ok {
						got[c.SessionID]++
					}
					done := len(got) == sessions
					mu.Unlock()
					if done {
						return
					}
				}
			})
		}
		wg.Wait()
		require.Len(t, got, sessions)
		for id, n := range got {
			require.Equal(t, 1, n, id)
		}
		require.Zero(t, h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
	})
}

// The session's row comes before the queue's in every transaction: a claim neither waits for a session that is being changed nor holds
// what the change needs next. SQLite has one writer and nothing to pass over.
func TestAClaimPassesOverASessionThatIsBeingChanged(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.Postgres)
	changing, free := h.create(t), h.create(t)
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `UPDATE sessions SET title = 'x' WHERE session_id = $1`, changing.ID); err != nil {
			return err
		}
		got := make(chan string)
		go func() {
			c, _, err := h.ClaimNext(t.Context(), h.worker, fleet.DefaultOutpost, "w1")
			if err != nil {
				t.Errorf("claim: %v", err)
			}
			got <- c.SessionID
		}()
		select {
		case id := <-got:
			require.Equal(t, free.ID, id)
		case <-ctx.Done():
			return ctx.Err()
		}
		return fleet.LeaveTx(ctx, tx, changing.ID, fleet.Parked, fleet.StatusSuspended, noon)
	}))
	h.nothingToClaim(t, "w1")
}

func TestClaimsMessagesAndSleepAtOnceKeepTheNumbers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		const sessions = 4
		ids := make([]string, sessions)
		for i := range ids {
			ids[i] = h.create(t).ID
		}
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Go(func() {
				for range 60 {
					c, ok, err := h.ClaimNext(t.Context(), h.worker, fleet.DefaultOutpost, "w1")
					if err != nil {
						t.Errorf("claim: %v", err)
						return
					}
					if !ok {
						continue
					}
					if w == 0 {
						_, err = h.Release(t.Context(), h.boss, c.SessionID, "w1")
					} else {
						_, err = h.Apply(t.Context(), c.Row, wire.Batch{Fence: c.Fence, Number: 1, Command: 1000, Events: []wire.Event{state(wire.StateFinished)}})
					}
					if err != nil && !fault.Is(err, fault.Conflict) {
						t.Errorf("worker: %v", err)
					}
				}
			})
			wg.Go(func() {
				for i := range 60 {
					if _, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: ids[i%sessions], Message: "m"}); err != nil {
						t.Errorf("message: %v", err)
					}
					if i%7 == w {
						if _, err := h.Archive(t.Context(), h.boss, h.org, ids[(i+w)%sessions]); err != nil {
							t.Errorf("archive: %v", err)
						}
					}
				}
			})
		}
		wg.Wait()
		require.Equal(t, h.count(t, `SELECT COUNT(*) FROM queue WHERE phase = 'pending'`), h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
		for _, id := range ids {
			for i, e := range h.all(t, id) {
				require.EqualValues(t, i+1, e.Seq, "numbers have no gaps")
			}
		}
	})
}

func TestClaimsByNameFollowTheVendorsRules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, err := h.ClaimByName(ctx, h.boss, "0123", "a")
		isFault(t, err, fault.NotFound)
		_, err = h.Release(ctx, h.boss, "0123", "a")
		isFault(t, err, fault.NotFound)

		s := h.create(t)
		_, err = h.Release(ctx, h.boss, s.ID, "a")
		isFault(t, err, fault.Conflict)
		before := len(h.actions(t, 0))
		c, err := h.ClaimByName(ctx, h.boss, s.ID, "a")
		require.NoError(t, err)
		require.Equal(t, h.time.Clock().Now().Add(300*time.Second).UTC(), c.ClaimDeadline)
		require.NotEmpty(t, c.Token)
		require.Equal(t, []audit.Action{audit.ClaimOutpostSession}, h.actions(t, before))
		_, err = h.ClaimByName(ctx, h.boss, s.ID, "b")
		isFault(t, err, fault.Conflict)
		_, err = h.Release(ctx, h.boss, s.ID, "b")
		isFault(t, err, fault.Conflict)

		h.time.Advance(100 * time.Second)
		renewed, err := h.ClaimByName(ctx, h.boss, s.ID, "a")
		require.NoError(t, err)
		require.NotEqual(t, c.Token, renewed.Token)
		require.Greater(t, renewed.Fence, c.Fence)
		require.Equal(t, h.time.Clock().Now().Add(300*time.Second).UTC(), renewed.ClaimDeadline)
		_, err = h.fleet.ByToken(ctx, c.Token, netip.Addr{})
		isFault(t, err, fault.Unauthenticated)

		h.time.Advance(301 * time.Second)
		taken, err := h.ClaimByName(ctx, h.boss, s.ID, "b")
		require.NoError(t, err, "an expired claim may be taken")
		require.Equal(t, wire.KindNew, taken.Kind)

		b := &run{h: h, t: t, row: taken.Row, token: taken.Token, command: 1}
		b.send(state(wire.StateWorking))
		h.time.Advance(400 * time.Second)
		_, err = h.ClaimByName(ctx, h.boss, s.ID, "c")
		isFault(t, err, fault.Conflict)
		again, err := h.ClaimByName(ctx, h.boss, s.ID, "b")
		require.NoError(t, err, "its holder may have a fresh token of a running session too")
		require.Equal(t, wire.KindResume, again.Kind)
		require.Equal(t, "resuming/", h.state(t, s.ID))
		b.lost()

		b = &run{h: h, t: t, row: again.Row, token: again.Token, command: 1}
		released, err := h.Release(ctx, h.boss, s.ID, "b")
		require.NoError(t, err)
		require.Equal(t, fleet.Pending, released.Phase)
		require.Empty(t, released.AcceptorID)
		b.lost()

		_, err = h.Terminate(ctx, h.boss, h.org, s.ID, false)
		require.NoError(t, err)
		_, err = h.ClaimByName(ctx, h.boss, s.ID, "a")
		isFault(t, err, fault.NotFound)
		_, err = h.Release(ctx, h.boss, s.ID, "a")
		isFault(t, err, fault.Conflict)
		require.Zero(t, h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
	})
}

func TestARowThatCannotBeClaimedLeavesTheQueueInsteadOfHoldingItUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		bad, good := h.create(t), h.create(t)
		h.exec(t, `UPDATE sessions SET status = 'suspended', status_detail = 'inactivity' WHERE session_id = $1`, bad.ID)
		require.Equal(t, good.ID, h.claim(t, "w1").row.SessionID)
		require.Equal(t, fleet.Parked, h.row(t, bad.ID).Phase)
		require.Zero(t, h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
		h.say(t, bad.ID, "wake up")
		require.Equal(t, bad.ID, h.claim(t, "w1").row.SessionID)
	})
}

func TestASpecHasWhatAWorkerNeeds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t, func(p *session.CreateParams) {
			p.BypassApproval, p.OutputSchema = true, []byte(`{"type":"object"}`)
		})
		spec, err := h.Spec(t.Context(), r.row)
		require.NoError(t, err)
		require.True(t, spec.BypassApproval && spec.OutputRequired)
		require.False(t, spec.OutputGiven || spec.Interrupted)
		require.EqualValues(t, 1, spec.LastCommand)
		require.EqualValues(t, 1, spec.LastBatch)
		require.Empty(t, spec.Transcript)

		big := make([]byte, wire.InlinePayload)
		for i := range big {
			big[i] = 'x'
		}
		r.send(
			ev(wire.EventTurn, wire.TurnData{Status: "started", Command: 1}),
			ev(wire.EventMessage, wire.MessageData{Text: "hello"}),
			ev(wire.EventTool, wire.ToolData{ID: "done", Status: wire.ToolInProgress}),
			ev(wire.EventTool, wire.ToolData{ID: "done", Status: wire.ToolCompleted, Output: []byte(`"` + string(big) + `"`)}),
			ev(wire.EventTool, wire.ToolData{ID: "open", Status: wire.ToolInProgress}),
			ev(wire.EventTool, wire.ToolData{ID: "open", Title: "still"}),
			ev(wire.EventStructuredOutput, wire.OutputData{Value: []byte(`{}`)}),
		)
		h.say(t, r.row.SessionID, "not seen yet")
		_, err = h.Release(t.Context(), h.boss, r.row.SessionID, "w1")
		require.NoError(t, err)
		spec, err = h.Spec(t.Context(), h.claim(t, "w1").row)
		require.NoError(t, err)
		require.Equal(t, wire.KindResume, spec.Kind)
		require.True(t, spec.Interrupted && spec.OutputGiven)
		require.Equal(t, []string{"open"}, spec.OpenTools, "a call whose large end was spilled has ended all the same")
		require.Equal(t, []string{"still"}, spec.OpenTitles)
		require.Equal(t, []wire.TranscriptEntry{{Source: "user", Text: "do it"}, {Source: "devin", Text: "hello"}}, spec.Transcript)
	})
}

func TestACredentialIsForTheSessionsRepositoriesOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, name := range []string{"acme/one", "acme/two"} {
			_, err := h.forge.Add(t.Context(), h.boss, forge.Listed, name, "https://git.example.com/"+name)
			require.NoError(t, err)
		}
		r := h.work(t, func(p *session.CreateParams) { p.Repos = []string{"git.example.com/acme/one", "acme/one"} })
		require.Equal(t, []string{"acme/one"}, h.get(t, r.row.SessionID).Repos)
		ask := func(repo string) error {
			_, err := h.Credential(t.Context(), r.row, wire.CredentialRequest{Fence: r.row.Fence, Repository: repo, Operation: "clone"})
			return err
		}
		require.NoError(t, ask("acme/one"))
		isFault(t, ask("acme/two"), fault.NotFound)
	})
}
