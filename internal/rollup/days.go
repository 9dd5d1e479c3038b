package rollup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/internal/platform/db"
)

// cell is one counter of a day. Columns are constants of this package.
type cell struct {
	day    int64
	column string
}

// tally are the changes of one fact.
type tally map[cell]int64

func (t tally) add(day int64, column string, n int64) { t[cell{day, column}] += n }

// measure adds what a session counts for, or with sign -1 takes it away.
func (t tally) measure(day int64, m Measure, sign int64) {
	t.add(day, "size_"+m.Size, sign)
	t.add(day, "acu_micros", sign*m.ACUMicros)
	merged := false
	for _, p := range m.PullRequests {
		column := "prs_"
		if p.TakenOver {
			column = "taken_"
		}
		t.add(p.Day, column+p.State, sign)
		merged = merged || p.State == Merged
	}
	if merged {
		t.add(day, "merged_"+m.Size, sign)
	}
}

// writeTx adds the changes to every scope: one statement for each day, days in order.
func (t tally) writeTx(ctx context.Context, tx *db.Tx, scopes []scope) error {
	maps.DeleteFunc(t, func(_ cell, n int64) bool { return n == 0 })
	cells := slices.SortedFunc(maps.Keys(t), func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.column, b.column))
	})
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].day == cells[0].day {
			n++
		}
		if err := t.writeDayTx(ctx, tx, scopes, cells[:n]); err != nil {
			return err
		}
		cells = cells[n:]
	}
	return nil
}

func (t tally) writeDayTx(ctx context.Context, tx *db.Tx, scopes []scope, cells []cell) error {
	columns := make([]string, len(cells))
	numbers := make([]any, len(cells))
	for i, c := range cells {
		columns[i], numbers[i] = c.column, t[c]
	}
	u := upsert{table: "metric_days", key: []string{"org_id", "user_id", "service_user_id", "playbook_id", "shard", "day"}, sums: columns}
	for _, s := range scopes {
		u.rows = append(u.rows, []any{s.org, s.user, s.service, s.playbook, s.shard, cells[0].day})
		u.numbers = append(u.numbers, numbers)
	}
	_, err := db.Exec(ctx, tx, u.sql(), u.args()...)
	return err
}

// categoriesTx counts a session by its category. One without a category isn't counted.
func categoriesTx(ctx context.Context, tx *db.Tx, s Session, before, after Measure) error {
	type class struct{ category, subcategory string }
	type sum struct{ sessions, micros int64 }
	sums := map[class]sum{}
	for _, m := range []struct {
		Measure
		sign int64
	}{{before, -1}, {after, 1}} {
		if m.Category != "" {
			c := class{m.Category, m.Subcategory}
			sums[c] = sum{sums[c].sessions + m.sign, sums[c].micros + m.sign*m.ACUMicros}
		}
	}
	maps.DeleteFunc(sums, func(_ class, n sum) bool { return n == sum{} })
	if len(sums) == 0 {
		return nil
	}
	u := upsert{
		table: "metric_categories", key: []string{"org_id", "category", "subcategory", "day"}, sums: []string{"sessions", "acu_micros"},
	}
	classes := slices.SortedFunc(maps.Keys(sums), func(a, b class) int {
		return cmp.Or(cmp.Compare(a.category, b.category), cmp.Compare(a.subcategory, b.subcategory))
	})
	for _, org := range []string{"", s.OrgID} {
		for _, c := range classes {
			u.rows = append(u.rows, []any{org, c.category, c.subcategory, Day(s.CreatedAt)})
			u.numbers = append(u.numbers, []any{sums[c].sessions, sums[c].micros})
		}
	}
	_, err := db.Exec(ctx, tx, u.sql(), u.args()...)
	return err
}

// upsert adds numbers to rows, which begin at zero. Table and columns are constants of this package.
type upsert struct {
	table     string
	key, sums []string
	rows      [][]any
	numbers   [][]any
}

func (u *upsert) sql() string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + u.table + " (" + strings.Join(u.key, ", ") + ", " + strings.Join(u.sums, ", ") + ") VALUES ")
	n := 0
	for i := range u.rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for k := range len(u.key) + len(u.sums) {
			if k > 0 {
				b.WriteString(", ")
			}
			n++
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteByte(')')
	}
	b.WriteString(" ON CONFLICT (" + strings.Join(u.key, ", ") + ") DO UPDATE SET ")
	for i, c := range u.sums {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c + " = " + u.table + "." + c + " + excluded." + c)
	}
	return b.String()
}

func (u *upsert) args() []any {
	var out []any
	for i, row := range u.rows {
		out = append(append(out, row...), u.numbers[i]...)
	}
	return out
}
