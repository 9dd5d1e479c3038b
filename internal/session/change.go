package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// mutation changes a session that the transaction holds and gives the events to append.
type mutation func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error)

// change runs a mutation in one transaction: the session's row, its events and what else the mutation writes. One that makes no event
// and gives no command changed nothing, and nothing is written.
func (v *Service) change(ctx context.Context, sessionID string, f mutation) (*Session, error) {
	var out *Session
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		out, err = v.changeInTx(ctx, tx, sessionID, f)
		return err
	})
	return out, err
}

// changeInTx is change in the caller's transaction.
func (v *Service) changeInTx(ctx context.Context, tx *db.Tx, sessionID string, f mutation) (*Session, error) {
	s, err := lockTx(ctx, tx, sessionID)
	if err != nil {
		return nil, err
	}
	now, before := v.now(), s.LastCommand
	evs, err := f(ctx, tx, s, nil, now)
	if err != nil || (len(evs) == 0 && s.LastCommand == before) {
		return s, err
	}
	return s, v.writeTx(ctx, tx, s, evs, now)
}

func (v *Service) changeTx(ctx context.Context, tx *db.Tx, s *Session, f mutation) error {
	now := v.now()
	evs, err := f(ctx, tx, s, nil, now)
	if err != nil {
		return err
	}
	return v.writeTx(ctx, tx, s, evs, now)
}

func (v *Service) writeTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) error {
	s.UpdatedAt = now
	if err := updateTx(ctx, tx, s); err != nil {
		return err
	}
	v.notify(tx, s.ID)
	if err := insertEventsTx(ctx, tx, evs); err != nil {
		return err
	}
	return v.countTx(ctx, tx, s)
}

// enter puts a session into its next state and says so in an event.
func (s *Session) enter(evs []Event, now time.Time, next State, reason string) []Event {
	same := s.State == next && s.Reason == reason
	if s.State != next { // a worker that says again that it waits doesn't keep the session awake
		s.IdleSince = time.Time{}
		if next.Parked() || next.Detail == WaitingForApproval {
			s.IdleSince = now
		}
	}
	s.State, s.Reason = next, reason
	if next.Over() {
		s.EndedAt = now
	}
	if same {
		return evs
	}
	return s.add(evs, now.UnixMilli(), EventStatus, StatusChange{Status: next.Status, Detail: next.Detail, Reason: reason})
}

// stopTx takes a session from its worker, who is told afterwards and never waited for: the ledger is brought up to date, the fence
// ends, and a last command goes out on the open stream. breakOffTx comes before it.
func (v *Service) stopTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time, kind, reason string) error {
	if err := v.meterTx(ctx, tx, s, now, false); err != nil {
		return err
	}
	s.LastCommand++
	s.TurnCommand = 0
	cmd := wire.Command{Number: s.LastCommand, Kind: kind, Reason: reason}
	if err := insertCommandTx(ctx, tx, s.ID, cmd, now.UnixMilli()); err != nil {
		return err
	}
	v.notifyCommand(tx, s.ID)
	phase, status := fleet.Parked, fleet.StatusSuspended
	if s.State.Over() {
		phase, status = fleet.Ended, fleet.StatusTerminated
	}
	v.notifyQueue(tx, s.OutpostID)
	return fleet.LeaveTx(ctx, tx, s.ID, phase, status, now)
}

// suspendTx applies a cause that puts a session to sleep; nothing happens when it doesn't apply.
func (v *Service) suspendTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time, c Cause, reason string) ([]Event, error) {
	next, ok := s.State.Next(c, s.Resumable)
	if !ok {
		return evs, nil
	}
	evs, err := breakOffTx(ctx, tx, s, evs, now)
	if err != nil {
		return nil, err
	}
	evs = s.enter(evs, now, next, reason)
	kind := wire.CommandSuspend
	if next.Over() {
		kind = wire.CommandTerminate
	}
	return evs, v.stopTx(ctx, tx, s, now, kind, reason)
}

