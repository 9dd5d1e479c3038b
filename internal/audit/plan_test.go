package audit_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/page"
)

func quiet(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestListsAndTheSealReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		at := time.Unix(1, 0)
		request := page.Request{First: 100, After: page.Position{int64(5), "x"}}
		for _, c := range []struct {
			name, index, query string
			args               []any
		}{
			{"any fresh", "audit_entries_fresh", audit.AnyFreshQuery, nil},
			{"fresh", "audit_entries_fresh", audit.FreshQuery, []any{5, "x", 100}},
			{"numbered", "audit_entries_number", audit.NumberedQuery, []any{5, 100}},
			{"next number", "audit_entries_number", audit.NextNumberQuery, []any{5}},
			{"a list", "audit_entries_time", audit.ListQuery(audit.ListParams{Page: request}), []any{5, "x", 100}},
			{"a range", "audit_entries_time", audit.ListQuery(audit.ListParams{TimeAfter: at, TimeBefore: at, Page: request}), []any{1, 9, 5, "x", 100}},
			{"an organization", "audit_entries_org", audit.ListQuery(audit.ListParams{OrgID: "o", Page: request}), []any{"o", 5, "x", 100}},
			{"an organization's action", "audit_entries_org_action", audit.ListQuery(audit.ListParams{OrgID: "o", Action: "login", Page: request}), []any{"o", "login", 5, "x", 100}},
			{"an action", "audit_entries_action", audit.ListQuery(audit.ListParams{Action: "login", Order: audit.Asc, Page: request}), []any{"login", 5, "x", 100}},
		} {
			got := dbtest.Plan(t, d, c.query, c.args...)
			require.Contains(t, got, c.index, "%s\n%s", c.name, got)
			for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan"} {
				require.NotContains(t, got, bad, "%s\n%s", c.name, got)
			}
		}
	})
}
