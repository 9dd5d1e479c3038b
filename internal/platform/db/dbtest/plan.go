package dbtest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
)

// Plan gives how the engine reads a query, a step a line. PostgreSQL is told that scanning and sorting are dear, because the tables of
// a test are small.
func Plan(t testing.TB, d *db.DB, query string, args ...any) string {
	t.Helper()
	var lines []string
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		lines, err = explain(ctx, tx, query, args)
		return err
	}), query)
	return strings.Join(lines, "\n") + "\n"
}

func explain(ctx context.Context, tx *db.Tx, query string, args []any) ([]string, error) {
	if tx.Engine() == db.SQLite {
		return db.All(ctx, tx, func(r db.Scanner) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		}, "EXPLAIN QUERY PLAN "+query, args...)
	}
	for _, off := range []string{"SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off"} {
		if _, err := db.Exec(ctx, tx, off); err != nil {
			return nil, err
		}
	}
	return db.All(ctx, tx, db.Text, "EXPLAIN "+query, args...)
}
