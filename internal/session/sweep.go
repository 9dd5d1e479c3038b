package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/wire"
)

// sweepEvery is how often leases, idle sessions and deleted organizations are looked after.
const sweepEvery = time.Second

// sweepBatch is how many rows one look takes; more wait for the next.
const sweepBatch = 100

// Run looks after sessions until ctx ends: it lets leases lapse, ends the claims of revoked keys, puts idle sessions to sleep, and ends those of deleted
// organizations. Every replica runs it; each change is conditional, so once is enough.
func (v *Service) Run(ctx context.Context) {
	changed, stop := v.Hub.Subscribe(events.Access, "")
	defer stop()
	looked := v.Clock.Now()
	for v.pause(ctx, changed) {
		now := v.Clock.Now()
		if now.Sub(looked) > v.Lease/3 {
			v.lapseAfter = now.Add(v.Lease) // this process or the database stood still, and no worker could renew
		}
		looked = now
		if err := v.Sweep(ctx); err != nil && !errors.Is(err, context.Canceled) {
			v.Logger.ErrorContext(ctx, "sweep of sessions failed", slog.Any("error", err))
		}
	}
}

// pause waits until the next look is due, and ends the claims of revoked keys as soon as this process hears of them. It gives false when
// ctx ends.
func (v *Service) pause(ctx context.Context, changed <-chan struct{}) bool {
	due := time.NewTimer(sweepEvery)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-due.C:
			return true
		case <-changed:
			if err := v.disown(ctx); err != nil && ctx.Err() == nil {
				v.Logger.ErrorContext(ctx, "claims of revoked keys not ended", slog.Any("error", err))
			}
		}
	}
}

// disown ends the claims whose key is good for them no more, whatever is left of their leases.
func (v *Service) disown(ctx context.Context) error {
	claims, err := fleet.Disowned(ctx, v.DB.Reader(), v.Clock.Now(), sweepBatch)
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range claims {
		r.LeaseUntil = maxTime // however often it was renewed meanwhile
		failed = append(failed, v.lapse(ctx, r))
	}
	return errors.Join(failed...)
}

// maxTime is after every lease.
var maxTime = time.Unix(1<<40, 0)

// Sweep looks once.
func (v *Service) Sweep(ctx context.Context) error {
	now := v.Clock.Now()
	lapsed, err := fleet.Lapsed(ctx, v.DB.Reader(), now, sweepBatch)
	if err != nil {
		v.lapseAfter = now.Add(v.Lease) // no worker could renew while the database was away
		return err
	}
	if now.Before(v.lapseAfter) || now.Before(v.DB.LastAway().Add(v.Lease)) {
		lapsed = nil
	}
	var failed []error // one session's trouble doesn't keep the others waiting
	for _, r := range lapsed {
		failed = append(failed, v.lapse(ctx, r))
	}
	failed = append(failed, v.disown(ctx), v.sleepIdle(ctx, now), v.endOrphans(ctx), v.countOld(ctx))
	return errors.Join(failed...)
}

// lapse ends a claim whose lease is over, unless a report came in meanwhile.
func (v *Service) lapse(ctx context.Context, r fleet.Row) error {
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		s, err := lockTx(ctx, tx, r.SessionID)
		if err != nil {
			return err
		}
		row, err := fleet.Get(ctx, tx, r.SessionID)
		if err != nil {
			return err
		}
		if row.Phase != fleet.Claimed || row.Fence != r.Fence || row.LeaseUntil.After(r.LeaseUntil) {
			return nil
		}
		v.Fleet.CountLost()
		return v.lapseTx(ctx, tx, s, row, true)
	})
}

// Restarted ends the claims of a worker that came back as a new process: whatever it worked on died with the old one. A worker is
// who it says it is, so a key for some organizations ends no claim of others.
func (v *Service) Restarted(ctx context.Context, who access.Subject, outpostID, workerID string) error {
	held, err := fleet.HeldBy(ctx, v.DB.Reader(), outpostID, workerID)
	if err != nil {
		return err
	}
	for _, r := range held {
		if !fleet.ServesOrg(who, r.OrgID) {
			continue
		}
		if err := v.lapse(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Unheard ends the claims that a worker doesn't know of although it had the time for two reports: the answer to its claim was lost on
// the way. A claim that was ever reported on is left to its lease.
func (v *Service) Unheard(ctx context.Context, who access.Subject, outpostID, workerID string, working []string) error {
	held, err := fleet.HeldBy(ctx, v.DB.Reader(), outpostID, workerID)
	if err != nil {
		return err
	}
	for _, r := range held {
		if !fleet.ServesOrg(who, r.OrgID) || r.ClaimDeadline.IsZero() || slices.Contains(working, r.SessionID) {
			continue
		}
		if claimed := r.ClaimDeadline.Add(-fleet.ClaimTime); v.Clock.Since(claimed) <= 2*wire.ReportSeconds*time.Second {
			continue
		}
		if err := v.lapse(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (v *Service) sleepIdle(ctx context.Context, now time.Time) error {
	ids, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT session_id FROM sessions
		WHERE idle_since < $1 ORDER BY idle_since LIMIT $2`, now.Add(-v.IdleTime).UnixMilli(), sweepBatch)
	if err != nil {
		return err
	}
	var failed []error
	for _, sessionID := range ids {
		_, err := v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
			if s.IdleSince.IsZero() || now.Sub(s.IdleSince) < v.IdleTime {
				return evs, nil
			}
			return v.suspendTx(ctx, tx, s, evs, now, Idle, s.idleReason())
		})
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// idleReason tells why a session ends that could only have slept.
func (s *Session) idleReason() string {
	if s.Resumable {
		return ""
	}
	return "nothing was asked of it for a while, and it can't be resumed"
}

// endOrphans ends the live sessions of deleted organizations. Both sides have an index of their own, so that a look costs nothing when
// there are none, however many sessions and organizations there were.
func (v *Service) endOrphans(ctx context.Context) error {
	ids, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT session_id FROM sessions WHERE ended_at IS NULL
		AND org_id IN (SELECT org_id FROM organizations WHERE deleted_at IS NOT NULL) LIMIT $1`, sweepBatch)
	if err != nil {
		return err
	}
	var failed []error
	for _, sessionID := range ids {
		_, err := v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
			next, ok := s.State.Next(Terminate, s.Resumable)
			if !ok {
				return evs, nil
			}
			if err := forgetSecretsTx(ctx, tx, []string{s.ID}); err != nil {
				return nil, err
			}
			evs, err := breakOffTx(ctx, tx, s, evs, now)
			if err != nil {
				return nil, err
			}
			evs = s.enter(evs, now, next, "its organization was deleted")
			return evs, v.stopTx(ctx, tx, s, now, wire.CommandTerminate, "organization deleted")
		})
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// Orphans counts the live sessions of deleted organizations, which are still to be ended.
func (v *Service) Orphans(ctx context.Context) (int64, error) {
	return db.One(ctx, v.DB.Reader(), db.Int, `SELECT COUNT(*) FROM organizations o JOIN sessions s ON s.org_id = o.org_id
		WHERE o.deleted_at IS NOT NULL AND s.ended_at IS NULL`)
}
