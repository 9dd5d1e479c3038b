package rollup_test

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
	"gantry/internal/rollup"
)

// rows reads a table's columns, sorted; rows that came to nothing are left out.
func rows(t *testing.T, d *db.DB, table string, columns []string, sums int) []string {
	t.Helper()
	out, err := db.All(t.Context(), d.Reader(), func(r db.Scanner) (string, error) {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err := r.Scan(into...)
		line := fmt.Sprint(values...)
		for _, v := range values[len(values)-sums:] {
			if v != int64(0) {
				return line, err
			}
		}
		return "", err
	}, `SELECT `+strings.Join(columns, ", ")+` FROM `+table)
	require.NoError(t, err)
	out = slices.DeleteFunc(out, func(s string) bool { return s == "" })
	slices.Sort(out)
	return out
}

func TestBulkCountsWhatTheTransactionsCount(t *testing.T) {
	t.Parallel()
	one, bulk := dbtest.Open(t, db.SQLite, clock.Clock{}), dbtest.Open(t, db.SQLite, clock.Clock{})
	columns := rollup.BulkColumns()
	require.NoError(t, bulk.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		b := rollup.NewBulk(func(table string, row ...any) error {
			marks := make([]string, len(row))
			for i := range marks {
				marks[i] = fmt.Sprint("$", i+1)
			}
			_, err := db.Exec(ctx, tx, `INSERT INTO `+table+` (`+strings.Join(columns[table], ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, row...)
			return err
		})
		return one.Write(context.WithoutCancel(t.Context()), func(octx context.Context, otx *db.Tx) error {
			return live(octx, otx, b)
		})
	}))
	// How many of each row's last columns are sums.
	sums := map[string]int{"metric_days": len(columns["metric_days"]) - 6, "metric_categories": 2, "metric_people": 2, "metric_active": 1, "metric_gaps": 1}
	for _, table := range slices.Sorted(maps.Keys(columns)) {
		want := rows(t, one, table, columns[table], sums[table])
		require.NotEmpty(t, want)
		require.Empty(t, cmp.Diff(want, rows(t, bulk, table, columns[table], sums[table])), table)
	}
}

// live has the same things happen in both ways.
func live(ctx context.Context, tx *db.Tx, b *rollup.Bulk) error {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	at := time.Date(2025, 11, 20, 22, 0, 0, 0, time.UTC)
	for range 300 {
		at = at.Add(time.Duration(rng.IntN(20)) * time.Hour)
		s := rollup.Session{
			OrgID: pick("a", "b"), UserID: pick("u", "v", ""), PlaybookID: pick("", "p"), Origin: pick("api", "scheduled", "new"),
			WithSearch: rng.IntN(4) == 0, CreatedAt: at,
		}
		if s.UserID == "" {
			s.ServiceUserID = "x"
		}
		m := rollup.Measure{Size: pick("xs", "xl"), ACUMicros: rng.Int64N(9), Category: pick("", "c", "d"), Subcategory: pick("e", "f")}
		if rng.IntN(3) == 0 {
			m.PullRequests = []rollup.PullRequest{{Day: rollup.Day(at.Add(30 * time.Hour)), State: pick("open", "merged"), TakenOver: rng.IntN(2) == 0}}
		}
		if err := rollup.BeginTx(ctx, tx, s, m); err != nil {
			return err
		}
		b.Begin(s, m)
		found := rollup.Search{OrgID: s.OrgID, UserID: s.UserID, ServiceUserID: s.ServiceUserID, At: at}
		if rng.IntN(2) == 0 {
			if err := rollup.SearchTx(ctx, tx, found); err != nil {
				return err
			}
			b.Search(found)
		}
		if err := b.Flush(at); err != nil {
			return err
		}
	}
	return b.End()
}
