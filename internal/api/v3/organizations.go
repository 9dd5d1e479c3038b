package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/org"
)

func init() { registrations = append(registrations, registerOrganizations) }

// OrganizationResponse is an organization. Limits are whole ACUs, null for none; times are Unix seconds.
type OrganizationResponse struct {
	OrgID              string `json:"org_id"`
	Name               string `json:"name"`
	CreatedAt          int64  `json:"created_at" doc:"Unix time in seconds (UTC)."`
	UpdatedAt          int64  `json:"updated_at" doc:"Unix time in seconds (UTC)."`
	MaxSessionACULimit *int64 `json:"max_session_acu_limit" doc:"The most one session may use; null for no limit."`
	MaxCycleACULimit   *int64 `json:"max_cycle_acu_limit" doc:"The most all sessions may use in a billing cycle; null for no limit."`
}

// OrganizationCreateRequest makes an organization.
type OrganizationCreateRequest struct {
	Name               string              `json:"name" minLength:"1" maxLength:"256"`
	MaxSessionACULimit kit.Optional[int64] `json:"max_session_acu_limit,omitempty" minimum:"0" doc:"The server's default when left out; null for no limit."`
	MaxCycleACULimit   kit.Optional[int64] `json:"max_cycle_acu_limit,omitempty" minimum:"0"`
}

// OrganizationUpdateRequest is a merge patch: absent keeps, null clears. A name can't be cleared, so null keeps it.
type OrganizationUpdateRequest struct {
	Name               kit.Optional[string] `json:"name,omitempty" minLength:"1" maxLength:"256"`
	MaxSessionACULimit kit.Optional[int64]  `json:"max_session_acu_limit,omitempty" minimum:"0"`
	MaxCycleACULimit   kit.Optional[int64]  `json:"max_cycle_acu_limit,omitempty" minimum:"0"`
}

func organizationOf(o org.Org) OrganizationResponse {
	return OrganizationResponse{
		OrgID: o.ID, Name: o.Name, CreatedAt: o.CreatedAt.Unix(), UpdatedAt: o.UpdatedAt.Unix(),
		MaxSessionACULimit: o.Limits.Session, MaxCycleACULimit: o.Limits.Cycle,
	}
}

func limitChange(o kit.Optional[int64]) org.LimitChange {
	return org.LimitChange{Set: o.Set, Value: o.Ptr()}
}

// OrgInput is embedded in the input of an operation on one organization.
type OrgInput struct {
	OrgID string `path:"org_id" maxLength:"256" doc:"Organization id."`
}

type organizationOutput struct{ Body OrganizationResponse }

func organizationAnswer(o org.Org, err error) (*organizationOutput, error) {
	if err != nil {
		return nil, err
	}
	return &organizationOutput{Body: organizationOf(o)}, nil
}

func organizationOp(id, method, path, summary, description string) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"organizations"}, Summary: summary, Description: description,
		},
		Any: []access.Permission{access.ManageOrganizations}, Enterprise: true,
	}
}

const (
	organizationsPath = "/v3/enterprise/organizations"
	organizationPath  = organizationsPath + "/{org_id}"
)

func registerOrganizations(a *kit.API, rooms Rooms) {
	type listOutput struct {
		Body kit.Page[OrganizationResponse]
	}
	kit.Register(a, organizationOp("listOrganizations", http.MethodGet, organizationsPath, "List organizations", "Oldest first."),
		func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, in.PageInput)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Orgs.List(ctx, s, r)
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, p, organizationOf)}, nil
		})

	create := organizationOp("createOrganization", http.MethodPost, organizationsPath, "Create an organization", "Names need not be unique.")
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body OrganizationCreateRequest }) (*organizationOutput, error) {
		return organizationAnswer(rooms.Orgs.Create(ctx, s, org.CreateParams{
			Name: in.Body.Name, SessionLimit: limitChange(in.Body.MaxSessionACULimit), CycleLimit: limitChange(in.Body.MaxCycleACULimit),
		}))
	})

	kit.Register(a, organizationOp("getOrganization", http.MethodGet, organizationPath, "Read an organization", ""),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*organizationOutput, error) {
			return organizationAnswer(rooms.Orgs.Get(ctx, s, in.OrgID))
		})

	type updateInput struct {
		OrgInput
		Body OrganizationUpdateRequest
	}
	kit.Register(a, organizationOp("updateOrganization", http.MethodPatch, organizationPath, "Change an organization",
		"Merge patch: absent members stay, null clears a limit."),
		func(ctx context.Context, s access.Subject, in *updateInput) (*organizationOutput, error) {
			return organizationAnswer(rooms.Orgs.Update(ctx, s, org.UpdateParams{
				OrgID: in.OrgID, Name: in.Body.Name.Ptr(),
				SessionLimit: limitChange(in.Body.MaxSessionACULimit), CycleLimit: limitChange(in.Body.MaxCycleACULimit),
			}))
		})

	kit.Register(a, organizationOp("deleteOrganization", http.MethodDelete, organizationPath, "Delete an organization",
		"Its sessions end, its service users and their keys die. Answers with the organization."),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*organizationOutput, error) {
			return organizationAnswer(rooms.Orgs.Delete(ctx, s, in.OrgID))
		})
}
