package rollup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"gantry/internal/platform/db"
)

// The periods by which people are counted. Ever is one row for all time; holding it puts the writes of one person in order.
const (
	ByDay   = "day"
	ByWeek  = "week"
	ByMonth = "month"
	ever    = "ever"
)

// Any names the rows of metric_active that say how many people did anything in a period at all. Their amounts are 0.
func Any(period string) string { return "any " + period }

// Never stands for the last active day of somebody who wasn't active before.
const Never = -1

// act is how much somebody did.
type act struct{ sessions, searches int64 }

// span is one period of one organization, ” for the enterprise.
type span struct {
	org, period string
	began       int64
}

// bucket are the people who did exactly so much in a period.
type bucket struct {
	span
	act
}

func (b bucket) compare(o bucket) int {
	return cmp.Or(cmp.Compare(b.org, o.org), cmp.Compare(b.period, o.period), cmp.Compare(b.began, o.began),
		cmp.Compare(b.sessions, o.sessions), cmp.Compare(b.searches, o.searches))
}

// peopleTx counts what a person did at a time: in every period that holds it, for the organization and the enterprise.
func peopleTx(ctx context.Context, tx *db.Tx, orgID, userID string, at time.Time, did act) error {
	u := upsert{table: "metric_people", key: []string{"org_id", "period", "began", "user_id"}, sums: []string{"sessions", "searches"}}
	for _, org := range []string{"", orgID} {
		for _, p := range []span{{org, ever, 0}, {org, ByMonth, Month(at)}, {org, ByWeek, Week(at)}, {org, ByDay, Day(at)}} {
			u.rows = append(u.rows, []any{p.org, p.period, p.began, userID})
			u.numbers = append(u.numbers, []any{did.sessions, did.searches})
		}
	}
	now, err := db.All(ctx, tx, scanBucket, u.sql()+" RETURNING org_id, period, began, sessions, searches", u.args()...)
	if err != nil {
		return err
	}
	moved := map[bucket]int64{}
	for _, b := range now {
		if b.period == ever {
			continue
		}
		before := bucket{b.span, act{b.sessions - did.sessions, b.searches - did.searches}}
		moved[b]++
		if before.act != (act{}) {
			moved[before]--
			continue
		}
		moved[bucket{span: span{b.org, Any(b.period), b.began}}]++
		if b.period == ByDay {
			if err := firstOfDayTx(ctx, tx, b.org, userID, b.began); err != nil {
				return err
			}
		}
	}
	return activeTx(ctx, tx, moved)
}

func scanBucket(r db.Scanner) (bucket, error) {
	var b bucket
	err := r.Scan(&b.org, &b.period, &b.began, &b.sessions, &b.searches)
	return b, err
}

func activeTx(ctx context.Context, tx *db.Tx, moved map[bucket]int64) error {
	u := upsert{table: "metric_active", key: []string{"org_id", "period", "began", "sessions", "searches"}, sums: []string{"users"}}
	for _, b := range slices.SortedFunc(maps.Keys(moved), bucket.compare) {
		u.rows = append(u.rows, []any{b.org, b.period, b.began, b.sessions, b.searches})
		u.numbers = append(u.numbers, []any{moved[b]})
	}
	_, err := db.Exec(ctx, tx, u.sql(), u.args()...)
	return err
}

// firstOfDayTx notes that a person became active on a day, with their active day before it. A day that comes after its successor, as
// when an older session is counted late, is put in between.
func firstOfDayTx(ctx context.Context, tx *db.Tx, orgID, userID string, day int64) error {
	n, err := db.One(ctx, tx, scanNeighbours, `SELECT
			COALESCE((SELECT MAX(began) FROM metric_people WHERE org_id = $1 AND user_id = $2 AND period = 'day' AND began < $3), -1),
			COALESCE((SELECT MIN(began) FROM metric_people WHERE org_id = $1 AND user_id = $2 AND period = 'day' AND began > $3), -1)`,
		orgID, userID, day)
	if err != nil {
		return err
	}
	u := upsert{table: "metric_gaps", key: []string{"org_id", "day", "last_day"}, sums: []string{"users"}}
	u.rows, u.numbers = [][]any{{orgID, day, n.before}}, [][]any{{1}}
	if n.after != Never {
		u.rows = append(u.rows, []any{orgID, n.after, n.before}, []any{orgID, n.after, day})
		u.numbers = append(u.numbers, []any{-1}, []any{1})
	}
	_, err = db.Exec(ctx, tx, u.sql(), u.args()...)
	return err
}

type neighbours struct{ before, after int64 }

func scanNeighbours(r db.Scanner) (neighbours, error) {
	var n neighbours
	err := r.Scan(&n.before, &n.after)
	return n, err
}
