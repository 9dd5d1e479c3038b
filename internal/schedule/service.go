package schedule

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/mail"
	"gantry/internal/playbook"
	"gantry/internal/session"
)

// Options of New. People answers who a member is; Mail is nil when mail is off.
type Options struct {
	DB        *db.DB
	Clock     clock.Clock
	Orgs      *org.Service
	Sessions  *session.Service
	Playbooks *playbook.Service
	People    func(ctx context.Context, userID string) (access.Subject, error)
	Mail      *mail.Mailer
	Logger    *slog.Logger
}

// Service holds the use cases.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service { return &Service{o} }

// now is the time as the database keeps it.
func (v *Service) now() time.Time { return v.Clock.Now().UTC().Truncate(time.Millisecond) }

// Create keeps a schedule, which is on from then. It needs ManageOrgSchedules, and for somebody else what creating a session for them
// needs (contract/behaviour.md §3.5).
//
// Errors: 403 permission; 422 a field; 400 an unknown platform; 404 an unknown playbook, member or session to write to.
func (v *Service) Create(ctx context.Context, who access.Subject, orgID string, spec Spec) (Schedule, error) {
	if err := access.Require(who, access.ManageOrgSchedules, orgID); err != nil {
		return Schedule{}, err
	}
	now := v.now()
	s := Schedule{Spec: spec, ID: id.New(id.Schedule), OrgID: orgID, Enabled: true, CreatedBy: who.ID, CreatedAt: now, UpdatedAt: now, version: 1}
	if err := v.check(ctx, who, &s, nil, now); err != nil {
		return Schedule{}, err
	}
	switch {
	case s.RunAsUserID != "":
		if err := v.Sessions.MayActFor(ctx, who, orgID, "create_as_user_id", s.RunAsUserID); err != nil {
			return Schedule{}, err
		}
		s.CreatedBy = s.RunAsUserID // the contract calls them the owner
	case who.Kind == access.Person:
		s.RunAsUserID = who.ID
	}
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := insertTx(ctx, tx, &s); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{Action: audit.CreateSchedule, OrgID: orgID, Data: s.facts()})
	})
	return s, err
}

// facts are what an audit entry says of a schedule.
func (s *Schedule) facts() map[string]any {
	facts := map[string]any{"schedule_id": s.ID, "name": s.Name, "schedule_type": s.Type, "enabled": s.Enabled}
	if s.RunAsUserID != "" {
		facts["run_as_user_id"] = s.RunAsUserID
	}
	return facts
}

// check refuses a specification that can't be, resolves what it names, and reckons when it runs next. before is the schedule as it was,
// nil for a new one: what it named already isn't looked up again, so that a schedule whose playbook is gone can still be renamed.
func (v *Service) check(ctx context.Context, who access.Subject, s, before *Schedule, now time.Time) error {
	if err := s.validate(); err != nil {
		return err
	}
	if err := s.onlyItsTimes(before); err != nil {
		return err
	}
	if s.Frequency != "" {
		if _, err := checkCron(s.Frequency); err != nil {
			return err
		}
	}
	if err := v.plan(s, before, now); err != nil {
		return err
	}
	p := s.params()
	if before != nil && before.Platform == s.Platform {
		p.Platform = ""
	}
	p.PlaybookID = ""
	if err := v.Sessions.Check(ctx, p); err != nil {
		return err
	}
	if s.TargetID == "" && (before == nil || !slices.Equal(before.Tags, s.Tags)) {
		if err := v.Sessions.CheckTags(ctx, s.OrgID, s.Tags); err != nil {
			return err
		}
	}
	if s.PlaybookID != "" && (before == nil || before.PlaybookID != s.PlaybookID) {
		given, err := v.Playbooks.Named(ctx, s.OrgID, "playbook_id", s.PlaybookID)
		if err != nil {
			return err
		}
		s.PlaybookTitle = given.Title
	}
	if err := v.checkTarget(ctx, who, s, before); err != nil {
		return err
	}
	switch {
	case before == nil || s.RunAsUserID == "":
		return nil
	case s.RunAsUserID != before.RunAsUserID:
		return v.Sessions.MayActFor(ctx, who, s.OrgID, "run_as_user_id", s.RunAsUserID)
	case s.RunAsUserID != who.ID && s.doesOther(before):
		// Otherwise whoever may change schedules could have somebody else say and run what they like.
		return access.Require(who, access.ImpersonateOrgSessions, s.OrgID)
	}
	return nil
}

// checkTarget finds the session that a schedule writes to. Otherwise than for starting one, whoever may change schedules must be one who
// may write to sessions (contract/behaviour.md §3.2 12): this one may be somebody else's.
func (v *Service) checkTarget(ctx context.Context, who access.Subject, s, before *Schedule) error {
	if s.TargetID == "" {
		return nil
	}
	if before == nil || s.doesOther(before) {
		if err := access.Require(who, access.ManageOrgSessions, s.OrgID); err != nil {
			return err
		}
	}
	if before != nil && before.TargetID == s.TargetID {
		return nil
	}
	_, err := v.Sessions.Find(ctx, s.OrgID, s.TargetID)
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(err, fault.NotFound, "target_devin_id: no such session")
	}
	return err
}

