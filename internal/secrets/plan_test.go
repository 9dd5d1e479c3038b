package secrets

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/page"
)

// The list and what every new session asks read an index, and no sort stands between it and the answer.
func TestHotQueriesReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		first, _ := listQuery("o", page.Request{First: 100})
		later, _ := listQuery("o", page.Request{First: 100, After: page.Position{int64(5), "s"}})
		for _, query := range []string{
			strings.NewReplacer("$1", "'o'", "$2", "100").Replace(first), strings.NewReplacer("$1", "'o'", "$2, $3", "5, 's'", "$4", "100").Replace(later),
			`SELECT secret_id FROM secrets WHERE org_id = 'o' ORDER BY created_at, secret_id`,
		} {
			plan := explain(t, d, query)
			require.Contains(t, plan, "secrets_page", "%s\n%s", query, plan)
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
