// Package usage is the ledger of ACUs: every interval of work, and the roll-ups by day that are written with it.
//
// Amounts are kept in millionths of an ACU, so sums are exact.
package usage

import (
	"context"
	"math/bits"
	"time"

	"gantry/internal/platform/db"
)

// Micros is one ACU in the ledger's unit.
const Micros = 1_000_000

// ProductDevin is what sessions count as in the daily roll-up (contract/behaviour.md §4.2).
const ProductDevin = "devin"

// Rates turn time into ACUs and ACUs into days.
type Rates struct {
	// PerACU is how much work is one ACU; 15 minutes by default (contract/behaviour.md §3.17).
	PerACU time.Duration
	// DayOffset is how far a billing day begins from UTC midnight; -8 h by default, so a day begins at 08:00 UTC
	// (contract/behaviour.md §4.3).
	DayOffset time.Duration
}

// Defaults are the contract's rates.
func Defaults() Rates { return Rates{PerACU: 15 * time.Minute, DayOffset: -8 * time.Hour} }

// Amount is what an interval of work costs, rounded down to the millionth.
func (r Rates) Amount(work time.Duration) int64 {
	if work <= 0 {
		return 0
	}
	whole, rest := work/r.PerACU, work%r.PerACU
	hi, lo := bits.Mul64(uint64(rest), Micros) // 128 bits: a day in nanoseconds times a million is more than 64
	micros, _ := bits.Div64(hi, lo, uint64(r.PerACU))
	return int64(whole)*Micros + int64(micros)
}

// Day gives the start of the billing day that holds t.
func (r Rates) Day(t time.Time) time.Time {
	return t.Add(r.DayOffset).UTC().Truncate(24 * time.Hour).Add(-r.DayOffset)
}

// Cycle gives the start of the billing cycle that holds t and the start of the next: calendar months that begin at the day offset
// (contract/behaviour.md §19.14).
func (r Rates) Cycle(t time.Time) (from, to time.Time) {
	local := t.Add(r.DayOffset).UTC()
	first := time.Date(local.Year(), local.Month(), 1, 0, 0, 0, 0, time.UTC)
	return first.Add(-r.DayOffset), first.AddDate(0, 1, 0).Add(-r.DayOffset)
}

// Work is a piece of work to enter: the time from From to To within the interval that began at Start. The pieces of an interval cost
// together what the whole costs, however many they are.
type Work struct {
	SessionID     string
	OrgID         string
	UserID        string
	ServiceUserID string
	Fence         int64
	Start         time.Time
	From, To      time.Time
}

// EnterTx writes a piece of work to the ledger and the roll-ups and gives its cost. An interval is one ledger row whose end moves.
func (r Rates) EnterTx(ctx context.Context, tx *db.Tx, w Work) (int64, error) {
	cost := r.piece(w, w.From, w.To)
	_, err := db.Exec(ctx, tx, `INSERT INTO usage_entries (session_id, started_at, org_id, user_id, service_user_id, product, fence,
			ended_at, acu_micros)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (session_id, started_at) DO UPDATE
		SET ended_at = excluded.ended_at, acu_micros = usage_entries.acu_micros + excluded.acu_micros`,
		w.SessionID, w.Start.UnixMilli(), w.OrgID, db.Null(w.UserID), db.Null(w.ServiceUserID), ProductDevin, w.Fence,
		w.To.UnixMilli(), cost)
	if err != nil || cost == 0 {
		return cost, err
	}
	for from := w.From; from.Before(w.To); {
		day := r.Day(from)
		to := day.Add(24 * time.Hour)
		if to.After(w.To) {
			to = w.To
		}
		if err := addDayTx(ctx, tx, w, day, r.piece(w, from, to)); err != nil {
			return 0, err
		}
		from = to
	}
	return cost, nil
}

// piece is what the time between two moments of an interval costs.
func (r Rates) piece(w Work, from, to time.Time) int64 {
	return max(0, r.Amount(to.Sub(w.Start))-r.Amount(from.Sub(w.Start)))
}

func addDayTx(ctx context.Context, tx *db.Tx, w Work, day time.Time, cost int64) error {
	who, whoID := "service_user", w.ServiceUserID
	if w.UserID != "" {
		who, whoID = "user", w.UserID
	}
	_, err := db.Exec(ctx, tx, `INSERT INTO usage_daily (scope, scope_id, org_id, product, day, acu_micros)
		VALUES ('session', $1, $2, $3, $4, $5), ($6, $7, $2, $3, $4, $5), ('organization', $2, $2, $3, $4, $5)
		ON CONFLICT (scope, scope_id, org_id, day, product) DO UPDATE
		SET acu_micros = usage_daily.acu_micros + excluded.acu_micros`,
		w.SessionID, w.OrgID, ProductDevin, day.UnixMilli(), cost, who, whoID)
	return err
}

// OrgCycle gives what an organization has used in the cycle that holds t: one indexed read of at most a month's roll-ups.
func (r Rates) OrgCycle(ctx context.Context, q db.Querier, orgID string, t time.Time) (int64, error) {
	from, to := r.Cycle(t)
	return db.One(ctx, q, db.Int, `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_daily
		WHERE scope = 'organization' AND scope_id = $1 AND org_id = $1 AND day >= $2 AND day < $3`,
		orgID, from.UnixMilli(), to.UnixMilli())
}
