package usage_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db/dbtest"
	"gantry/internal/usage"
)

// What every report and every page of a chart reads, it reads by an index and in the index's order.
func TestHotQueriesReadAnIndex(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		for name, index := range map[string]string{
			"enterprise by day": "usage_enterprise", "one thing by day": "usage_daily", "a user's cycle": "usage_daily", "a group's cycle": "usage_cycles",
			"the enterprise's cycle": "usage_enterprise", "limited users": "user_acu_limits",
		} {
			plan := dbtest.Plan(t, h.db, usage.Queries[name].Text, usage.Queries[name].Args...)
			require.Contains(t, plan, index, name)
			for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan", "SCAN "} {
				require.NotContains(t, plan, bad, "%s\n%s", name, plan)
			}
		}
	})
}
