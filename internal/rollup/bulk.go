package rollup

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Bulk reckons in memory what BeginTx and SearchTx write for many facts, for loading a database that has none of them. Facts come in
// the order of their time; Flush gives the rows of what is over, in a fixed order.
type Bulk struct {
	emit       func(table string, row ...any) error
	days       map[int64]map[scope]tally
	categories map[int64]map[class]*classSum
	people     map[span]map[string]act
	last       map[person]int64
}

type class struct{ org, category, subcategory string }

type classSum struct{ sessions, micros int64 }

type person struct{ org, user string }

// NewBulk makes one that hands each row to emit: its columns are those of BulkColumns.
func NewBulk(emit func(table string, row ...any) error) *Bulk {
	return &Bulk{
		emit: emit, days: map[int64]map[scope]tally{}, categories: map[int64]map[class]*classSum{},
		people: map[span]map[string]act{}, last: map[person]int64{},
	}
}

var counters = func() []string {
	out := []string{"sessions", "with_playbook", "with_search", "searches", "acu_micros"}
	for _, o := range Origins {
		out = append(out, "origin_"+o)
	}
	for _, z := range Sizes {
		out = append(out, "size_"+z, "merged_"+z)
	}
	for _, s := range []string{Open, Merged, Closed} {
		out = append(out, "prs_"+s, "taken_"+s)
	}
	return out
}()

// BulkColumns gives the columns of each table that a Bulk has rows for.
func BulkColumns() map[string][]string {
	return map[string][]string{
		"metric_days":       append([]string{"org_id", "user_id", "service_user_id", "playbook_id", "shard", "day"}, counters...),
		"metric_categories": {"org_id", "day", "category", "subcategory", "sessions", "acu_micros"},
		"metric_people":     {"org_id", "period", "began", "user_id", "sessions", "searches"},
		"metric_active":     {"org_id", "period", "began", "sessions", "searches", "users"},
		"metric_gaps":       {"org_id", "day", "last_day", "users"},
	}
}

// Begin counts a session.
func (b *Bulk) Begin(s Session, m Measure) {
	b.add(s.scopes(), s.begun(m))
	if m.Category != "" {
		day := Day(s.CreatedAt)
		if b.categories[day] == nil {
			b.categories[day] = map[class]*classSum{}
		}
		for _, org := range []string{"", s.OrgID} {
			k := class{org, m.Category, m.Subcategory}
			if b.categories[day][k] == nil {
				b.categories[day][k] = &classSum{}
			}
			b.categories[day][k].sessions++
			b.categories[day][k].micros += m.ACUMicros
		}
	}
	b.did(s.OrgID, s.UserID, s.CreatedAt, act{sessions: 1})
}

// Search counts a search.
func (b *Bulk) Search(s Search) {
	b.add(s.scopes(), tally{{Day(s.At), "searches"}: 1})
	b.did(s.OrgID, s.UserID, s.At, act{searches: 1})
}

func (b *Bulk) add(scopes []scope, t tally) {
	for c, n := range t {
		if n == 0 {
			continue
		}
		if b.days[c.day] == nil {
			b.days[c.day] = map[scope]tally{}
		}
		for _, s := range scopes {
			if b.days[c.day][s] == nil {
				b.days[c.day][s] = tally{}
			}
			b.days[c.day][s][cell{column: c.column}] += n
		}
	}
}

func (b *Bulk) did(orgID, userID string, at time.Time, what act) {
	if userID == "" {
		return
	}
	for _, org := range []string{"", orgID} {
		for _, p := range []span{{org, ever, 0}, {org, ByMonth, Month(at)}, {org, ByWeek, Week(at)}, {org, ByDay, Day(at)}} {
			if b.people[p] == nil {
				b.people[p] = map[string]act{}
			}
			a := b.people[p][userID]
			b.people[p][userID] = act{a.sessions + what.sessions, a.searches + what.searches}
		}
	}
}

