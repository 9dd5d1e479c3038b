package usage_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/usage"
)

func day(text string, micros int64) usage.Day {
	return usage.Day{Start: at(text), Products: []usage.Used{{Product: usage.ProductDevin, Micros: micros}}}
}

func TestConsumptionByEveryBreakdown(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		h.person(t, "user|1", h.a)
		h.exec(t, `INSERT INTO sessions (session_id, org_id, status, created_at, updated_at, child_session_ids, origin, agent, tags, repos,
			session_links, pull_requests, is_archived, resumable, bypass_approval, structured_output_required, acu_micros, run_acu_micros,
			last_seq, last_command, acked_command, num_user_messages, num_devin_messages, outpost_id)
			VALUES ('s1', $1, 'new', 0, 0, '[]', 'api', 'x', '[]', '[]', '[]', '[]', 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'default')`, h.a)
		byUser := usage.Work{SessionID: "s1", OrgID: h.a, UserID: "user|1", ServiceUserID: "su"}
		h.worked(t, byUser, at("2026-03-09T10:00:00Z"), 15*time.Minute)
		h.worked(t, byUser, at("2026-03-10T07:59:00Z"), 30*time.Minute)
		h.worked(t, byUser, at("2026-03-10T09:00:00Z"), 15*time.Minute)
		h.worked(t, usage.Work{SessionID: "s2", OrgID: h.b, UserID: "user|1"}, at("2026-03-10T11:00:00Z"), 15*time.Minute)
		h.worked(t, usage.Work{SessionID: "s3", OrgID: h.b, ServiceUserID: "su"}, at("2026-03-11T11:00:00Z"), 15*time.Minute)

		for name, c := range map[string]struct {
			p    usage.DailyParams
			want []usage.Day
		}{
			"enterprise": {usage.DailyParams{}, []usage.Day{
				day("2026-03-09T08:00:00Z", 3e6), day("2026-03-10T08:00:00Z", 2e6), day("2026-03-11T08:00:00Z", 1e6),
			}},
			"organization":                {usage.DailyParams{Scope: usage.Organization, ID: h.a}, []usage.Day{day("2026-03-09T08:00:00Z", 3e6), day("2026-03-10T08:00:00Z", 1e6)}},
			"user in all":                 {usage.DailyParams{Scope: usage.User, ID: "user|1"}, []usage.Day{day("2026-03-09T08:00:00Z", 3e6), day("2026-03-10T08:00:00Z", 2e6)}},
			"user in one":                 {usage.DailyParams{OrgID: h.b, Scope: usage.User, ID: "user|1"}, []usage.Day{day("2026-03-10T08:00:00Z", 1e6)}},
			"service user":                {usage.DailyParams{Scope: usage.ServiceUser, ID: "su"}, []usage.Day{day("2026-03-11T08:00:00Z", 1e6)}},
			"session":                     {usage.DailyParams{Scope: usage.Session, ID: "s1"}, []usage.Day{day("2026-03-09T08:00:00Z", 3e6), day("2026-03-10T08:00:00Z", 1e6)}},
			"session of an organization":  {usage.DailyParams{OrgID: h.a, Scope: usage.Session, ID: "s1"}, []usage.Day{day("2026-03-09T08:00:00Z", 3e6), day("2026-03-10T08:00:00Z", 1e6)}},
			"days that begin in the span": {usage.DailyParams{After: at("2026-03-09T08:00:01Z"), Before: at("2026-03-11T08:00:00Z")}, []usage.Day{day("2026-03-10T08:00:00Z", 2e6)}},
			"from a day's start on":       {usage.DailyParams{After: at("2026-03-11T08:00:00Z")}, []usage.Day{day("2026-03-11T08:00:00Z", 1e6)}},
			"before any":                  {usage.DailyParams{Scope: usage.Organization, ID: h.a, Before: at("2026-03-09T08:00:00Z")}, []usage.Day{}},
		} {
			got, err := h.Daily(t.Context(), access.As("test", access.ViewAccountConsumption, access.ViewOrgConsumption), c.p)
			require.NoError(t, err, name)
			require.Equal(t, c.want, got, name)
		}
	})
}

func TestConsumptionOfWhatIsNotThereOrForeign(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		h.person(t, "user-a", h.a)
		h.worked(t, usage.Work{SessionID: "s1", OrgID: h.a, UserID: "gone", ServiceUserID: "su"}, noon, time.Hour)
		inOrg := access.As("test", access.ViewOrgConsumption)
		for _, p := range []usage.DailyParams{
			{Scope: usage.User, ID: "nobody"}, {Scope: usage.ServiceUser, ID: "nobody"}, {Scope: usage.Session, ID: "none"}, {Scope: usage.Organization, ID: "none"},
		} {
			_, err := h.Daily(t.Context(), viewer, p)
			isFault(t, err, fault.NotFound)
		}
		for _, p := range []usage.DailyParams{
			{OrgID: h.b, Scope: usage.User, ID: "user-a"},
			{OrgID: h.b, Scope: usage.User, ID: "gone"},
			{OrgID: h.b, Scope: usage.Session, ID: "s1"},
			{OrgID: h.b, Scope: usage.ServiceUser, ID: "su"},
		} {
			_, err := h.Daily(t.Context(), inOrg, p)
			isFault(t, err, fault.NotFound)
		}
		require.Empty(t, h.daily(t, usage.DailyParams{Scope: usage.User, ID: "user-a"}), "somebody who used nothing yet")
		require.Len(t, h.daily(t, usage.DailyParams{Scope: usage.User, ID: "gone"}), 1, "who used something stays known")
		_, err := h.orgs.Delete(t.Context(), billing, h.a)
		require.NoError(t, err)
		require.Len(t, h.daily(t, usage.DailyParams{}), 1, "a deleted organization's use stays in the sum")
		require.Len(t, h.daily(t, usage.DailyParams{Scope: usage.User, ID: "gone"}), 1)

		_, err = h.Daily(t.Context(), viewer, usage.DailyParams{After: noon, Before: noon})
		isFault(t, err, fault.Invalid)
		for name, sub := range map[string]access.Subject{"nobody": {}, "of an organization": inOrg} {
			_, err = h.Daily(t.Context(), sub, usage.DailyParams{})
			require.True(t, fault.Is(err, fault.Forbidden), name)
			_, err = h.Cycles(t.Context(), sub, page.Request{First: 1})
			require.True(t, fault.Is(err, fault.Forbidden), name)
		}
		_, err = h.Daily(t.Context(), access.As("test", access.ViewAccountMetrics), usage.DailyParams{OrgID: h.a, Scope: usage.User, ID: "x"})
		isFault(t, err, fault.Forbidden)
	})
}

