// Package audit keeps who decided what. An entry is written in the transaction of the change it tells of: what can't be audited
// doesn't happen.
//
// It records decisions of people, service users, operators and the system; what an agent does is a session's events
// (contract/behaviour.md §19.8).
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
	var userID, email, serviceID, serviceName string
	switch s.Kind {
	case access.Person:
		userID, email = s.ID, s.Email
	case access.ServiceUser:
		serviceID, serviceName = s.ID, s.Name
	case access.Nobody, access.SessionToken, access.Worker, access.System:
		serviceName = s.Name
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO audit_entries (audit_log_id, created_at, action, org_id, user_id, user_email,
			service_user_id, service_user_name, request_id, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		id.New(id.AuditLog), at, string(e.Action), db.Null(e.OrgID), db.Null(userID), db.Null(email),
		db.Null(serviceID), db.Null(serviceName), db.Null(s.RequestID), string(text))
	return err
}
