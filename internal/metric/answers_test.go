package metric_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/metric"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/rollup"
)

// people are questions that must look at people, about o1 and o2 in March: how many started two sessions or searched.
var people = metric.ActiveFilter{
	Range: metric.Range{After: at("2026-03-01T00:00:00Z"), Before: at("2026-04-01T00:00:00Z")}, OrgIDs: []string{"o1", "o2"}, MinSessions: 2, MinSearches: 1,
}

// twice has somebody start a session in both organizations, on one day of March, in one transaction.
func twice(ctx context.Context, d *db.DB, user string) error {
	return d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, org := range []string{"o1", "o2"} {
			s := rollup.Session{OrgID: org, UserID: user, CreatedAt: at("2026-03-10T12:00:00Z")}
			if err := rollup.BeginTx(ctx, tx, s, rollup.Measure{Size: "xs"}); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestAQuestionAskedAgainLooksAtPeopleOnlyWhenThereIsSomethingNew(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		looked := 0
		d.Watch(func(query string, _ []any) {
			if strings.Contains(query, "FROM metric_people") && !strings.Contains(query, "metric_people WHERE org_id = $1 AND user_id") {
				looked++
			}
		})
		// Two replicas: they have nothing but the database in common.
		replicas := []*metric.Service{metric.New(d), metric.New(d)}
		ask := func(want int64, looks int) {
			t.Helper()
			looked = 0
			for _, m := range replicas {
				got, err := m.ActiveUsers(t.Context(), boss, people)
				require.NoError(t, err)
				require.Equal(t, want, got.Users)
				list, err := m.Active(t.Context(), boss, metric.Weekly, people)
				require.NoError(t, err)
				require.Equal(t, want, list[2].Users)
			}
			require.Equal(t, looks, looked)
		}
		ask(0, 4)
		ask(0, 0)
		require.NoError(t, twice(t.Context(), d, "u1"))
		ask(1, 4)
		ask(1, 0)
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			return rollup.SearchTx(ctx, tx, rollup.Search{OrgID: "o2", UserID: "u2", At: at("2026-03-11T12:00:00Z")})
		}))
		ask(2, 4)
	})
}

func TestAnAnswerIsNeverOlderThanItsQuestion(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const writes = 40
		var begun, done atomic.Int64
		failed := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < writes && err == nil; i++ {
				begun.Add(1)
				err = twice(t.Context(), d, fmt.Sprint("u", i))
				done.Add(1)
			}
			failed <- err
		}()
		replicas := []*metric.Service{metric.New(d), metric.New(d)}
		for i := 0; done.Load() < writes; i++ {
			least := done.Load()
			got, err := replicas[i%2].ActiveUsers(t.Context(), boss, people)
			require.NoError(t, err)
			require.GreaterOrEqual(t, got.Users, least)
			require.LessOrEqual(t, got.Users, begun.Load())
		}
		require.NoError(t, <-failed)
		for _, m := range replicas {
			got, err := m.ActiveUsers(t.Context(), boss, people)
			require.NoError(t, err)
			require.EqualValues(t, writes, got.Users)
		}
	})
}
