package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

func TestNullIsReadAsTheZeroValue(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		type row struct {
			text string
			at   time.Time
		}
		// What stood in the place before goes.
		read := func(query string) (row, error) {
			r := row{"before", time.Unix(1, 0)}
			_, err := db.One(t.Context(), d.Reader(), func(s db.Scanner) (struct{}, error) {
				return struct{}{}, s.Scan(db.OrEmpty(&r.text), db.OrZero(&r.at))
			}, query)
			return r, err
		}
		got, err := read(`SELECT CAST(NULL AS TEXT), CAST(NULL AS BIGINT)`)
		require.NoError(t, err)
		require.Equal(t, row{}, got)
		got, err = read(`SELECT CAST('x' AS TEXT), CAST(1500 AS BIGINT)`)
		require.NoError(t, err)
		require.Equal(t, row{"x", db.Time(1500)}, got)
		for _, wrong := range []string{`SELECT CAST(1 AS BIGINT), CAST(1 AS BIGINT)`, `SELECT CAST('x' AS TEXT), CAST('x' AS TEXT)`} {
			_, err = read(wrong)
			require.ErrorContains(t, err, "is no t")
		}
	})
}
