package session

import (
	"context"
	"time"

	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/usage"
	"gantry/internal/wire"
)

// Apply takes a worker's batch: hostile input, checked and capped, one transaction. A number that is in already answers like the
// first time; a gap or a stale fence is a 409 (design: worker.md).
func (v *Service) Apply(ctx context.Context, r fleet.Row, b wire.Batch) (*wire.Ack, error) {
	if b.Fence != r.Fence {
		return nil, fleet.ErrStale()
	}
	reports, err := decode(b.Events)
	if err != nil {
		return nil, err
	}
	if err := v.checkOutputs(ctx, r, reports); err != nil {
		return nil, err
	}
	if err := v.spill(ctx, r, b, reports); err != nil {
		return nil, err
	}
	if err := v.sight(ctx, r, reports); err != nil {
		return nil, err
	}
	class, err := v.classify(ctx, r, reports)
	if err != nil {
		return nil, err
	}
	var ack wire.Ack
	err = v.reportTx(ctx, r.SessionID, b.Fence, func(ctx context.Context, tx *db.Tx, s *Session, row fleet.Row) error {
		ack = wire.Ack{Number: b.Number, LeaseSeconds: v.leaseSeconds()}
		if b.Number <= row.LastBatch {
			ack.Number = row.LastBatch
			return nil
		}
		if b.Number != row.LastBatch+1 {
			return fault.New(fault.Conflict, "batch %d came before batch %d", b.Number, row.LastBatch+1)
		}
		if err := fleet.AckBatchTx(ctx, tx, r.SessionID, b.Number); err != nil {
			return err
		}
		return v.changeTx(ctx, tx, s, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
			s.take(class)
			return v.applyTx(ctx, tx, s, evs, now, b, reports, &ack)
		})
	})
	if n := len(b.Events); err == nil && n > 0 && v.OnLag != nil {
		v.OnLag(v.Clock.Since(db.Time(b.Events[n-1].At)))
	}
	return &ack, err
}

// reportTx runs what a worker reports on its session: the session is held, the fence checked and the lease renewed.
func (v *Service) reportTx(ctx context.Context, sessionID string, fence int64,
	f func(ctx context.Context, tx *db.Tx, s *Session, row fleet.Row) error,
) error {
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		s, err := lockTx(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		row, err := fleet.RenewTx(ctx, tx, sessionID, fence, v.now(), v.Lease)
		if err != nil {
			return err
		}
		return f(ctx, tx, s, row)
	})
}

// Beat renews a lease when there is nothing to report, and meters the work.
func (v *Service) Beat(ctx context.Context, r fleet.Row, h wire.Heartbeat) (*wire.Ack, error) {
	var ack wire.Ack
	err := v.reportTx(ctx, r.SessionID, h.Fence, func(ctx context.Context, tx *db.Tx, s *Session, row fleet.Row) error {
		ack = wire.Ack{Number: row.LastBatch, LeaseSeconds: v.leaseSeconds()}
		if s.MeteredAt.IsZero() && h.Command <= s.AckedCommand {
			return nil
		}
		return v.changeTx(ctx, tx, s, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
			s.ack(h.Command)
			return v.budgetRunTx(ctx, tx, s, evs, now, &ack)
		})
	})
	return &ack, err
}

func (s *Session) ack(command int64) {
	s.AckedCommand = max(s.AckedCommand, min(command, s.LastCommand))
}

func (v *Service) applyTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time, b wire.Batch, reports []report,
	ack *wire.Ack,
) ([]Event, error) {
	s.ack(b.Command)
	f := folding{s: s, now: now}
	before := s.State
	for i := range reports {
		evs = f.fold(evs, &reports[i])
	}
	evs = f.settle(evs)
	if err := sightTx(ctx, tx, s, now, f.sighted); err != nil {
		return nil, err
	}
	if err := v.outcomeTx(ctx, tx, s, before, now); err != nil {
		return nil, err
	}
	if s.State.Status == StatusError {
		ack.Stop = true
		return evs, v.stopTx(ctx, tx, s, now, wire.CommandTerminate, s.Reason)
	}
	if f.drained && !s.State.Parked() {
		return v.drainedTx(ctx, tx, s, evs, now, ack)
	}
	evs, err := v.budgetRunTx(ctx, tx, s, evs, now, ack)
	if err != nil || ack.Stop || !s.State.Parked() {
		return evs, err
	}
	ack.Parked = true
	v.notifyQueue(tx, s.OutpostID)
	return evs, fleet.LeaveTx(ctx, tx, s.ID, fleet.Parked, fleet.StatusSuspended, now)
}

// drainedTx puts a session whose worker goes away back into the queue.
func (v *Service) drainedTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time, ack *wire.Ack) ([]Event, error) {
	ack.Stop = true
	if err := v.meterTx(ctx, tx, s, now, false); err != nil {
		return nil, err
	}
	if next, ok := s.State.Next(ByDraining, s.Resumable); ok {
		evs = s.enter(evs, now, next, "the worker is going away; another will take over")
	}
	row, err := fleet.Get(ctx, tx, s.ID)
	if err != nil {
		return nil, err
	}
	v.notifyQueue(tx, s.OutpostID)
	return evs, fleet.RequeueTx(ctx, tx, row, s.kind(), now)
}

// meterStep is how much time may pass before the ledger is written again while work goes on.
const meterStep = time.Second

// meterTx charges the time since the last acknowledged report and says whether work goes on from here. However late the next report
// comes, no more is charged than was worked: a worker that can't renew its lease freezes its agent. Time that was charged once isn't
// charged again when another replica's clock is behind.
func (v *Service) meterTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time, working bool) error {
	if s.MeteredAt.IsZero() {
		if working {
			s.MeteredAt, s.IntervalStart = now, now
		}
		return nil
	}
	passed := max(0, now.Sub(s.MeteredAt))
	if working && passed < meterStep {
		return nil
	}
	row, err := fleet.Get(ctx, tx, s.ID)
	if err != nil {
		return err
	}
	cost, err := v.Usage.EnterTx(ctx, tx, usage.Work{
		SessionID: s.ID, OrgID: s.OrgID, UserID: s.UserID, ServiceUserID: s.ServiceUserID, Fence: row.Fence,
		Start: s.IntervalStart, From: s.MeteredAt, To: s.MeteredAt.Add(min(passed, wire.FreezeAfter(v.Lease))),
	})
	if err != nil {
		return err
	}
	s.ACUMicros += cost
	s.RunACUMicros += cost
	s.MeteredAt = s.MeteredAt.Add(passed)
	if !working {
		s.MeteredAt, s.IntervalStart = time.Time{}, time.Time{}
	}
	return nil
}
