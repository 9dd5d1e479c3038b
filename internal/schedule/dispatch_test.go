package schedule_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/playbook"
	"gantry/internal/schedule"
	"gantry/internal/secrets"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// day is nine o'clock n days after the Monday on which tests begin.
func day(n int) time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

func TestARecurringScheduleStartsASessionAtEachOccurrence(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		spec := daily()
		spec.Tags, spec.BypassApproval = []string{"nightly"}, true
		s := h.make(spec)
		h.at(day(0).Add(-time.Millisecond))
		require.Empty(t, h.sessions(s.ID))
		h.at(day(0))
		h.at(day(0).Add(time.Second))
		h.at(day(1).Add(3 * time.Second))
		made := h.sessions(s.ID)
		require.Len(t, made, 2, "once each")
		require.Equal(t, "automation", made[0].Origin)
		require.Equal(t, s.ID, made[0].ScheduleID)
		require.Equal(t, s.Name, made[0].Title)
		require.Equal(t, []string{"nightly"}, made[0].Tags)
		require.True(t, made[0].BypassApproval)
		require.Empty(t, made[0].UserID, "the bot is nobody")
		require.Empty(t, made[0].ServiceUserID)
		got := h.get(s.ID)
		require.Equal(t, day(1).Add(3*time.Second), got.LastExecutedAt)
		require.Equal(t, made[1].ID, got.LastSessionID)
		require.Equal(t, day(2), got.NextRunAt)
		require.True(t, got.Enabled)
		msgs, err := h.Sessions.Messages(t.Context(), h.boss, h.org, made[0].ID, page.Request{First: 10})
		require.NoError(t, err)
		require.Equal(t, "tidy up", msgs.Items[0].Text)
	})
}

func TestTheFileOfALineInThePromptComesToEachRun(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		file, err := h.Sessions.Upload(t.Context(), h.boss, h.org, "list.txt", "", strings.NewReader("x"))
		require.NoError(t, err)
		spec := daily()
		spec.Prompt = "tidy up\nATTACHMENT:\"" + h.Sessions.AttachmentURL(file) + "\""
		s := h.make(spec)
		h.at(day(0))
		h.at(day(1))
		made := h.sessions(s.ID)
		require.Len(t, made, 2)
		for _, m := range made {
			files, err := h.Sessions.Attachments(t.Context(), h.boss, h.org, m.ID)
			require.NoError(t, err)
			require.Len(t, files, 1)
			require.Equal(t, "list.txt", files[0].Name)
		}
	})
}

func TestAfterANightSwitchedOffItRunsOnceAndNotAHundredTimes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		spec := daily()
		spec.Frequency = "*/5 * * * *"
		s := h.make(spec)
		h.at(day(0).Add(12*time.Hour + 7*time.Second)) // nobody looked for 150 occurrences
		require.Len(t, h.sessions(s.ID), 1)
		h.at(day(0).Add(12*time.Hour + 8*time.Second))
		require.Len(t, h.sessions(s.ID), 1)
		require.Equal(t, day(0).Add(12*time.Hour+5*time.Minute), h.get(s.ID).NextRunAt)
	})
}

func TestOnlyEveryNthOccurrenceRunsFromTheFirstOn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		spec := daily()
		spec.IntervalCount = 3
		s := h.make(spec)
		for n := range 8 {
			h.at(day(n))
		}
		var days []int
		for _, x := range h.sessions(s.ID) {
			days = append(days, int(x.CreatedAt.Sub(day(0)).Hours()/24))
		}
		require.Equal(t, []int{0, 3, 6}, days)
		h.at(day(13)) // the server was off on day 9 and 12: one run makes up for both, and the step goes on
		require.Len(t, h.sessions(s.ID), 4)
		require.Equal(t, day(15), h.get(s.ID).NextRunAt)
	})
}

func TestAOneTimeScheduleRunsOnceAndIsSwitchedOff(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(once(day(3)))
		h.at(day(2))
		require.Empty(t, h.sessions(s.ID))
		h.at(day(5)) // late is better than never
		h.at(day(6))
		require.Len(t, h.sessions(s.ID), 1)
		got := h.get(s.ID)
		require.False(t, got.Enabled)
		require.True(t, got.NextRunAt.IsZero())
		require.Equal(t, day(3), got.ScheduledAt, "when it was to run is still told")
	})
}

