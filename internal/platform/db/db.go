// Package db opens the database and runs its transactions. SQLite and PostgreSQL take the same SQL and behave the same.
//
// Reads go to a pool. Only a use case opens a transaction, with Write; what another room adds to it is an exported
// XxxTx(ctx, tx, …). Driver errors become faults or sentinels here: nothing above knows SQLSTATE or SQLite's codes.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
)

// Engine names a database engine.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Sentinels of the storage edge.
var (
	// ErrNone is returned by One when no row matched.
	ErrNone = errors.New("no row")
	// ErrUnique is returned when a write would double a unique key.
	ErrUnique = errors.New("unique key exists")
)

// Querier runs statements: the reader pool outside a transaction, the Tx inside one.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// DB is an open database.
type DB struct {
	engine Engine
	url    string
	reader *sql.DB
	writer *sql.DB
	clock  clock.Clock
	// onWait hears how long each Write waited for its turn.
	onWait func(time.Duration)
	// away is when a Write last failed because the database was away, in Unix milliseconds; 0 for never.
	away atomic.Int64
	// refusing is set when a Write fails because the database is away, and taken back by TryWrite.
	refusing atomic.Bool
	// signing is the key of Sign, nil before SignWith.
	signing []byte
	// watch hears every statement; nil but in benches and tests.
	watch func(query string, args []any)
}

// Options of Open. The zero value is good.
type Options struct {
	Clock       clock.Clock
	MaxReaders  int           // default 8 on SQLite, 16 on PostgreSQL
	BusyTimeout time.Duration // SQLite: how long a write waits for the lock; default 5 s
	OnWait      func(time.Duration)
}

// Open opens the database that a URL names: sqlite:///path/to/file or postgres://user@host/db. It doesn't migrate.
func Open(ctx context.Context, rawURL string, o Options) (*DB, error) {
	d := &DB{url: rawURL, clock: o.Clock, onWait: o.OnWait}
	var err error
	switch {
	case strings.HasPrefix(rawURL, "sqlite://"):
		d.engine = SQLite
		err = d.openSQLite(strings.TrimPrefix(rawURL, "sqlite://"), o)
	case strings.HasPrefix(rawURL, "postgres://"), strings.HasPrefix(rawURL, "postgresql://"):
		d.engine = Postgres
		err = d.openPostgres(rawURL, o)
	default:
		return nil, fmt.Errorf("database URL must begin with sqlite:// or postgres://")
	}
	if err != nil {
		return nil, err
	}
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) openSQLite(path string, o Options) error {
	busy := o.BusyTimeout
	if busy == 0 {
		busy = 5 * time.Second
	}
	// busy_timeout comes first: the other pragmas may already have to wait for a lock.
	q := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
		"journal_mode(WAL)", "foreign_keys(1)", "synchronous(FULL)", "temp_store(MEMORY)",
	}}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	// A new file is this user's alone, also in a directory that others may enter; the engine gives its other files the same mode. What
	// keeps it from being made, the engine says better.
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_ = f.Close()
	}
	var err error
	if d.writer, err = openKeeping(dsn + "&_txlock=immediate"); err != nil {
		return err
	}
	d.writer.SetMaxOpenConns(1)
	if d.reader, err = openKeeping(dsn); err != nil {
		return err
	}
	limitPool(d.reader, o.MaxReaders, 8)
	return nil
}

func (d *DB) openPostgres(rawURL string, o Options) error {
	pool, err := sql.Open("pgx", rawURL)
	if err != nil {
		return err
	}
	limitPool(pool, o.MaxReaders, 16)
	d.reader, d.writer = pool, pool
	return nil
}

func limitPool(p *sql.DB, n, def int) {
	if n == 0 {
		n = def
	}
	p.SetMaxOpenConns(n)
	p.SetMaxIdleConns(n)
	p.SetConnMaxIdleTime(5 * time.Minute)
}

// Engine says which engine this is, for the few statements that only one of them has.
func (d *DB) Engine() Engine { return d.engine }

// Clock is the clock that stamps rows.
func (d *DB) Clock() clock.Clock { return d.clock }

// Reader is the pool for reads outside a transaction.
func (d *DB) Reader() Querier {
	if d.watch != nil {
		return watched{d.reader, d.watch}
	}
	if d.engine == Postgres {
		return readers{d.reader}
	}
	return d.reader
}

// Ping asks the database for an answer.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	if err := d.reader.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return Edge(err)
	}
	return nil
}

// Close closes all connections.
func (d *DB) Close() error {
	if d.writer == d.reader {
		return d.reader.Close()
	}
	return errors.Join(d.reader.Close(), d.writer.Close())
}

