package forge_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/platform/db"
)

// plan gives how the engine reads a query. PostgreSQL is told that scanning is dear, because the tables of a test are small.
func (h *house) plan(t *testing.T, query string) string {
	t.Helper()
	var lines []string
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		explain, scan := "EXPLAIN QUERY PLAN ", func(r db.Scanner) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}
		if h.db.Engine() == db.Postgres {
			explain, scan = "EXPLAIN ", db.Text
			for _, off := range []string{"SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off"} {
				if _, err := db.Exec(ctx, tx, off); err != nil {
					return err
				}
			}
		}
		var err error
		lines, err = db.All(ctx, tx, scan, explain+query)
		return err
	}))
	return strings.Join(lines, "\n")
}

// literal puts a query's arguments in their places.
func literal(query string, args []any) string {
	for i := len(args); i > 0; i-- {
		text := fmt.Sprint(args[i-1])
		if s, ok := args[i-1].(string); ok {
			text = "'" + strings.ReplaceAll(s, "'", "''") + "'"
		}
		query = strings.ReplaceAll(query, "$"+strconv.Itoa(i), text)
	}
	return query
}

func TestListsReadAnIndexWithoutASort(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, h *house) {
		usable := literal(forge.UsableQuery("org-a", "c"))
		connection := "git_repositories_pkey"
		if h.db.Engine() == db.SQLite {
			connection = "git_repositories USING INDEX sqlite_autoindex_git_repositories_1 (git_connection_id=? AND folded>?)"
		}
		for _, q := range []struct{ name, index, query string }{
			{"usable repositories", connection, usable},
			{"their permissions", "git_permissions_scope", usable},
			{"permissions", "git_permissions_page", `SELECT value FROM git_permissions WHERE org_id = 'o' AND (created_at, git_permission_id) > (5, 'p')
				ORDER BY created_at, git_permission_id LIMIT 100`},
			{"a connection's permissions", "git_permissions_connection", `DELETE FROM git_permissions WHERE git_connection_id = 'c'`},
			{"connections", "git_connections_page", `SELECT name FROM git_connections WHERE (created_at, git_connection_id) > (5, 'c')
				ORDER BY created_at, git_connection_id LIMIT 100`},
			{"a session's", "session_git", `SELECT repo FROM session_git WHERE session_id = 's'`},
		} {
			plan := h.plan(t, q.query)
			require.Contains(t, plan, q.index, "%s\n%s", q.name, plan)
			for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan", "SCAN git_repositories"} {
				require.NotContains(t, plan, bad, "%s\n%s", q.name, plan)
			}
		}
	})
}
