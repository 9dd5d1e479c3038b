package audit

import (
	"context"

	"gantry/internal/platform/db"
)

func list(ctx context.Context, q db.Querier, p ListParams) ([]Log, error) {
	query, args := listQuery(p)
	return db.All(ctx, q, scanLog, query, args...)
}

// listQuery reads with the index of what is asked for: (org_id, time), (action, time) or (time) alone.
func listQuery(p ListParams) (string, []any) {
	var w db.Where
	if p.OrgID != "" {
		w.Add("org_id = ?", p.OrgID)
	}
	if p.Action != "" {
		w.Add("action = ?", string(p.Action))
	}
	if !p.TimeAfter.IsZero() {
		w.Add("created_at >= ?", p.TimeAfter.UnixMilli())
	}
	if !p.TimeBefore.IsZero() {
		w.Add("created_at < ?", p.TimeBefore.UnixMilli())
	}
	direction, beyond := "DESC", "<"
	if p.Order == Asc {
		direction, beyond = "ASC", ">"
	}
	if p.Page.After != nil {
		w.Add("(created_at, audit_log_id) "+beyond+" (?, ?)", p.Page.After...)
	}
	where := w.SQL()
	limit := w.Limit(p.Page.Limit(), p.Page.Skip)
	return `SELECT audit_log_id, created_at, action, org_id, user_id, user_email, service_user_id,
			service_user_name, request_id, data
		FROM audit_entries` + where + ` ORDER BY created_at ` + direction + `, audit_log_id ` + direction + ` ` + limit, w.Args()
}

func scanLog(s db.Scanner) (Log, error) {
	var l Log
	return l, s.Scan(&l.ID, db.OrZero(&l.CreatedAt), &l.Action, db.OrEmpty(&l.OrgID), db.OrEmpty(&l.UserID), db.OrEmpty(&l.UserEmail),
		db.OrEmpty(&l.ServiceUserID), db.OrEmpty(&l.ServiceUserName), db.OrEmpty(&l.RequestID), (*[]byte)(&l.Data))
}
