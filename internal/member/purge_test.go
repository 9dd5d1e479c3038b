package member

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// What a deleted organization left is found by an index, however much there is of others.
func TestPurgesReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, query := range slices.Concat(purgeQueries[0][:], purgeQueries[1][:]) {
			plan := dbtest.Plan(t, d, query, "org-7")
			for _, bad := range []string{"Seq Scan", "SCAN "} {
				require.NotContains(t, plan, bad, "%s\n%s", query, plan)
			}
		}
	})
}
