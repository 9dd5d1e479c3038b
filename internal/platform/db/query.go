package db

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// Scanner is a row to scan: *sql.Row or *sql.Rows.
type Scanner interface{ Scan(dest ...any) error }

// One reads one row. ErrNone says that there is none.
func One[T any](ctx context.Context, q Querier, scan func(Scanner) (T, error), query string, args ...any) (T, error) {
	var v T
	none := true
	err := each(ctx, q, func(row Scanner) (bool, error) {
		none = false
		var err error
		v, err = scan(row)
		return false, err
	}, query, args)
	if err == nil && none {
		err = ErrNone
	}
	return v, err
}

// All reads every row of a query that is bounded by its LIMIT or its nature.
func All[T any](ctx context.Context, q Querier, scan func(Scanner) (T, error), query string, args ...any) ([]T, error) {
	return AllUntil(ctx, q, scan, func(T) bool { return false }, query, args...)
}

// AllUntil is All that reads no further than the row of which enough is true: for rows that may be long.
func AllUntil[T any](ctx context.Context, q Querier, scan func(Scanner) (T, error), enough func(T) bool, query string, args ...any) ([]T, error) {
	var out []T
	err := each(ctx, q, func(row Scanner) (bool, error) {
		v, err := scan(row)
		if err != nil {
			return false, err
		}
		out = append(out, v)
		return !enough(v), nil
	}, query, args)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// each reads rows as long as it is told to go on. It is apart from AllUntil because it is the same for rows of every type.
func each(ctx context.Context, q Querier, read func(Scanner) (goOn bool, err error), query string, args []any) error {
	if p, ok := q.(readers); ok {
		return p.each(ctx, read, query, args)
	}
	ctx, cancel := answering(ctx)
	defer cancel()
	return edge(ctx, rowsOf(ctx, q, read, query, args))
}

func rowsOf(ctx context.Context, q Querier, read func(Scanner) (goOn bool, err error), query string, args []any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() {
		if closed := rows.Close(); err == nil {
			err = closed
		}
	}()
	for rows.Next() {
		goOn, err := read(rows)
		if err != nil || !goOn {
			return err
		}
	}
	return rows.Err()
}

// Exec runs a statement and gives the number of rows it changed.
func Exec(ctx context.Context, q Querier, query string, args ...any) (int64, error) {
	ctx, cancel := answering(ctx)
	defer cancel()
	r, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, edge(ctx, err)
	}
	n, err := r.RowsAffected()
	return n, Edge(err)
}

// Text scans a single text column.
func Text(s Scanner) (string, error) {
	var v string
	return v, s.Scan(&v)
}

// Int scans a single integer column.
func Int(s Scanner) (int64, error) {
	var v int64
	return v, s.Scan(&v)
}

// Null gives nil for "", so that an absent text is NULL.
func Null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// NullMillis gives Unix milliseconds, NULL for the zero time.
func NullMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// Time gives the time of Unix milliseconds in UTC.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Bool gives the integer that both engines keep for a boolean.
func Bool(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Where builds the conditions of a list with optional filters. Each `?` of a condition becomes the next $N, so arguments ascend.
type Where struct {
	conds []string
	args  []any
}

// Add adds a condition with its arguments.
func (w *Where) Add(cond string, args ...any) {
	w.conds = append(w.conds, w.Number(cond, args...))
}

// In adds `column IN (…)`; an empty list adds nothing.
func (w *Where) In(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.Add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// Number replaces each `?` by the next $N and keeps the arguments.
func (w *Where) Number(text string, args ...any) string {
	out := make([]byte, 0, len(text)+2*len(args))
	for _, arg := range args {
		before, after, _ := strings.Cut(text, "?")
		w.args = append(w.args, arg)
		out = strconv.AppendInt(append(append(out, before...), '$'), int64(len(w.args)), 10)
		text = after
	}
	return string(append(out, text...))
}

// Limit gives " LIMIT $n", with an OFFSET where rows are to be skipped.
func (w *Where) Limit(n, skip int) string {
	if skip == 0 {
		return w.Number(" LIMIT ?", n)
	}
	return w.Number(" LIMIT ? OFFSET ?", n, skip)
}

// SQL gives " WHERE a AND b", empty without conditions.
func (w *Where) SQL() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// Args gives the arguments in the order of their numbers.
func (w *Where) Args() []any { return w.args }
