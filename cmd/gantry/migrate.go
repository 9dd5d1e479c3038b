package main

import (
	"context"
	"fmt"

	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
)

type migrateCmd struct {
	config.Storage `embed:""`
	Check          bool `help:"Change nothing; exit 1 when the schema isn't this program's."`
}

// Run migrates; several at once are safe.
func (m *migrateCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	if err := m.Fill(src); err != nil {
		return err
	}
	if path := absent(m.Database); m.Check && path != "" {
		return fmt.Errorf("there is no database %s: `gantry migrate` makes it, and so does `gantry serve`; --data names another directory", path)
	}
	if _, err := makeDataDir(m.Data); err != nil {
		return err
	}
	d, err := db.Open(ctx, m.Database, db.Options{})
	if err != nil {
		return fmt.Errorf("the database %s can't be opened: %w", config.Redact(m.Database), err)
	}
	defer func() { _ = d.Close() }() // everything is committed
	before, want, err := d.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if err := db.Newer(before, want); err != nil {
		return fmt.Errorf("the database %s can't be used: %w", config.Redact(m.Database), err)
	}
	if m.Check {
		if before != want {
			return fmt.Errorf("schema version %d, this program needs %d: run `gantry migrate`", before, want)
		}
		io.printf("schema version %d\n", before)
		return nil
	}
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	io.printf("schema version %d -> %d\n", before, want)
	return nil
}
