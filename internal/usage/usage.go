// Package usage is the ledger of ACUs: every interval of work, the roll-ups that are written with it, what is read from them, and the
// limits of a billing cycle.
//
// Rules, from contract/behaviour.md §3.17, §4 and §19.14, contract/v3-rules.md:
//   - Amounts are kept in millionths of an ACU, so sums are exact; they are answered unrounded.
//   - Days begin at a fixed offset from UTC; cycles are calendar months that begin with such a day, [after, before).
//   - A limit of 0 blocks, none means unlimited. Limits of a person and of the organization count independently of each other. Reviews
//     count for the organization but not for the person.
//   - A person's limit is their own, else the default one.
//   - What a deleted organization or person used stays in every sum.
package usage

import (
	"context"
	"math/bits"
	"time"

	"gantry/internal/access"
	"gantry/internal/org"
	"gantry/internal/platform/db"
)

// Micros is one ACU in the ledger's unit.
const Micros = 1_000_000

// The products of the roll-ups (contract/behaviour.md §4.2). Sessions count as devin; the others are there for clients that ask.
const (
	ProductDevin    = "devin"
	ProductCascade  = "cascade"
	ProductTerminal = "terminal"
	ProductReview   = "review"
)

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

// Options of New.
type Options struct {
	Rates Rates
	// CycleLimit is how many ACUs the enterprise may use in a billing cycle; nil is no limit.
	CycleLimit *int64
	Orgs       *org.Service
	// Person gives a living person as a subject, with all that they hold; a stranger is a NotFound fault.
	Person func(ctx context.Context, userID string) (access.Subject, error)
}

// Service holds the use cases. It embeds the rates that the ledger is written by.
type Service struct {
	Rates
	db *db.DB
	o  Options
}

// New makes the service.
func New(d *db.DB, o Options) *Service { return &Service{Rates: o.Rates, db: d, o: o} }
