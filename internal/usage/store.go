package usage

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"gantry/internal/platform/db"
)

// bounds gives a span in milliseconds.
func (p DailyParams) bounds() (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	if !p.After.IsZero() {
		from = p.After.UnixMilli()
	}
	if !p.Before.IsZero() {
		to = p.Before.UnixMilli()
	}
	return from, to
}

const (
	enterpriseDays = `SELECT day, product, SUM(acu_micros) FROM usage_enterprise WHERE day >= $1 AND day < $2
		GROUP BY day, product ORDER BY day, product`
	scopeDays = `SELECT day, product, acu_micros FROM usage_daily
		WHERE scope = $1 AND scope_id = $2 AND org_id = $3 AND day >= $4 AND day < $5 ORDER BY day, product`
)

func readEnterprise(ctx context.Context, q db.Querier, p DailyParams) ([]Day, error) {
	from, to := p.bounds()
	return days(db.All(ctx, q, scanProduct, enterpriseDays, from, to))
}

// readDaily reads the roll-ups of one thing. A session's lie under its own organization; on the enterprise's routes that of a person or
// service user is over all of them.
func readDaily(ctx context.Context, q db.Querier, p DailyParams) ([]Day, error) {
	from, to := p.bounds()
	orgID := p.OrgID
	switch {
	case p.Scope == Organization:
		orgID = p.ID
	case p.Scope == Session && orgID == "":
		var err error
		if orgID, err = orgOf(ctx, q, p.ID); err != nil {
			return nil, err
		}
	}
	return days(db.All(ctx, q, scanProduct, scopeDays, string(p.Scope), p.ID, orgID, from, to))
}

// product is one day's use of one product.
type product struct {
	day int64
	Used
}

func scanProduct(s db.Scanner) (product, error) {
	var p product
	return p, s.Scan(&p.day, &p.Product, &p.Micros)
}

func days(rows []product, err error) ([]Day, error) {
	out, used := make([]Day, 0, len(rows)), make([]Used, len(rows))
	for i, r := range rows {
		used[i] = r.Used
		if i == 0 || r.day != rows[i-1].day {
			out = append(out, Day{Start: db.Time(r.day), Products: used[i:i]})
		}
		d := &out[len(out)-1]
		d.Products = d.Products[:len(d.Products)+1]
	}
	return out, err
}

