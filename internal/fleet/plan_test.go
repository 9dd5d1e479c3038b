package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// Every replica asks each second whose claims ended with their keys: it looks at claims by keys, whatever else is queued.
func TestWhatLooksForEndedKeysReadsAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		plan := dbtest.Plan(t, d, disownedQuery, 5, 100)
		require.Contains(t, plan, "queue_claim_key", plan)
		for _, bad := range []string{"SCAN k", "Seq Scan on queue", "Seq Scan on api_keys", "Seq Scan on worker_keys"} {
			require.NotContains(t, plan, bad, plan)
		}
	})
}
