package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// readers is PostgreSQL's pool for reads outside a transaction. For a context that can end, database/sql and pgx each start a goroutine
// to watch it, for every statement: waking the two costs more than a row by its key. So only the wait for a connection listens to the
// context, and then the connection itself has answerTime. A read goes on when whoever asked has left: breaking it off costs the
// connection, and by design nothing takes long.
type readers struct{ *sql.DB }

func (p readers) each(ctx context.Context, read func(Scanner) (goOn bool, err error), query string, args []any) error {
	ctx, cancel := answering(ctx)
	defer cancel()
	conn, err := p.Conn(ctx)
	if err != nil {
		return edge(ctx, err)
	}
	defer func() { _ = conn.Close() }()                             // back to the pool
	if err := until(conn, time.Now().Add(answerTime)); err != nil { //nolint:forbidigo // the network keeps the machine's own time
		return Edge(err)
	}
	defer func() { _ = until(conn, time.Time{}) }() // it fails on a closed connection, which nobody is given again
	return Edge(rowsOf(context.WithoutCancel(ctx), conn, read, query, args))
}

// until bounds what is sent and received on a connection; the zero time lifts the bound. A connection whose time has run out is closed by
// the driver, as after any other trouble on the network.
func until(conn *sql.Conn, t time.Time) error {
	return conn.Raw(func(c any) error {
		pg, ok := c.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("db: PostgreSQL's connection is a %T", c)
		}
		return pg.Conn().PgConn().Conn().SetDeadline(t)
	})
}