func exists(_ int64, err error) (bool, error) {
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// hasUsed reports whether there is a roll-up of a person or service user at all.
func hasUsed(ctx context.Context, q db.Querier, p DailyParams) (bool, error) {
	return exists(db.One(ctx, q, db.Int, `SELECT 1 FROM usage_daily WHERE scope = $1 AND scope_id = $2 AND org_id = $3 LIMIT 1`,
		string(p.Scope), p.ID, p.OrgID))
}

// isServiceUser reports whether there is such a service user, in the organization if one is named: bound to it, or with a role there.
func isServiceUser(ctx context.Context, q db.Querier, orgID, serviceUserID string) (bool, error) {
	if orgID == "" {
		return exists(db.One(ctx, q, db.Int, `SELECT 1 FROM service_users WHERE service_user_id = $1`, serviceUserID))
	}
	return exists(db.One(ctx, q, db.Int, `SELECT 1 FROM service_users WHERE service_user_id = $1 AND deleted_at IS NULL
		AND (org_id = $2 OR EXISTS (SELECT 1 FROM role_assignments WHERE principal_id = $1 AND org_id = $2))`, serviceUserID, orgID))
}

// orgOf gives a session's organization. A session that has used nothing has no roll-up yet, so only its own row says that it is there.
func orgOf(ctx context.Context, q db.Querier, sessionID string) (string, error) {
	return db.One(ctx, q, db.Text, `SELECT org_id FROM sessions WHERE session_id = $1`, sessionID)
}

func isSession(ctx context.Context, q db.Querier, orgID, sessionID string) (bool, error) {
	of, err := orgOf(ctx, q, sessionID)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil && (orgID == "" || of == orgID), err
}

// firstDay gives the first day on which anything was used, or def.
func firstDay(ctx context.Context, q db.Querier, def time.Time) (time.Time, error) {
	day, err := db.One(ctx, q, db.Int, `SELECT day FROM usage_enterprise ORDER BY day LIMIT 1`)
	if errors.Is(err, db.ErrNone) {
		return def, nil
	}
	return db.Time(day), err
}

// The sums that limits are held against: of one cycle, from at most a month's roll-ups.
const (
	userCycle = `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_daily
		WHERE scope = 'user' AND scope_id = $1 AND org_id = '' AND day >= $2 AND day < $3 AND product <> 'review'`
	// An organization that hasn't reported since an upgrade, or since the day offset changed, has no sum of the cycle: its days are read.
	groupCycle = `SELECT COALESCE(SUM(COALESCE(c.acu_micros, (SELECT SUM(d.acu_micros) FROM usage_daily d
			WHERE d.scope = 'organization' AND d.scope_id = m.org_id AND d.org_id = m.org_id AND d.day >= $1 AND d.day < $2))), 0)
		FROM org_group_members m LEFT JOIN usage_cycles c ON c.org_id = m.org_id AND c.cycle = $1 WHERE m.group_name = $3`
	enterpriseCycle = `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_enterprise WHERE day >= $1 AND day < $2`
)

// userLimit is a row of limits of persons. UserID is empty for the default.
type userLimit struct {
	userID  string
	cycle   sql.NullInt64
	billing sql.NullString
}

func scanUserLimit(s db.Scanner) (userLimit, error) {
	var l userLimit
	return l, s.Scan(&l.userID, &l.cycle, &l.billing)
}

// effectiveLimit gives the limit that counts for a person: their own, else the default. db.ErrNone says that there is none.
func effectiveLimit(ctx context.Context, q db.Querier, userID string) (int64, error) {
	return db.One(ctx, q, db.Int, `SELECT cycle_acu_limit FROM user_acu_limits
		WHERE user_id IN ($1, '') AND cycle_acu_limit IS NOT NULL ORDER BY user_id DESC LIMIT 1`, userID)
}

// readUserLimit gives a person's own row, or the default; an empty one when nothing is set.
func readUserLimit(ctx context.Context, q db.Querier, userID string) (userLimit, error) {
	l, err := db.One(ctx, q, scanUserLimit, `SELECT l.user_id, l.cycle_acu_limit, o.org_id FROM user_acu_limits l
		LEFT JOIN organizations o ON o.org_id = l.billing_org_id AND o.deleted_at IS NULL WHERE l.user_id = $1`, userID)
	if errors.Is(err, db.ErrNone) {
		return userLimit{userID: userID}, nil
	}
	return l, err
}

// writeUserLimit sets what is to be set and keeps the rest, in one statement, so that two changes don't undo one another.
func writeUserLimit(ctx context.Context, tx *db.Tx, p UserLimitParams) error {
	billing := sql.NullString{}
	if p.BillingOrg.Value != nil {
		billing = db.Null(*p.BillingOrg.Value)
	}
	if _, err := db.Exec(ctx, tx, `INSERT INTO user_acu_limits (user_id, cycle_acu_limit, billing_org_id) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET
			cycle_acu_limit = CASE WHEN $4 = 1 THEN excluded.cycle_acu_limit ELSE user_acu_limits.cycle_acu_limit END,
			billing_org_id = CASE WHEN $5 = 1 THEN excluded.billing_org_id ELSE user_acu_limits.billing_org_id END`,
		p.UserID, p.Cycle.Value, billing, db.Bool(p.Cycle.Set), db.Bool(p.BillingOrg.Set)); err != nil {
		return err
	}
	_, err := db.Exec(ctx, tx, `DELETE FROM user_acu_limits WHERE user_id = $1 AND cycle_acu_limit IS NULL AND billing_org_id IS NULL`, p.UserID)
	return err
}

// limitedUsers asks for each row's person and organization by key: joined, PostgreSQL reads all people for the last few rows.
const limitedUsers = `SELECT l.user_id, l.cycle_acu_limit,
	(SELECT o.org_id FROM organizations o WHERE o.org_id = l.billing_org_id AND o.deleted_at IS NULL) FROM user_acu_limits l
	WHERE l.user_id > $1 AND l.cycle_acu_limit IS NOT NULL AND (SELECT u.deleted_at IS NULL FROM users u WHERE u.user_id = l.user_id)
	ORDER BY l.user_id LIMIT $2`
