// Package dbtest gives tests a migrated database of their own on each engine.
package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
)

// EnvPostgres names the variable with the URL of a PostgreSQL server on which tests may create databases. `make test` starts one.
const EnvPostgres = "GANTRY_TEST_POSTGRES"

// Each runs a test on every engine, in parallel.
func Each(t *testing.T, f func(t *testing.T, d *db.DB)) {
	t.Helper()
	EachClock(t, clock.Clock{}, f)
}

// EachClock is Each with a clock.
func EachClock(t *testing.T, c clock.Clock, f func(t *testing.T, d *db.DB)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(t, Open(t, e, c))
		})
	}
}

// Open gives a migrated database that goes with the test.
func Open(t testing.TB, e db.Engine, c clock.Clock) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), URL(t, e), db.Options{Clock: c, MaxReaders: 4})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// URL gives the URL of a migrated database that goes with the test.
func URL(t testing.TB, e db.Engine) string {
	t.Helper()
	if e == db.SQLite {
		text, err := sqliteTemplate()
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "gantry.db")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return "sqlite://" + path
	}
	return postgresURL(t)
}

// sqliteTemplate migrates one file and gives its bytes: copying them is quicker than migrating again.
var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "gantry-template")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "t.db")
	if err := migrate("sqlite://" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func migrate(rawURL string) error {
	ctx := context.Background()
	d, err := db.Open(ctx, rawURL, db.Options{})
	if err != nil {
		return err
	}
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	return d.Close()
}

func postgresURL(t testing.TB) string {
	t.Helper()
	base := os.Getenv(EnvPostgres)
	if base == "" {
		t.Skip(EnvPostgres + " is not set; `make test` starts a PostgreSQL and sets it")
	}
	template, err := postgresTemplate()
	require.NoError(t, err)
	name := "gt_" + id.Session()
	require.NoError(t, admin(base, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template)))
	t.Cleanup(func() { _ = admin(base, "DROP DATABASE "+name+" WITH (FORCE)") })
	return withDatabase(base, name)
}

// postgresTemplate migrates one database for this test binary; CREATE DATABASE copies it.
var postgresTemplate = sync.OnceValues(func() (string, error) {
	base := os.Getenv(EnvPostgres)
	name := "gt_template_" + id.Session()
	if err := admin(base, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return name, migrate(withDatabase(base, name))
})

func withDatabase(base, name string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	u.Path = "/" + strings.TrimPrefix(name, "/")
	return u.String()
}

func admin(base, statement string) error {
	c, err := sql.Open("pgx", base)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.ExecContext(context.Background(), statement)
	return err
}
