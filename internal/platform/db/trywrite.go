package db

import (
	"context"
	"strings"
)

// Refusing reports whether a Write of this process failed because the database was away, and no TryWrite has succeeded since. Other writes
// don't count: one that happens to change nothing succeeds on a full disk too.
func (d *DB) Refusing() bool { return d.refusing.Load() }

// probeRow is the row of settings that TryWrite makes and takes away again.
const probeRow = "write_probe"

// probeText is more than a few pages of either engine, so that it needs room of its own.
var probeText = strings.Repeat("probe ", 4<<10)

// TryWrite writes a row that needs room and takes it away again. When it succeeds, the database is no longer Refusing.
func (d *DB) TryWrite(ctx context.Context) error {
	err := d.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, probeRow, probeText)
		return err
	})
	if err != nil {
		return err
	}
	err = d.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := Exec(ctx, tx, `DELETE FROM settings WHERE name = $1`, probeRow)
		return err
	})
	if err == nil {
		d.refusing.Store(false)
	}
	return err
}
