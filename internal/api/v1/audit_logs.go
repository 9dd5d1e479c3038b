package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/audit"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerAuditLogs) }

// AuditLogEntry is one decision, with the action's own fields beside the common ones.
type AuditLogEntry older.AuditEntry

// Schema names the common fields.
func (AuditLogEntry) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString, Nullable: true}
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true, Required: []string{"created_at", "action"},
		Properties: map[string]*huma.Schema{
			"created_at": {Type: huma.TypeInteger, Description: "Unix milliseconds."}, "action": {Type: huma.TypeString},
			"user_id": text, "session_id": text, "target_user_id": text, "org_id": text,
		},
	}
}

// AuditLogsResponse is a page of audit entries, newest first.
type AuditLogsResponse struct {
	AuditLogs []AuditLogEntry `json:"audit_logs"`
}

type auditLogsInput struct {
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	Before string `query:"before" maxLength:"64" doc:"Entries before this time: a date, ISO 8601 or Unix seconds."`
	After  string `query:"after" maxLength:"64" doc:"Entries from this time on."`
}

type auditLogsOutput struct{ Body AuditLogsResponse }

func registerAuditLogs(a *kit.API, rooms Rooms) {
	list := op("listAuditLogs", http.MethodGet, "/audit-logs", "List audit entries", "GET /v3/enterprise/audit-logs", access.ManageEnterpriseSettings)
	list.Org, list.Enterprise = kit.OrgAuto, true
	kit.Register(a, list, func(ctx context.Context, who access.Subject, in *auditLogsInput) (*auditLogsOutput, error) {
		p := audit.ListParams{AnySpan: true, Page: page.Request{First: in.Limit}}
		var err error
		if p.TimeAfter, err = older.Instant("after", in.After); err != nil {
			return nil, err
		}
		if p.TimeBefore, err = older.Instant("before", in.Before); err != nil {
			return nil, err
		}
		logs, err := rooms.Audit.List(ctx, who, p)
		if err != nil {
			return nil, err
		}
		out := &auditLogsOutput{Body: AuditLogsResponse{AuditLogs: make([]AuditLogEntry, len(logs.Items))}}
		for i, l := range logs.Items {
			e, err := older.EntryOf(l)
			if err != nil {
				return nil, err
			}
			out.Body.AuditLogs[i] = AuditLogEntry(e)
		}
		return out, nil
	})
}
