package secrets

import (
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
		first, args := listQuery("o", page.Request{First: 100})
		later, deep := listQuery("o", page.Request{First: 100, After: page.Position{int64(5), "s"}})
		for query, args := range map[string][]any{
			first: args, later: deep, `SELECT secret_id FROM secrets WHERE org_id = 'o' ORDER BY created_at, secret_id`: nil,
		} {
			plan := dbtest.Plan(t, d, query, args...)
			require.Contains(t, plan, "secrets_page", "%s\n%s", query, plan)
			require.NotContains(t, strings.ToLower(plan), "sort", plan)
			require.NotContains(t, plan, "TEMP B-TREE", plan)
		}
		for _, query := range []string{someOfOrg, removeOfOrg} {
			require.Regexp(t, "secrets_(page|name)", dbtest.Plan(t, d, query, "o"), query)
		}
	})
}
