package schedule_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/schedule"
	"gantry/internal/session"
)

func TestWhatASpecificationSaysWrongIsNamed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for i, c := range []struct {
			field  string
			base   schedule.Spec
			change func(s *schedule.Spec)
		}{
			{"name", daily(), func(s *schedule.Spec) { s.Name = " " }},
			{"name", daily(), func(s *schedule.Spec) { s.Name = strings.Repeat("x", schedule.MaxName+1) }},
			{"prompt", daily(), func(s *schedule.Spec) { s.Prompt = "\n" }},
			{"prompt", daily(), func(s *schedule.Spec) { s.Prompt = strings.Repeat("x", schedule.MaxPrompt+1) }},
			{"schedule_type", daily(), func(s *schedule.Spec) { s.Type = "hourly" }},
			{"frequency", daily(), func(s *schedule.Spec) { s.Frequency = "" }},
			{"frequency", daily(), func(s *schedule.Spec) { s.Frequency = "every day" }},
			{"frequency", daily(), func(s *schedule.Spec) { s.Frequency = "0 0 30 2 *" }},
			{"frequency", once(day(1)), func(s *schedule.Spec) { s.Frequency = "0 9 * * *" }},
			{"interval_count", daily(), func(s *schedule.Spec) { s.IntervalCount = 0 }},
			{"interval_count", daily(), func(s *schedule.Spec) { s.IntervalCount = schedule.MaxInterval + 1 }},
			{"scheduled_at", daily(), func(s *schedule.Spec) { s.ScheduledAt = day(1) }},
			{"scheduled_at", once(time.Time{}), nil},
			{"scheduled_at", once(monday), nil},
			{"scheduled_at", once(monday.Add(-time.Hour)), nil},
			{"scheduled_at", once(time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -12*60*60))), nil}, // in UTC a year that JSON can't hold
			{"target_devin_id", daily(), func(s *schedule.Spec) { s.TargetID = "x" }},
			{"agent", daily(), func(s *schedule.Spec) { s.Agent = "advanced" }},
			{"notify_on", daily(), func(s *schedule.Spec) { s.NotifyOn = "sometimes" }},
			{"slack_team_id", daily(), func(s *schedule.Spec) { s.SlackTeamID = strings.Repeat("x", 257) }},
			{"0", daily(), func(s *schedule.Spec) { s.Tags = []string{" "} }},
		} {
			if c.change != nil {
				c.change(&c.base)
			}
			_, err := h.Schedules.Create(t.Context(), h.boss, h.org, c.base)
			require.Equal(t, c.field, field(t, err), "case %d", i)
		}
		spec := daily()
		spec.Platform = "vax"
		_, err := h.Schedules.Create(t.Context(), h.boss, h.org, spec)
		isFault(t, err, fault.BadRequest)
		foreign, err := h.Sessions.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.Org, Prompt: "x"})
		require.NoError(t, err)
		for want, change := range map[string]func(s *schedule.Spec){
			"playbook_id":       func(s *schedule.Spec) { s.PlaybookID = "playbook-none" },
			"target_devin_id":   func(s *schedule.Spec) { s.TargetID = foreign.ID },
			"create_as_user_id": func(s *schedule.Spec) { s.RunAsUserID = "user-none" },
		} {
			spec := once(day(1))
			change(&spec)
			_, err := h.Schedules.Create(t.Context(), h.boss, h.org, spec)
			isFault(t, err, fault.NotFound)
			require.Contains(t, err.Error(), want)
		}
		_, total, err := h.Schedules.List(t.Context(), h.boss, h.org, 1, 0)
		require.NoError(t, err)
		require.Zero(t, total, "nothing was kept")
	})
}

