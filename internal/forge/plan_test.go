package forge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

func TestListsReadAnIndexWithoutASort(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, h *house) {
		usable, args := forge.UsableQuery("org-a", "c")
		connection := "git_repositories_pkey"
		if h.db.Engine() == db.SQLite {
			connection = "git_repositories USING INDEX sqlite_autoindex_git_repositories_1 (git_connection_id=? AND folded>?)"
		}
		for _, q := range []struct {
			name, index, query string
			args               []any
		}{
			{"usable repositories", connection, usable, args},
			{"their permissions", "git_permissions_scope", usable, args},
			{"permissions", "git_permissions_page", `SELECT value FROM git_permissions WHERE org_id = 'o' AND (created_at, git_permission_id) > (5, 'p')
				ORDER BY created_at, git_permission_id LIMIT 100`, nil},
			{"a connection's permissions", "git_permissions_connection", `DELETE FROM git_permissions WHERE git_connection_id = 'c'`, nil},
			{"connections", "git_connections_page", `SELECT name FROM git_connections WHERE (created_at, git_connection_id) > (5, 'c')
				ORDER BY created_at, git_connection_id LIMIT 100`, nil},
			{"a session's", "session_git", `SELECT repo FROM session_git WHERE session_id = 's'`, nil},
		} {
			plan := dbtest.Plan(t, h.db, q.query, q.args...)
			require.Contains(t, plan, q.index, "%s\n%s", q.name, plan)
			for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan", "SCAN git_repositories"} {
				require.NotContains(t, plan, bad, "%s\n%s", q.name, plan)
			}
		}
	})
}