// Terminate ends a session for good (contract/behaviour.md §3.3); a second call changes nothing. With archive it is hidden as Archive hides
// one: its children go to sleep and may be woken. It needs ManageOrgSessions.
func (v *Service) Terminate(ctx context.Context, who access.Subject, orgID, sessionID string, archive bool) (*Session, error) {
	s, err := v.manage(ctx, who, orgID, sessionID)
	if err == nil && archive {
		err = v.archiveChildren(ctx, who, s)
	}
	if err != nil {
		return nil, err
	}
	return v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		next, ok := s.State.Next(Terminate, s.Resumable)
		if ok {
			var err error
			if evs, err = breakOffTx(ctx, tx, s, evs, now); err != nil {
				return nil, err
			}
			evs = s.enter(evs, now, next, "")
			if err := v.stopTx(ctx, tx, s, now, wire.CommandTerminate, "terminated"); err != nil {
				return nil, err
			}
			err = audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
				Action: audit.TerminateSession, OrgID: s.OrgID, Data: map[string]any{"session_id": s.ID},
			})
			if err != nil {
				return nil, err
			}
		}
		if !archive {
			return evs, nil
		}
		return showTx(ctx, tx, who, s, evs, now, true)
	})
}

// showTx archives a session or brings it back, with its audit entry; one that is so already stays without.
func showTx(ctx context.Context, tx *db.Tx, who access.Subject, s *Session, evs []Event, now time.Time, archived bool) ([]Event, error) {
	if s.Archived == archived {
		return evs, nil
	}
	action := audit.UnarchiveSession
	if archived {
		action = audit.ArchiveSession
	}
	s.Archived = archived
	evs = s.add(evs, now.UnixMilli(), EventArchived, ArchivedData{archived})
	return evs, audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
		Action: action, OrgID: s.OrgID, Data: map[string]any{"session_id": s.ID},
	})
}

// GetToChange is Get for who may change the session: it needs ManageOrgSessions, on the enterprise's routes ManageAccountSessions.
func (v *Service) GetToChange(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	return v.manage(ctx, who, orgID, sessionID)
}

// manage finds a session that the subject may change.
func (v *Service) manage(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	if err := require(who, orgID, access.ManageAccountSessions, access.ManageOrgSessions); err != nil {
		return nil, err
	}
	return find(ctx, v.DB.Reader(), orgID, sessionID)
}

// Archive hides a session and its children from default lists and puts those that run to sleep (contract/behaviour.md §3.3 13-14).
func (v *Service) Archive(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	s, err := v.manage(ctx, who, orgID, sessionID)
	if err == nil {
		err = v.archiveChildren(ctx, who, s)
	}
	if err != nil {
		return nil, err
	}
	return v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		evs, err := showTx(ctx, tx, who, s, evs, now, true)
		if err != nil {
			return nil, err
		}
		if _, ok := s.State.Next(Sleep, s.Resumable); !ok {
			return evs, nil
		}
		evs, err = v.suspendTx(ctx, tx, s, evs, now, Sleep, "archived")
		if err != nil {
			return nil, err
		}
		return evs, audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
			Action: audit.SleepSession, OrgID: s.OrgID, Data: map[string]any{"session_id": s.ID},
		})
	})
}

func (v *Service) archiveChildren(ctx context.Context, who access.Subject, s *Session) error {
	for _, child := range s.ChildIDs {
		if _, err := v.Archive(ctx, who, s.OrgID, child); err != nil {
			return err
		}
	}
	return nil
}

// Unarchive shows one session again; it stays asleep until the next message.
func (v *Service) Unarchive(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	if _, err := v.manage(ctx, who, orgID, sessionID); err != nil {
		return nil, err
	}
	return v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		return showTx(ctx, tx, who, s, evs, now, false)
	})
}

