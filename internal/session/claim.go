package session

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// ClaimNext gives a worker the next session of an outpost, or ok false when none is queued for it. Only a worker with a key for
// that outpost may call.
func (v *Service) ClaimNext(ctx context.Context, who access.Subject, outpostID, workerID string) (c fleet.Claim, ok bool, err error) {
	if err := fleet.RequireOutpost(who, outpostID); err != nil {
		return c, false, err
	}
	if waiting, err := fleet.HasPending(ctx, v.DB.Reader(), outpostID); err != nil || !waiting {
		return c, false, err // an idle worker costs no write
	}
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		var s *Session
		c, ok, err = fleet.ClaimNextTx(ctx, tx, outpostID, workerID, who.WorkerOrgs, v.now(), func(sessionID string) (bool, error) {
			var err error
			s, err = v.holdTx(ctx, tx, sessionID)
			return s != nil, err
		})
		if err != nil || !ok {
			return err
		}
		return v.claimedTx(ctx, tx, who, s, c)
	})
	return c, ok && err == nil, err
}

// maxAcceptor bounds the name that an acceptor gives itself; it is kept with the claim and shown in events.
const maxAcceptor = 200

// ClaimByName claims one session as the vendor's protocol does (contract/behaviour.md §18.1.6). It needs UseOutpostsMachine, or a
// worker's key.
func (v *Service) ClaimByName(ctx context.Context, who access.Subject, sessionID, acceptorID string) (fleet.Claim, error) {
	var c fleet.Claim
	if acceptorID == "" || len(acceptorID) > maxAcceptor || !db.Storable(acceptorID) {
		return c, fault.InvalidField("acceptor_id", "must be text of 1 to %d bytes", maxAcceptor)
	}
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := v.requireMachineTx(ctx, tx, who, sessionID); err != nil {
			return err
		}
		s, err := lockTx(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		held, err := fleet.ClaimableTx(ctx, tx, sessionID, acceptorID, v.now())
		if err != nil {
			return err
		}
		if held.Phase == fleet.Claimed { // a renewal, or a claim that expired: its token and fence end here
			if err := v.lapseTx(ctx, tx, s, held, false); err != nil {
				return err
			}
		}
		if c, err = fleet.ClaimTx(ctx, tx, sessionID, acceptorID, v.now()); err != nil {
			return err
		}
		if err := v.claimedTx(ctx, tx, who, s, c); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, who, v.Clock.Millis(), audit.Entry{
			Action: audit.ClaimOutpostSession, OrgID: c.OrgID, Data: map[string]any{"session_id": sessionID, "acceptor_id": acceptorID},
		})
	})
	return c, err
}

// requireMachineTx: a key with UseOutpostsMachine may act on every outpost, a worker's key on its own.
func (v *Service) requireMachineTx(ctx context.Context, tx *db.Tx, who access.Subject, sessionID string) error {
	if who.Kind != access.Worker {
		return access.Require(who, access.UseOutpostsMachine, "")
	}
	r, err := fleet.Get(ctx, tx, sessionID)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return err
	}
	if err != nil || fleet.RequireOutpost(who, r.OutpostID) != nil || !fleet.ServesOrg(who, r.OrgID) {
		return fault.New(fault.NotFound, "the session is not queued")
	}
	return nil
}

// holdTx locks a queued session for a claim. It gives nil for one that another transaction has just now, and for one whose state
// can't be claimed: that row has lost its meaning and leaves the queue, lest it hold up every claim after it.
func (v *Service) holdTx(ctx context.Context, tx *db.Tx, sessionID string) (*Session, error) {
	s, err := tryLockTx(ctx, tx, sessionID)
	if err != nil || s == nil {
		return nil, err
	}
	if _, ok := s.State.Next(Claim, s.Resumable); ok {
		return s, nil
	}
	v.Logger.ErrorContext(ctx, "a queued session can't be claimed in its state", slog.String("session_id", s.ID),
		slog.String("status", string(s.State.Status)))
	phase, status := fleet.Parked, fleet.StatusSuspended
	if s.State.Over() {
		phase, status = fleet.Ended, fleet.StatusTerminated
	}
	return nil, fleet.LeaveTx(ctx, tx, sessionID, phase, status, v.now())
}

// claimedTx notes a claim on its session. What told an earlier claim to end isn't meant for this one; messages that nobody took in
// hand are.
func (v *Service) claimedTx(ctx context.Context, tx *db.Tx, who access.Subject, s *Session, c fleet.Claim) error {
	if err := fleet.BindTx(ctx, tx, c.SessionID, who, v.now()); err != nil {
		return err
	}
	if s.AckedCommand < s.LastCommand {
		if _, err := db.Exec(ctx, tx, `DELETE FROM session_commands WHERE session_id = $1 AND number > $2 AND kind <> 'message'`,
			s.ID, s.AckedCommand); err != nil {
			return err
		}
	}
	return v.changeTx(ctx, tx, s, func(_ context.Context, _ *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		next, ok := s.State.Next(Claim, s.Resumable)
		if !ok {
			return nil, fault.New(fault.Conflict, "the session can't be claimed in its state")
		}
		v.Fleet.CountClaim()
		evs = s.add(evs, now.UnixMilli(), EventClaimed, ClaimedData{Hypervisor: c.AcceptorID, Fence: c.Fence, Kind: c.Kind})
		return s.enter(evs, now, next, s.Reason), nil
	})
}

