package v3

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/schedule"
)

func init() { registrations = append(registrations, registerSchedules) }

// ScheduleResponse is a schedule. Its times are ISO 8601 in UTC, unlike those of everything else.
type ScheduleResponse struct {
	ScheduledSessionID  string        `json:"scheduled_session_id" doc:"The schedule's id."`
	OrgID               string        `json:"org_id"`
	Name                string        `json:"name"`
	Prompt              string        `json:"prompt"`
	Playbook            *PlaybookInfo `json:"playbook"`
	ScheduleType        string        `json:"schedule_type" enum:"recurring,one_time"`
	Frequency           *string       `json:"frequency" doc:"Cron expression of five fields, read in UTC."`
	IntervalCount       int64         `json:"interval_count"`
	ScheduledAt         *time.Time    `json:"scheduled_at"`
	Enabled             bool          `json:"enabled"`
	Agent               string        `json:"agent" enum:"devin,data_analyst"`
	Platform            *string       `json:"platform"`
	Tags                []string      `json:"tags" nullable:"true"`
	BypassApproval      bool          `json:"bypass_approval"`
	TargetDevinID       *string       `json:"target_devin_id" doc:"The session that is written to instead of a new one."`
	NotifyOn            string        `json:"notify_on" enum:"always,failure,never"`
	SlackChannelID      *string       `json:"slack_channel_id"`
	SlackTeamID         *string       `json:"slack_team_id"`
	CreatedBy           *string       `json:"created_by"`
	LastEditedBy        *string       `json:"last_edited_by"`
	CreatedAt           time.Time     `json:"created_at"`
	UpdatedAt           time.Time     `json:"updated_at"`
	LastExecutedAt      *time.Time    `json:"last_executed_at" doc:"When a run last started."`
	LastErrorAt         *time.Time    `json:"last_error_at"`
	LastErrorMessage    *string       `json:"last_error_message"`
	ConsecutiveFailures int64         `json:"consecutive_failures" doc:"Runs in a row that could not start or whose session ended in error."`
}

// PlaybookInfo names a playbook; its title is null when it is gone.
type PlaybookInfo struct {
	_ struct{} `nullable:"true"`

	PlaybookID string  `json:"playbook_id"`
	Title      *string `json:"title"`
}

// ScheduleCreateRequest makes a schedule, which is on from then.
type ScheduleCreateRequest struct {
	Name           string                  `json:"name" minLength:"1" maxLength:"256"`
	Prompt         string                  `json:"prompt" minLength:"1"`
	PlaybookID     kit.Optional[string]    `json:"playbook_id,omitempty" maxLength:"256"`
	ScheduleType   kit.Optional[string]    `json:"schedule_type,omitempty" enum:"recurring,one_time" doc:"recurring unless given."`
	Frequency      kit.Optional[string]    `json:"frequency,omitempty" maxLength:"256" doc:"Cron expression of five fields, read in UTC; needed for recurring."`
	IntervalCount  kit.Optional[int64]     `json:"interval_count,omitempty" minimum:"1" maximum:"1000" doc:"Runs at every n-th occurrence, at the first one to begin with; 1 unless given."`
	ScheduledAt    kit.Optional[time.Time] `json:"scheduled_at,omitempty" doc:"A future time with its zone; needed for one_time."`
	Agent          kit.Optional[string]    `json:"agent,omitempty" enum:"devin,data_analyst" doc:"Kept and shown; the organization's agent runs every session."`
	Platform       kit.Optional[string]    `json:"platform,omitempty" maxLength:"256"`
	Tags           []string                `json:"tags,omitempty" nullable:"true" maxItems:"50"`
	BypassApproval kit.Optional[bool]      `json:"bypass_approval,omitempty"`
	TargetDevinID  kit.Optional[string]    `json:"target_devin_id,omitempty" maxLength:"300" doc:"A session to write to instead of starting one; one_time only."`
	NotifyOn       kit.Optional[string]    `json:"notify_on,omitempty" enum:"always,failure,never" doc:"Of what a mail is sent; failure unless given."`
	SlackChannelID kit.Optional[string]    `json:"slack_channel_id,omitempty" maxLength:"256" doc:"Kept and shown."`
	SlackTeamID    kit.Optional[string]    `json:"slack_team_id,omitempty" maxLength:"256" doc:"Kept and shown."`
	CreateAsUserID kit.Optional[string]    `json:"create_as_user_id,omitempty" maxLength:"256" doc:"The member who owns it and whom its sessions run as; needs ImpersonateOrgSessions."`
}

