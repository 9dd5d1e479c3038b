package usage_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/usage"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestFifteenMinutesAreOneACU(t *testing.T) {
	t.Parallel()
	r := usage.Defaults()
	for work, want := range map[time.Duration]int64{
		-time.Hour: 0, 0: 0, time.Nanosecond: 0, 900 * time.Microsecond: 1, time.Second: 1111, 9 * time.Second: 10_000, 27 * time.Second: 30_000,
		15 * time.Minute: 1_000_000, 15*time.Minute - 1: 999_999, 24 * time.Hour: 96_000_000, 100 * 365 * 24 * time.Hour: 3_504_000_000_000,
	} {
		require.Equal(t, want, r.Amount(work), "%s", work)
	}
	require.EqualValues(t, 999_999, usage.Rates{PerACU: 24 * time.Hour}.Amount(24*time.Hour-1), "no overflow, no rounding up")
}

func TestAmountsNeverExceedTheTimeAndGrowWithIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := usage.Rates{PerACU: time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(24*time.Hour)).Draw(t, "per"))}
		a := time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "a"))
		b := time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "b"))
		if sum := r.Amount(a) + r.Amount(b); sum > r.Amount(a+b) || sum < r.Amount(a+b)-1 {
			t.Fatalf("%d + %d is not %d", r.Amount(a), r.Amount(b), r.Amount(a+b))
		}
		if back := time.Duration(float64(r.Amount(a)) / usage.Micros * float64(r.PerACU)); back > a+time.Duration(float64(a)*1e-9) {
			t.Fatalf("%s cost what %s cost", a, back)
		}
	})
}

func TestDaysAndCyclesBeginAtEightUTC(t *testing.T) {
	t.Parallel()
	r := usage.Defaults()
	for in, want := range map[string]string{
		"2024-12-05T07:59:59Z": "2024-12-04T08:00:00Z", "2024-12-05T08:00:00Z": "2024-12-05T08:00:00Z", "2024-12-06T07:59:59.999Z": "2024-12-05T08:00:00Z",
		"2026-03-08T12:00:00Z": "2026-03-08T08:00:00Z", "2026-03-09T07:30:00Z": "2026-03-08T08:00:00Z", "2024-02-29T23:00:00-08:00": "2024-02-29T08:00:00Z",
	} {
		require.Equal(t, at(want), r.Day(at(in)), in)
	}
	for in, want := range map[string][2]string{
		"2026-03-01T07:59:59Z": {"2026-02-01T08:00:00Z", "2026-03-01T08:00:00Z"},
		"2026-03-01T08:00:00Z": {"2026-03-01T08:00:00Z", "2026-04-01T08:00:00Z"},
		"2024-02-29T09:00:00Z": {"2024-02-01T08:00:00Z", "2024-03-01T08:00:00Z"},
		"2026-01-01T00:00:00Z": {"2025-12-01T08:00:00Z", "2026-01-01T08:00:00Z"},
		"2026-12-31T23:59:59Z": {"2026-12-01T08:00:00Z", "2027-01-01T08:00:00Z"},
		"2026-01-31T12:00:00Z": {"2026-01-01T08:00:00Z", "2026-02-01T08:00:00Z"},
	} {
		from, to := r.Cycle(at(in))
		require.Equal(t, want, [2]string{from.Format(time.RFC3339), to.Format(time.RFC3339)}, in)
	}
	from, _ := usage.Rates{DayOffset: 2 * time.Hour}.Cycle(at("2026-02-28T22:30:00Z"))
	require.Equal(t, at("2026-02-28T22:00:00Z"), from, "an offset to the east")
}

func enter(t testing.TB, d *db.DB, w usage.Work) int64 {
	t.Helper()
	var cost int64
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		cost, err = usage.Defaults().EnterTx(ctx, tx, w)
		return err
	}))
	return cost
}

func sum(t testing.TB, d *db.DB, query string, args ...any) int64 {
	t.Helper()
	n, err := db.One(t.Context(), d.Reader(), db.Int, query, args...)
	require.NoError(t, err)
	return n
}

func TestWorkOverMidnightCountsOnBothDays(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		start := at("2026-03-01T07:59:30Z")
		w := usage.Work{SessionID: "s", OrgID: "o", UserID: "u", ServiceUserID: "su", Start: start, From: start, To: start.Add(40 * time.Second)}
		require.EqualValues(t, 44_444, enter(t, d, w))
		for day, want := range map[string]int64{"2026-02-28T08:00:00Z": 33_333, "2026-03-01T08:00:00Z": 11_111} {
			for scope, id := range map[string]string{"session": "s", "organization": "o", "user": "u"} {
				require.Equal(t, want, sum(t, d, `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = $1 AND scope_id = $2 AND org_id = 'o' AND day = $3`,
					scope, id, at(day).UnixMilli()), "%s %s", scope, day)
			}
		}
		require.Zero(t, sum(t, d, `SELECT COUNT(*) FROM usage_daily WHERE scope = 'service_user'`), "a member's session counts for the member")
		used := func(t time.Time) int64 {
			n, err := usage.Defaults().OrgCycle(context.Background(), d.Reader(), "o", t)
			if err != nil {
				panic(err)
			}
			return n
		}
		require.EqualValues(t, 33_333, used(at("2026-03-01T07:00:00Z")))
		require.EqualValues(t, 11_111, used(at("2026-03-01T08:00:00Z")))
		require.EqualValues(t, 11_111, used(at("2026-04-01T07:59:59Z")))
		require.Zero(t, used(at("2026-04-01T08:00:00Z")))
	})
}

func TestTheRollUpsAreTheLedgersSum(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			w := usage.Work{
				SessionID: rapid.SampledFrom([]string{"s1", "s2"}).Draw(rt, "session"), OrgID: rapid.SampledFrom([]string{"o1", "o2"}).Draw(rt, "org"),
				ServiceUserID: "su", Start: at("2026-02-28T00:00:00Z").Add(time.Duration(n) * 25 * time.Hour),
			}
			w.From = w.Start
			var total int64
			for range rapid.IntRange(1, 6).Draw(rt, "pieces") {
				w.To = w.From.Add(time.Duration(rapid.Int64Range(0, int64(9*time.Hour)).Draw(rt, "piece")).Truncate(time.Millisecond))
				total += enter(t, d, w)
				w.From = w.To
			}
			require.Equal(t, usage.Defaults().Amount(w.To.Sub(w.Start)), total, "pieces cost together what the whole costs")
			require.Equal(t, total, sum(t, d, `SELECT acu_micros FROM usage_entries WHERE session_id = $1 AND started_at = $2`, w.SessionID, w.Start.UnixMilli()))
		})
		for _, org := range []string{"o1", "o2"} {
			ledger := sum(t, d, `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_entries WHERE org_id = $1`, org)
			for _, scope := range []string{"session", "service_user", "organization"} {
				require.Equal(t, ledger, sum(t, d, `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_daily WHERE scope = $1 AND org_id = $2`, scope, org), scope)
			}
		}
	})
}