func TestAOneTimeScheduleMayWriteToASession(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		target, err := h.Sessions.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "begin"})
		require.NoError(t, err)
		spec := once(day(0))
		spec.TargetID = target.ID
		s := h.make(spec)
		h.at(day(0))
		require.Empty(t, h.sessions(s.ID), "no session of its own")
		msgs, err := h.Sessions.Messages(t.Context(), h.boss, h.org, target.ID, page.Request{First: 10})
		require.NoError(t, err)
		require.Len(t, msgs.Items, 2)
		require.Equal(t, "tidy up", msgs.Items[1].Text)
		require.Equal(t, target.ID, h.get(s.ID).LastSessionID)

		_, err = h.Sessions.Terminate(t.Context(), h.boss, h.org, target.ID, false)
		require.NoError(t, err)
		_, err = h.change(s.ID, func(s *schedule.Schedule) { s.ScheduledAt, s.Enabled = day(1), true })
		require.NoError(t, err)
		h.at(day(1))
		got := h.get(s.ID)
		require.Contains(t, got.LastErrorMessage, "session has ended")
		require.EqualValues(t, 1, got.ConsecutiveFailures)
		require.Contains(t, h.Log(), `"msg":"a schedule's run failed","schedule_id":"`+s.ID+`"`)
		require.False(t, got.Enabled, "it ran, if in vain")
	})
}

func TestPausedAndDeletedSchedulesDoNotRunAndAPauseIsNotMadeUpFor(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s, gone := h.make(daily()), h.make(daily())
		_, err := h.change(s.ID, func(s *schedule.Schedule) { s.Enabled = false })
		require.NoError(t, err)
		_, err = h.Schedules.Delete(t.Context(), h.boss, h.org, gone.ID)
		require.NoError(t, err)
		h.at(day(0))
		h.at(day(3))
		require.Empty(t, h.sessions(s.ID))
		require.Empty(t, h.sessions(gone.ID))
		_, err = h.change(s.ID, func(s *schedule.Schedule) { s.Enabled = true })
		require.NoError(t, err)
		h.at(day(3).Add(time.Minute))
		require.Empty(t, h.sessions(s.ID), "what was missed in a pause stays missed")
		h.at(day(4))
		require.Len(t, h.sessions(s.ID), 1)
	})
}

func TestItRunsAsThePersonWhoMayUseSessionsAtThatTime(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ada, _ := h.NewPerson(t, "ada@example.com", h.org, access.RoleOrgMember)
		spec := daily()
		spec.RunAsUserID = ada
		s := h.make(spec)
		require.Equal(t, ada, s.CreatedBy)
		h.at(day(0))
		made := h.sessions(s.ID)
		require.Len(t, made, 1)
		require.Equal(t, ada, made[0].UserID)
		logs, err := h.Audit.List(t.Context(), h.boss, audit.ListParams{Action: audit.CreateSession, Page: page.Request{First: 1}})
		require.NoError(t, err)
		require.Equal(t, "schedule", logs.Items[0].ServiceUserName, "the log doesn't say that she did it herself")
		require.Contains(t, string(logs.Items[0].Data), ada)

		h.exec(`DELETE FROM role_assignments WHERE principal_id = $1 AND org_id = $2`, ada, h.org)
		h.at(day(1))
		require.Len(t, h.sessions(s.ID), 1)
		got := h.get(s.ID)
		require.Contains(t, got.LastErrorMessage, "run_as_user_id: no such member")
		require.EqualValues(t, 1, got.ConsecutiveFailures)
		_, err = h.change(s.ID, func(s *schedule.Schedule) { s.RunAsUserID = "" })
		require.NoError(t, err)
		h.at(day(2))
		made = h.sessions(s.ID)
		require.Len(t, made, 2)
		require.Empty(t, made[1].UserID, "back to the bot")
	})
}

func TestARunThatCannotStartIsCountedAndStartsAgainNextTime(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(daily())
		h.limitCycle(new(int64(0)))
		for n := range 3 {
			h.at(day(n))
		}
		got := h.get(s.ID)
		require.EqualValues(t, 3, got.ConsecutiveFailures)
		require.Equal(t, day(2), got.LastErrorAt)
		require.Contains(t, got.LastErrorMessage, "could not start")
		require.Contains(t, got.LastErrorMessage, "limit")
		require.True(t, got.LastExecutedAt.IsZero())
		require.True(t, got.Enabled, "nothing is switched off by itself")
		require.Empty(t, h.sessions(s.ID), "and nothing is left half done")
		require.Zero(t, h.count(`SELECT COUNT(*) FROM queue`))

		h.limitCycle(nil)
		h.at(day(3))
		require.Len(t, h.sessions(s.ID), 1)
		require.EqualValues(t, 3, h.get(s.ID).ConsecutiveFailures, "that it started says not yet that it goes well")
		h.work(wire.StateFinished)
		h.hear()
		got = h.get(s.ID)
		require.Zero(t, got.ConsecutiveFailures)
		require.Empty(t, got.LastErrorMessage)
		require.True(t, got.LastErrorAt.IsZero())
	})
}

