package audit

import (
	"context"
	"errors"
	"math"
	"time"

	"gantry/internal/platform/db"
)

// head is the row audit_head: the last sealed entry.
type head struct{ Anchor }

func scanHead(s db.Scanner) (head, error) {
	var h head
	return h, s.Scan(&h.Number, &h.Link)
}

func readHead(ctx context.Context, q db.Querier) (head, error) {
	return db.One(ctx, q, scanHead, `SELECT number, link FROM audit_head WHERE id = 1`)
}

// aheadAtMost is how far the clock of the replica that sealed last may be ahead before it is ignored.
const aheadAtMost = time.Minute

// holdHeadTx takes the head for this transaction. db.ErrNone says that another took it less than rest ago.
func holdHeadTx(ctx context.Context, tx *db.Tx, now int64, rest time.Duration) (head, error) {
	before := int64(math.MaxInt64)
	if rest > 0 {
		before = now - rest.Milliseconds()
	}
	return db.One(ctx, tx, scanHead, `UPDATE audit_head SET sealed_at = $1 WHERE id = 1 AND (sealed_at <= $2 OR sealed_at > $3)
		RETURNING number, link`, now, before, now+aheadAtMost.Milliseconds())
}

const anyFreshQuery = `SELECT 1 FROM audit_entries WHERE number IS NULL LIMIT 1`

// anyFresh reports whether anything is committed and not sealed.
func anyFresh(ctx context.Context, q db.Querier) (bool, error) {
	_, err := db.One(ctx, q, db.Int, anyFreshQuery)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

const freshQuery = `SELECT ` + rowColumns + ` FROM audit_entries WHERE number IS NULL AND (created_at, audit_log_id) > ($1, $2)
	ORDER BY created_at, audit_log_id LIMIT $3`

// freshRows gives entries that aren't sealed, oldest first, beyond the one given. The zero row is before all.
func freshRows(ctx context.Context, q db.Querier, after row, n int) ([]row, error) {
	if after.id == "" {
		after.at = math.MinInt64
	}
	return db.All(ctx, q, scanRow, freshQuery, after.at, after.id, n)
}

const numberedQuery = `SELECT ` + rowColumns + ` FROM audit_entries WHERE number > $1 AND number <= $2 ORDER BY number`

// numbered gives the entries with the numbers after one, up to another.
func numbered(ctx context.Context, q db.Querier, after, to int64) ([]row, error) {
	return db.All(ctx, q, scanRow, numberedQuery, after, to)
}

const nextNumberQuery = `SELECT number FROM audit_entries WHERE number > $1 ORDER BY number LIMIT 1`

// nextNumber gives the first number after one, db.ErrNone without.
func nextNumber(ctx context.Context, q db.Querier, after int64) (int64, error) {
	return db.One(ctx, q, db.Int, nextNumberQuery, after)
}