func TestCyclesRunBackToTheFirstUse(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		p, err := h.Cycles(t.Context(), viewer, page.Request{First: 10})
		require.NoError(t, err)
		march := usage.Span{After: at("2026-03-01T08:00:00Z"), Before: at("2026-04-01T08:00:00Z")}
		require.Equal(t, []usage.Span{march}, p.Items, "nothing was used yet")
		h.worked(t, usage.Work{SessionID: "s", OrgID: h.a, ServiceUserID: "su"}, at("2025-12-01T07:00:00Z"), time.Minute)
		var all []usage.Span
		r := page.Request{First: 2}
		for {
			p, err := h.Cycles(t.Context(), viewer, r)
			require.NoError(t, err)
			all = append(all, p.Items...)
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.Equal(t, []usage.Span{
			march,
			{at("2026-02-01T08:00:00Z"), at("2026-03-01T08:00:00Z")},
			{at("2026-01-01T08:00:00Z"), at("2026-02-01T08:00:00Z")},
			{at("2025-12-01T08:00:00Z"), at("2026-01-01T08:00:00Z")},
			{at("2025-11-01T08:00:00Z"), at("2025-12-01T08:00:00Z")},
		}, all)
	})
}

// Whatever was worked, the breakdowns add up to one another and to the ledger.
func TestEveryBreakdownAddsUpToTheEnterprise(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, e, usage.Options{})
			n := 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				w := usage.Work{
					SessionID: fmt.Sprint("s", n%20), OrgID: rapid.SampledFrom([]string{h.a, h.b}).Draw(rt, "org"),
					UserID: rapid.SampledFrom([]string{"", "u1", "u2"}).Draw(rt, "user"), ServiceUserID: "su",
				}
				h.worked(t, w, noon.Add(time.Duration(n)*7*time.Hour), time.Duration(rapid.IntRange(0, 6*3600).Draw(rt, "seconds"))*time.Second)
			})
			sumOf := func(days []usage.Day) (n int64) {
				for _, d := range days {
					n += d.Total()
				}
				return n
			}
			ledger := sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_entries`)
			require.Equal(t, ledger, sumOf(h.daily(t, usage.DailyParams{})))
			for name, parts := range map[string][]usage.DailyParams{
				"organizations": {{Scope: usage.Organization, ID: h.a}, {Scope: usage.Organization, ID: h.b}},
				"people":        {{Scope: usage.User, ID: "u1"}, {Scope: usage.User, ID: "u2"}, {Scope: usage.ServiceUser, ID: "su"}},
			} {
				var total int64
				for _, p := range parts {
					total += sumOf(h.daily(t, p))
				}
				require.Equal(t, ledger, total, name)
			}
			require.Equal(t, ledger, sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_cycles`))
		})
	}
}

// Sessions that share a person, an organization and the enterprise report at the same time, some of them over midnight: nothing is lost,
// and nobody is in anybody's way for good.
func TestReportsAtTheSameTimeAllCount(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		const sessions, reports = 12, 15
		midnight := at("2026-03-10T08:00:00Z")
		var wg sync.WaitGroup
		for n := range sessions {
			wg.Go(func() {
				w := usage.Work{SessionID: fmt.Sprint("s", n), OrgID: []string{h.a, h.b}[n%2], UserID: []string{"u1", "u2"}[n/2%2]}
				w.Start = midnight.Add(time.Duration(n%3-reports) * 5 * time.Second)
				w.To = w.Start
				for range reports {
					w.From, w.To = w.To, w.To.Add(10*time.Second)
					if err := h.db.Write(context.Background(), func(ctx context.Context, tx *db.Tx) error {
						_, err := usage.Defaults().EnterTx(ctx, tx, w)
						return err
					}); err != nil {
						panic(err)
					}
				}
			})
		}
		wg.Wait()
		want := sessions * usage.Defaults().Amount(reports*10*time.Second)
		require.Equal(t, want, sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_entries`))
		require.Equal(t, want, sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_enterprise`))
		require.Equal(t, want, sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = 'user' AND org_id = ''`))
		require.Equal(t, want, sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = 'organization'`))
		for _, o := range []string{h.a, h.b} { // one more report brings the cycle's sum up to date, whatever came at midnight
			h.worked(t, usage.Work{SessionID: "last", OrgID: o, UserID: "u1"}, midnight.Add(time.Hour), time.Second)
		}
		require.Equal(t, sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_entries`), sum(t, h.db, `SELECT SUM(acu_micros) FROM usage_cycles`))
	})
}
