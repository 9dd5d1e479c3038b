package audit

import (
	"database/sql"

	"gantry/internal/platform/db"
)

// Bulk stamps and seals entries in memory, for loading many into a database whose entries are sealed up to its Head.
type Bulk struct {
	DB   *db.DB
	Head Anchor
}

// BulkColumns are the columns of a row that Row gives.
func BulkColumns() []string {
	return []string{
		"audit_log_id", "created_at", "action", "org_id", "user_id", "user_email", "service_user_id", "service_user_name", "request_id",
		"data", "stamp", "number", "link",
	}
}

// Row gives the next entry as it lies in the database, and moves the head. Whoever writes it writes the head after the last.
func (b *Bulk) Row(l Log) ([]any, error) {
	r := row{
		id: l.ID, at: l.CreatedAt.UnixMilli(), action: string(l.Action), orgID: db.Null(l.OrgID), userID: db.Null(l.UserID),
		email: db.Null(l.UserEmail), serviceID: db.Null(l.ServiceUserID), serviceName: db.Null(l.ServiceUserName),
		requestID: db.Null(l.RequestID), data: string(l.Data),
	}
	if r.stamp = b.DB.Sign(r.text()); r.stamp == nil {
		return nil, errNoKey
	}
	b.Head.Number++
	b.Head.Link = b.DB.Sign(r.linked(b.Head.Number, b.Head.Link))
	out := []any{r.id, r.at, r.action}
	for _, s := range []sql.NullString{r.orgID, r.userID, r.email, r.serviceID, r.serviceName, r.requestID} {
		if s.Valid {
			out = append(out, s.String)
		} else {
			out = append(out, nil)
		}
	}
	return append(out, r.data, r.stamp, b.Head.Number, b.Head.Link), nil
}
