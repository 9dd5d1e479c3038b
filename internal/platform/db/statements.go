package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"modernc.org/sqlite"

	"gantry/internal/platform/pattern"
)

// SQLite's driver parses and plans a statement each time it runs, which costs more than running most of ours. So each connection keeps
// the statements that it ran last, as pgx does for PostgreSQL.

// keptStatements bounds what one connection keeps: each holds its plan, some kilobytes.
const keptStatements = 64

// openKeeping opens a pool whose connections keep their statements.
func openKeeping(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(keepingConnector{c}), nil
}

type keepingConnector struct{ driver.Connector }

// Connect opens a connection that keeps statements.
func (c keepingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	plain, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := plain.(sqliteConn)
	if !ok {
		return nil, fmt.Errorf("db: the SQLite driver's connection is a %T that lacks what is needed", plain)
	}
	return &keepingConn{sqliteConn: conn, kept: map[string]*keptStatement{}}, nil
}

// sqliteConn is what database/sql uses of a connection.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// keepingConn is used by one goroutine at a time, as every driver.Conn.
type keepingConn struct {
	sqliteConn
	kept map[string]*keptStatement
	used int64
}

// keptStatement is a prepared statement between its runs.
type keptStatement struct {
	driver.StmtExecContext
	driver.StmtQueryContext
	close func() error
	used  int64 // when it ran last, in runs of the connection
	busy  bool  // its rows are being read
}

// bareLimit finds a LIMIT that is a parameter. SQLite plans such a statement anew whenever the parameter is set, because the plan may
// depend on its value; as part of an expression it doesn't.
var bareLimit = pattern.Of(`\bLIMIT (\$[0-9]+)`)

// statement gives the kept statement of a text, nil while its rows are still being read.
func (c *keepingConn) statement(ctx context.Context, query string) (*keptStatement, error) {
	c.used++
	s := c.kept[query]
	if s == nil {
		p, err := c.PrepareContext(ctx, bareLimit().ReplaceAllString(query, "LIMIT ($1 + 0)"))
		if err != nil {
			return nil, err
		}
		s = &keptStatement{close: p.Close}
		var canExec, canQuery bool
		s.StmtExecContext, canExec = p.(driver.StmtExecContext)
		s.StmtQueryContext, canQuery = p.(driver.StmtQueryContext)
		if !canExec || !canQuery {
			return nil, fmt.Errorf("db: the SQLite driver's statement is a %T that lacks what is needed", p)
		}
		if err := c.makeRoom(); err != nil {
			return nil, err
		}
		c.kept[query] = s
	}
	if s.busy {
		return nil, nil
	}
	s.used = c.used
	return s, nil
}

// makeRoom closes the statement that wasn't run for longest.
func (c *keepingConn) makeRoom() error {
	if len(c.kept) < keptStatements {
		return nil
	}
	oldest := ""
	for query, s := range c.kept {
		if !s.busy && (oldest == "" || s.used < c.kept[oldest].used) {
			oldest = query
		}
	}
	if oldest == "" {
		return nil
	}
	s := c.kept[oldest]
	delete(c.kept, oldest)
	return s.close()
}

// ExecContext runs a statement that gives no rows.
func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return s.ExecContext(ctx, args)
}

// QueryContext runs a statement that gives rows.
func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{Rows: rows, of: s}, nil
}

// Close closes what is kept and the connection.
func (c *keepingConn) Close() error {
	for _, s := range c.kept {
		_ = s.close() // the connection's own close tells whether something is left
	}
	clear(c.kept)
	return c.sqliteConn.Close()
}

// keptRows gives the statement back once they are closed.
type keptRows struct {
	driver.Rows
	of *keptStatement
}

// Close ends the reading.
func (r *keptRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}
