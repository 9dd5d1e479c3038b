package v3

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerAuditLogs) }

// AuditLogResponse is one decision. Exactly one of user and service user is named; for a decision of Gantry itself the service
// user's name says which job it was.
type AuditLogResponse struct {
	AuditLogID      string       `json:"audit_log_id"`
	CreatedAt       int64        `json:"created_at" doc:"Unix time in seconds (UTC)."`
	Action          string       `json:"action" doc:"What was decided. Later releases may add names."`
	OrgID           *string      `json:"org_id"`
	UserID          *string      `json:"user_id"`
	UserEmail       *string      `json:"user_email"`
	ServiceUserID   *string      `json:"service_user_id"`
	ServiceUserName *string      `json:"service_user_name"`
	Data            AuditLogData `json:"data"`
}

// AuditLogData are an action's own fields, as they were stored.
type AuditLogData struct{ json.RawMessage }

// Schema is any object.
func (AuditLogData) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "The action's own fields."}
}

func auditLogOf(l audit.Log) AuditLogResponse {
	return AuditLogResponse{
		AuditLogID: l.ID, CreatedAt: l.CreatedAt.Unix(), Action: string(l.Action), OrgID: kit.NullText(l.OrgID),
		UserID: kit.NullText(l.UserID), UserEmail: kit.NullText(l.UserEmail), ServiceUserID: kit.NullText(l.ServiceUserID),
		ServiceUserName: kit.NullText(l.ServiceUserName), Data: AuditLogData{l.Data},
	}
}

// AuditLogAction is an action's name in the filter: a closed list, so that a slip of the pen isn't an empty answer.
type AuditLogAction string

// Schema lists every known name.
func (AuditLogAction) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "Only this action."}
	for _, a := range audit.Actions() {
		s.Enum = append(s.Enum, string(a))
	}
	s.PrecomputeMessages()
	return s
}

// AuditLogFilter is the query of a list of audit entries.
type AuditLogFilter struct {
	kit.PageInput
	Order      string              `query:"order" enum:"asc,desc" default:"desc" doc:"By time."`
	TimeAfter  kit.Optional[int64] `query:"time_after" minimum:"0" maximum:"253402300799" doc:"From this Unix time in seconds on."`
	TimeBefore kit.Optional[int64] `query:"time_before" minimum:"0" maximum:"253402300799" doc:"Before this Unix time in seconds; needs time_after, at most 100 days later."`
	Action     AuditLogAction      `query:"action"`
}

type auditLogPage struct{ Body kit.Page[AuditLogResponse] }

func listAuditLogs(ctx context.Context, rooms Rooms, s access.Subject, orgID string, in AuditLogFilter) (*auditLogPage, error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	p, err := rooms.Audit.List(ctx, s, audit.ListParams{
		OrgID: orgID, Action: audit.Action(in.Action), Order: audit.Order(in.Order),
		TimeAfter: instant(in.TimeAfter), TimeBefore: instant(in.TimeBefore), Page: r,
	})
	if err != nil {
		return nil, err
	}
	return &auditLogPage{Body: kit.ClosePage(ctx, p, auditLogOf)}, nil
}

func registerAuditLogs(a *kit.API, rooms Rooms) {
	op := func(id, path, summary string) kit.Op {
		return kit.Op{
			Operation: huma.Operation{
				OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"audit logs"}, Summary: summary,
				Description: "end_cursor is there whenever the page has entries, so that a client may come back for later ones.",
			},
			Any: []access.Permission{access.ManageEnterpriseSettings}, Enterprise: true, ForbidUnknownOrg: true, OfDeleted: true, KeepCursor: true,
		}
	}
	kit.Register(a, op("listAuditLogs", "/v3/enterprise/audit-logs", "List audit entries"),
		func(ctx context.Context, s access.Subject, in *AuditLogFilter) (*auditLogPage, error) {
			return listAuditLogs(ctx, rooms, s, "", *in)
		})

	type orgAuditInput struct {
		OrgInput
		AuditLogFilter
	}
	kit.Register(a, op("listOrganizationAuditLogs", "/v3/enterprise/organizations/{org_id}/audit-logs", "List an organization's audit entries"),
		func(ctx context.Context, s access.Subject, in *orgAuditInput) (*auditLogPage, error) {
			return listAuditLogs(ctx, rooms, s, in.OrgID, in.AuditLogFilter)
		})
}
