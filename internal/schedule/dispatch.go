package schedule

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/session"
)

const (
	// lookEvery is how late a run may be when nothing else holds it up.
	lookEvery = time.Second
	// dueBatch is how many runs one look takes; more wait for the next.
	dueBatch = 100
	// maxTitle is the longest title of a session in bytes.
	maxTitle = 1000
)

// bot is who starts sessions for schedules. It holds no more than that needs, and stands for nobody's key.
var bot = access.As("schedule", access.UseDevinSessions, access.ManageOrgSessions, access.ImpersonateOrgSessions)

// Run fires schedules until ctx ends. Every replica runs it.
func (v *Service) Run(ctx context.Context) {
	for clock.Sleep(ctx, lookEvery) {
		if err := v.Dispatch(ctx); err != nil && ctx.Err() == nil {
			v.Logger.ErrorContext(ctx, "not every schedule that is due could run; the rest runs later", slog.Any("error", err))
		}
	}
}

// Dispatch fires once what is due. What can't run because a part of Gantry is away stays due.
func (v *Service) Dispatch(ctx context.Context) error {
	rows, err := due(ctx, v.DB.Reader(), v.now(), dueBatch)
	if err != nil {
		return err
	}
	// Replicas that look at the same moment begin at different ends, so that they seldom prepare the same run.
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	var failed []error
	for i := range rows {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, v.fire(ctx, &rows[i]))
	}
	return errors.Join(failed...)
}

// start is a run that is ready: it starts in the transaction and gives its session.
type start func(ctx context.Context, tx *db.Tx) (*session.Session, error)

// fire runs a schedule that is due, or counts that it couldn't. The session, its first message and the schedule's next time are one
// transaction: whoever is killed in the middle has done nothing, and no two replicas do it both.
func (v *Service) fire(ctx context.Context, s *Schedule) error {
	now := v.now()
	if there, err := v.Orgs.Exists(ctx, s.OrgID); err != nil || !there {
		return v.endOrphan(ctx, s, now, err)
	}
	following, err := s.following(s.NextRunAt, now)
	if err != nil {
		return err // it was checked when it was made
	}
	begin, err := v.prepare(ctx, s)
	if err == nil {
		err = v.begin(ctx, s, begin, following, now)
	}
	if err == nil || ctx.Err() != nil || fault.Is(err, fault.Unavailable) {
		return err
	}
	if fault.KindOf(err) == fault.Internal {
		v.Logger.ErrorContext(ctx, "a schedule could not run", slog.String("schedule_id", s.ID), slog.Any("error", err))
	}
	return v.failed(ctx, s, "", "The run could not start: "+message(err), &following)
}

// message is what may be shown of an error.
func message(err error) string { return fault.As(err).Message }

// cut shortens a text to a number of bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

// endOrphan ends the schedule of an organization that is gone.
func (v *Service) endOrphan(ctx context.Context, s *Schedule, now time.Time, err error) error {
	if err != nil {
		return err
	}
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := endTx(ctx, tx, s.ID, now)
		return err
	})
}

// params are the session that a run starts.
func (s *Schedule) params() session.CreateParams {
	return session.CreateParams{
		OrgID: s.OrgID, Prompt: s.Prompt, Title: cut(s.Name, maxTitle), Tags: s.Tags, PlaybookID: s.PlaybookID, Platform: s.Platform,
		BypassApproval: s.BypassApproval, CreateAsUserID: s.RunAsUserID, Origin: "automation", ScheduleID: s.ID,
	}
}

// prepare does what comes before the transaction.
func (v *Service) prepare(ctx context.Context, s *Schedule) (start, error) {
	if s.RunAsUserID != "" {
		if err := v.Sessions.MayActFor(ctx, bot, s.OrgID, "run_as_user_id", s.RunAsUserID); err != nil {
			return nil, err
		}
	}
	if s.TargetID != "" {
		l, err := v.Sessions.Letter(ctx, bot, session.MessageParams{
			OrgID: s.OrgID, SessionID: s.TargetID, Message: s.Prompt, AsUserID: s.RunAsUserID,
		})
		return func(ctx context.Context, tx *db.Tx) (*session.Session, error) { return v.Sessions.SendTx(ctx, tx, l) }, err
	}
	d, err := v.Sessions.Draft(ctx, bot, s.params())
	return func(ctx context.Context, tx *db.Tx) (*session.Session, error) { return v.Sessions.CreateTx(ctx, tx, d) }, err
}

// begin takes the run and starts it. That somebody else took it is no error.
func (v *Service) begin(ctx context.Context, s *Schedule, begin start, following, now time.Time) error {
	to := v.addressee(ctx, s, s.NotifyOn == Always)
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		took, err := advanceTx(ctx, tx, s, following)
		if err != nil || !took {
			return err
		}
		made, err := begin(ctx, tx)
		if err != nil {
			return err
		}
		if err := executedTx(ctx, tx, s.ID, made.ID, now); err != nil {
			return err
		}
		if s.TargetID != "" { // a message is delivered; what its session does with it is the session's own story
			if err := succeededTx(ctx, tx, s.ID, made.ID); err != nil {
				return err
			}
		}
		return v.mailTx(ctx, tx, to, s.started(v.Sessions.URL(made.ID)), now)
	})
}
