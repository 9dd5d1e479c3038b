package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerOrganizations) }

// OrganizationResponse is an organization with how many people it has. ID and Name are the examples' names.
type OrganizationResponse struct {
	OrgID              string  `json:"org_id"`
	OrgName            string  `json:"org_name"`
	CreatedAt          *string `json:"created_at"`
	MaxCycleACULimit   *int64  `json:"max_cycle_acu_limit"`
	MaxSessionACULimit *int64  `json:"max_session_acu_limit"`
	OrgAdminCount      int64   `json:"org_admin_count"`
	OrgMemberCount     int64   `json:"org_member_count"`
	OrgUserCount       int64   `json:"org_user_count"`
	ID                 *string `json:"id,omitempty"`
	Name               *string `json:"name,omitempty"`
}

// OrganizationCreate makes an organization. Name is the examples' name of DisplayName, which wins.
type OrganizationCreate struct {
	DisplayName        kit.Optional[string] `json:"display_name,omitempty" minLength:"1" maxLength:"256"`
	Name               kit.Optional[string] `json:"name,omitempty" minLength:"1" maxLength:"256"`
	ACULimit           kit.Optional[int64]  `json:"acu_limit,omitempty" minimum:"0" doc:"The most ACUs of a billing cycle; null for no limit."`
	AddCreatorAsMember kit.Optional[bool]   `json:"add_creator_as_member,omitempty" doc:"Whether a person who makes it becomes its admin; true where it is left out."`
}

// OrganizationUpdate changes what is named; a null limit clears it, a null name keeps it.
type OrganizationUpdate struct {
	DisplayName kit.Optional[string] `json:"display_name,omitempty" minLength:"1" maxLength:"256"`
	Name        kit.Optional[string] `json:"name,omitempty" minLength:"1" maxLength:"256"`
	MaxACULimit kit.Optional[int64]  `json:"max_acu_limit,omitempty" minimum:"0"`
}

// named gives the name under which an organization's name was sent.
func named(display, name kit.Optional[string]) *string {
	if display.Has() {
		return display.Ptr()
	}
	return name.Ptr()
}

// orgNames are v2's names of an organization's fields: the name that was sent, and the limit's.
func orgNames(display kit.Optional[string], limit string) older.Names {
	n := older.Names{"max_cycle_acu_limit": limit}
	if display.Has() {
		n["name"] = "display_name"
	}
	return n
}

// OrganizationList is a page of organizations. Organizations are the examples' copies of the items.
type OrganizationList struct {
	List[OrganizationResponse]
	Organizations []OrganizationResponse `json:"organizations,omitempty"`
}

type organizationOutput struct{ Body OrganizationResponse }

type organizationListOutput struct{ Body OrganizationList }

// OrgPath names an organization.
type OrgPath struct {
	OrgID string `path:"org_id" maxLength:"256"`
}

func (r Rooms) organizationOf(o org.Org, people member.OrgCounts, examples bool) OrganizationResponse {
	out := OrganizationResponse{
		OrgID: o.ID, OrgName: o.Name, CreatedAt: older.NullTime(o.CreatedAt), MaxCycleACULimit: o.Limits.Cycle, MaxSessionACULimit: o.Limits.Session,
		OrgAdminCount: people.Admins, OrgMemberCount: people.Members, OrgUserCount: people.Members,
	}
	if examples {
		out.ID, out.Name = &o.ID, &o.Name
	}
	return out
}

func (r Rooms) organization(ctx context.Context, o org.Org, s Shape, err error) (*organizationOutput, error) {
	if err != nil {
		return nil, err
	}
	people, err := r.Members.CountPeople(ctx, []string{o.ID})
	if err != nil {
		return nil, err
	}
	return &organizationOutput{Body: r.organizationOf(o, people[o.ID], r.examples(s))}, nil
}

