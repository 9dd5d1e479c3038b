package metric

import (
	"context"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/rollup"
)

// sums adds up counters over the rows of a filter: for each day one row of each group asked for, or the enterprise's few. Columns are
// constants of this package and of rollup.
func (v *Service) sums(ctx context.Context, who access.Subject, f Filter, columns ...string) (map[string]int64, error) {
	if err := mayRead(who, f.OrgID); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	query, args := f.sums(columns)
	values := make([]int64, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	_, err := db.One(ctx, v.db.Reader(), func(r db.Scanner) (struct{}, error) { return struct{}{}, r.Scan(into...) }, query, args...)
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(columns))
	for i, c := range columns {
		out[c] = values[i]
	}
	return out, nil
}

func (f Filter) sums(columns []string) (string, []any) {
	parts, w := f.counters(columns)
	return `SELECT ` + parts + ` FROM metric_days` + w.SQL(), w.Args()
}

// byDay is sums for each day that has any rows, in order.
func (f Filter) byDay(columns []string) (string, []any) {
	parts, w := f.counters(columns)
	return `SELECT day, ` + parts + ` FROM metric_days` + w.SQL() + ` GROUP BY day ORDER BY day`, w.Args()
}

// counters gives the sums of columns, and which rows they are over.
func (f Filter) counters(columns []string) (string, *db.Where) {
	var w db.Where
	for _, d := range []struct {
		column string
		values []string
	}{
		{"org_id", f.orgs()}, {"user_id", f.UserIDs}, {"service_user_id", f.ServiceUserIDs}, {"playbook_id", orAll(f.PlaybookID)},
	} {
		values := d.values
		if len(values) == 0 {
			values = []string{""} // the row for all of them
		}
		w.In(d.column, values)
	}
	f.days(&w)
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "CAST(COALESCE(SUM(" + c + "), 0) AS BIGINT)"
	}
	return strings.Join(parts, ", "), &w
}

func orAll(id string) []string {
	if id == "" {
		return nil
	}
	return []string{id}
}

// days narrows to the days that a range touches.
func (r Range) days(w *db.Where) {
	if !r.After.IsZero() {
		w.Add("day >= ?", rollup.Day(r.After))
	}
	if !r.Before.IsZero() {
		w.Add("day < ?", r.Before.UnixMilli())
	}
}

type categoryRow struct {
	category, subcategory string
	sessions, micros      int64
}

func (v *Service) categories(ctx context.Context, f Filter) ([]categoryRow, error) {
	query, args := f.categories()
	return db.All(ctx, v.db.Reader(), func(r db.Scanner) (categoryRow, error) {
		var c categoryRow
		err := r.Scan(&c.category, &c.subcategory, &c.sessions, &c.micros)
		return c, err
	}, query, args...)
}

func (f Filter) categories() (string, []any) {
	var w db.Where
	orgIs(&w, f.orgs())
	f.days(&w)
	return `SELECT category, subcategory, CAST(SUM(sessions) AS BIGINT), CAST(SUM(acu_micros) AS BIGINT) FROM metric_categories` +
		w.SQL() + ` GROUP BY category, subcategory HAVING SUM(sessions) > 0 ORDER BY category, subcategory`, w.Args()
}

// orgIs narrows to organizations, or to the enterprise's own rows when none is asked for.
func orgIs(w *db.Where, orgs []string) {
	if len(orgs) == 0 {
		orgs = []string{""}
	}
	w.In("org_id", orgs)
}

func (f ActiveFilter) orgs() []string { return Filter{OrgID: f.OrgID, OrgIDs: f.OrgIDs}.orgs() }

type periodRow struct{ began, users int64 }

func scanPeriod(r db.Scanner) (periodRow, error) {
	var p periodRow
	err := r.Scan(&p.began, &p.users)
	return p, err
}

// activeByPeriod gives the active people of each period that has any, from one start until the end of the last, in order.
func (v *Service) activeByPeriod(ctx context.Context, p Period, f ActiveFilter, from, to time.Time) ([]periodRow, error) {
	query, args := f.byPeriod(p, from, to)
	if len(f.orgs()) > 1 {
		return v.asked(ctx, f, from, to, query, args)
	}
	return v.periods(ctx, query, args)
}

func (v *Service) periods(ctx context.Context, query string, args []any) ([]periodRow, error) {
	return db.All(ctx, v.db.Reader(), scanPeriod, query, args...)
}

