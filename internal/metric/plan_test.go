package metric

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// Every answer reads the rows of its days and groups by their key, and none reads the sessions.
func TestMetricsReadTheirDaysByTheKey(t *testing.T) {
	t.Parallel()
	r := Range{After: time.Unix(1_700_000_000, 0), Before: time.Unix(1_730_000_000, 0)}
	one := Filter{Range: r, OrgID: "o"}
	many := Filter{Range: r, OrgIDs: []string{"o", "p"}, UserIDs: []string{"u", "v"}, PlaybookID: "x"}
	type bound struct {
		query string
		args  []any
	}
	list := func(query string, args []any) bound { return bound{query, args} }
	columns := []string{"sessions", "acu_micros"}
	days := func(f ActiveFilter) bound { return list(f.byPeriod(Daily, r.After, r.Before)) }
	several := ActiveFilter{OrgIDs: []string{"o", "p"}}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, q := range []struct {
			name, table, sqlite string
			bound
		}{
			{"an organization", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(one.sums(columns))},
			{"the enterprise", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(Filter{Range: r}.sums(columns))},
			{"groups", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(many.sums(columns))},
			{"all of history", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=?", list(Filter{}.sums(columns))},
			{"an organization by day", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(one.byDay(columns))},
			{"the enterprise by day", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(Filter{Range: r}.byDay(columns))},
			{"categories", "metric_categories", "org_id=? AND day>? AND day<?", list(one.categories())},
			{"days", "metric_active", "org_id=? AND period=? AND began>? AND began<?", days(ActiveFilter{OrgID: "o"})},
			{"days above a threshold", "metric_active", "org_id=? AND period=? AND began=? AND sessions<?", days(ActiveFilter{MinSessions: 2, MinSearches: 1})},
			{"days of several", "metric_people", "org_id=? AND period=? AND began>? AND began<?", days(several)},
			{"a range", "metric_gaps", "org_id=? AND day=? AND last_day<?", list(ActiveFilter{MinSessions: 1, MinSearches: 1}.byGaps(r.After, r.Before))},
			{"facts", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(several.facts(r.After, r.Before))},
			{"a range of many", "metric_people", "org_id=? AND period=? AND began>? AND began<?", list(ActiveFilter{MinSessions: 2, MinSearches: 1}.inRange(r.After, r.Before))},
		} {
			got := dbtest.Plan(t, d, q.query, q.args...)
			if d.Engine() == db.SQLite {
				require.Contains(t, got, "SEARCH "+q.table, "%s\n%s", q.name, got)
				require.Contains(t, got, "("+q.sqlite+")", "%s\n%s", q.name, got)
			}
			require.Contains(t, got, map[db.Engine]string{db.SQLite: q.table, db.Postgres: "using " + q.table + "_"}[d.Engine()], "%s\n%s", q.name, got)
			for _, bad := range []string{"Seq Scan", "SCAN " + q.table, "sessions s"} {
				require.NotContains(t, got, bad, "%s\n%s", q.name, got)
			}
		}
	})
}

// PostgreSQL, told nothing of what is dear, finds the enterprise's own days among those of very many groups: ” is common in each of the
// four columns, and it takes columns for independent.
func TestTheEnterprisesDaysAreFoundAmongVeryManyGroups(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.Postgres, clock.Clock{})
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for _, fill := range []string{
			`INSERT INTO metric_days (org_id, user_id, service_user_id, playbook_id, day, shard, sessions)
				SELECT CASE WHEN i & 1 = 0 THEN '' ELSE 'org-' || i % 100 END, CASE WHEN i & 2 = 0 THEN '' ELSE 'user-' || i END,
					CASE WHEN i & 4 = 0 THEN '' ELSE 'robot-' || i END, CASE WHEN i & 8 = 0 THEN '' ELSE 'playbook-' || i END, i, 0, 1
				FROM generate_series(1, 60000) i WHERE i & 15 <> 0`,
			`INSERT INTO metric_days (org_id, user_id, service_user_id, playbook_id, day, shard, sessions)
				SELECT '', '', '', '', i, 0, 1 FROM generate_series(1, 300) i`,
			`ANALYZE metric_days`,
		} {
			if _, err := db.Exec(ctx, tx, fill); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, ask := range []func([]string) (string, []any){Filter{}.sums, Filter{}.byDay} {
		query, args := ask([]string{"sessions"})
		lines, err := db.All(t.Context(), d.Reader(), db.Text, "EXPLAIN "+query, args...)
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		require.Contains(t, plan, "metric_days_enterprise", plan)
		require.NotContains(t, plan, "Seq Scan", plan)
	}
}

func TestOnlySoManyAnswersAreKept(t *testing.T) {
	t.Parallel()
	var a answers
	for i := range 2 * maxAnswers {
		q := question{byte(i), byte(i >> 8)}
		a.keep(q, answer{facts: 7, rows: []periodRow{{users: int64(i)}}})
		rows, ok := a.find(q, 7)
		require.True(t, ok)
		require.Equal(t, []periodRow{{users: int64(i)}}, rows)
		_, ok = a.find(q, 8)
		require.False(t, ok, "of other facts")
	}
	require.Len(t, a.given, maxAnswers)
}
