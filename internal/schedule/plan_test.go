package schedule

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// The query of every second and those of lists read an index, and no sort stands between it and the answer.
func TestHotQueriesReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, q := range []struct{ index, query string }{
			{"schedules_due", dueQuery}, {"schedules_page", listQuery}, {"schedules_page", countQuery},
		} {
			query := strings.NewReplacer("org_id = $1", "org_id = 'o'", "<= $1", "<= 5", "LIMIT $2", "LIMIT 100", "OFFSET $3", "OFFSET 200").Replace(q.query)
			plan := explain(t, d, query)
			require.Contains(t, plan, q.index, plan)
			require.NotContains(t, strings.ToLower(plan), "sort", plan)
			require.NotContains(t, plan, "TEMP B-TREE", plan)
		}
	})
}

func explain(t *testing.T, d *db.DB, query string) string {
	t.Helper()
	var lines []string
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		how, scan := "EXPLAIN QUERY PLAN ", func(r db.Scanner) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}
		if d.Engine() == db.Postgres {
			how, scan = "EXPLAIN ", db.Text
			for _, off := range []string{"SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off"} {
				if _, err := db.Exec(ctx, tx, off); err != nil {
					return err
				}
			}
		}
		var err error
		lines, err = db.All(ctx, tx, scan, how+query)
		return err
	}))
	return strings.Join(lines, "\n")
}
