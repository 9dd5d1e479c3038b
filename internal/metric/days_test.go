package metric_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/metric"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/rollup"
)

// A day of the list is what the sums of that day alone are.
func TestDaysAreWhatEachDaysSumsAre(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m := metric.New(d)
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			for i := range 40 {
				s := rollup.Session{
					OrgID: "o" + strconv.Itoa(1+i%3), UserID: "u" + strconv.Itoa(i%4), Origin: "api",
					CreatedAt: spring.Add(time.Duration(i*i) * time.Hour / 3),
				}
				measure := rollup.Measure{Size: rollup.Sizes[i%5]}
				for k := range i % 3 {
					measure.PullRequests = append(measure.PullRequests, rollup.PullRequest{
						Day: rollup.Day(s.CreatedAt.Add(time.Duration(k) * 24 * time.Hour)), State: []string{rollup.Open, rollup.Merged, rollup.Closed}[i%4%3],
						TakenOver: i%7 == 0,
					})
				}
				if err := rollup.BeginTx(ctx, tx, s, measure); err != nil {
					return err
				}
			}
			return nil
		}))
		all := metric.Range{After: spring.Add(-time.Hour), Before: spring.AddDate(0, 0, 25).Add(time.Hour)}
		for name, f := range map[string]metric.Filter{
			"the enterprise": {Range: all}, "an organization": {Range: all, OrgID: "o1"}, "two": {Range: all, OrgIDs: []string{"o1", "o2"}},
			"a person": {Range: all, UserIDs: []string{"u1"}}, "nobody": {Range: all, OrgID: "none"},
		} {
			days, err := m.Days(t.Context(), boss, f)
			require.NoError(t, err, name)
			require.Len(t, days, 27, "from the day before to the day after, each once")
			var sum int64
			for i, got := range days {
				require.Equal(t, spring.AddDate(0, 0, i-1), got.Start, name)
				f.Range = metric.Range{After: got.Start, Before: got.Start.Add(time.Hour)}
				sessions, err := m.Sessions(t.Context(), boss, f)
				require.NoError(t, err)
				prs, err := m.PullRequests(t.Context(), boss, f)
				require.NoError(t, err)
				want := metric.Day{Start: got.Start, Sessions: sessions.Created, Opened: prs.Opened, Merged: prs.Merged, Closed: prs.Closed}
				require.Equal(t, want, got, name)
				sum += got.Sessions + got.Merged
			}
			require.Equal(t, name != "nobody", sum > 0, name)
		}
		none, err := m.Days(t.Context(), boss, metric.Filter{Range: metric.Range{After: spring, Before: spring}})
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestDaysAreRefusedLikeTheirSums(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m := metric.New(d)
		week := metric.Range{After: spring, Before: spring.AddDate(0, 0, 7)}
		_, err := m.Days(t.Context(), ours, metric.Filter{Range: week, OrgID: "o1"})
		require.NoError(t, err)
		for name, c := range map[string]struct {
			who  access.Subject
			f    metric.Filter
			kind fault.Kind
		}{
			"another organization's": {ours, metric.Filter{Range: week, OrgID: "o2"}, fault.Forbidden},
			"the enterprise's":       {ours, metric.Filter{Range: week}, fault.Forbidden},
			"of very many":           {boss, metric.Filter{Range: metric.Range{Before: spring}}, fault.Invalid},
			"backwards":              {boss, metric.Filter{Range: metric.Range{After: week.Before, Before: week.After}}, fault.Invalid},
		} {
			_, err := m.Days(t.Context(), c.who, c.f)
			require.Equal(t, c.kind, fault.KindOf(err), "%s: %v", name, err)
		}
	})
}
