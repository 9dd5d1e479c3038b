package usage_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/usage"
)

// plan gives how the engine reads a query. PostgreSQL is told that scanning is dear, because the tables of a test are small.
func (h *house) plan(t *testing.T, query string) string {
	t.Helper()
	for name, value := range map[string]string{"$1": "'user'", "$2": "7", "$3": "9", "$4": "5", "$5": "9"} {
		query = strings.ReplaceAll(query, name, value)
	}
	var lines []string
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		explain, scan := "EXPLAIN QUERY PLAN ", func(r db.Scanner) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}
		if h.db.Engine() == db.Postgres {
			explain, scan = "EXPLAIN ", db.Text
			for _, off := range []string{"SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off"} {
				if _, err := db.Exec(ctx, tx, off); err != nil {
					return err
				}
			}
		}
		var err error
		lines, err = db.All(ctx, tx, scan, explain+query)
		return err
	}))
	return strings.Join(lines, "\n")
}

// What every report and every page of a chart reads, it reads by an index and in the index's order.
func TestHotQueriesReadAnIndex(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		for name, index := range map[string]string{
			"enterprise by day": "usage_enterprise", "one thing by day": "usage_daily", "a user's cycle": "usage_daily", "a group's cycle": "usage_cycles",
			"the enterprise's cycle": "usage_enterprise", "limited users": "user_acu_limits",
		} {
			query := usage.Queries[name]
			if strings.HasPrefix(name, "enterprise") || strings.HasPrefix(name, "the enterprise") {
				query = strings.NewReplacer("$1", "5", "$2", "9").Replace(query) // days, not texts
			}
			if name == "one thing by day" {
				query = strings.NewReplacer("$2", "'u'", "$3", "'o'").Replace(query)
			}
			plan := h.plan(t, query)
			require.Contains(t, plan, index, name)
			for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan", "SCAN "} {
				require.NotContains(t, plan, bad, "%s\n%s", name, plan)
			}
		}
	})
}