func (h *house) count(query string, args ...any) int64 {
	h.t.Helper()
	n, err := db.One(h.t.Context(), h.DB.Reader(), db.Int, query, args...)
	require.NoError(h.t, err)
	return n
}

func TestASessionThatEndsInErrorIsAFailureOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(daily())
		h.at(day(0))
		h.work(wire.StateError)
		told := `SELECT args FROM jobs WHERE kind = 'session-outcome'`
		args, err := db.One(t.Context(), h.DB.Reader(), db.Text, told)
		require.NoError(t, err)
		h.hear()
		// A job that was done may come again: its replica died before it could say so.
		h.exec(`INSERT INTO jobs (job_id, kind, args, attempt, run_at, created_at) VALUES ('job-again', 'session-outcome', $1, 1, 0, 0)`, args)
		h.hear()
		got := h.get(s.ID)
		require.EqualValues(t, 1, got.ConsecutiveFailures)
		require.Contains(t, got.LastErrorMessage, "ended in error: as the test wants it")
		h.at(day(1))
		h.work(wire.StateError)
		h.hear()
		require.EqualValues(t, 2, h.get(s.ID).ConsecutiveFailures)

		h.at(day(2))
		h.at(day(3))
		h.work(wire.StateFinished) // the run of day 2, when day 3's has begun
		h.hear()
		require.EqualValues(t, 2, h.get(s.ID).ConsecutiveFailures, "the last run decides")
		h.work(wire.StateFinished)
		h.hear()
		require.Zero(t, h.get(s.ID).ConsecutiveFailures)
	})
}

func TestSessionsOfNoScheduleTellNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, err := h.Sessions.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "x"})
		require.NoError(t, err)
		h.work(wire.StateFinished)
		require.Zero(t, h.count(`SELECT COUNT(*) FROM jobs WHERE kind = 'session-outcome'`))
	})
}

func TestMailIsSentAsAskedForAndOnceADayOfFailures(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ada, _ := h.NewPerson(t, "ada@example.com", h.org, access.RoleOrgMember)
		with := func(name string, n schedule.Notify, owner string) schedule.Schedule {
			spec := daily()
			spec.Name, spec.NotifyOn, spec.RunAsUserID, spec.Frequency = name, n, owner, "0 */6 * * *"
			return h.make(spec)
		}
		with("quiet", schedule.Never, ada)
		failing := with("failing", schedule.Failure, ada)
		with("chatty", schedule.Always, ada)
		with("nobody's", schedule.Always, "")
		h.at(day(0).Add(3 * time.Hour))
		mails := h.mails()
		require.Len(t, mails, 1)
		require.Equal(t, "ada@example.com", mails[0].To)
		require.Equal(t, "Schedule started: chatty", mails[0].Subject)
		require.Contains(t, mails[0].Text, "http://gantry.test/sessions/")

		h.limitCycle(new(int64(0)))
		single := once(day(0).Add(8 * time.Hour))
		single.Name, single.NotifyOn, single.RunAsUserID = "single", schedule.Failure, ada
		h.make(single)
		for n := range 6 {
			h.at(day(0).Add(time.Duration(9+6*n) * time.Hour))
		}
		var subjects []string
		for _, m := range h.mails()[1:] {
			require.Equal(t, "ada@example.com", m.To)
			subjects = append(subjects, m.Subject)
			require.Equal(t, strings.HasSuffix(m.Subject, "single"), strings.Contains(m.Text, "switched off"), m.Text)
		}
		require.ElementsMatch(t, []string{
			"Schedule failed: failing", "Schedule failed: failing", "Schedule failed: chatty", "Schedule failed: chatty",
			"Schedule failed: single",
		}, subjects, "the first failure and the one a day later")
		require.EqualValues(t, 6, h.get(failing.ID).ConsecutiveFailures)
		require.Contains(t, h.mails()[1].Text, "Failures in a row: 1")
	})
}

func TestAPlaybookThatIsGoneIsAFailureAndTheScheduleCanBeMended(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		p, err := h.Playbooks.Create(t.Context(), h.boss, playbook.Params{OrgID: h.org, Title: "Tidy", Body: "sweep"})
		require.NoError(t, err)
		spec := daily()
		spec.PlaybookID = p.ID
		s := h.make(spec)
		require.Equal(t, "Tidy", h.get(s.ID).PlaybookTitle)
		h.at(day(0))
		require.Equal(t, p.ID, h.sessions(s.ID)[0].PlaybookID)
		_, err = h.Playbooks.Delete(t.Context(), h.boss, h.org, p.ID)
		require.NoError(t, err)
		h.at(day(1))
		got := h.get(s.ID)
		require.Contains(t, got.LastErrorMessage, "playbook_id: no such playbook")
		require.Empty(t, got.PlaybookTitle)
		_, err = h.change(s.ID, func(s *schedule.Schedule) { s.Name = "renamed" })
		require.NoError(t, err, "what it named before isn't looked up again")
		_, err = h.change(s.ID, func(s *schedule.Schedule) { s.PlaybookID = "" })
		require.NoError(t, err)
		h.at(day(2))
		require.Len(t, h.sessions(s.ID), 2)
	})
}

