package db_test

import (
	"context"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

func TestMigrateIsRepeatableAndSafeTogether(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "new.db"), db.Options{})
		require.NoError(t, err)
		defer func() { _ = d.Close() }()
		have, want, err := d.SchemaVersion(t.Context())
		require.NoError(t, err)
		require.Zero(t, have)
		require.Positive(t, want)
		for range 2 {
			require.NoError(t, d.Migrate(t.Context()))
		}
		have, want, err = d.SchemaVersion(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, have)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		raw := urlOf(t, dbtest.Open(t, db.Postgres, clock.Clock{}))
		d, err := db.Open(t.Context(), raw, db.Options{})
		require.NoError(t, err)
		defer func() { _ = d.Close() }()
		_, err = db.Exec(t.Context(), d.Reader(), `DROP SCHEMA public CASCADE`)
		require.NoError(t, err)
		_, err = db.Exec(t.Context(), d.Reader(), `CREATE SCHEMA public`)
		require.NoError(t, err)
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			wg.Go(func() {
				replica, err := db.Open(context.Background(), raw, db.Options{})
				if err == nil {
					err = replica.Migrate(context.Background())
					_ = replica.Close()
				}
				errs[i] = err
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		have, want, err := d.SchemaVersion(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, have)
	})
}

// logical reduces an engine's type to what the rooms rely on.
func logical(typ string) string {
	switch strings.ToLower(typ) {
	case "bigint", "integer":
		return "integer"
	case "bytea", "blob":
		return "bytes"
	case "double precision", "real":
		return "float"
	}
	return strings.ToLower(typ)
}

type column struct {
	Table, Name, Type string
	NotNull           bool
}

func columns(t *testing.T, d *db.DB) []column {
	t.Helper()
	query := `SELECT m.name, c.name, c.type, c."notnull" FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' AND m.name NOT LIKE 'sqlite%'`
	if d.Engine() == db.Postgres {
		query = `SELECT table_name::text, column_name::text, data_type::text, CASE WHEN is_nullable = 'NO' THEN 1 ELSE 0 END
			FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'`
	}
	cols, err := db.All(t.Context(), d.Reader(), func(s db.Scanner) (column, error) {
		var c column
		var notNull int
		err := s.Scan(&c.Table, &c.Name, &c.Type, &notNull)
		c.Type, c.NotNull = logical(c.Type), notNull == 1
		return c, err
	}, query)
	require.NoError(t, err)
	sort.Slice(cols, func(i, j int) bool { return cols[i].Table+"."+cols[i].Name < cols[j].Table+"."+cols[j].Name })
	return cols
}

func indexes(t *testing.T, d *db.DB) []string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`
	if d.Engine() == db.Postgres {
		query = `SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = 'public' AND c.relname NOT LIKE 'goose%'
			AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid)`
	}
	names, err := db.All(t.Context(), d.Reader(), db.Text, query)
	require.NoError(t, err)
	sort.Strings(names)
	return names
}

func TestBothEnginesHaveOneSchema(t *testing.T) {
	t.Parallel()
	lite, pg := dbtest.Open(t, db.SQLite, clock.Clock{}), dbtest.Open(t, db.Postgres, clock.Clock{})
	want := columns(t, lite)
	require.NotEmpty(t, want)
	require.Empty(t, cmp.Diff(want, columns(t, pg)))
	require.Empty(t, cmp.Diff(indexes(t, lite), indexes(t, pg)))
	told, err := db.All(t.Context(), pg.Reader(), db.Text, `SELECT stxname::text FROM pg_statistic_ext`)
	require.NoError(t, err)
	require.Empty(t, told, "nothing that PostgreSQL's planner alone is told")
	loose, err := db.All(t.Context(), lite.Reader(), db.Text,
		`SELECT name FROM pragma_table_list WHERE strict = 0 AND type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%'`)
	require.NoError(t, err)
	require.Empty(t, loose, "every table is STRICT, so both engines refuse the same wrong data")
}

func TestBothEnginesRefuseTheSameWrongData(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, bad := range []string{
			`INSERT INTO organizations (org_id, name, created_at, updated_at) VALUES ('o', 'n', 'today', 0)`,
			`INSERT INTO organizations (org_id, created_at, updated_at) VALUES ('o', 0, 0)`,
			`INSERT INTO roles (role_id, role_name, role_type, permissions, is_builtin, created_at) VALUES ('r', 'n', 'team', '[]', 0, 0)`,
			`INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at) VALUES ('p', '', 'user', 'no such role', 0)`,
		} {
			err := d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
				_, err := db.Exec(ctx, tx, bad)
				return err
			})
			require.Error(t, err, bad)
		}
	})
}

func TestADatabaseOfANewerReleaseIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, want, err := d.SchemaVersion(t.Context())
		require.NoError(t, err)
		newer(t, d)
		err = d.Migrate(t.Context())
		require.ErrorIs(t, err, db.ErrNewer)
		require.ErrorContains(t, err, "no downgrade")

		// Nor one whose history lacks a step of ours.
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `DELETE FROM goose_db_version WHERE version_id = $1`, want)
			return err
		}))
		require.ErrorIs(t, d.Migrate(t.Context()), db.ErrNewer)
	})
}

// newer writes down a migration that this release doesn't know.
func newer(t *testing.T, d *db.DB) {
	t.Helper()
	is := "1"
	if d.Engine() == db.Postgres {
		is = "TRUE"
	}
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, `+is+`)`)
		return err
	}))
}