// organizations writes a page of organizations, each with how many people it has.
func (r Rooms) organizations(ctx context.Context, req page.Request, p page.Page[org.Org], examples bool) (*organizationListOutput, error) {
	ids := make([]string, len(p.Items))
	for i, o := range p.Items {
		ids[i] = o.ID
	}
	people, err := r.Members.CountPeople(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := &organizationListOutput{Body: OrganizationList{List: listOf(req, p, func(o org.Org) OrganizationResponse {
		return r.organizationOf(o, people[o.ID], examples)
	})}}
	if examples {
		out.Body.Organizations = out.Body.Items
	}
	return out, nil
}

const (
	organizationsPath      = prefix + "/organizations"
	organizationPath       = organizationsPath + "/{org_id}"
	organizationsSuccessor = "/v3/enterprise/organizations"
)

func registerOrganizations(a *kit.API, rooms Rooms) {
	const tag = "organizations"
	type listInput struct {
		Paging
		Shape
	}
	kit.Register(a, op("listOrganizations", http.MethodGet, organizationsPath, "List organizations", tag, "GET "+organizationsSuccessor),
		func(ctx context.Context, who access.Subject, in *listInput) (*organizationListOutput, error) {
			r, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Orgs.List(ctx, who, r)
			if err != nil {
				return nil, err
			}
			return rooms.organizations(ctx, r, p, rooms.examples(in.Shape))
		})

	type createInput struct {
		Shape
		Body OrganizationCreate
	}
	create := op("createOrganization", http.MethodPost, organizationsPath, "Create an organization", tag, "POST "+organizationsSuccessor)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, who access.Subject, in *createInput) (*organizationOutput, error) {
		return rooms.createOrganization(ctx, who, in.Body, in.Shape)
	})

	type readInput struct {
		OrgPath
		Shape
	}
	kit.Register(a, op("getOrganization", http.MethodGet, organizationPath, "Read an organization", tag, "GET "+organizationsSuccessor+"/{org_id}"),
		func(ctx context.Context, who access.Subject, in *readInput) (*organizationOutput, error) {
			o, err := rooms.Orgs.Get(ctx, who, in.OrgID)
			return rooms.organization(ctx, o, in.Shape, err)
		})

	type updateInput struct {
		OrgPath
		Body OrganizationUpdate
	}
	kit.Register(a, op("updateOrganization", http.MethodPatch, organizationPath, "Change an organization", tag, "PATCH "+organizationsSuccessor+"/{org_id}"),
		func(ctx context.Context, who access.Subject, in *updateInput) (*successOutput, error) {
			_, err := rooms.Orgs.Update(ctx, who, org.UpdateParams{
				OrgID: in.OrgID, Name: named(in.Body.DisplayName, in.Body.Name),
				CycleLimit: org.LimitChange{Set: in.Body.MaxACULimit.Set, Value: in.Body.MaxACULimit.Ptr()},
			})
			return success(orgNames(in.Body.DisplayName, "max_acu_limit").Fault(err))
		})

	kit.Register(a, op("deleteOrganization", http.MethodDelete, organizationPath, "Delete an organization", tag, "DELETE "+organizationsSuccessor+"/{org_id}"),
		func(ctx context.Context, who access.Subject, in *OrgPath) (*successOutput, error) {
			_, err := rooms.Orgs.DeleteSecondary(ctx, who, in.OrgID)
			return success(err)
		})
}

func (r Rooms) createOrganization(ctx context.Context, who access.Subject, b OrganizationCreate, s Shape) (*organizationOutput, error) {
	name := named(b.DisplayName, b.Name)
	if name == nil {
		return nil, fault.InvalidField("display_name", "Field required")
	}
	o, err := r.Orgs.Create(ctx, who, org.CreateParams{
		Name: *name, CycleLimit: org.LimitChange{Set: b.ACULimit.Set, Value: b.ACULimit.Ptr()}, Join: b.AddCreatorAsMember.Or(true),
	})
	return r.organization(ctx, o, s, orgNames(b.DisplayName, "acu_limit").Fault(err))
}
