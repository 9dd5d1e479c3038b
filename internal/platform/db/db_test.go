package db_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func put(name, value string) func(context.Context, *db.Tx) error {
	return func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2)`, name, value)
		return err
	}
}

func get(t *testing.T, d *db.DB, name string) (string, error) {
	t.Helper()
	return db.One(t.Context(), d.Reader(), db.Text, `SELECT value FROM settings WHERE name = $1`, name)
}

func TestAWriteIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, boom := t.Context(), errors.New("boom")
		told := 0
		write := func(fail error) error {
			return d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
				tx.AfterCommit(func() { told++ })
				require.True(t, db.InWrite(ctx))
				if err := put("a", "1")(ctx, tx); err != nil {
					return err
				}
				return fail
			})
		}
		require.ErrorIs(t, write(boom), boom)
		_, err := get(t, d, "a")
		require.ErrorIs(t, err, db.ErrNone)
		require.Zero(t, told, "nobody hears of what was rolled back")

		require.NoError(t, write(nil))
		v, err := get(t, d, "a")
		require.NoError(t, err)
		require.Equal(t, "1", v)
		require.Equal(t, 1, told)

		err = write(nil)
		require.ErrorIs(t, err, db.ErrUnique)
		require.False(t, db.InWrite(ctx))
	})
}

func TestAWriteInsideAWritePanicsAndHoldsNothing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.PanicsWithValue(t, "db: Write inside Write", func() {
			_ = d.Write(t.Context(), func(ctx context.Context, _ *db.Tx) error { return d.Write(ctx, put("a", "1")) })
		})
		require.NoError(t, d.Write(t.Context(), put("a", "1")), "the outer transaction was rolled back, the lock is free")
	})
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Write(t.Context(), put("n", "0")))
		var wg sync.WaitGroup
		var mu sync.Mutex
		var errs []error
		for range 8 {
			wg.Go(func() {
				for range 10 {
					err := d.Write(context.Background(), func(ctx context.Context, tx *db.Tx) error {
						_, err := db.Exec(ctx, tx, `UPDATE settings SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE name = $1`, "n")
						return err
					})
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		v, err := get(t, d, "n")
		require.NoError(t, err)
		require.Equal(t, "80", v)
	})
}

func TestALockedDatabaseIsUnavailableAndRecovers(t *testing.T) {
	t.Parallel()
	raw := dbtest.URL(t, db.SQLite)
	d, err := db.Open(t.Context(), raw, db.Options{BusyTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	other, err := sql.Open("sqlite", "file:"+(&url.URL{Path: strings.TrimPrefix(raw, "sqlite://")}).EscapedPath()+"?_txlock=immediate")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	lock, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)

	err = d.Write(t.Context(), put("a", "1"))
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.Positive(t, fault.As(err).RetryAfter)
	_, err = get(t, d, "a")
	require.ErrorIs(t, err, db.ErrNone, "reading goes on, and nothing is half-written")
	require.NoError(t, lock.Rollback())
	require.NoError(t, d.Write(t.Context(), put("a", "1")))
}

func TestAStoppedServerIsUnavailable(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.Postgres, clock.Clock{})
	killer, err := sql.Open("pgx", urlOf(t, d))
	require.NoError(t, err)
	defer func() { _ = killer.Close() }()
	err = d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		pid, err := db.One(ctx, tx, db.Int, `SELECT pg_backend_pid()`)
		require.NoError(t, err)
		_, err = killer.ExecContext(ctx, `SELECT pg_terminate_backend($1::int)`, pid)
		require.NoError(t, err)
		return put("a", "1")(ctx, tx)
	})
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.NoError(t, d.Write(t.Context(), put("a", "1")), "it recovers by itself")
	_, err = db.Open(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable", db.Options{})
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}

// Breaking a read off would cost the connection, so a client that leaves doesn't have it done.
func TestAReadWhoseAskerLeftKeepsItsConnection(t *testing.T) {
	t.Parallel()
	plain := dbtest.Open(t, db.Postgres, clock.Clock{})
	d, err := db.Open(t.Context(), urlOf(t, plain), db.Options{MaxReaders: 1})
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	pid := func(ctx context.Context) (int64, error) {
		return db.One(ctx, d.Reader(), db.Int, `SELECT pg_backend_pid()`)
	}
	first, err := pid(t.Context())
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	rows, err := db.All(ctx, d.Reader(), func(s db.Scanner) (int64, error) {
		leave()
		return db.Int(s)
	}, `SELECT g FROM generate_series(1, 100000) g`)
	require.NoError(t, err)
	require.Len(t, rows, 100_000)
	_, err = pid(ctx)
	require.ErrorIs(t, err, context.Canceled, "who has left isn't given a connection")
	again, err := pid(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func urlOf(t *testing.T, d *db.DB) string {
	t.Helper()
	name, err := db.One(t.Context(), d.Reader(), db.Text, `SELECT current_database()::text`)
	require.NoError(t, err)
	u, err := url.Parse(dbtest.URL(t, db.Postgres))
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

func TestOptionalFiltersNumberTheirArgumentsInOrder(t *testing.T) {
	t.Parallel()
	var w db.Where
	require.Empty(t, w.SQL())
	w.Add("a = ?", 1)
	w.In("b", []string{"x", "y"})
	w.In("c", nil)
	w.Add("(d, e) > (?, ?)", 2, 3)
	limit := w.Number("LIMIT ?", 4)
	require.Equal(t, " WHERE a = $1 AND b IN ($2, $3) AND (d, e) > ($4, $5)", w.SQL())
	require.Equal(t, "LIMIT $6", limit)
	require.Equal(t, []any{1, "x", "y", 2, 3, 4}, w.Args())
}

func TestNullsAndTimesGoBothWays(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 1_000_000, time.UTC)
	require.Equal(t, at, db.Time(db.NullMillis(at).Int64))
	require.True(t, db.NullMillis(at).Valid)
	require.False(t, db.NullMillis(time.Time{}).Valid)
	require.False(t, db.Null("").Valid)
	require.True(t, db.Null("x").Valid)
}

func TestANewFileIsForThisUserOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(dir, "new.db"), db.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `CREATE TABLE t (a INTEGER)`)
		return err
	}))
	files, err := filepath.Glob(filepath.Join(dir, "new.db*"))
	require.NoError(t, err)
	require.Greater(t, len(files), 1)
	for _, f := range files {
		st, err := os.Stat(f)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), st.Mode().Perm(), f)
	}
}

func TestWrongURLsAreRefused(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "mysql://x", filepath.Join(t.TempDir(), "x.db")} {
		_, err := db.Open(t.Context(), u, db.Options{})
		require.ErrorContains(t, err, "sqlite:// or postgres://")
	}
	_, err := db.Open(t.Context(), "sqlite:///not/there/x.db", db.Options{})
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}
