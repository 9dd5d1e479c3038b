package metric

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/rollup"
)

// Some questions have to look at people, each of whom counts once: active people in several organizations together, and those above a
// threshold in any range. They are asked again and again, by dashboards, mostly with nothing new in between, so their last answers are
// kept together with the number of sessions and searches that there were of their organizations and days. That number only grows, with
// every fact that an answer counts and in its transaction, whichever replica writes it: as long as it is the same, so is the answer.

// maxAnswers bounds what is kept: an answer has at most maxPeriods rows.
const maxAnswers = 256

// answers are those that were given. The zero value has none.
type answers struct {
	mu    sync.Mutex
	given map[question]answer
}

// question is a hash of the statement that answers it with its arguments.
type question [sha256.Size]byte

// answer is what people came to when there were so many facts, or some more.
type answer struct {
	facts int64
	rows  []periodRow
}

func (a *answers) find(q question, facts int64) ([]periodRow, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got, ok := a.given[q]
	return got.rows, ok && got.facts == facts
}

// keep forgets any other answer when there are too many.
func (a *answers) keep(q question, got answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given == nil {
		a.given = map[question]answer{}
	}
	for other := range a.given {
		if len(a.given) < maxAnswers {
			break
		}
		delete(a.given, other)
	}
	a.given[q] = got
}

// asked answers a question about the people of a filter who were active between two days, unless it was answered already. The facts are
// counted before people are looked at: one that comes in between has the answer looked for once more, never has it outlive its time.
func (v *Service) asked(ctx context.Context, f ActiveFilter, start, end time.Time, query string, args []any) ([]periodRow, error) {
	count, of := f.facts(start, end)
	facts, err := db.One(ctx, v.db.Reader(), db.Int, count, of...)
	if err != nil {
		return nil, err
	}
	q := question(sha256.Sum256(fmt.Appendf(nil, "%s %#v", query, args)))
	if rows, ok := v.known.find(q, facts); ok {
		return rows, nil
	}
	rows, err := v.periods(ctx, query, args)
	if err == nil {
		v.known.keep(q, answer{facts, rows})
	}
	return rows, err
}

// facts counts those that move an answer, and may count others: it doesn't read more than the enterprise has rows for its days.
func (f ActiveFilter) facts(start, end time.Time) (string, []any) {
	of := Filter{Range: Range{After: start, Before: end}, OrgID: f.OrgID, OrgIDs: f.OrgIDs}
	if len(f.OrgIDs) > rollup.Shards {
		of.OrgIDs = nil
	}
	return of.sums([]string{"sessions + searches"})
}