// SetTags replaces a session's tags, or with add merges them in; at most 50 in all (contract/behaviour.md §3.13). It needs
// ManageOrgSessions or ManageAccountSessions.
func (v *Service) SetTags(ctx context.Context, who access.Subject, orgID, sessionID string, tags []string, add bool) ([]string, error) {
	if err := require(who, orgID, access.ManageAccountSessions, access.ManageOrgSessions); err != nil {
		return nil, err
	}
	if err := validTags(tags); err != nil {
		return nil, err
	}
	if _, err := find(ctx, v.DB.Reader(), orgID, sessionID); err != nil {
		return nil, err
	}
	s, err := v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		want := tidyTags(tags)
		if add {
			want = tidyTags(slices.Concat(s.Tags, tags))
		}
		if err := validTags(want); err != nil {
			return nil, err
		}
		if slices.Equal(want, s.Tags) {
			return evs, nil
		}
		if err := v.checkTagsTx(ctx, tx, s.OrgID, tags, want); err != nil {
			return nil, err
		}
		s.Tags = want
		if _, err := db.Exec(ctx, tx, `DELETE FROM session_tags WHERE session_id = $1`, s.ID); err != nil {
			return nil, err
		}
		if err := insertLabelsTx(ctx, tx, "session_tags", "tag", s, want); err != nil {
			return nil, err
		}
		return s.add(evs, now.UnixMilli(), EventTags, TagsData{want}), audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
			Action: audit.TagSession, OrgID: s.OrgID, Data: map[string]any{"session_id": s.ID, "tags": want},
		})
	})
	if err != nil {
		return nil, err
	}
	return s.Tags, nil
}

// offeredTx refuses an answer to a question that isn't open or was answered already, or one that the agent didn't offer.
func offeredTx(ctx context.Context, tx *db.Tx, sessionID, request, option string) error {
	asked, err := lastAsked(ctx, tx, sessionID)
	if errors.Is(err, db.ErrNone) {
		return errNothingToApprove()
	}
	if err != nil {
		return err
	}
	answer, err := db.One(ctx, tx, scanCommand, `SELECT data FROM session_commands WHERE session_id = $1 AND kind = $2
		ORDER BY number DESC LIMIT 1`, sessionID, wire.CommandApprove)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return err
	}
	if answer.Request == request { // and on its way to the worker: a second one would count for nothing
		return fault.New(fault.Conflict, "request: it was answered already")
	}
	if asked.Request == "" {
		return nil // too large to be kept inline: the worker knows what it asked
	}
	if asked.Request != request || asked.Status != "requested" {
		return fault.New(fault.Conflict, "request: this is not the request that the session waits for")
	}
	for _, o := range asked.Options {
		if o.ID == option {
			return nil
		}
	}
	return fault.InvalidField("option", "is none that the agent offered")
}

// maxAnswer bounds the ids of a permission request and its options.
const maxAnswer = 1000

// Approve answers the permission request that a session waits for (contract/behaviour.md §3.8). Option is one of the ids the agent
// offered. It needs ManageOrgSessions; 409 when nothing waits or the request isn't the open one.
func (v *Service) Approve(ctx context.Context, who access.Subject, orgID, sessionID, request, option string) (*Session, error) {
	if _, err := v.manage(ctx, who, orgID, sessionID); err != nil {
		return nil, err
	}
	for field, text := range map[string]string{"request": request, "option": option} {
		if text == "" || len(text) > maxAnswer {
			return nil, fault.InvalidField(field, "must have 1 to %d bytes", maxAnswer)
		}
	}
	return v.change(ctx, sessionID, func(ctx context.Context, tx *db.Tx, s *Session, evs []Event, now time.Time) ([]Event, error) {
		if s.State.Detail != WaitingForApproval {
			return nil, errNothingToApprove()
		}
		if err := offeredTx(ctx, tx, s.ID, request, option); err != nil {
			return nil, err
		}
		s.LastCommand++
		cmd := wire.Command{Number: s.LastCommand, Kind: wire.CommandApprove, Request: request, Option: option}
		if err := insertCommandTx(ctx, tx, s.ID, cmd, now.UnixMilli()); err != nil {
			return nil, err
		}
		v.notifyCommand(tx, s.ID)
		return evs, audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{
			Action: audit.PermissionResponse, OrgID: s.OrgID,
			Data: map[string]any{"session_id": s.ID, "request": request, "option": option},
		})
	})
}
