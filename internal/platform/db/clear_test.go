package db_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

func TestClearingTakesAPartAtATimeUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		fill(t, d, 5)
		const look = `SELECT 1 FROM settings WHERE name LIKE $1 LIMIT 1`
		const remove = `DELETE FROM settings WHERE name IN (SELECT name FROM settings WHERE name LIKE $1 LIMIT 2)`
		for _, left := range []int64{3, 1, 0} {
			some, err := db.Clear(t.Context(), d, look, remove, "k%")
			require.NoError(t, err)
			require.True(t, some)
			n, err := db.One(t.Context(), d.Reader(), db.Int, `SELECT COUNT(*) FROM settings WHERE name LIKE 'k%'`)
			require.NoError(t, err)
			require.Equal(t, left, n)
		}
		some, err := db.Clear(t.Context(), d, look, remove, "k%")
		require.NoError(t, err)
		require.False(t, some)
	})
}
