package db_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
)

// full has the engine refuse whatever needs room, as on a full disk, until the function it gives is called.
func full(t *testing.T, d *db.DB) func() {
	t.Helper()
	exec := func(queries ...string) {
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			for _, q := range queries {
				if _, err := db.Exec(ctx, tx, q); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	if d.Engine() == db.SQLite {
		exec(`PRAGMA max_page_count = 1`) // the engine takes it for the number of pages there are
		return func() { exec(`PRAGMA max_page_count = 1000000`) }
	}
	exec(`CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$`,
		`CREATE TRIGGER no_room BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION no_room()`)
	return func() { exec(`DROP TRIGGER no_room ON settings`) }
}

func TestAFullDatabaseIsRefusingUntilItTakesARowAgain(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		require.False(t, d.Refusing())
		room := full(t, d)
		err := d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2)`, "big", strings.Repeat("x", 1<<20))
			return err
		})
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		require.True(t, d.Refusing())
		require.NoError(t, d.Write(ctx, func(context.Context, *db.Tx) error { return nil }))
		require.True(t, d.Refusing(), "a write that changes nothing shows nothing")
		require.True(t, fault.Is(d.TryWrite(ctx), fault.Unavailable))
		require.True(t, d.Refusing())
		room()
		require.NoError(t, d.TryWrite(ctx))
		require.False(t, d.Refusing())
		_, err = db.One(ctx, d.Reader(), db.Text, `SELECT value FROM settings WHERE name = $1`, "write_probe")
		require.ErrorIs(t, err, db.ErrNone, "it leaves nothing")
	})
}
