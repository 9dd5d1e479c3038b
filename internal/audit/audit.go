// Package audit keeps who decided what. An entry is written in the transaction of the change it tells of: what can't be audited
// doesn't happen.
//
// It records decisions of people, service users, operators and the system; what an agent does is a session's events
// (contract/behaviour.md §19.8). What is written is sealed: see seal.go.
package audit

import (
	"context"
	"encoding/json"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
)

// Entry is one decision. OrgID is empty for one of enterprise scope. Data holds the action's own fields, never a secret.
type Entry struct {
	Action Action
	OrgID  string
	Data   map[string]any
}

// RecordTx writes an entry in the transaction of its change.
func RecordTx(ctx context.Context, tx *db.Tx, s access.Subject, at int64, e Entry) error {
	data := e.Data
	if data == nil {
		data = map[string]any{}
	}
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	r := row{id: id.New(id.AuditLog), at: at, action: string(e.Action), orgID: db.Null(e.OrgID), requestID: db.Null(s.RequestID), data: string(text)}
	switch s.Kind {
	case access.Person:
		r.userID, r.email = db.Null(s.ID), db.Null(s.Email)
	case access.ServiceUser:
		r.serviceID, r.serviceName = db.Null(s.ID), db.Null(s.Name)
	case access.Nobody, access.SessionToken, access.Worker, access.System:
		r.serviceName = db.Null(s.Name)
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO audit_entries (audit_log_id, created_at, action, org_id, user_id, user_email,
			service_user_id, service_user_name, request_id, data, stamp)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		r.id, r.at, r.action, r.orgID, r.userID, r.email, r.serviceID, r.serviceName, r.requestID, r.data, tx.Sign(r.text()))
	return err
}
