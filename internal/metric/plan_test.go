package metric

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// inlined puts a query's arguments in their places.
func inlined(query string, args []any) string {
	for i := len(args); i > 0; i-- {
		value := fmt.Sprint(args[i-1])
		if s, ok := args[i-1].(string); ok {
			value = "'" + s + "'"
		}
		query = strings.ReplaceAll(query, "$"+strconv.Itoa(i), value)
	}
	return query
}

func plan(t *testing.T, d *db.DB, query string) string {
	t.Helper()
	var lines []string
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		explain, scan := "EXPLAIN QUERY PLAN ", func(r db.Scanner) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}
		if d.Engine() == db.Postgres {
			explain, scan = "EXPLAIN ", db.Text
			if _, err := db.Exec(ctx, tx, "SET LOCAL enable_seqscan = off"); err != nil { // the tables of a test are small
				return err
			}
		}
		var err error
		lines, err = db.All(ctx, tx, scan, explain+query)
		return err
	}))
	return strings.Join(lines, "\n")
}

// Every answer reads the rows of its days and groups by their key, and none reads the sessions.
func TestMetricsReadTheirDaysByTheKey(t *testing.T) {
	t.Parallel()
	r := Range{After: time.Unix(1_700_000_000, 0), Before: time.Unix(1_730_000_000, 0)}
	one := Filter{Range: r, OrgID: "o"}
	many := Filter{Range: r, OrgIDs: []string{"o", "p"}, UserIDs: []string{"u", "v"}, PlaybookID: "x"}
	list := func(query string, args []any) string { return inlined(query, args) }
	columns := []string{"sessions", "acu_micros"}
	days := func(f ActiveFilter) string {
		query, args := f.byPeriod(Daily, r.After.UnixMilli(), r.Before.UnixMilli())
		return inlined(query, args)
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, q := range []struct{ name, table, sqlite, query string }{
			{"an organization", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(one.sums(columns))},
			{"the enterprise", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(Filter{Range: r}.sums(columns))},
			{"groups", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=? AND day>? AND day<?", list(many.sums(columns))},
			{"all of history", "metric_days", "org_id=? AND user_id=? AND service_user_id=? AND playbook_id=?", list(Filter{}.sums(columns))},
			{"categories", "metric_categories", "org_id=? AND day>? AND day<?", list(one.categories())},
			{"days", "metric_active", "org_id=? AND period=? AND began>? AND began<?", days(ActiveFilter{OrgID: "o", MinSessions: 2})},
			{"days of several", "metric_people", "org_id=? AND period=? AND began>? AND began<?", days(ActiveFilter{OrgIDs: []string{"o", "p"}})},
			{"a range", "metric_gaps", "org_id=? AND day>? AND day<?", list(ActiveFilter{MinSessions: 1, MinSearches: 1}.inRange(r.After, r.Before))},
			{"a range of many", "metric_people", "org_id=? AND period=? AND began>? AND began<?", list(ActiveFilter{MinSessions: 2, MinSearches: 1}.inRange(r.After, r.Before))},
		} {
			got := plan(t, d, q.query)
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
