package usage

import (
	"context"
	"hash/fnv"
	"time"

	"gantry/internal/platform/db"
)

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

// Scope says whose a daily roll-up is.
type Scope string

// The scopes. The enterprise's own lies in a table of its own.
const (
	Organization Scope = "organization"
	User         Scope = "user"
	ServiceUser  Scope = "service_user"
	Session      Scope = "session"
	enterprise   Scope = "enterprise"
)

// shards is how many rows the enterprise's roll-up of a day has. On PostgreSQL a transaction holds the rows it adds to until it
// commits, some milliseconds; one row would let the whole deployment meter some hundred reports a second, these let it meter some
// thousand, which tens of thousands of running sessions make. A read of a year still takes a few thousand rows that lie together.
const shards = 8

func shardOf(sessionID string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(sessionID)) // never fails
	return int64(h.Sum32() % shards)
}

// EnterTx writes a piece of work to the ledger and the roll-ups and gives its cost. An interval is one ledger row whose end moves.
//
// Every transaction takes the rows in the same order, so that those which share some wait for, but never block, one another: days
// upwards, of a day the session's, the person's, the organization's and the enterprise's; then the cycle's.
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
	for at := w.From; at.Before(w.To); _, at = r.Cycle(at) {
		if err := r.countCycleTx(ctx, tx, w.OrgID, at); err != nil {
			return 0, err
		}
	}
	return cost, nil
}

// piece is what the time between two moments of an interval costs.
func (r Rates) piece(w Work, from, to time.Time) int64 {
	return max(0, r.Amount(to.Sub(w.Start))-r.Amount(from.Sub(w.Start)))
}

func addDayTx(ctx context.Context, tx *db.Tx, w Work, day time.Time, cost int64) error {
	who, whoID := ServiceUser, w.ServiceUserID
	if w.UserID != "" {
		who, whoID = User, w.UserID
	}
	_, err := db.Exec(ctx, tx, `INSERT INTO usage_daily (scope, scope_id, org_id, product, day, acu_micros)
		VALUES ('session', $1, $2, $3, $4, $5), ($6, $7, $2, $3, $4, $5), ($6, $7, '', $3, $4, $5), ('organization', $2, $2, $3, $4, $5)
		ON CONFLICT (scope, scope_id, org_id, day, product) DO UPDATE
		SET acu_micros = usage_daily.acu_micros + excluded.acu_micros`,
		w.SessionID, w.OrgID, ProductDevin, day.UnixMilli(), cost, string(who), whoID)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO usage_enterprise (day, product, shard, acu_micros) VALUES ($1, $2, $3, $4)
		ON CONFLICT (day, product, shard) DO UPDATE SET acu_micros = usage_enterprise.acu_micros + excluded.acu_micros`,
		day.UnixMilli(), ProductDevin, shardOf(w.SessionID), cost)
	return err
}

// countCycleTx brings an organization's sum of a cycle up to date, from at most a month's roll-ups. It sums anew instead of adding, so
// that a sum which was never written, as before an upgrade or a change of the day offset, is right from the next report on; until then
// groupCycle does without.
func (r Rates) countCycleTx(ctx context.Context, tx *db.Tx, orgID string, t time.Time) error {
	used, err := r.OrgCycle(ctx, tx, orgID, t)
	if err != nil {
		return err
	}
	from, _ := r.Cycle(t)
	_, err = db.Exec(ctx, tx, `INSERT INTO usage_cycles (org_id, cycle, acu_micros) VALUES ($1, $2, $3)
		ON CONFLICT (org_id, cycle) DO UPDATE SET acu_micros = excluded.acu_micros`, orgID, from.UnixMilli(), used)
	return err
}

// OrgCycle gives what an organization has used in the cycle that holds t: one indexed read of at most a month's roll-ups.
func (r Rates) OrgCycle(ctx context.Context, q db.Querier, orgID string, t time.Time) (int64, error) {
	from, to := r.Cycle(t)
	return db.One(ctx, q, db.Int, `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_daily
		WHERE scope = 'organization' AND scope_id = $1 AND org_id = $1 AND day >= $2 AND day < $3`,
		orgID, from.UnixMilli(), to.UnixMilli())
}
