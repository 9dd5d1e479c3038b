package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/mail"
	"gantry/internal/session"
)

// mailEvery is how often at most one schedule sends a mail of its failures: the first of them, and then one a day while it lasts.
const mailEvery = 24 * time.Hour

// Handle names this room as who hears how schedules' sessions went.
func (v *Service) Handle(r *jobs.Runner) {
	r.Handle(session.JobOutcome, jobs.Policy{Attempts: 10}, func(ctx context.Context, j jobs.Job) error {
		var o session.Outcome
		if err := j.Decode(&o); err != nil {
			return err
		}
		return v.heard(ctx, o)
	})
}

// heard notes how a run's session went. It may be told again.
func (v *Service) heard(ctx context.Context, o session.Outcome) error {
	if !o.Failed {
		return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			return succeededTx(ctx, tx, o.ScheduleID, o.SessionID)
		})
	}
	s, err := read(ctx, v.DB.Reader(), o.ScheduleID)
	if errors.Is(err, db.ErrNone) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	why := "The session " + o.SessionID + " ended in error."
	if o.Reason != "" {
		why = "The session " + o.SessionID + " ended in error: " + o.Reason
	}
	return v.failed(ctx, &s, o.SessionID, why, nil)
}

// failed counts a failure and mails it. Following is the next time of a run that was due and could not start; nil when the failure is a
// session's, whose run was taken before. That somebody else took the run is no error, and no failure either.
func (v *Service) failed(ctx context.Context, s *Schedule, sessionID, why string, following *time.Time) error {
	now, why := v.now(), cut(why, maxError)
	to := v.addressee(ctx, s, s.NotifyOn != Never)
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if following != nil {
			if took, err := advanceTx(ctx, tx, s, *following); err != nil || !took {
				return err
			}
		}
		counted, err := failedTx(ctx, tx, s.ID, sessionID, why, now)
		if err != nil || !counted {
			return err
		}
		tx.AfterCommit(func() {
			v.Logger.WarnContext(ctx, "a schedule's run failed", slog.String("schedule_id", s.ID), slog.String("org_id", s.OrgID),
				slog.String("session_id", sessionID), slog.Int64("failures", s.ConsecutiveFailures+1))
		})
		if to == "" {
			return nil
		}
		if may, err := mayMailTx(ctx, tx, s.ID, now); err != nil || !may {
			return err
		}
		return v.mailTx(ctx, tx, to, s.failure(why, s.ConsecutiveFailures+1), now)
	})
}

// addressee is whose mail tells of a schedule: the person it runs as, else the one who made it, else who changed it last. A schedule that
// only service users had in hand has nobody, and an address that can't be found out now is no reason not to run.
func (v *Service) addressee(ctx context.Context, s *Schedule, wanted bool) string {
	if !wanted || !v.Mail.On() {
		return ""
	}
	for _, userID := range []string{s.RunAsUserID, s.CreatedBy, s.LastEditedBy} {
		if userID == "" {
			continue
		}
		if p, err := v.People(ctx, userID); err == nil && p.Email != "" && p.In(s.OrgID) != 0 {
			return p.Email
		}
	}
	return ""
}

func (v *Service) mailTx(ctx context.Context, tx *db.Tx, to string, m mail.Message, now time.Time) error {
	if to == "" {
		return nil
	}
	m.To = to
	return v.Mail.QueueTx(ctx, tx, now, m)
}

func (s *Schedule) started(url string) mail.Message {
	return mail.Message{
		Subject: "Schedule started: " + s.Name,
		Text:    fmt.Sprintf("The schedule %q has run.\n\nSession: %s\nSchedule: %s\n", s.Name, url, s.ID),
	}
}

func (s *Schedule) failure(why string, row int64) mail.Message {
	next := "It stays switched on. While it goes on failing there is one mail a day."
	if s.Type == OneTime {
		next = "It ran once and is switched off now. Give it another time to have it run again."
	}
	return mail.Message{
		Subject: "Schedule failed: " + s.Name,
		Text: fmt.Sprintf("The schedule %q failed.\n\n%s\n\nFailures in a row: %d\nSchedule: %s\n\n"+
			"%s\n", s.Name, why, row, s.ID, next),
	}
}