// plan sets when the schedule runs next. A schedule that goes on as before keeps its time.
func (v *Service) plan(s, before *Schedule, now time.Time) error {
	if before != nil && s.Enabled == before.Enabled && s.sameTimes(&before.Spec) {
		return nil
	}
	at, err := s.first(now)
	if err != nil && (s.Enabled || !s.sameTimes(&before.Spec)) {
		return err
	}
	s.NextRunAt = at
	if !s.Enabled {
		s.NextRunAt = time.Time{}
	}
	return nil
}

// List gives a part of an organization's schedules, oldest first, and how many there are. It needs ManageOrgSchedules.
func (v *Service) List(ctx context.Context, who access.Subject, orgID string, limit, offset int64) ([]Schedule, int64, error) {
	if err := access.Require(who, access.ManageOrgSchedules, orgID); err != nil {
		return nil, 0, err
	}
	total, err := count(ctx, v.DB.Reader(), orgID)
	if err != nil || offset >= total {
		return nil, total, err
	}
	rows, err := list(ctx, v.DB.Reader(), orgID, limit, offset)
	if err != nil {
		return nil, 0, err
	}
	return rows, total, v.title(ctx, rows)
}

// title fills in the titles of playbooks.
func (v *Service) title(ctx context.Context, rows []Schedule) error {
	var ids []string
	for _, s := range rows {
		if s.PlaybookID != "" {
			ids = append(ids, s.PlaybookID)
		}
	}
	titles, err := v.Playbooks.Titles(ctx, ids)
	for i := range rows {
		rows[i].PlaybookTitle = titles[rows[i].PlaybookID]
	}
	return err
}

// Get reads one schedule. It needs ManageOrgSchedules.
func (v *Service) Get(ctx context.Context, who access.Subject, orgID, scheduleID string) (Schedule, error) {
	if err := access.Require(who, access.ManageOrgSchedules, orgID); err != nil {
		return Schedule{}, err
	}
	s, err := find(ctx, v.DB.Reader(), orgID, scheduleID)
	if err != nil {
		return Schedule{}, err
	}
	rows := []Schedule{s}
	err = v.title(ctx, rows)
	return rows[0], err
}

func find(ctx context.Context, q db.Querier, orgID, scheduleID string) (Schedule, error) {
	s, err := read(ctx, q, scheduleID)
	if errors.Is(err, db.ErrNone) || (err == nil && s.OrgID != orgID) {
		return Schedule{}, errNone
	}
	return s, err
}

// updateTries is how often a change begins anew because the schedule ran or was changed in the middle of it.
const updateTries = 20

// Update changes a schedule: change is given it as it is and may be called again. It needs ManageOrgSchedules, and
// ImpersonateOrgSessions to have it run as somebody, and to change what one does that runs as somebody else.
func (v *Service) Update(ctx context.Context, who access.Subject, orgID, scheduleID string, change func(s *Schedule, now time.Time) error,
) (Schedule, error) {
	if err := access.Require(who, access.ManageOrgSchedules, orgID); err != nil {
		return Schedule{}, err
	}
	for range updateTries {
		before, err := v.Get(ctx, who, orgID, scheduleID)
		if err != nil {
			return Schedule{}, err
		}
		s, now := before, v.now()
		if err := change(&s, now); err != nil {
			return Schedule{}, err
		}
		if err := v.check(ctx, who, &s, &before, now); err != nil {
			return Schedule{}, err
		}
		s.UpdatedAt, s.LastEditedBy = now, who.ID
		done := false
		err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			if done, err = updateTx(ctx, tx, &s); err != nil || !done {
				return err
			}
			return audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{Action: audit.UpdateSchedule, OrgID: orgID, Data: s.facts()})
		})
		if err != nil || done {
			return s, err
		}
	}
	return Schedule{}, fault.New(fault.Conflict, "the schedule is being changed by others; try again")
}

// Delete ends a schedule, which is shown nowhere from then on; its sessions stay. It needs ManageOrgSchedules.
func (v *Service) Delete(ctx context.Context, who access.Subject, orgID, scheduleID string) (Schedule, error) {
	s, err := v.Get(ctx, who, orgID, scheduleID)
	if err != nil {
		return Schedule{}, err
	}
	now := v.now()
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if n, err := endTx(ctx, tx, scheduleID, now); err != nil || n == 0 {
			return errOrNone(err)
		}
		return audit.RecordTx(ctx, tx, who, now.UnixMilli(), audit.Entry{Action: audit.DeleteSchedule, OrgID: orgID, Data: s.facts()})
	})
	s.UpdatedAt = now
	return s, err
}

func errOrNone(err error) error {
	if err != nil {
		return err
	}
	return errNone
}
