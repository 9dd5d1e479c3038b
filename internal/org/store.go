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
	var created, updated int64
	err := s.Scan(&o.ID, &o.Name, &session, &cycle, &created, &updated)
	o.Limits = limits(session, cycle)
	o.CreatedAt, o.UpdatedAt = db.Time(created), db.Time(updated)
	return o, err
}

func limits(session, cycle sql.NullInt64) Limits {
	var l Limits
	if session.Valid {
		l.Session = &session.Int64
	}
	if cycle.Valid {
		l.Cycle = &cycle.Int64
	}
	return l
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

func readLimits(ctx context.Context, q db.Querier, orgID string) (Limits, error) {
	return db.One(ctx, q, func(s db.Scanner) (Limits, error) {
		var session, cycle sql.NullInt64
		err := s.Scan(&session, &cycle)
		return limits(session, cycle), err
	}, `SELECT max_session_acu_limit, max_cycle_acu_limit FROM organizations WHERE org_id = $1 AND deleted_at IS NULL`, orgID)
}

func list(ctx context.Context, q db.Querier, r page.Request) ([]Org, error) {
	var w db.Where
	w.Add("deleted_at IS NULL")
	if r.After != nil {
		w.Add("(created_at, org_id) > (?, ?)", r.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", r.Limit())
	return db.All(ctx, q, scan, `SELECT `+columns+` FROM organizations`+where+` ORDER BY created_at, org_id `+limit, w.Args()...)
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
