package db

import (
	"context"
	"database/sql"
)

// Watch has f hear every statement that is read outside a transaction, before it runs. It is called before anything reads: benches and
// tests learn by it what an answer costs.
func (d *DB) Watch(f func(query string, args []any)) { d.watch = f }

type watched struct {
	Querier
	f func(query string, args []any)
}

// QueryContext tells of the query and runs it.
func (w watched) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	w.f(query, args)
	return w.Querier.QueryContext(ctx, query, args...)
}

// QueryRowContext tells of the query and runs it.
func (w watched) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	w.f(query, args)
	return w.Querier.QueryRowContext(ctx, query, args...)
}