func TestAChangeKeepsWhatItDoesNotName(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		spec := daily()
		spec.Tags, spec.SlackChannelID, spec.Agent, spec.Platform = []string{"a"}, "C1", "data_analyst", ""
		s := h.make(spec)
		h.time.Advance(time.Minute)
		got, err := h.change(s.ID, func(s *schedule.Schedule) { s.Name = "new name" })
		require.NoError(t, err)
		require.Equal(t, "new name", got.Name)
		require.Equal(t, h.boss.ID, got.LastEditedBy)
		require.Equal(t, monday.Add(time.Minute), got.UpdatedAt)
		got.Name, got.UpdatedAt, got.LastEditedBy = s.Name, s.UpdatedAt, ""
		require.Equal(t, s.Spec, got.Spec)
		require.Equal(t, s.NextRunAt, got.NextRunAt)
		require.Equal(t, s.CreatedBy, got.CreatedBy)
	})
}

func TestAChangeOfTypeNeedsItsTimeAndKeepsTheOldExpression(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(daily())
		set := func(f func(s *schedule.Schedule)) (schedule.Schedule, error) { return h.change(s.ID, f) }
		_, err := set(func(s *schedule.Schedule) { s.Type = schedule.OneTime })
		require.Equal(t, "scheduled_at", field(t, err))
		got, err := set(func(s *schedule.Schedule) { s.Type, s.ScheduledAt = schedule.OneTime, day(2) })
		require.NoError(t, err)
		require.Equal(t, "0 9 * * *", got.Frequency)
		require.Equal(t, day(2), got.NextRunAt)
		_, err = set(func(s *schedule.Schedule) { s.Frequency = "0 8 * * *" })
		require.Equal(t, "frequency", field(t, err))
		got, err = set(func(s *schedule.Schedule) { s.Type = schedule.Recurring })
		require.NoError(t, err)
		require.Equal(t, day(0), got.NextRunAt)
		require.True(t, h.get(s.ID).ScheduledAt.IsZero())
		_, err = set(func(s *schedule.Schedule) { s.Frequency = "" })
		require.Equal(t, "frequency", field(t, err))

		only := h.make(once(day(1)))
		_, err = h.change(only.ID, func(s *schedule.Schedule) { s.Type = schedule.Recurring })
		require.Equal(t, "frequency", field(t, err))
		h.at(day(1))
		_, err = h.change(only.ID, func(s *schedule.Schedule) { s.Enabled = true })
		require.Equal(t, "scheduled_at", field(t, err), "it has run; it needs another time")
		_, err = h.change(only.ID, func(s *schedule.Schedule) { s.Name = "past" })
		require.NoError(t, err)
		got, err = h.change(only.ID, func(s *schedule.Schedule) { s.Enabled, s.ScheduledAt = true, day(4) })
		require.NoError(t, err)
		require.Equal(t, day(4), got.NextRunAt)
	})
}

func TestANewFrequencyCountsFromNow(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		spec := daily()
		spec.IntervalCount = 5
		s := h.make(spec)
		h.at(day(0))
		require.Equal(t, day(5), h.get(s.ID).NextRunAt)
		got, err := h.change(s.ID, func(s *schedule.Schedule) { s.Frequency = "0   10 * *  mon" })
		require.NoError(t, err)
		require.Equal(t, "0   10 * *  mon", got.Frequency)
		require.Equal(t, day(0).Add(time.Hour), got.NextRunAt)
	})
}

func TestAPersonsScheduleRunsAsThemAndOthersNeedTheRightToImpersonate(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		ada, token := h.NewPerson(t, "ada@example.com", h.org, access.RoleOrgMember)
		bob, _ := h.NewPerson(t, "bob@example.com", h.org, access.RoleOrgMember)
		who, err := h.Members.PersonSubject(ctx, ada)
		require.NoError(t, err)
		require.NotEmpty(t, token)
		s, err := h.Schedules.Create(ctx, who, h.org, daily())
		require.NoError(t, err)
		require.Equal(t, ada, s.RunAsUserID)
		require.Equal(t, ada, s.CreatedBy)
		spec := daily()
		spec.RunAsUserID = bob
		_, err = h.Schedules.Create(ctx, who, h.org, spec)
		isFault(t, err, fault.Forbidden)
		_, err = h.Schedules.Update(ctx, who, h.org, s.ID, func(s *schedule.Schedule, _ time.Time) error { s.RunAsUserID = bob; return nil })
		isFault(t, err, fault.Forbidden)
		_, err = h.Schedules.Update(ctx, who, h.org, s.ID, func(s *schedule.Schedule, _ time.Time) error { s.RunAsUserID = ""; return nil })
		require.NoError(t, err, "the bot is anybody's")
		got, err := h.change(s.ID, func(s *schedule.Schedule) { s.RunAsUserID = bob })
		require.NoError(t, err)
		require.Equal(t, bob, got.RunAsUserID)
		_, err = h.change(s.ID, func(s *schedule.Schedule) { s.RunAsUserID = "user-none" })
		isFault(t, err, fault.NotFound)
		require.Contains(t, err.Error(), "run_as_user_id")
	})
}