// Flush gives the rows of every period that ended until a time: no later fact may belong to one. End gives the rest.
func (b *Bulk) Flush(until time.Time) error { return b.flush(until.UnixMilli()) }

// End gives every row that Flush didn't give.
func (b *Bulk) End() error {
	const never = 1 << 62
	return b.flush(never)
}

// longest is how long each period is at most, in milliseconds. Ever ends with End only.
var longest = map[string]int64{ByDay: dayMillis, ByWeek: 7 * dayMillis, ByMonth: 31 * dayMillis, ever: 1 << 61}

const dayMillis = 24 * 60 * 60 * 1000

func (b *Bulk) flush(until int64) error {
	for _, day := range slices.Sorted(maps.Keys(b.days)) {
		if day+dayMillis > until {
			break
		}
		if err := b.flushDay(day); err != nil {
			return err
		}
		delete(b.days, day)
		delete(b.categories, day)
	}
	spans := slices.SortedFunc(maps.Keys(b.people), func(a, b span) int {
		return cmp.Or(cmp.Compare(a.began, b.began), cmp.Compare(a.period, b.period), cmp.Compare(a.org, b.org))
	})
	for _, p := range spans {
		if p.began+longest[p.period] > until {
			continue
		}
		if err := b.flushPeople(p, b.people[p]); err != nil {
			return err
		}
		delete(b.people, p)
	}
	return nil
}

func (b *Bulk) flushDay(day int64) error {
	scopes := slices.SortedFunc(maps.Keys(b.days[day]), func(a, b scope) int {
		return cmp.Or(cmp.Compare(a.org, b.org), cmp.Compare(a.user, b.user), cmp.Compare(a.service, b.service),
			cmp.Compare(a.playbook, b.playbook), cmp.Compare(a.shard, b.shard))
	})
	for _, s := range scopes {
		row := []any{s.org, s.user, s.service, s.playbook, s.shard, day}
		for _, c := range counters {
			row = append(row, b.days[day][s][cell{column: c}])
		}
		if err := b.emit("metric_days", row...); err != nil {
			return err
		}
	}
	classes := slices.SortedFunc(maps.Keys(b.categories[day]), func(a, b class) int {
		return cmp.Or(cmp.Compare(a.org, b.org), cmp.Compare(a.category, b.category), cmp.Compare(a.subcategory, b.subcategory))
	})
	for _, c := range classes {
		n := b.categories[day][c]
		if err := b.emit("metric_categories", c.org, day, c.category, c.subcategory, n.sessions, n.micros); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bulk) flushPeople(p span, did map[string]act) error {
	active, gaps := map[act]int64{}, map[int64]int64{}
	for _, user := range slices.Sorted(maps.Keys(did)) {
		a := did[user]
		if err := b.emit("metric_people", p.org, p.period, p.began, user, a.sessions, a.searches); err != nil {
			return err
		}
		active[a]++
		if p.period == ByDay {
			before, ok := b.last[person{p.org, user}]
			if !ok {
				before = Never
			}
			gaps[before]++
			b.last[person{p.org, user}] = p.began
		}
	}
	if p.period == ever {
		return nil
	}
	for _, a := range slices.SortedFunc(maps.Keys(active), func(a, b act) int {
		return cmp.Or(cmp.Compare(a.sessions, b.sessions), cmp.Compare(a.searches, b.searches))
	}) {
		if err := b.emit("metric_active", p.org, p.period, p.began, a.sessions, a.searches, active[a]); err != nil {
			return err
		}
	}
	if err := b.emit("metric_active", p.org, Any(p.period), p.began, 0, 0, int64(len(did))); err != nil {
		return err
	}
	for _, before := range slices.Sorted(maps.Keys(gaps)) {
		if err := b.emit("metric_gaps", p.org, p.began, before, gaps[before]); err != nil {
			return err
		}
	}
	return nil
}
