package knowledge_test

import (
	"context"
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
			plan := dbtest.Plan(t, d, query, args...)
			for _, bad := range []string{"SCAN n\n", "Seq Scan on knowledge_notes"} {
				require.NotContains(t, plan, bad, "%s:\n%s", name, plan)
			}
			require.Contains(t, plan, c.index, "%s:\n%s", name, plan)
			if d.Engine() == db.SQLite && c.f.FolderPath != "/a" {
				require.NotContains(t, plan, "TEMP B-TREE", "%s:\n%s", name, plan)
			}
		}
	})
}
