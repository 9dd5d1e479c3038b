package data

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"gantry/internal/platform/db"
)

// sink takes rows in bulk. Indexes stay as they are.
type sink interface {
	put(ctx context.Context, table string, columns []string, rows [][]any) error
	exec(ctx context.Context, statement string, args ...any) error
	// end gives back what was opened, and when all is there tells the planner.
	end(ctx context.Context, done bool) error
}

func openSink(ctx context.Context, e db.Engine, url string) (sink, error) {
	if e == db.Postgres {
		conn, err := pgx.Connect(ctx, url)
		return postgresSink{conn}, err
	}
	return openSQLiteSink(ctx, strings.TrimPrefix(url, "sqlite://"))
}

// postgresSink copies.
type postgresSink struct{ conn *pgx.Conn }

func (s postgresSink) put(ctx context.Context, table string, columns []string, rows [][]any) error {
	_, err := s.conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	return err
}

func (s postgresSink) exec(ctx context.Context, statement string, args ...any) error {
	_, err := s.conn.Exec(ctx, statement, args...)
	return err
}

func (s postgresSink) end(ctx context.Context, done bool) error {
	var err error
	if done {
		err = s.exec(ctx, "VACUUM ANALYZE") // what autovacuum would have done in the year
	}
	if closed := s.conn.Close(ctx); err == nil {
		err = closed
	}
	return err
}

// sqliteSink inserts many rows with one statement, without syncing: a load that was cut short is thrown away.
type sqliteSink struct {
	pool *sql.DB
	conn *sql.Conn
	kept map[string]*sql.Stmt
	open bool // a transaction is open
	n    int  // rows in it
}

// perTransaction bounds what the write-ahead log holds.
const perTransaction = 100_000

func openSQLiteSink(ctx context.Context, path string) (*sqliteSink, error) {
	pool, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_pragma=synchronous(OFF)&_pragma=cache_size(-1000000)&_pragma=temp_store(MEMORY)")
	if err != nil {
		return nil, err
	}
	s := &sqliteSink{pool: pool, kept: map[string]*sql.Stmt{}}
	s.conn, err = pool.Conn(ctx)
	return s, err
}

func (s *sqliteSink) put(ctx context.Context, table string, columns []string, rows [][]any) error {
	if !s.open {
		if err := s.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		s.open = true
	}
	for n := max(1, min(100, 32_000/len(columns))); len(rows) > 0; rows = rows[min(n, len(rows)):] {
		some := rows[:min(n, len(rows))]
		args := make([]any, 0, len(some)*len(columns))
		for _, r := range some {
			args = append(args, r...)
		}
		if err := s.insert(ctx, table, columns, len(some), args); err != nil {
			return err
		}
		s.n += len(some)
	}
	if s.n < perTransaction {
		return nil
	}
	return s.commit(ctx)
}

func (s *sqliteSink) insert(ctx context.Context, table string, columns []string, rows int, args []any) error {
	query := insert(table, columns, rows)
	if s.kept[query] == nil {
		var err error
		if s.kept[query], err = s.conn.PrepareContext(ctx, query); err != nil { //nolint:sqlclosecheck // closed with its connection
			return err
		}
	}
	_, err := s.kept[query].ExecContext(ctx, args...)
	return err
}

// insert is a statement for many rows. Names are constants of this package and of the rooms.
func insert(table string, columns []string, rows int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", table, strings.Join(columns, ", "))
	for r := range rows {
		if r > 0 {
			b.WriteString(", ")
		}
		for c := range columns {
			b.WriteString([]string{", ?", "(?"}[b2i(c == 0)]) // numbered ones would be looked up one by one
		}
		b.WriteByte(')')
	}
	return b.String()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *sqliteSink) commit(ctx context.Context) error {
	if !s.open {
		return nil
	}
	s.open, s.n = false, 0
	return s.exec(ctx, "COMMIT")
}

func (s *sqliteSink) exec(ctx context.Context, statement string, args ...any) error {
	_, err := s.conn.ExecContext(ctx, statement, args...)
	return err
}

func (s *sqliteSink) end(ctx context.Context, done bool) error {
	var err error
	if done {
		if err = s.commit(ctx); err == nil {
			err = s.exec(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		}
	}
	_ = s.conn.Close() // the pool's own close tells
	if closed := s.pool.Close(); err == nil {
		err = closed
	}
	return err
}
