package usage_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/usage"
)

func TestBulkEntersWhatTheTransactionsEnter(t *testing.T) {
	t.Parallel()
	one, bulk := dbtest.Open(t, db.SQLite, clock.Clock{}), dbtest.Open(t, db.SQLite, clock.Clock{})
	columns, rates := usage.BulkColumns(), usage.Defaults()
	require.NoError(t, bulk.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		b := usage.NewBulk(rates, func(table string, row ...any) error {
			marks := make([]string, len(row))
			for i := range marks {
				marks[i] = fmt.Sprint("$", i+1)
			}
			_, err := db.Exec(ctx, tx, `INSERT INTO `+table+` (`+strings.Join(columns[table], ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, row...)
			return err
		})
		return one.Write(context.WithoutCancel(t.Context()), func(octx context.Context, otx *db.Tx) error {
			rng := rand.New(rand.NewPCG(1, 2))
			at := time.Date(2025, 11, 20, 22, 0, 0, 0, time.UTC)
			for i := range 200 {
				at = at.Add(time.Duration(rng.IntN(2000)) * time.Minute)
				w := usage.Work{SessionID: fmt.Sprint("s", i), OrgID: fmt.Sprint("o", i%3), Start: at, From: at, To: at.Add(time.Duration(rng.Int64N(int64(40 * time.Hour))))}
				if w.UserID = "u"; i%4 == 0 {
					w.UserID, w.ServiceUserID = "", "x"
				}
				want, err := rates.EnterTx(octx, otx, w)
				if err != nil {
					return err
				}
				got, err := b.Enter(w)
				if err != nil {
					return err
				}
				require.Equal(t, want, got)
				if err := b.Flush(at); err != nil {
					return err
				}
			}
			return b.End()
		})
	}))
	for _, table := range slices.Sorted(maps.Keys(columns)) {
		read := func(d *db.DB) []string {
			out, err := db.All(t.Context(), d.Reader(), func(r db.Scanner) (string, error) {
				values, into := make([]any, len(columns[table])), make([]any, len(columns[table]))
				for i := range values {
					into[i] = &values[i]
				}
				err := r.Scan(into...)
				return fmt.Sprint(values...), err
			}, `SELECT `+strings.Join(columns[table], ", ")+` FROM `+table)
			require.NoError(t, err)
			slices.Sort(out)
			return out
		}
		want := read(one)
		require.NotEmpty(t, want)
		require.Empty(t, cmp.Diff(want, read(bulk)), table)
	}
}