// ScheduleUpdateRequest changes what is named. Null clears, or where something has to be, brings the default back; null keeps a name, a
// prompt, a type and whether it is on.
type ScheduleUpdateRequest struct {
	Name           kit.Optional[string]    `json:"name,omitempty" minLength:"1" maxLength:"256"`
	Prompt         kit.Optional[string]    `json:"prompt,omitempty" minLength:"1"`
	PlaybookID     kit.Optional[string]    `json:"playbook_id,omitempty" maxLength:"256"`
	ScheduleType   kit.Optional[string]    `json:"schedule_type,omitempty" enum:"recurring,one_time" doc:"A one_time schedule keeps its old frequency for the way back."`
	Frequency      kit.Optional[string]    `json:"frequency,omitempty" maxLength:"256" doc:"Cron expression of five fields, read in UTC; needed for recurring."`
	IntervalCount  kit.Optional[int64]     `json:"interval_count,omitempty" minimum:"1" maximum:"1000"`
	ScheduledAt    kit.Optional[time.Time] `json:"scheduled_at,omitempty" doc:"A future time with its zone; needed for one_time."`
	Enabled        kit.Optional[bool]      `json:"enabled,omitempty" doc:"False pauses; what is missed meanwhile isn't made up for."`
	Agent          kit.Optional[string]    `json:"agent,omitempty" enum:"devin,data_analyst"`
	Platform       kit.Optional[string]    `json:"platform,omitempty" maxLength:"256"`
	Tags           kit.Optional[[]string]  `json:"tags,omitempty" maxItems:"50"`
	BypassApproval kit.Optional[bool]      `json:"bypass_approval,omitempty"`
	TargetDevinID  kit.Optional[string]    `json:"target_devin_id,omitempty" maxLength:"300"`
	NotifyOn       kit.Optional[string]    `json:"notify_on,omitempty" enum:"always,failure,never"`
	SlackChannelID kit.Optional[string]    `json:"slack_channel_id,omitempty" maxLength:"256"`
	SlackTeamID    kit.Optional[string]    `json:"slack_team_id,omitempty" maxLength:"256"`
	RunAsUserID    kit.Optional[string]    `json:"run_as_user_id,omitempty" maxLength:"256" doc:"The member whom its sessions run as, null for the bot; needs ImpersonateOrgSessions."`
}

// isoOrNull is the wire form of a time that may be none.
func isoOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func scheduleOf(s schedule.Schedule) ScheduleResponse {
	out := ScheduleResponse{
		ScheduledSessionID: s.ID, OrgID: s.OrgID, Name: s.Name, Prompt: s.Prompt, ScheduleType: string(s.Type),
		Frequency: kit.NullText(s.Frequency), IntervalCount: s.IntervalCount, ScheduledAt: isoOrNull(s.ScheduledAt), Enabled: s.Enabled,
		Agent: s.Agent, Platform: kit.NullText(s.Platform), Tags: s.Tags, BypassApproval: s.BypassApproval,
		TargetDevinID: kit.NullText(s.TargetID), NotifyOn: string(s.NotifyOn), SlackChannelID: kit.NullText(s.SlackChannelID),
		SlackTeamID: kit.NullText(s.SlackTeamID), CreatedBy: kit.NullText(s.CreatedBy), LastEditedBy: kit.NullText(s.LastEditedBy),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, LastExecutedAt: isoOrNull(s.LastExecutedAt), LastErrorAt: isoOrNull(s.LastErrorAt),
		LastErrorMessage: kit.NullText(s.LastErrorMessage), ConsecutiveFailures: s.ConsecutiveFailures,
	}
	if s.PlaybookID != "" {
		out.Playbook = &PlaybookInfo{PlaybookID: s.PlaybookID, Title: kit.NullText(s.PlaybookTitle)}
	}
	return out
}

// spec turns a request into what the room takes.
func (r *ScheduleCreateRequest) spec() schedule.Spec {
	return schedule.Spec{
		Name: r.Name, Prompt: r.Prompt, PlaybookID: r.PlaybookID.Value, Type: schedule.Type(r.ScheduleType.Or(string(schedule.Recurring))),
		Frequency: r.Frequency.Value, IntervalCount: r.IntervalCount.Or(1), ScheduledAt: wholeMillis(r.ScheduledAt.Value), Agent: r.Agent.Or("devin"),
		Platform: r.Platform.Value, Tags: r.Tags, BypassApproval: r.BypassApproval.Or(false), TargetID: id.BareSession(r.TargetDevinID.Value),
		NotifyOn: schedule.Notify(r.NotifyOn.Or(string(schedule.Failure))), SlackChannelID: r.SlackChannelID.Value,
		SlackTeamID: r.SlackTeamID.Value, RunAsUserID: r.CreateAsUserID.Value,
	}
}