// Release gives a claim back (contract/behaviour.md §18.1.7).
func (v *Service) Release(ctx context.Context, who access.Subject, sessionID, acceptorID string) (fleet.Row, error) {
	var r fleet.Row
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := v.requireMachineTx(ctx, tx, who, sessionID); err != nil {
			return err
		}
		s, err := lockTx(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		held, err := fleet.HeldTx(ctx, tx, sessionID, acceptorID)
		if err != nil {
			return err
		}
		if err := v.lapseTx(ctx, tx, s, held, false); err != nil {
			return err
		}
		r, err = fleet.Get(ctx, tx, sessionID)
		return err
	})
	return r, err
}

// lapseTx takes a session, whose row is locked, from a worker that is gone or gave it back, and queues it again. The ledger's
// interval ends at the last acknowledged report: nothing after it is charged (design: worker.md).
func (v *Service) lapseTx(ctx context.Context, tx *db.Tx, s *Session, r fleet.Row, lost bool) error {
	return v.changeTx(ctx, tx, s, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		if lost {
			evs = s.add(evs, now.UnixMilli(), EventLeaseLost, LeaseLost{Hypervisor: r.AcceptorID, Fence: r.Fence})
		}
		if err := v.meterTx(ctx, tx, s, r.LeaseUntil.Add(-v.Lease), false); err != nil { // a lease runs from the last report
			return nil, err
		}
		if next, ok := s.State.Next(Lapse, s.Resumable); ok {
			evs = s.enter(evs, now, next, "")
		}
		v.notifyQueue(tx, s.OutpostID)
		v.notifyCommand(tx, s.ID)
		return evs, fleet.RequeueTx(ctx, tx, r, s.kind(), now)
	})
}

// kind says whether the next claim starts the session or resumes it.
func (s *Session) kind() string {
	if s.State.Status == StatusNew {
		return wire.KindNew
	}
	return wire.KindResume
}

// transcriptLength is how many messages a worker without the agent's own memory is given.
const transcriptLength = 200

// Spec gives a worker what it needs to run the session it claimed.
func (v *Service) Spec(ctx context.Context, r fleet.Row) (*wire.Spec, error) {
	s, err := find(ctx, v.DB.Reader(), r.OrgID, r.SessionID)
	if err != nil {
		return nil, err
	}
	held, err := fleet.Get(ctx, v.DB.Reader(), r.SessionID)
	if err != nil {
		return nil, err
	}
	agent, err := v.Agents.Spec(ctx, s.Agent)
	if err != nil {
		return nil, err
	}
	repos, err := v.Forge.Spec(ctx, s.OrgID, s.ID, s.Repos)
	if err != nil {
		return nil, err
	}
	spec := &wire.Spec{
		SessionID: s.ID, OrgID: s.OrgID, Fence: r.Fence, Kind: held.Kind, Title: s.Title, Agent: agent, Repositories: repos,
		OutputSchema: s.OutputSchema, OutputRequired: s.OutputSchema != nil && s.OutputRequired,
		OutputGiven: s.Output != nil, BypassApproval: s.BypassApproval, LastBatch: held.LastBatch, LastCommand: s.AckedCommand,
	}
	if held.Kind != wire.KindResume {
		return spec, nil
	}
	if spec.Transcript, err = v.transcript(ctx, s); err != nil {
		return nil, err
	}
	if err := v.reread(ctx, s, spec); err != nil {
		return nil, err
	}
	if s.TurnCommand != 0 {
		spec.Interrupted = true
		spec.OpenTools, spec.OpenTitles, err = openTools(ctx, v.DB.Reader(), s.ID, nil)
	}
	return spec, err
}

// transcript gives the last messages that the agent has seen, oldest first.
func (v *Service) transcript(ctx context.Context, s *Session) ([]wire.TranscriptEntry, error) {
	rows, err := db.All(ctx, v.DB.Reader(), scanTranscript, `SELECT type, data FROM session_events
		WHERE session_id = $1 AND type IN ('message', 'user_message') ORDER BY seq DESC LIMIT $2`, s.ID, transcriptLength)
	if err != nil {
		return nil, err
	}
	out := make([]wire.TranscriptEntry, 0, len(rows))
	for _, r := range slices.Backward(rows) {
		if r.command <= s.AckedCommand {
			out = append(out, r.TranscriptEntry)
		}
	}
	return out, nil
}

type transcriptRow struct {
	wire.TranscriptEntry
	command int64
}

func scanTranscript(r db.Scanner) (transcriptRow, error) {
	var typ, data string
	if err := r.Scan(&typ, &data); err != nil {
		return transcriptRow{}, err
	}
	var m UserMessage // an agent's message has its text in the same field and no command
	err := json.Unmarshal([]byte(data), &m)
	row := transcriptRow{wire.TranscriptEntry{Source: "devin", Text: m.Text}, m.Command}
	if typ == EventUserMessage {
		row.Source = "user"
	}
	return row, err
}