// Tx is one write transaction.
type Tx struct {
	*sql.Tx
	engine  Engine
	signing []byte
	watch   func(query string, args []any)
	after   []func()
}

// AfterCommit has f run once the transaction is durable: notices, never facts.
func (t *Tx) AfterCommit(f func()) { t.after = append(t.after, f) }

// Engine says which engine the transaction is on.
func (t *Tx) Engine() Engine { return t.engine }

type insideWrite struct{}

// InWrite reports whether ctx belongs to a running Write, for parts that must refuse slow work there.
func InWrite(ctx context.Context) bool { return ctx.Value(insideWrite{}) != nil }

// maxTries bounds how often PostgreSQL may pick a transaction as a deadlock's victim before the caller hears of it.
const maxTries = 3

// Write runs f in one transaction and commits it when f returns nil. f must use the context it is given and do no network, blob
// or file work; it may run again after a deadlock, so it changes nothing outside the transaction. A Write inside a Write panics:
// SQLite has one writer, and it would wait for itself.
func (d *DB) Write(ctx context.Context, f func(ctx context.Context, tx *Tx) error) error {
	if ctx.Value(insideWrite{}) != nil {
		panic("db: Write inside Write")
	}
	ctx, cancel := answering(ctx)
	defer cancel()
	ctx = context.WithValue(ctx, insideWrite{}, true)
	for try := 1; ; try++ {
		err := d.writeOnce(ctx, f)
		if err != nil && (isAway(err) || silent(ctx)) {
			d.away.Store(d.clock.Millis())
			d.refusing.Store(true)
		}
		switch {
		case !isRetryable(err): // nil is not either
			return edge(ctx, err)
		case try == maxTries:
			return fault.Away(err, "the database")
		}
	}
}

// LastAway is when a Write of this process last failed because the database was away: locked past its timeout, stopped or full.
func (d *DB) LastAway() time.Time { return Time(d.away.Load()) }

func (d *DB) writeOnce(ctx context.Context, f func(ctx context.Context, tx *Tx) error) error {
	begun := d.clock.Now()
	stx, release, err := d.begin(ctx, begun)
	if d.onWait != nil {
		d.onWait(d.clock.Since(begun))
	}
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer release()
	tx := &Tx{Tx: stx, engine: d.engine, signing: d.signing, watch: d.watch}
	done := false
	defer func() {
		if !done {
			_ = stx.Rollback() // the first error is the one that counts
		}
	}()
	if err := f(ctx, tx); err != nil {
		return err
	}
	if err := stx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	done = true
	release() // whoever is next needn't wait for the notices
	for _, f := range tx.after {
		f()
	}
	return nil
}

// begin waits for its turn and begins. SQLite has one connection that writes: when whoever was before us waited for the file's lock
// in vain since we stand in line, we don't wait as long once more.
func (d *DB) begin(ctx context.Context, since time.Time) (tx *sql.Tx, release func(), err error) {
	if d.engine != SQLite {
		tx, err = d.writer.BeginTx(ctx, nil)
		return tx, func() {}, err
	}
	conn, err := d.writer.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	release = func() { _ = conn.Close() } // back to the pool
	if d.away.Load() > since.UnixMilli() {
		err = fault.Away(errTurn, "the database")
	} else {
		tx, err = conn.BeginTx(ctx, nil)
	}
	if err != nil {
		release()
	}
	return tx, release, err
}

// errTurn is the cause of a refusal without a try.
var errTurn = errors.New("the lock was not to be had while this write waited for its turn")

// answerTime is how long the database may take over a statement, or over a transaction with the wait for its turn. By design nothing
// takes long; a database that stands still must not hold everybody who asks.
const answerTime = 10 * time.Second

var errSilent = fmt.Errorf("no answer within %s", answerTime)

// answering bounds ctx by answerTime, within a transaction by what is left of the transaction's.
func answering(ctx context.Context) (context.Context, context.CancelFunc) {
	if InWrite(ctx) {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, answerTime, errSilent)
}

// silent reports whether answerTime has passed.
func silent(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errSilent) }

// edge is Edge for what ran under answering: then the time is the database's and not the caller's.
func edge(ctx context.Context, err error) error {
	if err != nil && silent(ctx) && !errors.As(err, new(*fault.Error)) {
		return fault.Away(err, "the database")
	}
	return Edge(err)
}

// Edge turns a driver's error into a sentinel or a fault; others pass through.
func Edge(err error) error {
	if err == nil || errors.As(err, new(*fault.Error)) {
		return err
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNone
	case isUnique(err):
		return fmt.Errorf("%w: %w", ErrUnique, err)
	case isBadText(err):
		return fault.Wrap(err, fault.Invalid, "a text holds characters that can't be stored")
	case isAway(err):
		return fault.Away(err, "the database")
	}
	return err
}
