package db

import (
	"context"
	"database/sql"
)

// Watch has f hear every statement before it runs. It is called while nothing else uses the database: benches and tests learn by it what
// an answer costs.
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

func (t *Tx) tell(query string, args []any) {
	if t.watch != nil {
		t.watch(query, args)
	}
}

// QueryContext runs a query.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.tell(query, args)
	return t.Tx.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query for one row.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.tell(query, args)
	return t.Tx.QueryRowContext(ctx, query, args...)
}

// ExecContext runs a statement that gives no rows.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.tell(query, args)
	return t.Tx.ExecContext(ctx, query, args...)
}
