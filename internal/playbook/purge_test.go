package playbook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/playbook"
)

// What a deleted organization left is found by an index, however much there is of others.
func TestPurgesReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, query := range playbook.PurgeQueries {
			plan := dbtest.Plan(t, d, query, "org-7")
			for _, bad := range []string{"Seq Scan", "SCAN "} {
				require.NotContains(t, plan, bad, "%s\n%s", query, plan)
			}
		}
	})
}
