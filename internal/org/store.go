package org

import (
	"context"
	"database/sql"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const columns = `org_id, name, max_session_acu_limit, max_cycle_acu_limit, created_at, updated_at`

func scan(s db.Scanner) (Org, error) {
	var o Org
	var session, cycle sql.NullInt64
	err := s.Scan(&o.ID, &o.Name, &session, &cycle, db.OrZero(&o.CreatedAt), db.OrZero(&o.UpdatedAt))
	o.Limits = limits(session, cycle)
	return o, err
}

func limits(session, cycle sql.NullInt64) Limits {
	return Limits{Session: nullable(session), Cycle: nullable(cycle)}
}

func nullable(n sql.NullInt64) *int64 {
	if !n.Valid {
		return nil
	}
	return &n.Int64
}

func insert(ctx context.Context, tx *db.Tx, o Org) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO organizations (org_id, name, max_session_acu_limit, max_cycle_acu_limit, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		o.ID, o.Name, o.Limits.Session, o.Limits.Cycle, o.CreatedAt.UnixMilli(), o.UpdatedAt.UnixMilli())
	return err
}

func read(ctx context.Context, q db.Querier, orgID string) (Org, error) {
	return db.One(ctx, q, scan, `SELECT `+columns+` FROM organizations WHERE org_id = $1 AND deleted_at IS NULL`, orgID)
}

func readBudget(ctx context.Context, q db.Querier, orgID string) (Budget, error) {
	return db.One(ctx, q, func(s db.Scanner) (Budget, error) {
		var session, cycle, shared sql.NullInt64
		var group sql.NullString
		err := s.Scan(&session, &cycle, &group, &shared)
		b := Budget{Limits: limits(session, cycle)}
		if shared.Valid {
			b.Group = &GroupLimit{Name: group.String, Cycle: shared.Int64}
		}
		return b, err
	}, `SELECT o.max_session_acu_limit, o.max_cycle_acu_limit, g.name, g.max_cycle_acus FROM organizations o
		LEFT JOIN org_group_members m ON m.org_id = o.org_id LEFT JOIN org_groups g ON g.name = m.group_name
		WHERE o.org_id = $1 AND o.deleted_at IS NULL`, orgID)
}

func list(ctx context.Context, q db.Querier, r page.Request) ([]Org, error) {
	var w db.Where
	w.Add("deleted_at IS NULL")
	if r.After != nil {
		w.Add("(created_at, org_id) > (?, ?)", r.After...)
	}
	where := w.SQL()
	limit := w.Limit(r.Limit(), r.Skip)
	return db.All(ctx, q, scan, `SELECT `+columns+` FROM organizations`+where+` ORDER BY created_at, org_id `+limit, w.Args()...)
}

func count(ctx context.Context, q db.Querier) (int64, error) {
	return db.One(ctx, q, db.Int, `SELECT COUNT(*) FROM organizations WHERE deleted_at IS NULL`)
}

func touch(ctx context.Context, tx *db.Tx, orgID string, at int64) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE organizations SET updated_at = $1 WHERE org_id = $2 AND deleted_at IS NULL`, at, orgID)
}

func update(ctx context.Context, tx *db.Tx, o Org) error {
	_, err := db.Exec(ctx, tx, `UPDATE organizations SET name = $1, max_session_acu_limit = $2, max_cycle_acu_limit = $3 WHERE org_id = $4`,
		o.Name, o.Limits.Session, o.Limits.Cycle, o.ID)
	return err
}

func markDeleted(ctx context.Context, tx *db.Tx, orgID string, at int64) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE organizations SET deleted_at = $1, updated_at = $1 WHERE org_id = $2 AND deleted_at IS NULL`, at, orgID)
}