func TestTheSchedulesOfADeletedOrganizationEndWithoutAWord(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(daily())
		_, err := h.Orgs.Delete(t.Context(), h.boss, h.org)
		require.NoError(t, err)
		h.at(day(0))
		require.Zero(t, h.count(`SELECT COUNT(*) FROM sessions WHERE schedule_id = $1`, s.ID))
		require.Zero(t, h.count(`SELECT COUNT(*) FROM schedules WHERE next_run_at IS NOT NULL`))
		require.Empty(t, h.mails())
	})
}

func TestScheduledSessionsGetTheSecretsOfTheirTime(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.make(daily())
		_, err := h.Secrets.Create(t.Context(), h.boss, secrets.CreateParams{
			OrgID: h.org, Type: secrets.KeyValue, Key: "LATER", Value: secret.New("made after the schedule"),
		})
		require.NoError(t, err)
		h.at(day(0))
		require.EqualValues(t, 1, h.count(`SELECT COUNT(*) FROM session_org_secrets WHERE session_id = $1`, h.sessions(s.ID)[0].ID))
	})
}

// Two replicas look at the same schedules at the same moments, while others change them.
func TestTwoDispatchersNeverRunTheSameOccurrenceTwice(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		replica := servertest.New(t, servertest.Options{Engine: h.DB.Engine(), Of: h.Server, Clock: h.time})
		const n = 12
		made := map[string]bool{}
		for range n {
			spec := daily()
			spec.Frequency = "* * * * *"
			made[h.make(spec).ID] = true
		}
		for minute := range 4 {
			h.time.Advance(time.Minute)
			var wg sync.WaitGroup
			for _, v := range []*schedule.Service{h.Schedules, replica.Schedules, h.Schedules} {
				wg.Go(func() {
					for range 3 {
						_ = v.Dispatch(context.Background()) // a lock that was not to be had leaves the run due
					}
				})
			}
			wg.Go(func() {
				for s := range made {
					_, _ = h.change(s, func(s *schedule.Schedule) { s.Name = fmt.Sprint("renamed ", minute) })
				}
			})
			wg.Wait()
			require.NoError(t, h.Schedules.Dispatch(t.Context()))
			require.EqualValues(t, (minute+1)*n, h.count(`SELECT COUNT(*) FROM sessions WHERE schedule_id IS NOT NULL`))
			for s := range made {
				require.EqualValues(t, minute+1, h.count(`SELECT COUNT(*) FROM sessions WHERE schedule_id = $1`, s))
			}
		}
		require.Zero(t, h.count(`SELECT COUNT(*) FROM schedules WHERE consecutive_failures > 0`))
	})
}

// Whatever the times at which somebody looks, a schedule runs at most once for each stretch between two looks, never early, and its next
// time is always to come.
func TestRunsFollowTheLooksWhateverTheirTimes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		rapid.Check(t, func(rt *rapid.T) {
			step := rapid.Int64Range(1, 4).Draw(rt, "interval_count")
			spec := daily()
			spec.Frequency, spec.IntervalCount = rapid.SampledFrom([]string{"*/7 * * * *", "0 * * * *", "30 6,18 * * 1-5"}).Draw(rt, "cron"), step
			s := h.make(spec)
			runs := 0
			for range rapid.IntRange(1, 12).Draw(rt, "looks") {
				before := h.get(s.ID)
				h.time.Advance(time.Duration(rapid.Int64Range(1, int64(3*time.Hour)).Draw(rt, "pause")))
				now := h.time.Clock().Now()
				require.NoError(rt, h.Schedules.Dispatch(t.Context()))
				if !before.NextRunAt.After(now) {
					runs++
				}
				after := h.get(s.ID)
				require.EqualValues(rt, runs, h.count(`SELECT COUNT(*) FROM sessions WHERE schedule_id = $1`, s.ID))
				require.True(rt, after.NextRunAt.After(now))
				if step == 1 && runs > 0 {
					require.Less(rt, after.NextRunAt.Sub(now), 4*24*time.Hour)
				}
			}
			_, err := h.Schedules.Delete(t.Context(), h.boss, h.org, s.ID)
			require.NoError(rt, err)
		})
	})
}

func TestALongNameMakesATitleThatFits(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		spec := daily()
		spec.Name = strings.Repeat("ü", schedule.MaxName)
		s := h.make(spec)
		h.at(day(0))
		require.Len(t, h.sessions(s.ID), 1)
	})
}
