package usage

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Bulk reckons in memory what EnterTx writes for many intervals of work, for loading a database that has none of them. Each interval
// comes whole and once, in the order of their beginnings; Flush gives the roll-ups of the days that are over.
type Bulk struct {
	rates      Rates
	emit       func(table string, row ...any) error
	days       map[int64]map[bulkKey]int64
	enterprise map[int64]map[int64]int64
	cycles     map[bulkCycle]int64
}

type bulkKey struct {
	scope     Scope
	id, orgID string
}

type bulkCycle struct {
	orgID string
	cycle int64
}

// NewBulk makes one that hands each row to emit: its columns are those of BulkColumns.
func NewBulk(r Rates, emit func(table string, row ...any) error) *Bulk {
	return &Bulk{
		rates: r, emit: emit, days: map[int64]map[bulkKey]int64{}, enterprise: map[int64]map[int64]int64{}, cycles: map[bulkCycle]int64{},
	}
}

// BulkColumns gives the columns of each table that a Bulk has rows for.
func BulkColumns() map[string][]string {
	return map[string][]string{
		"usage_entries":    {"session_id", "started_at", "org_id", "user_id", "service_user_id", "product", "fence", "ended_at", "acu_micros"},
		"usage_daily":      {"scope", "scope_id", "org_id", "product", "day", "acu_micros"},
		"usage_enterprise": {"day", "product", "shard", "acu_micros"},
		"usage_cycles":     {"org_id", "cycle", "acu_micros"},
	}
}

// Enter enters an interval and gives its cost.
func (b *Bulk) Enter(w Work) (int64, error) {
	cost := b.rates.piece(w, w.From, w.To)
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	err := b.emit("usage_entries", w.SessionID, w.Start.UnixMilli(), w.OrgID, null(w.UserID), null(w.ServiceUserID), ProductDevin, w.Fence,
		w.To.UnixMilli(), cost)
	if err != nil || cost == 0 {
		return cost, err
	}
	for from := w.From; from.Before(w.To); {
		day := b.rates.Day(from)
		to := day.Add(24 * time.Hour)
		if to.After(w.To) {
			to = w.To
		}
		b.addDay(w, day, b.rates.piece(w, from, to))
		from = to
	}
	return cost, nil
}

func (b *Bulk) addDay(w Work, day time.Time, cost int64) {
	who, whoID := ServiceUser, w.ServiceUserID
	if w.UserID != "" {
		who, whoID = User, w.UserID
	}
	at := day.UnixMilli()
	if b.days[at] == nil {
		b.days[at], b.enterprise[at] = map[bulkKey]int64{}, map[int64]int64{}
	}
	for _, k := range []bulkKey{{Session, w.SessionID, w.OrgID}, {who, whoID, w.OrgID}, {who, whoID, ""}, {Organization, w.OrgID, w.OrgID}} {
		b.days[at][k] += cost
	}
	b.enterprise[at][shardOf(w.SessionID)] += cost
	cycle, _ := b.rates.Cycle(day)
	b.cycles[bulkCycle{w.OrgID, cycle.UnixMilli()}] += cost
}

// Flush gives the roll-ups of the days that ended until a time: no later work may begin in one. End gives the rest.
func (b *Bulk) Flush(until time.Time) error {
	for _, day := range slices.Sorted(maps.Keys(b.days)) {
		if day+24*60*60*1000 > until.UnixMilli() {
			break
		}
		keys := slices.SortedFunc(maps.Keys(b.days[day]), func(a, b bulkKey) int {
			return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.id, b.id), cmp.Compare(a.orgID, b.orgID))
		})
		for _, k := range keys {
			if err := b.emit("usage_daily", string(k.scope), k.id, k.orgID, ProductDevin, day, b.days[day][k]); err != nil {
				return err
			}
		}
		for _, shard := range slices.Sorted(maps.Keys(b.enterprise[day])) {
			if err := b.emit("usage_enterprise", day, ProductDevin, shard, b.enterprise[day][shard]); err != nil {
				return err
			}
		}
		delete(b.days, day)
		delete(b.enterprise, day)
	}
	return nil
}

// End gives every row that Flush didn't give, and the cycles.
func (b *Bulk) End() error {
	if err := b.Flush(time.UnixMilli(1 << 61)); err != nil {
		return err
	}
	cycles := slices.SortedFunc(maps.Keys(b.cycles), func(a, b bulkCycle) int {
		return cmp.Or(cmp.Compare(a.cycle, b.cycle), cmp.Compare(a.orgID, b.orgID))
	})
	for _, c := range cycles {
		if err := b.emit("usage_cycles", c.orgID, c.cycle, b.cycles[c]); err != nil {
			return err
		}
	}
	return nil
}
