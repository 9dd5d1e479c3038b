package org

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// What runs every few seconds, and what a purge does over and over, reads an index and sorts nothing.
func TestPurgesReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const numbers = `WITH RECURSIVE seq (i) AS (SELECT 1 UNION ALL SELECT seq.i + 1 FROM seq WHERE seq.i < 2000) `
		for _, s := range []string{
			numbers + `INSERT INTO organizations (org_id, name, created_at, updated_at, deleted_at, purge_stage)
				SELECT 'o' || i, 'x', i, i, CASE WHEN i % 10 = 0 THEN i END, CASE WHEN i % 100 = 0 THEN 1 ELSE 2 END FROM seq`,
			numbers + `INSERT INTO org_tags (org_id, tag) SELECT 'o' || i, 't' FROM seq`,
			`ANALYZE`,
		} {
			require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
				_, err := db.Exec(ctx, tx, s)
				return err
			}))
		}
		look := func(index, query string, args ...any) {
			plan := dbtest.Plan(t, d, query, args...)
			require.Contains(t, plan, index, "%s\n%s", query, plan)
			for _, bad := range []string{"Seq Scan", "SCAN organizations\n", "SCAN org_tags", "TEMP B-TREE", "Sort "} {
				require.NotContains(t, plan, bad, "%s\n%s", query, plan)
			}
		}
		look("organizations_purge", purgesDueQuery, 5, 5, 10)
		look("org_tags", settingsQueries[0][0], "o7")
		look("org_tags", settingsQueries[0][1], "o7")
		look("organizations", settingsQueries[1][0], "o7")
		look("organizations", settingsQueries[1][1], "o7")
	})
}