func TestWhatRunsAsSomebodyElseIsChangedOnlyByWhoMayImpersonate(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ada, _ := h.NewPerson(t, "ada@example.com", h.org, access.RoleOrgMember)
		bob, _ := h.NewPerson(t, "bob@example.com", h.org, access.RoleOrgMember)
		spec := daily()
		spec.RunAsUserID = bob
		s := h.make(spec)
		as := func(userID string, f func(s *schedule.Schedule)) error {
			who, err := h.Members.PersonSubject(t.Context(), userID)
			require.NoError(t, err)
			_, err = h.Schedules.Update(t.Context(), who, h.org, s.ID, func(s *schedule.Schedule, _ time.Time) error { f(s); return nil })
			return err
		}
		for name, f := range map[string]func(s *schedule.Schedule){
			"prompt":    func(s *schedule.Schedule) { s.Prompt = "do as I say" },
			"frequency": func(s *schedule.Schedule) { s.Frequency = "* * * * *" },
			"tags":      func(s *schedule.Schedule) { s.Tags = []string{"x"} },
			"approval":  func(s *schedule.Schedule) { s.BypassApproval = true },
		} {
			t.Run(name, func(t *testing.T) { isFault(t, as(ada, f), fault.Forbidden) })
		}
		require.Equal(t, spec, h.get(s.ID).Spec, "nothing is half done")
		require.NoError(t, as(ada, func(s *schedule.Schedule) { s.Name, s.NotifyOn, s.Enabled = "renamed", schedule.Never, false }))
		isFault(t, as(ada, func(s *schedule.Schedule) { s.Enabled = true }), fault.Forbidden)
		require.NoError(t, as(bob, func(s *schedule.Schedule) { s.Prompt, s.Enabled = "my own", true }))
		require.NoError(t, as(ada, func(s *schedule.Schedule) { s.RunAsUserID, s.Prompt = "", "as the bot" }))
	})
}

func TestAScheduleWritesToASessionForWhoMayWriteToSessions(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		target, err := h.Sessions.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "begin"})
		require.NoError(t, err)
		spec := once(day(0))
		spec.TargetID = target.ID
		s := h.make(spec)
		// Who has schedules alone starts sessions, and leaves those that there are to others.
		who := access.Subject{Kind: access.ServiceUser, ID: "su-clock", OrgID: h.org}.
			WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(access.ManageOrgSchedules)})
		_, err = h.Schedules.Create(t.Context(), who, h.org, spec)
		isFault(t, err, fault.Forbidden)
		require.ErrorContains(t, err, "ManageOrgSessions")
		set := func(f func(s *schedule.Schedule)) error {
			_, err := h.Schedules.Update(t.Context(), who, h.org, s.ID, func(s *schedule.Schedule, _ time.Time) error { f(s); return nil })
			return err
		}
		isFault(t, set(func(s *schedule.Schedule) { s.Prompt = "do as I say" }), fault.Forbidden)
		require.NoError(t, set(func(s *schedule.Schedule) { s.Name, s.Enabled = "renamed", false }))
		require.NoError(t, set(func(s *schedule.Schedule) { s.TargetID, s.Prompt, s.Enabled = "", "a session of its own", true }))
		_, err = h.Schedules.Create(t.Context(), who, h.org, daily())
		require.NoError(t, err)
	})
}