// byPeriod takes from those who did anything the few below the thresholds, which doesn't cost more with more people. Only for several
// organizations together, where a person must count once, it reads the people.
func (f ActiveFilter) byPeriod(p Period, from, to time.Time) (string, []any) {
	var w db.Where
	orgs := f.orgs()
	if len(orgs) < 2 {
		users := "users"
		if !f.anything() {
			users += w.Number(` - (SELECT CAST(COALESCE(SUM(b.users), 0) AS BIGINT) FROM metric_active b
				WHERE b.org_id = metric_active.org_id AND b.period = ? AND b.began = metric_active.began AND b.sessions < ? AND b.searches < ?)`,
				string(p), f.MinSessions, f.MinSearches)
		}
		orgIs(&w, orgs)
		w.Add("period = ? AND began >= ? AND began < ?", rollup.Any(string(p)), from.UnixMilli(), to.UnixMilli())
		return `SELECT began, ` + users + ` FROM metric_active` + w.SQL() + ` ORDER BY began`, w.Args()
	}
	orgIs(&w, orgs)
	w.Add("period = ? AND began >= ? AND began < ?", string(p), from.UnixMilli(), to.UnixMilli())
	where := w.SQL()
	having := w.Number("SUM(sessions) >= ? OR SUM(searches) >= ?", f.MinSessions, f.MinSearches)
	return `SELECT began, COUNT(*) FROM (SELECT began, user_id FROM metric_people` + where + ` GROUP BY began, user_id HAVING ` + having +
		`) x GROUP BY began ORDER BY began`, w.Args()
}

// activeInRange counts the people who were active between two days.
func (v *Service) activeInRange(ctx context.Context, f ActiveFilter, start, end time.Time) (int64, error) {
	if !start.Before(end) {
		return 0, nil
	}
	if len(f.orgs()) < 2 && f.anything() {
		query, args := f.byGaps(start, end)
		return db.One(ctx, v.db.Reader(), db.Int, query, args...)
	}
	query, args := f.inRange(start, end)
	rows, err := v.asked(ctx, f, start, end, query, args)
	if err != nil {
		return 0, err
	}
	return rows[0].users, nil
}

// byGaps sums, for people who count by doing anything, those whose last active day lies before the range: of each day it reads only
// them.
func (f ActiveFilter) byGaps(start, end time.Time) (string, []any) {
	var w db.Where
	first := w.Number(`SELECT SUM(users) FROM metric_gaps WHERE org_id = metric_active.org_id AND day = metric_active.began AND last_day < ?`,
		start.UnixMilli())
	orgIs(&w, f.orgs())
	w.Add("period = ? AND began >= ? AND began < ?", rollup.Any(rollup.ByDay), start.UnixMilli(), end.UnixMilli())
	return `SELECT CAST(COALESCE(SUM((` + first + `)), 0) AS BIGINT) FROM metric_active` + w.SQL(), w.Args()
}

// inRange adds each person's whole months and the days around them.
func (f ActiveFilter) inRange(start, end time.Time) (string, []any) {
	var w db.Where
	orgs := f.orgs()
	type part struct {
		period   Period
		from, to time.Time
	}
	parts := []part{{Daily, start, end}}
	if from, to := months(start, end); from.Before(to) {
		parts = []part{{Daily, start, from}, {Monthly, from, to}, {Daily, to, end}}
	}
	if len(orgs) == 0 {
		orgs = []string{""}
	}
	var queries []string
	for _, p := range parts {
		if !p.from.Before(p.to) {
			continue
		}
		args := make([]any, 0, len(orgs)+3)
		for _, o := range orgs {
			args = append(args, o)
		}
		queries = append(queries, w.Number(`SELECT user_id, sessions, searches FROM metric_people WHERE org_id IN (?`+
			strings.Repeat(", ?", len(orgs)-1)+`) AND period = ? AND began >= ? AND began < ?`,
			append(args, string(p.period), p.from.UnixMilli(), p.to.UnixMilli())...))
	}
	having := w.Number("SUM(sessions) >= ? OR SUM(searches) >= ?", f.MinSessions, f.MinSearches)
	return `SELECT 0, COUNT(*) FROM (SELECT user_id FROM (` + strings.Join(queries, " UNION ALL ") + `) p GROUP BY user_id HAVING ` + having +
		`) u`, w.Args()
}
