package db

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrate brings the schema up to this binary's version, and refuses one that a newer release made (see Newer). On PostgreSQL several
// replicas may call it at once: an advisory lock lets one of them work.
func (d *DB) Migrate(ctx context.Context) error {
	p, err := d.provider()
	if err != nil {
		return err
	}
	_, upErr := p.Up(ctx) // on a newer schema nothing is left to do, or goose refuses a gap: either way nothing changes
	if have, want, err := p.GetVersions(ctx); err == nil && have > want {
		return Newer(have, want)
	}
	if upErr != nil {
		return fmt.Errorf("migrate: %w", upErr)
	}
	return nil
}

// ErrNewer says that a newer release than this one has migrated the database. This one would write rows that the newer one takes for
// forged or broken.
var ErrNewer = errors.New("a newer release made it")

// Newer gives the ErrNewer of a schema's version that is beyond the one this binary needs, and nil for every other.
func Newer(have, want int64) error {
	if have <= want {
		return nil
	}
	return fmt.Errorf("schema version %d, this program's is %d: %w; run that release, or restore a backup from before the upgrade (there is no downgrade)",
		have, want, ErrNewer)
}

// MigrateTo brings the schema of an older release about: tests of upgrades begin with it.
func (d *DB) MigrateTo(ctx context.Context, version int64) error {
	p, err := d.provider()
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrate to %d: %w", version, err)
	}
	return nil
}

// SchemaVersion gives the version of the database and the one this binary needs.
func (d *DB) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	p, err := d.provider()
	if err != nil {
		return 0, 0, err
	}
	have, want, err = p.GetVersions(ctx)
	return have, want, Edge(err)
}

func (d *DB) provider() (*goose.Provider, error) {
	dir, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	if d.engine == SQLite {
		return goose.NewProvider(goose.DialectSQLite3, d.writer, renderedFS{dir, forSQLite})
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, d.writer, renderedFS{dir, forPostgres}, goose.WithSessionLocker(locker))
}

// renderedFS renders the migrations for an engine. One text serves both, so the two schemas can't drift apart.
type renderedFS struct {
	fs.FS
	render *strings.Replacer
}

// What follows "-- postgres: " or "-- sqlite: " on a line is for that engine alone: what its planner must know, or how it lays rows down,
// never what there is.
var (
	forSQLite   = strings.NewReplacer("-- sqlite: ", "", "BIGINT", "INTEGER", "BYTEA", "BLOB", "DOUBLE PRECISION", "REAL", "\n);", "\n) STRICT;")
	forPostgres = strings.NewReplacer("-- postgres: ", "")
)

func (f renderedFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return file, err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := fs.ReadFile(f.FS, name)
	if err != nil {
		return nil, err
	}
	return &memFile{name: path.Base(name), Reader: bytes.NewReader([]byte(f.render.Replace(string(text))))}, nil
}

func (f renderedFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.FS, name) }

type memFile struct {
	*bytes.Reader
	name string
}

func (m *memFile) Stat() (fs.FileInfo, error) { return m, nil }
func (m *memFile) Close() error               { return nil }
func (m *memFile) Name() string               { return m.name }
func (m *memFile) Mode() fs.FileMode          { return 0o444 }
func (m *memFile) ModTime() time.Time         { return time.Time{} }
func (m *memFile) IsDir() bool                { return false }
func (m *memFile) Sys() any                   { return nil }
