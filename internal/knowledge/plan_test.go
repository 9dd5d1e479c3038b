package knowledge_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/knowledge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// The lists and what every new session asks read an index: nobody waits for another organization's notes.
func TestHotQueriesReadAnIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if d.Engine() == db.Postgres {
			require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
				_, err := db.Exec(ctx, tx, `INSERT INTO knowledge_notes (note_id, org_id, created_at, updated_at, is_enabled, name, trigger_text, size,
						hash, body, folded)
					SELECT 'note-' || i, 'org-' || (i % 100), i, i, 1, 'n', 't', 1, 'h', 'b', 'f' FROM generate_series(1, 20000) i`)
				return err
			}))
			_, err := d.Reader().ExecContext(t.Context(), `ANALYZE`)
			require.NoError(t, err)
		}
		for name, c := range map[string]struct {
			f     knowledge.Filter
			part  int64
			index string
		}{
			"an organization's":             {knowledge.Filter{OrgID: "org-7"}, 0, "knowledge_notes_org"},
			"the enterprise's, of an org":   {knowledge.Filter{OrgID: "org-7"}, 1, "knowledge_notes_org"},
			"a search":                      {knowledge.Filter{OrgID: "org-7", Search: "x"}, 0, "knowledge_notes_org"},
			"a pin":                         {knowledge.Filter{OrgID: "org-7", PinnedRepo: "x"}, 0, "knowledge_notes_"},
			"all":                           {knowledge.Filter{}, 0, "knowledge_notes_all"},
			"the enterprise's own":          {knowledge.Filter{AccessType: knowledge.AccessEnterprise}, 0, "knowledge_notes_org"},
			"a search of the enterprise's":  {knowledge.Filter{AccessType: knowledge.AccessEnterprise, Search: "x"}, 0, "knowledge_notes_org"},
			"what is in one folder":         {knowledge.Filter{OrgID: "org-7", FolderPath: "/a"}, 0, "knowledge_notes_"},
			"what is in none, of all there": {knowledge.Filter{FolderPath: "/"}, 0, "knowledge_notes_all"},
		} {
			query, args := knowledge.ListQuery(c.f, c.part)
			plan := explain(t, d, query, args)
			require.Contains(t, plan, c.index, "%s:\n%s", name, plan)
			if d.Engine() == db.SQLite && c.f.FolderPath != "/a" {
				require.NotContains(t, plan, "TEMP B-TREE", "%s:\n%s", name, plan)
			}
		}
	})
}

// explain gives how the engine reads a query. PostgreSQL is told that scanning is dear, because the tables of a test are small.
func explain(t *testing.T, d *db.DB, query string, args []any) string {
	t.Helper()
	var lines []string
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		word, scan := "EXPLAIN QUERY PLAN ", func(r db.Scanner) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}
		if d.Engine() == db.Postgres {
			word, scan = "EXPLAIN ", db.Text
			for _, off := range []string{"SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off"} {
				if _, err := db.Exec(ctx, tx, off); err != nil {
					return err
				}
			}
		}
		var err error
		lines, err = db.All(ctx, tx, scan, word+query, args...)
		return err
	}))
	plan := strings.Join(lines, "\n")
	for _, bad := range []string{"SCAN n\n", "Seq Scan on knowledge_notes"} {
		require.NotContains(t, plan+"\n", bad)
	}
	return plan
}