// wholeMillis gives a time as the database keeps it.
func wholeMillis(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// changed sets a value that a request names, to def where it says null.
func changed[T any](to *T, o kit.Optional[T], def T) {
	if o.Set {
		*to = o.Or(def)
	}
}

// change applies a request to a schedule.
func (r *ScheduleUpdateRequest) change(s *schedule.Schedule, now time.Time) error {
	if r.ScheduledAt.Has() && !r.ScheduledAt.Value.After(now) {
		return fault.InvalidField("scheduled_at", "must be in the future") // also one that it has already
	}
	changed(&s.Name, r.Name, s.Name)
	changed(&s.Prompt, r.Prompt, s.Prompt)
	changed(&s.PlaybookID, r.PlaybookID, "")
	if r.ScheduleType.Has() {
		s.Type = schedule.Type(r.ScheduleType.Value)
	}
	changed(&s.Frequency, r.Frequency, "")
	changed(&s.IntervalCount, r.IntervalCount, 1)
	if r.ScheduledAt.Set {
		s.ScheduledAt = wholeMillis(r.ScheduledAt.Value)
	}
	changed(&s.Enabled, r.Enabled, s.Enabled)
	changed(&s.Agent, r.Agent, "devin")
	changed(&s.Platform, r.Platform, "")
	changed(&s.Tags, r.Tags, nil)
	changed(&s.BypassApproval, r.BypassApproval, false)
	if r.TargetDevinID.Set {
		s.TargetID = id.BareSession(r.TargetDevinID.Value)
	}
	if r.NotifyOn.Set {
		s.NotifyOn = schedule.Notify(r.NotifyOn.Or(string(schedule.Failure)))
	}
	changed(&s.SlackChannelID, r.SlackChannelID, "")
	changed(&s.SlackTeamID, r.SlackTeamID, "")
	changed(&s.RunAsUserID, r.RunAsUserID, "")
	return nil
}

// ScheduleInput is embedded in the input of an operation on one schedule.
type ScheduleInput struct {
	ScheduleID string `path:"schedule_id" maxLength:"256" doc:"Schedule id."`
}

type scheduleOutput struct{ Body ScheduleResponse }

func scheduleAnswer(s schedule.Schedule, err error) (*scheduleOutput, error) {
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{Body: scheduleOf(s)}, nil
}

func scheduleOp(id, method, path, summary, description string) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: "/v3/organizations/{org_id}/schedules" + path, Tags: []string{"schedules"},
			Summary: summary, Description: description, Parameters: []*huma.Param{orgParam},
		},
		Any: []access.Permission{access.ManageOrgSchedules},
	}
}

const oneSchedule = "/{schedule_id}"

func registerSchedules(a *kit.API, rooms Rooms) {
	type listInput struct {
		Limit  int64  `query:"limit" minimum:"1" maximum:"200" default:"200" doc:"How many items at most."`
		Offset int64  `query:"offset" minimum:"0" maximum:"9007199254740992" default:"0" doc:"How many items to pass over."`
		After  string `query:"after" maxLength:"2048" doc:"The end_cursor of the page before, in the place of offset."`
	}
	type listOutput struct{ Body kit.Page[ScheduleResponse] }
	kit.Register(a, scheduleOp("listSchedules", http.MethodGet, "", "List schedules",
		"Oldest first, by limit and offset, or by after as every other list."),
		func(ctx context.Context, s access.Subject, in *listInput) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, kit.PageInput{After: in.After})
			if err != nil {
				return nil, err
			}
			if r.After != nil {
				in.Offset = r.After[0].(int64) // as sealed below
			}
			rows, total, err := rooms.Schedules.List(ctx, s, kit.Org(ctx), in.Limit, in.Offset)
			if err != nil {
				return nil, err
			}
			next := in.Offset + int64(len(rows))
			p := page.Page[schedule.Schedule]{Items: rows, More: len(rows) > 0 && next < total, End: page.Position{next}, Total: &total}
			return &listOutput{Body: kit.ClosePage(ctx, p, scheduleOf)}, nil
		})

	create := scheduleOp("createSchedule", http.MethodPost, "", "Create a schedule", "It is on from then.")
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body ScheduleCreateRequest }) (*scheduleOutput, error) {
		return scheduleAnswer(rooms.Schedules.Create(ctx, s, kit.Org(ctx), in.Body.spec()))
	})

	kit.Register(a, scheduleOp("getSchedule", http.MethodGet, oneSchedule, "Read a schedule", ""),
		func(ctx context.Context, s access.Subject, in *ScheduleInput) (*scheduleOutput, error) {
			return scheduleAnswer(rooms.Schedules.Get(ctx, s, kit.Org(ctx), in.ScheduleID))
		})

	type updateInput struct {
		ScheduleInput
		Body ScheduleUpdateRequest
	}
	update := scheduleOp("updateSchedule", http.MethodPatch, oneSchedule, "Change a schedule", "Absent members stay, null clears.")
	kit.Register(a, update, func(ctx context.Context, s access.Subject, in *updateInput) (*scheduleOutput, error) {
		return scheduleAnswer(rooms.Schedules.Update(ctx, s, kit.Org(ctx), in.ScheduleID, in.Body.change))
	})

	kit.Register(a, scheduleOp("deleteSchedule", http.MethodDelete, oneSchedule, "Delete a schedule",
		"It runs no more and is shown nowhere; its sessions stay. Answers with what it was."),
		func(ctx context.Context, s access.Subject, in *ScheduleInput) (*scheduleOutput, error) {
			return scheduleAnswer(rooms.Schedules.Delete(ctx, s, kit.Org(ctx), in.ScheduleID))
		})
}
