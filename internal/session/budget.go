package session

import (
	"context"
	"fmt"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/usage"
	"gantry/internal/wire"
)

// The limits of contract/behaviour.md §3.17, and what a session that reaches one becomes:
//
//   - of one run, since the last message: suspended/usage_limit_exceeded; the next message grants another run;
//   - of the session's total, set for the enterprise: suspended/total_session_limit_exceeded, until somebody acknowledges it;
//   - of the billing cycle: suspended/org_usage_limit_exceeded at the organization's, its group's or the enterprise's limit,
//     suspended/user_usage_limit_exceeded at the user's. New sessions and messages are refused until the limit is raised or the next
//     cycle begins, and the refusal says whom to ask.
//
// Every session that works reports every ten seconds and is held against all of them, so each stops within one reporting interval of
// the moment at which a limit was reached, whoever's work reached it.

// budgetTx refuses a new session that nobody can pay for and gives it the organization's limit when it asks for none.
func (v *Service) budgetTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time) error {
	limits, err := v.payableTx(ctx, tx, s, now)
	if err != nil {
		return err
	}
	if l := limits.Session; l != nil && (s.MaxACU == 0 || s.MaxACU > *l) {
		s.MaxACU = *l
	}
	return nil
}

// moreTx refuses more work of a session that there is. Its own limit for one run forbids nothing: a message grants another.
func (v *Service) moreTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time) error {
	over, err := v.totalTx(ctx, tx, s)
	if err != nil {
		return err
	}
	if over {
		return fault.New(fault.Conflict, "the session has used the %d ACUs that the enterprise allows one session; "+
			"POST /gantry/v1/organizations/%s/sessions/%s/acknowledge-limit grants as much again, or contact your enterprise admin",
			v.MaxACUs, s.OrgID, s.ID)
	}
	_, err = v.payableTx(ctx, tx, s, now)
	return err
}

// payableTx refuses work when a limit of the cycle leaves nothing for it.
func (v *Service) payableTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time) (org.Budget, error) {
	limits, err := v.Orgs.BudgetTx(ctx, tx, s.OrgID)
	if err != nil {
		return limits, err
	}
	if l := limits.Session; l != nil && *l == 0 {
		return limits, fault.New(fault.Conflict,
			"the organization's max_session_acu_limit of 0 stops all sessions; contact your enterprise admin")
	}
	reached, err := v.Usage.ReachedTx(ctx, tx, s.OrgID, limits, s.UserID, now)
	if err == nil && reached != nil {
		err = reached.Refusal()
	}
	return limits, err
}

// totalTx reports whether a session has reached the enterprise's limit on its total, counted from what was acknowledged.
func (v *Service) totalTx(ctx context.Context, tx *db.Tx, s *Session) (bool, error) {
	limit := v.MaxACUs * usage.Micros
	if limit == 0 || s.ACUMicros < limit {
		return false, nil
	}
	known, err := db.One(ctx, tx, db.Int, `SELECT acknowledged_micros FROM sessions WHERE session_id = $1`, s.ID)
	return s.ACUMicros-known >= limit, err
}

// Acknowledge lets a session that has reached the enterprise's limit on its total go on for as much again: the next message wakes it. It
// needs ManageOrgSessions; 409 while the limit isn't reached.
func (v *Service) Acknowledge(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	if _, err := v.manage(ctx, who, orgID, sessionID); err != nil {
		return nil, err
	}
	var out *Session
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		s, err := lockTx(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		if s.State.Over() {
			return errEnded(s.State)
		}
		over, err := v.totalTx(ctx, tx, s)
		if err != nil {
			return err
		}
		if !over {
			return fault.New(fault.Conflict, "the session has not reached the enterprise's limit for one session")
		}
		if _, err := db.Exec(ctx, tx, `UPDATE sessions SET acknowledged_micros = acu_micros WHERE session_id = $1`, s.ID); err != nil {
			return err
		}
		out = s
		return audit.RecordTx(ctx, tx, who, v.now().UnixMilli(), audit.Entry{
			Action: audit.AcknowledgeSessionHardCap, OrgID: s.OrgID, Data: map[string]any{"session_id": s.ID, "acus": s.ACUs()},
		})
	})
	return out, err
}

// stop says which limit stops a session, and what that makes of it.
type stop struct {
	cause  Cause
	scope  string
	limit  int64
	reason string
}

// budgetRunTx meters the work so far and stops a session for which a limit is reached.
func (v *Service) budgetRunTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time, ack *wire.Ack) ([]Event, error) {
	if err := v.meterTx(ctx, tx, s, now, s.State == State{StatusRunning, Working}); err != nil {
		return nil, err
	}
	if s.State.Status != StatusRunning || s.State.Parked() {
		return evs, nil // nothing is left to stop; the next message is refused or has a run of its own
	}
	at, err := v.limitTx(ctx, tx, s, now)
	if err != nil || at == nil {
		return evs, err
	}
	ack.Stop = true
	evs = s.add(evs, now.UnixMilli(), EventLimit, LimitData{Limit: at.limit, ACUs: s.ACUs(), Scope: at.scope})
	return v.suspendTx(ctx, tx, s, evs, now, at.cause, at.reason)
}

// limitTx gives the first limit that leaves a running session nothing, nil without one. Those that a message doesn't lift come first.
func (v *Service) limitTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time) (*stop, error) {
	if over, err := v.totalTx(ctx, tx, s); err != nil {
		return nil, err
	} else if over {
		return &stop{TotalLimitReached, "session_total", v.MaxACUs, fmt.Sprintf(
			"the session has used the %d ACUs that the enterprise allows one session; it goes on when somebody acknowledges that", v.MaxACUs)}, nil
	}
	limits, err := v.Orgs.BudgetTx(ctx, tx, s.OrgID)
	if err != nil {
		return nil, err
	}
	reached, err := v.Usage.ReachedTx(ctx, tx, s.OrgID, limits, s.UserID, now)
	if err != nil {
		return nil, err
	}
	if reached != nil {
		cause := OrgLimitReached
		if reached.Level == usage.OfUser {
			cause = UserLimitReached
		}
		return &stop{cause, string(reached.Level), reached.Limit, reached.Reason()}, nil
	}
	if limit := s.MaxACU; limit > 0 && s.RunACUMicros >= limit*usage.Micros {
		return &stop{LimitReached, "session", limit, fmt.Sprintf(
			"the limit of %d ACU for one run is used up; a new message grants another run", limit)}, nil
	}
	return nil, nil
}

// fillTagsTx gives a new session the organization's default tag when it has none, and refuses tags that the organization doesn't allow
// (contract/behaviour.md §3.13).
func (v *Service) fillTagsTx(ctx context.Context, tx *db.Tx, s *Session) error {
	rules, err := v.Orgs.TagRulesTx(ctx, tx, s.OrgID)
	if err != nil {
		return err
	}
	s.Tags = rules.Fill(s.Tags)
	if err := rules.Check(s.Tags); err != nil {
		return err
	}
	return rules.Require(s.Tags)
}

// checkTagsTx refuses tags that the organization doesn't allow, and to leave a session without any where it requires one. Tags that a
// session had before may stay while others are added.
func (v *Service) checkTagsTx(ctx context.Context, tx *db.Tx, orgID string, given, all []string) error {
	rules, err := v.Orgs.TagRulesTx(ctx, tx, orgID)
	if err != nil {
		return err
	}
	if err := rules.Check(given); err != nil {
		return err
	}
	return rules.Require(all)
}
