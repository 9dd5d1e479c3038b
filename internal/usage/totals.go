package usage

import (
	"context"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// MaxTotals is how many things one answer may be about: it costs what their days cost.
const MaxTotals = 500

// TotalsParams ask what each of several things used: people or service users, in an organization or with an empty OrgID in all of them,
// or organizations. Of the span [After, Before) the days count that begin in it; a zero time is no bound.
type TotalsParams struct {
	OrgID         string
	Scope         Scope
	IDs           []string
	After, Before time.Time
}

// Totals gives it in millionths of an ACU, by id; who used nothing is left out, as is who isn't there. It needs what Daily needs.
func (s *Service) Totals(ctx context.Context, sub access.Subject, p TotalsParams) (map[string]int64, error) {
	if err := mayRead(sub, p.OrgID); err != nil {
		return nil, err
	}
	out := map[string]int64{}
	switch {
	case len(p.IDs) == 0:
		return out, nil
	case len(p.IDs) > MaxTotals:
		return nil, fault.New(fault.Invalid, "totals of more than %d things", MaxTotals)
	case p.Scope == Organization && p.OrgID != "":
		return nil, fault.New(fault.Invalid, "an organization has no organizations")
	}
	query, args := p.query()
	_, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (struct{}, error) {
		var id string
		var micros int64
		err := r.Scan(&id, &micros)
		if micros != 0 {
			out[id] = micros
		}
		return struct{}{}, err
	}, query, args...)
	return out, err
}

// query reads the days of each by their key. An organization's lie under itself, so its sum is asked for row by row: two lists of ids
// would have the database try each with each.
func (p TotalsParams) query() (string, []any) {
	from, to := DailyParams{After: p.After, Before: p.Before}.bounds()
	var w db.Where
	if p.Scope == Organization {
		sum := w.Number(`SELECT CAST(COALESCE(SUM(d.acu_micros), 0) AS BIGINT) FROM usage_daily d WHERE d.scope = 'organization'
			AND d.scope_id = o.org_id AND d.org_id = o.org_id AND d.day >= ? AND d.day < ?`, from, to)
		w.In("o.org_id", p.IDs)
		return `SELECT o.org_id, (` + sum + `) FROM organizations o` + w.SQL(), w.Args()
	}
	w.Add("scope = ?", string(p.Scope))
	w.In("scope_id", p.IDs)
	w.Add("org_id = ? AND day >= ? AND day < ?", p.OrgID, from, to)
	return `SELECT scope_id, CAST(SUM(acu_micros) AS BIGINT) FROM usage_daily` + w.SQL() + ` GROUP BY scope_id`, w.Args()
}
