// Package schedule owns schedules: sessions that start by themselves, at one time or again and again.
//
// Rules, from contract/behaviour.md §8 and contract/v3-rules.md "Schedules"; where those leave a question open, the answer is ours:
//   - A recurring schedule has a cron expression of five fields, read in UTC. A one-time schedule has a future time, may write to an
//     existing session instead of starting one, and is switched off after it ran, whether that worked or not.
//   - Of a recurring schedule's occurrences the first after its making fires, then every interval_count-th. A change of its times or a
//     pause begins the count anew.
//   - A schedule fires once across replicas. Occurrences that passed while nothing ran are made up for by one run; those of a pause
//     aren't.
//   - It runs as the person in run_as_user_id, who has to be a member that may use sessions each time, or as the bot. A person's schedule
//     runs as that person from its making on; a service user's runs as the bot unless it names somebody.
//     Only who may impersonate changes what a schedule does that runs as somebody else.
//   - A run fails when it can't start, and when its session ends in error. Failures in a row are counted; a session that finishes what it
//     was asked, or a message that is delivered, sets them back. Nothing is ever switched off because of failures.
//   - agent and the Slack fields are kept and shown, and change nothing here: the organization's agent runs every session, and
//     notices go by mail.
package schedule

import (
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Type says when a schedule runs.
type Type string

// The types.
const (
	Recurring Type = "recurring"
	OneTime   Type = "one_time"
)

// Notify says of what a mail is sent.
type Notify string

// The kinds. Always is of each run that starts, and of failures.
const (
	Always  Notify = "always"
	Failure Notify = "failure"
	Never   Notify = "never"
)

// Agents are the agents a schedule may name (contract/v3-rules.md "Differences" 10).
var Agents = []string{"devin", "data_analyst"}

// Limits on what a caller may send.
const (
	MaxName     = 256      // characters
	MaxPrompt   = 64 << 10 // bytes; less than a session's, because a list shows 200 of them
	MaxInterval = 1000
	maxID       = 256  // characters
	maxError    = 1000 // bytes of last_error_message
	maxYear     = 9999 // the last that ISO 8601 can write
)

// Spec is what a schedule is to do, as its owner says it. Empty texts stand for null, the zero time for none, nil tags for null.
type Spec struct {
	Name           string
	Prompt         string
	PlaybookID     string
	Type           Type
	Frequency      string
	IntervalCount  int64
	ScheduledAt    time.Time
	Agent          string
	Platform       string
	Tags           []string
	BypassApproval bool
	TargetID       string // the session to write to, without a prefix
	NotifyOn       Notify
	SlackChannelID string
	SlackTeamID    string
	RunAsUserID    string
}

// doesOther says whether a change has a schedule do something else, or do it at other times: everything but its name, whom it tells, and
// being switched off.
func (s *Schedule) doesOther(before *Schedule) bool {
	then := before.Spec
	then.Name, then.NotifyOn, then.SlackChannelID, then.SlackTeamID = s.Name, s.NotifyOn, s.SlackChannelID, s.SlackTeamID
	return !reflect.DeepEqual(s.Spec, then) || s.Enabled && !before.Enabled
}

// Schedule is a schedule with what became of it. PlaybookTitle is filled for those that ask for it; a playbook that is gone has none.
type Schedule struct {
	Spec
	ID            string
	OrgID         string
	Enabled       bool
	PlaybookTitle string
	CreatedBy     string
	LastEditedBy  string
	CreatedAt     time.Time
	UpdatedAt     time.Time
	NextRunAt     time.Time // zero while nothing is to happen

	LastExecutedAt      time.Time
	LastSessionID       string
	ConsecutiveFailures int64
	LastErrorAt         time.Time
	LastErrorMessage    string

	version         int64
	failureMailedAt time.Time
}

// validate checks what a specification says by itself; what it names is looked up later. Sessions' own rules are theirs to check.
func (s *Spec) validate() error {
	if n := utf8.RuneCountInString(s.Name); strings.TrimSpace(s.Name) == "" || n > MaxName || !db.Storable(s.Name) {
		return fault.InvalidField("name", "must be text of 1 to %d characters", MaxName)
	}
	if len(s.Prompt) > MaxPrompt {
		return fault.InvalidField("prompt", "must have at most %d bytes", MaxPrompt)
	}
	for _, t := range []struct{ field, text string }{
		{"slack_channel_id", s.SlackChannelID},
		{"slack_team_id", s.SlackTeamID},
		{"playbook_id", s.PlaybookID},
		{"target_devin_id", s.TargetID},
		{"run_as_user_id", s.RunAsUserID},
		{"platform", s.Platform},
	} {
		if utf8.RuneCountInString(t.text) > maxID || !db.Storable(t.text) {
			return fault.InvalidField(t.field, "must be text of at most %d characters", maxID)
		}
	}
	if !slices.Contains(Agents, s.Agent) {
		return fault.InvalidField("agent", "must be one of %s", strings.Join(Agents, ", "))
	}
	if s.NotifyOn != Always && s.NotifyOn != Failure && s.NotifyOn != Never {
		return fault.InvalidField("notify_on", "must be always, failure or never")
	}
	if s.IntervalCount < 1 || s.IntervalCount > MaxInterval {
		return fault.InvalidField("interval_count", "must be from 1 to %d", MaxInterval)
	}
	return s.validateTimes()
}

func (s *Spec) validateTimes() error {
	switch s.Type {
	case Recurring:
		if s.Frequency == "" {
			return fault.InvalidField("frequency", "a recurring schedule needs a cron expression of five fields")
		}
		if s.TargetID != "" {
			return fault.InvalidField("target_devin_id", "only a one_time schedule can write to an existing session")
		}
	case OneTime:
		if s.ScheduledAt.IsZero() {
			return fault.InvalidField("scheduled_at", "a one_time schedule needs the time at which it is to run")
		}
		if s.ScheduledAt.UTC().Year() > maxYear {
			return fault.InvalidField("scheduled_at", "must be before the year %d in UTC", maxYear+1)
		}
	default:
		return fault.InvalidField("schedule_type", "must be recurring or one_time")
	}
	return nil
}

// onlyItsTimes refuses a new time of the other type, which would be taken and never count. A recurring schedule has no time of its own;
// a one-time schedule keeps the expression that it had before.
func (s *Schedule) onlyItsTimes(before *Schedule) error {
	if before == nil {
		before = &Schedule{}
	}
	if s.Type == OneTime && s.Frequency != "" && s.Frequency != before.Frequency {
		return fault.InvalidField("frequency", "a one_time schedule has none")
	}
	if s.Type == Recurring && !s.ScheduledAt.IsZero() {
		if !s.ScheduledAt.Equal(before.ScheduledAt) {
			return fault.InvalidField("scheduled_at", "only a one_time schedule has one")
		}
		s.ScheduledAt = time.Time{}
	}
	return nil
}

// future refuses a time that has come already.
func future(at, now time.Time) error {
	if !at.After(now) {
		return fault.InvalidField("scheduled_at", "must be in the future")
	}
	return nil
}

// first gives when a schedule that begins now runs for the first time.
func (s *Spec) first(now time.Time) (time.Time, error) {
	if s.Type == OneTime {
		return s.ScheduledAt, future(s.ScheduledAt, now)
	}
	return next(s.Frequency, now)
}

// following gives when a schedule that was due runs again; zero is never.
func (s *Spec) following(due, now time.Time) (time.Time, error) {
	if s.Type == OneTime {
		return time.Time{}, nil
	}
	return nth(s.Frequency, s.IntervalCount, due, now)
}

// sameTimes reports whether two specifications run at the same times, so that a change between them needs no new reckoning.
func (s *Spec) sameTimes(o *Spec) bool {
	return s.Type == o.Type && s.Frequency == o.Frequency && s.IntervalCount == o.IntervalCount && s.ScheduledAt.Equal(o.ScheduledAt)
}

var errNone = fault.New(fault.NotFound, "the schedule doesn't exist")
