package session

import (
	"context"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/jobs"
)

// What a room above sessions needs to start them by itself, and to hear how they went.

// Check refuses what Draft would refuse of a request by itself, its platform included, for a room that keeps requests for later.
func (v *Service) Check(ctx context.Context, p CreateParams) error {
	if err := p.validate(); err != nil {
		return err
	}
	platform := strings.ToLower(p.Platform)
	if platform == "default" || platform == "inherit" {
		return nil
	}
	_, err := v.Fleet.OutpostFor(ctx, platform)
	return err
}

// CheckTags refuses tags of a request that is kept for later which its session couldn't have.
func (v *Service) CheckTags(ctx context.Context, orgID string, tags []string) error {
	rules, err := v.Orgs.TagRulesTx(ctx, v.DB.Reader(), orgID)
	if err != nil {
		return err
	}
	tags = rules.Fill(tags)
	if err := rules.Check(tags); err != nil {
		return err
	}
	return rules.Require(tags)
}

// MayActFor checks the three conditions of impersonation (contract/behaviour.md §3.5): 403 without ImpersonateOrgSessions or when the
// member may not use sessions, 404 that names the field when there is no such member.
func (v *Service) MayActFor(ctx context.Context, who access.Subject, orgID, field, userID string) error {
	return v.mayActFor(ctx, who, orgID, field, userID)
}

// JobOutcome is the kind of the job that tells how a schedule's session went. Who keeps schedules stands above and handles it.
const JobOutcome = "session-outcome"

// Outcome is that job's arguments: the session finished what it was asked, or ended in error.
type Outcome struct {
	SessionID  string `json:"session_id"`
	ScheduleID string `json:"schedule_id"`
	Failed     bool   `json:"failed"`
	Reason     string `json:"reason,omitempty"`
}

// outcomeTx tells whoever keeps schedules that a session of one has finished its work or ended in error. It is told once per change, so
// nobody has to look at sessions to find out.
func (v *Service) outcomeTx(ctx context.Context, tx *db.Tx, s *Session, before State, now time.Time) error {
	if s.ScheduleID == "" || s.State == before {
		return nil
	}
	o := Outcome{SessionID: s.ID, ScheduleID: s.ScheduleID}
	key := s.ID + "/finished"
	switch {
	case s.State.Status == StatusError:
		o.Failed, o.Reason, key = true, s.Reason, s.ID+"/failed"
	case s.State.Detail != Finished:
		return nil
	}
	return jobs.InsertTx(ctx, tx, now, jobs.Insert{Kind: JobOutcome, Key: key, Args: o})
}
