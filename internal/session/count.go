package session

import (
	"context"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/rollup"
	"gantry/internal/usage"
)

// Sizes are the upper bounds of the classes xs to l; what lies above is xl. A session's class is the larger of the class of its ACUs and
// of its user messages (contract/behaviour.md §7.3).
type Sizes struct {
	ACUs     [4]float64
	Messages [4]int64
}

// DefaultSizes are the contract's bounds.
func DefaultSizes() Sizes {
	return Sizes{ACUs: [4]float64{1, 3, 6, 10}, Messages: [4]int64{2, 4, 8, 15}}
}

// Of gives the class of a session.
func (z Sizes) Of(acuMicros, userMessages int64) string {
	class := 0
	for i := range z.ACUs {
		if float64(acuMicros) > z.ACUs[i]*usage.Micros || userMessages > z.Messages[i] {
			class = i + 1
		}
	}
	return rollup.Sizes[class]
}

// counts is what the session counts by.
func (s *Session) counts() rollup.Session {
	return rollup.Session{
		OrgID: s.OrgID, UserID: s.UserID, ServiceUserID: s.ServiceUserID, PlaybookID: s.PlaybookID, Origin: s.Origin,
		CreatedAt: s.CreatedAt,
	}
}

// measure is what the session counts for as it is now.
func (s *Session) measure() rollup.Measure {
	m := rollup.Measure{Size: s.Size, ACUMicros: s.ACUMicros, Category: s.Category, Subcategory: s.Subcategory}
	for _, p := range s.PullRequests {
		at := s.CreatedAt
		if p.At != 0 {
			at = db.Time(p.At)
		}
		m.PullRequests = append(m.PullRequests, rollup.PullRequest{
			Day: rollup.Day(at), State: rollup.StateOf(p.State), TakenOver: p.TakenOver,
		})
	}
	return m
}

// countTx brings the roll-ups up to date with a session that the transaction has changed. It comes last in every transaction, so that
// all of them take the counters' rows after any other.
func (v *Service) countTx(ctx context.Context, tx *db.Tx, s *Session) error {
	s.Size = v.Sizes.Of(s.ACUMicros, s.UserMessages)
	now, before, known := s.measure(), s.counted, s.isCounted
	s.counted, s.isCounted = now, true
	if !known || now.Size != before.Size || now.Category != before.Category || now.Subcategory != before.Subcategory {
		if _, err := db.Exec(ctx, tx, `UPDATE sessions SET size = $1, category = $2, subcategory = $3, counted = 1 WHERE session_id = $4`,
			s.Size, db.Null(s.Category), db.Null(s.Subcategory), s.ID); err != nil {
			return err
		}
	}
	if !known {
		return rollup.BeginTx(ctx, tx, s.counts(), now)
	}
	return rollup.MoveTx(ctx, tx, s.counts(), before, now)
}

// countNewTx counts a session that was just inserted as counted.
func (s *Session) countNewTx(ctx context.Context, tx *db.Tx) error {
	s.counted, s.isCounted = s.measure(), true
	return rollup.BeginTx(ctx, tx, s.counts(), s.counted)
}

const (
	// countBatch is how many sessions of an older release are looked up together.
	countBatch = 50
	// countBatches is how many such batches one look takes; more wait for the next.
	countBatches = 10
)

// countOld counts the sessions that the roll-ups don't know: those of an older release, also of one that still runs beside this one.
func (v *Service) countOld(ctx context.Context) error {
	for range countBatches {
		ids, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT session_id FROM sessions WHERE counted = 0 LIMIT $1`, countBatch)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, sessionID := range ids {
			if err := v.countOne(ctx, sessionID); err != nil {
				return err
			}
		}
	}
	return nil
}

// countOne has a transaction of its own: the counters of two sessions have no common order, so two in one transaction would wait for
// a new session that waits for them.
func (v *Service) countOne(ctx context.Context, sessionID string) error {
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		s, err := lockTx(ctx, tx, sessionID)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return v.countTx(ctx, tx, s)
	})
}