func TestADeletedScheduleIsGoneForEveryOperation(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		s := h.make(daily())
		got, err := h.Schedules.Delete(ctx, h.boss, h.org, s.ID)
		require.NoError(t, err)
		require.Equal(t, s.Name, got.Name)
		_, err = h.Schedules.Get(ctx, h.boss, h.org, s.ID)
		isFault(t, err, fault.NotFound)
		_, err = h.Schedules.Delete(ctx, h.boss, h.org, s.ID)
		isFault(t, err, fault.NotFound)
		_, err = h.change(s.ID, func(*schedule.Schedule) {})
		isFault(t, err, fault.NotFound)
		rows, total, err := h.Schedules.List(ctx, h.boss, h.org, 200, 0)
		require.NoError(t, err)
		require.Empty(t, rows)
		require.Zero(t, total)

		logs, err := h.Audit.List(ctx, h.boss, audit.ListParams{OrgID: h.org, Order: audit.Asc, Page: page.Request{First: 10}})
		require.NoError(t, err)
		var actions []audit.Action
		for _, l := range logs.Items {
			actions = append(actions, l.Action)
		}
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.CreateSchedule, audit.DeleteSchedule}, actions)
	})
}

func TestAForeignScheduleIsAsIfItWereNotThere(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		s := h.make(daily())
		_, err := h.Schedules.Get(ctx, h.boss, h.Org, s.ID)
		isFault(t, err, fault.NotFound)
		_, err = h.Schedules.Delete(ctx, h.boss, h.Org, s.ID)
		isFault(t, err, fault.NotFound)
		for _, who := range []access.Subject{{}, access.As("test", access.ManageOrgSessions)} {
			_, err = h.Schedules.Create(ctx, who, h.org, schedule.Spec{})
			isFault(t, err, fault.Forbidden)
			_, _, err = h.Schedules.List(ctx, who, h.org, 1, 0)
			isFault(t, err, fault.Forbidden)
			_, err = h.Schedules.Get(ctx, who, h.org, s.ID)
			isFault(t, err, fault.Forbidden)
			_, err = h.Schedules.Update(ctx, who, h.org, s.ID, nil)
			isFault(t, err, fault.Forbidden)
			_, err = h.Schedules.Delete(ctx, who, h.org, s.ID)
			isFault(t, err, fault.Forbidden)
		}
	})
}

func TestListsPageByLimitAndOffset(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		var want []string
		for i := range 5 {
			spec := daily()
			spec.Name = fmt.Sprint("schedule ", i)
			want = append(want, h.make(spec).ID)
			h.time.Advance(time.Millisecond)
		}
		var got []string
		for offset := int64(0); offset < 8; offset += 2 {
			rows, total, err := h.Schedules.List(t.Context(), h.boss, h.org, 2, offset)
			require.NoError(t, err)
			require.EqualValues(t, 5, total)
			for _, s := range rows {
				got = append(got, s.ID)
			}
		}
		require.Equal(t, want, got)
	})
}

func TestChangesOfDifferentFieldsDoNotUndoOneAnother(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(daily())
		for i := range 5 {
			var wg sync.WaitGroup
			for _, f := range []func(s *schedule.Schedule){
				func(s *schedule.Schedule) { s.Name = fmt.Sprint("name ", i) }, func(s *schedule.Schedule) { s.Prompt = fmt.Sprint("prompt ", i) },
			} {
				wg.Go(func() {
					_, err := h.Schedules.Update(context.Background(), h.boss, h.org, s.ID, func(s *schedule.Schedule, _ time.Time) error { f(s); return nil })
					require.NoError(t, err)
				})
			}
			wg.Wait()
			got := h.get(s.ID)
			require.Equal(t, fmt.Sprint("name ", i), got.Name)
			require.Equal(t, fmt.Sprint("prompt ", i), got.Prompt)
		}
	})
}
