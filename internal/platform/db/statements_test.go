package db_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

func fill(t *testing.T, d *db.DB, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, d.Write(t.Context(), put(fmt.Sprintf("k%02d", i), fmt.Sprint(i))))
	}
}

func TestAStatementMayRunWhileItsOwnRowsAreRead(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.SQLite, clock.Clock{}) // PostgreSQL reads one result at a time
	fill(t, d, 5)
	const query = `SELECT name FROM settings WHERE name LIKE $1 ORDER BY name`
	err := d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		outer, err := tx.QueryContext(ctx, query, "k%")
		require.NoError(t, err)
		defer func() { require.NoError(t, outer.Close()) }()
		seen := 0
		for ; outer.Next(); seen++ {
			inner, err := db.All(ctx, tx, db.Text, query, "k%")
			require.NoError(t, err)
			require.Len(t, inner, 5)
		}
		require.Equal(t, 5, seen)
		return outer.Err()
	})
	require.NoError(t, err)
}

func TestAStatementThatIsRunAgainTakesItsNewValues(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		fill(t, d, 5)
		for _, n := range []int{1, 5, 2, 0, 9} {
			got, err := db.All(t.Context(), d.Reader(), db.Text, `SELECT name FROM settings WHERE name LIKE $1 ORDER BY name LIMIT $2`, "k%", n)
			require.NoError(t, err)
			require.Len(t, got, min(n, 5))
		}
		err := d.Write(t.Context(), put("k00", "again"))
		require.ErrorIs(t, err, db.ErrUnique)
		require.NoError(t, d.Write(t.Context(), put("k99", "one that failed before")))
	})
}

func TestManyStatementsPushOutTheOldOnes(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.SQLite, clock.Clock{})
	for i := range 300 {
		got, err := db.One(t.Context(), d.Reader(), db.Int, fmt.Sprintf("SELECT %d", i%150))
		require.NoError(t, err)
		require.EqualValues(t, i%150, got)
	}
}

func TestAKeptStatementSeesANewSchema(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.SQLite, clock.Clock{})
	exec := func(query string) {
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, query)
			return err
		}))
	}
	exec(`CREATE TABLE t (a INTEGER)`)
	exec(`INSERT INTO t (a) VALUES (1)`)
	columns := func() int {
		rows, err := d.Reader().QueryContext(t.Context(), `SELECT * FROM t`) //nolint:unqueryvet // that is what changes
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		names, err := rows.Columns()
		require.NoError(t, err)
		require.NoError(t, rows.Err())
		return len(names)
	}
	require.Equal(t, 1, columns())
	exec(`ALTER TABLE t ADD COLUMN b INTEGER`)
	require.Equal(t, 2, columns())
}
