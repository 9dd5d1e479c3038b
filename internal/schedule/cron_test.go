package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/fault"
)

// oracle is a reading of expressions of numbers that is independent of the library's.
type oracle struct {
	fields [5]map[int]bool
	both   bool // the day must fit the month's and the week's field, not only one
}

func newOracle(expr string) *oracle {
	o := &oracle{}
	for i, field := range strings.Fields(expr) {
		o.fields[i] = map[int]bool{}
		for part := range strings.SplitSeq(field, ",") {
			span, step, stepped := strings.Cut(part, "/")
			from, to, n := cronFields[i].least, cronFields[i].most, 1
			if span != "*" {
				a, b, ranged := strings.Cut(span, "-")
				from, _ = strconv.Atoi(a)
				if ranged {
					to, _ = strconv.Atoi(b)
				} else if !stepped {
					to = from
				}
			}
			if stepped {
				n, _ = strconv.Atoi(step)
			}
			for x := from; x <= to; x += n {
				o.fields[i][x] = true
			}
		}
		o.both = o.both || (i == 2 || i == 4) && strings.HasPrefix(field, "*")
	}
	o.fields[4][0] = o.fields[4][0] || o.fields[4][7]
	return o
}

func (o *oracle) fits(t time.Time) bool {
	if !o.fields[0][t.Minute()] || !o.fields[1][t.Hour()] || !o.fields[3][int(t.Month())] {
		return false
	}
	day, week := o.fields[2][t.Day()], o.fields[4][int(t.Weekday())]
	return day && week || !o.both && (day || week)
}

// part draws a part of a field.
func part(t *rapid.T, least, most int) string {
	a := rapid.IntRange(least, most).Draw(t, "number")
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		return "*"
	case 1:
		return fmt.Sprint(a)
	case 2:
		return fmt.Sprintf("%d-%d", a, rapid.IntRange(a, most).Draw(t, "end"))
	case 3:
		return fmt.Sprintf("*/%d", rapid.IntRange(1, most).Draw(t, "step"))
	default:
		return fmt.Sprintf("%d-%d/%d", a, rapid.IntRange(a, most).Draw(t, "end"), rapid.IntRange(1, most).Draw(t, "step"))
	}
}

func expression(t *rapid.T) string {
	var fields []string
	for _, f := range cronFields {
		parts := []string{part(t, f.least, f.most)}
		if rapid.IntRange(0, 2).Draw(t, "a list") == 0 {
			parts = append(parts, part(t, f.least, f.most))
		}
		fields = append(fields, strings.Join(parts, ","))
	}
	return strings.Join(fields, " ")
}

func TestTheNextOccurrenceIsTheFirstMinuteThatFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		expr, err := checkCron(expression(rt))
		require.NoError(rt, err)
		after := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(rt, "after"), 0).UTC()
		got, err := next(expr, after)
		o := newOracle(expr)
		end := after.Add(40 * 24 * time.Hour)
		if err == nil && got.Before(end) {
			end = got
		}
		for m := after.Truncate(time.Minute).Add(time.Minute); m.Before(end); m = m.Add(time.Minute) {
			if o.fits(m) {
				rt.Fatalf("%s fits %s, but %s was given after %s", m, expr, got, after)
			}
		}
		if err == nil {
			require.True(rt, o.fits(got), "%s does not fit %s", got, expr)
			require.Zero(rt, got.Second())
			require.Equal(rt, time.UTC, got.Location())
		}
	})
}

func TestOccurrencesThatEveryoneKnows(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return v
	}
	for _, c := range []struct{ expr, after, want string }{
		{"0 9 * * MON-FRI", "2026-03-06T09:00:00Z", "2026-03-09T09:00:00Z"},
		{"30 2 29 3 *", "2026-03-28T00:00:00Z", "2026-03-29T02:30:00Z"}, // an hour that summer time skips elsewhere
		{"*/15 * * * *", "2026-03-06T09:00:01Z", "2026-03-06T09:15:00Z"},
		{"0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"},
		{"0 0 1 JAN *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"0 0 13 * 5", "2026-03-07T00:00:00Z", "2026-03-13T00:00:00Z"},
		{"0 0 * * 7", "2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"},
	} {
		expr, err := checkCron(c.expr)
		require.NoError(t, err, c.expr)
		got, err := next(expr, at(c.after))
		require.NoError(t, err, c.expr)
		require.Equal(t, at(c.want).UTC(), got, c.expr)
	}
}

func TestABadExpressionIsRefusedWithItsField(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *",
		"*/60 * * * *", "1,,2 * * * *", "- * * * *", "1- * * * *", "/5 * * * *", "a * * * *", "* * * FOO *", "* * L * *", "* * 15W * *", "* * * * 5#2",
		"? * * * *", "0,99 * * * *", "*,99 * * * *", "+1 * * * *", "1.5 * * * *", "１ * * * *", "* * * ANF *", strings.Repeat("1,", 200) + "1 * * * *",
	} {
		_, err := checkCron(bad)
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", bad, err)
		require.Equal(t, []string{"body", "frequency"}, fault.As(err).Fields[0].Loc)
		require.Contains(t, err.Error(), "cron")
	}
	for _, never := range []string{"0 0 30 2 *", "0 0 31 4,6,9,11 *"} {
		expr, err := checkCron(never)
		require.NoError(t, err)
		_, err = next(expr, time.Unix(1_700_000_000, 0))
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", never, err)
	}
}

func TestEveryNthOccurrenceKeepsItsStepOverATimeInWhichNothingRan(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC).AddDate(0, 0, n) }
	for _, c := range []struct {
		step       int64
		due, now   int
		want       int
		laterHours int
	}{
		{1, 0, 0, 1, 1}, {1, 0, 5, 6, 1}, {3, 0, 0, 3, 1}, {3, 0, 2, 3, 1}, {3, 0, 3, 6, 1}, {3, 0, 7, 9, 1}, {3, 3, 4, 6, -1},
	} {
		got, err := nth("0 9 * * *", c.step, day(c.due), day(c.now).Add(time.Duration(c.laterHours)*time.Hour))
		require.NoError(t, err)
		require.Equal(t, day(c.want), got, "%+v", c)
	}
	begun := time.Now()
	got, err := nth("* * * * *", 7, day(0), day(3650))
	require.NoError(t, err)
	require.Equal(t, day(3650).Add(time.Minute), got, "after ten years the count begins anew")
	require.Less(t, time.Since(begun), 5*time.Second)
}
