package usage

import (
	"context"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Spread is how the consumption of a time spreads over days, organizations and people, in millionths of an ACU. ByUser is of people only.
type Spread struct {
	Total  int64
	ByDay  map[time.Time]int64
	ByOrg  map[string]int64
	ByUser map[string]int64
}

// SpreadParams ask for it: of one person, of some organizations, or with neither of the enterprise. Without After it begins with the
// billing cycle of Before, and without both with the one that runs (contract/v2.json, daily consumption).
type SpreadParams struct {
	UserID        string
	OrgIDs        []string
	After, Before time.Time
}

// Spread answers the older API versions, which show all breakdowns at once: its cost grows with the days and the organizations of the
// answer. It needs ManageBilling or ViewAccountConsumption; an unknown person is 404.
func (s *Service) Spread(ctx context.Context, sub access.Subject, p SpreadParams) (Spread, error) {
	none := Spread{}
	if err := mayRead(sub, ""); err != nil {
		return none, err
	}
	if p.After.IsZero() {
		last := s.db.Clock().Now()
		if !p.Before.IsZero() {
			last = p.Before.Add(-time.Millisecond)
		}
		p.After, _ = s.Cycle(last)
	}
	if !p.Before.IsZero() && p.Before.Before(p.After) {
		return none, fault.InvalidQuery("end_date", "must not be before start_date")
	}
	scope := Organization
	if p.UserID != "" {
		scope = User
		if err := s.known(ctx, DailyParams{Scope: User, ID: p.UserID}); err != nil {
			return none, err
		}
	}
	out := Spread{ByDay: map[time.Time]int64{}, ByOrg: map[string]int64{}, ByUser: map[string]int64{}}
	rows, err := readSpread(ctx, s.db.Reader(), scope, p)
	for _, r := range rows {
		out.Total += r.micros
		out.ByDay[db.Time(r.day)] += r.micros
		out.ByOrg[r.orgID] += r.micros
	}
	if err != nil || p.UserID != "" {
		if p.UserID != "" && out.Total > 0 {
			out.ByUser[p.UserID] = out.Total
		}
		return out, err
	}
	people, err := readSpread(ctx, s.db.Reader(), User, p)
	for _, r := range people {
		out.ByUser[r.scopeID] += r.micros
	}
	return out, err
}

type spreadRow struct {
	scopeID, orgID string
	day, micros    int64
}

// readSpread reads the roll-ups of a scope, those over all organizations left out.
func readSpread(ctx context.Context, q db.Querier, scope Scope, p SpreadParams) ([]spreadRow, error) {
	from, to := DailyParams{After: p.After, Before: p.Before}.bounds()
	var w db.Where
	w.Add("scope = ?", string(scope))
	if scope == User && p.UserID != "" {
		w.Add("scope_id = ?", p.UserID)
	}
	w.Add("org_id <> ''")
	w.In("org_id", p.OrgIDs)
	w.Add("day >= ? AND day < ?", from, to)
	return db.All(ctx, q, func(r db.Scanner) (spreadRow, error) {
		var x spreadRow
		return x, r.Scan(&x.scopeID, &x.orgID, &x.day, &x.micros)
	}, `SELECT scope_id, org_id, day, acu_micros FROM usage_daily`+w.SQL(), w.Args()...)
}
