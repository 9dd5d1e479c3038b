package v2

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/audit"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerAuditLogs) }

// AuditLogEntry is one decision, with the action's own fields beside the common ones.
type AuditLogEntry older.AuditEntry

// Schema names the common fields.
func (AuditLogEntry) Schema(huma.Registry) *huma.Schema {
	text := func() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Nullable: true} }
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true, Required: []string{"audit_log_id", "created_at", "action"},
		Properties: map[string]*huma.Schema{
			"audit_log_id": {Type: huma.TypeString}, "action": {Type: huma.TypeString},
			"created_at": {Type: huma.TypeInteger, Description: "Unix milliseconds."},
			"org_id":     text(), "user_id": text(), "user_email": text(), "session_id": text(), "target_user_id": text(),
			"target_group_name": text(), "enterprise_id": text(),
			"roles":     {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}},
			"id":        {Type: huma.TypeString, Description: "audit_log_id."},
			"timestamp": {Type: huma.TypeString, Description: "created_at as ISO 8601."},
			"actor":     {Type: huma.TypeString, Nullable: true, Description: "user_email or service_user_name."},
			"event":     {Type: huma.TypeString, Description: "action."},
			"details":   {Type: huma.TypeObject, AdditionalProperties: true, Description: "The action's own fields."},
		},
	}
}

// AuditLogsResponse is a page of audit entries, newest first. Logs are the examples' copies of them.
type AuditLogsResponse struct {
	AuditLogs []AuditLogEntry `json:"audit_logs"`
	Logs      []AuditLogEntry `json:"logs,omitempty"`
}

type auditLogsInput struct {
	Limit     int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	Before    string `query:"before" maxLength:"64" doc:"Entries before this time: a date, ISO 8601 or Unix seconds."`
	After     string `query:"after" maxLength:"64" doc:"Entries from this time on."`
	StartDate string `query:"start_date" maxLength:"64" doc:"The same as after, which wins."`
	EndDate   string `query:"end_date" maxLength:"64" doc:"The same as before, which wins."`
	Shape
}

type auditLogsOutput struct{ Body AuditLogsResponse }

// either reads a time that has two names; the canonical one wins.
func either(name, text, alias, other string) (name2, text2 string) {
	if text != "" || other == "" {
		return name, text
	}
	return alias, other
}

func registerAuditLogs(a *kit.API, rooms Rooms) {
	kit.Register(a, op("listAuditLogs", http.MethodGet, prefix+"/audit-logs", "List audit entries", "audit logs", "GET /v3/enterprise/audit-logs"),
		func(ctx context.Context, who access.Subject, in *auditLogsInput) (*auditLogsOutput, error) {
			p := audit.ListParams{AnySpan: true, Page: page.Request{First: in.Limit}}
			var err error
			if p.TimeAfter, err = older.Instant(either("after", in.After, "start_date", in.StartDate)); err != nil {
				return nil, err
			}
			if p.TimeBefore, err = older.Instant(either("before", in.Before, "end_date", in.EndDate)); err != nil {
				return nil, err
			}
			logs, err := rooms.Audit.List(ctx, who, p)
			if err != nil {
				return nil, err
			}
			out := &auditLogsOutput{Body: AuditLogsResponse{AuditLogs: []AuditLogEntry{}}}
			examples := rooms.examples(in.Shape)
			for _, l := range logs.Items {
				e, err := entryOf(l, examples)
				if err != nil {
					return nil, err
				}
				out.Body.AuditLogs = append(out.Body.AuditLogs, e)
			}
			if examples {
				out.Body.Logs = out.Body.AuditLogs
			}
			return out, nil
		})
}

// entryOf writes an entry, with the examples' names for the same when they are wanted.
func entryOf(l audit.Log, examples bool) (AuditLogEntry, error) {
	flat, err := older.EntryOf(l)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "an audit entry can't be read")
	}
	e := AuditLogEntry(flat)
	if _, ok := e["roles"].([]any); !ok {
		e["roles"] = []string{}
	}
	for _, name := range []string{"target_group_name", "enterprise_id"} {
		if _, ok := e[name]; !ok {
			e[name] = nil
		}
	}
	if examples {
		e["id"], e["timestamp"], e["event"] = l.ID, older.Time(l.CreatedAt), string(l.Action)
		e["actor"] = kit.NullText(l.UserEmail)
		if l.UserEmail == "" {
			e["actor"] = kit.NullText(l.ServiceUserName)
		}
		e["details"] = l.Data
		if len(l.Data) == 0 {
			e["details"] = struct{}{}
		}
	}
	return e, nil
}
