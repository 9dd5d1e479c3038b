package schedule

import (
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
		for _, q := range []struct {
			index, query string
			args         []any
		}{
			{"schedules_due", dueQuery, []any{5, 100}}, {"schedules_page", listQuery, []any{"o", 100, 200}}, {"schedules_page", countQuery, []any{"o"}},
		} {
			plan := dbtest.Plan(t, d, q.query, q.args...)
			require.Contains(t, plan, q.index, plan)
			require.NotContains(t, strings.ToLower(plan), "sort", plan)
			require.NotContains(t, plan, "TEMP B-TREE", plan)
		}
	})
}
