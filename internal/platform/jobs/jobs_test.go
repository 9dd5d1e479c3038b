package jobs_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errTry = errors.New("not this time")

func insert(t *testing.T, d *db.DB, in jobs.Insert) {
	t.Helper()
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		return jobs.InsertTx(ctx, tx, d.Clock().Now(), in)
	}))
}

func each(t *testing.T, f func(t *testing.T, d *db.DB, c *clock.Fake)) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			c := clock.NewFake(time.Unix(1_800_000_000, 0))
			f(t, dbtest.Open(t, e, c.Clock()), c)
		})
	}
}

func step(t *testing.T, r *jobs.Runner) bool {
	t.Helper()
	did, err := r.Step(t.Context())
	require.NoError(t, err)
	return did
}

func runner(d *db.DB) *jobs.Runner { return jobs.New(d, slog.New(slog.DiscardHandler)) }

func TestAJobIsDoneOnceWithItsArguments(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		var got []string
		r := runner(d)
		r.Handle("greet", jobs.Policy{}, func(_ context.Context, j jobs.Job) error {
			var name string
			require.NoError(t, j.Decode(&name))
			got = append(got, name)
			return nil
		})
		insert(t, d, jobs.Insert{Kind: "greet", Args: "world"})
		require.True(t, step(t, r))
		require.False(t, step(t, r), "it is done")
		require.Equal(t, []string{"world"}, got)
	})
}

func TestAJobOfARolledBackChangeIsNotDone(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		r := runner(d)
		r.Handle("greet", jobs.Policy{}, func(context.Context, jobs.Job) error { return nil })
		require.ErrorIs(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			require.NoError(t, jobs.InsertTx(ctx, tx, d.Clock().Now(), jobs.Insert{Kind: "greet"}))
			return errTry
		}), errTry)
		require.False(t, step(t, r))
	})
}

func TestAFailedJobIsTriedAgainWithGrowingPausesAndThenDropped(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		var last []bool
		r := runner(d)
		r.Handle("fail", jobs.Policy{Attempts: 3}, func(_ context.Context, j jobs.Job) error {
			last = append(last, j.Last())
			if j.Attempt == 2 {
				panic("worse")
			}
			return errTry
		})
		insert(t, d, jobs.Insert{Kind: "fail"})
		require.True(t, step(t, r))
		require.False(t, step(t, r), "not before its pause is over")
		c.Advance(5 * time.Second)
		require.True(t, step(t, r))
		c.Advance(19 * time.Second)
		require.False(t, step(t, r), "the second pause is longer")
		c.Advance(time.Second)
		require.True(t, step(t, r))
		c.Advance(24 * time.Hour)
		require.False(t, step(t, r), "its attempts are used up")
		require.Equal(t, []bool{false, false, true}, last)
		n, err := r.Waiting(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestAKeyHoldsOneJobUntilItIsDone(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		var n int
		r := runner(d)
		r.Handle("greet", jobs.Policy{}, func(context.Context, jobs.Job) error { n++; return nil })
		for range 2 {
			insert(t, d, jobs.Insert{Kind: "greet", Key: "one"})
		}
		require.True(t, step(t, r))
		require.False(t, step(t, r))
		insert(t, d, jobs.Insert{Kind: "greet", Key: "one"})
		require.True(t, step(t, r))
		require.Equal(t, 2, n)
	})
}

func TestAJobWaitsForItsTime(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		r := runner(d)
		r.Handle("greet", jobs.Policy{}, func(context.Context, jobs.Job) error { return nil })
		insert(t, d, jobs.Insert{Kind: "greet", At: d.Clock().Now().Add(time.Minute)})
		require.False(t, step(t, r))
		c.Advance(time.Minute)
		require.True(t, step(t, r))
	})
}

func TestAJobOfADeadReplicaIsTakenOver(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		began, release := make(chan struct{}), make(chan struct{})
		dead := runner(d)
		dead.Handle("slow", jobs.Policy{}, func(context.Context, jobs.Job) error { close(began); <-release; return nil })
		insert(t, d, jobs.Insert{Kind: "slow"})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = dead.Step(t.Context()) })
		<-began
		attempt := 0
		r := runner(d)
		r.Handle("slow", jobs.Policy{}, func(_ context.Context, j jobs.Job) error { attempt = j.Attempt; return errTry })
		require.False(t, step(t, r), "it is being worked on")
		c.Advance(2 * time.Minute)
		require.True(t, step(t, r))
		require.Equal(t, 2, attempt)
		close(release)
		wg.Wait()
		n, err := r.Waiting(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, n, "the one who lost the job can't end it")
	})
}

func TestReplicasShareTheWorkAndDoNothingTwice(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		const all = 40
		var done sync.Map
		var twice atomic.Bool
		for i := range all {
			insert(t, d, jobs.Insert{Kind: "greet", Args: i})
		}
		var wg sync.WaitGroup
		for range 4 {
			r := runner(d)
			r.Handle("greet", jobs.Policy{}, func(_ context.Context, j jobs.Job) error {
				if _, again := done.LoadOrStore(j.ID, true); again {
					twice.Store(true)
				}
				return nil
			})
			wg.Go(func() {
				for {
					did, err := r.Step(t.Context())
					if err != nil || !did {
						return
					}
				}
			})
		}
		wg.Wait()
		n := 0
		done.Range(func(any, any) bool { n++; return true })
		require.Equal(t, all, n)
		require.False(t, twice.Load())
	})
}

func TestAJobThatAStopInterruptsIsDueAtOnce(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, _ *clock.Fake) {
		ctx, stop := context.WithCancel(t.Context())
		r := runner(d)
		attempts := []int{}
		r.Handle("slow", jobs.Policy{}, func(ctx context.Context, j jobs.Job) error {
			attempts = append(attempts, j.Attempt)
			stop()
			return ctx.Err()
		})
		insert(t, d, jobs.Insert{Kind: "slow"})
		_, err := r.Step(ctx)
		require.NoError(t, err)
		require.True(t, step(t, r))
		require.Equal(t, []int{1, 1}, attempts, "a stop doesn't count as a failure")
	})
}
