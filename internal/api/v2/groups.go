package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerGroups) }

// EnterpriseGroupResponse is a group of the identity provider with its roles in organizations.
type EnterpriseGroupResponse struct {
	GroupName   string            `json:"group_name"`
	OrgCount    int               `json:"org_count"`
	RoleByOrgID map[string]string `json:"role_by_org_id"`
}

func groupOf(g member.Group) EnterpriseGroupResponse {
	out := EnterpriseGroupResponse{GroupName: g.Name, RoleByOrgID: map[string]string{}}
	for _, a := range g.Roles {
		if a.OrgID != "" {
			out.RoleByOrgID[a.OrgID] = a.Role.ID
		}
	}
	out.OrgCount = len(out.RoleByOrgID)
	return out
}

// EnterpriseIdpGroupsCreate registers groups; none changes nothing.
type EnterpriseIdpGroupsCreate struct {
	GroupNames []string `json:"group_names" maxItems:"100"`
}

// OrganizationGroupAdd gives a group a role in an organization: a role id, or admin or member.
type OrganizationGroupAdd struct {
	GroupName string `json:"group_name" minLength:"1" maxLength:"256"`
	Role      string `json:"role" minLength:"1" maxLength:"256"`
}

// OrganizationGroupResponse is a group's role in an organization.
type OrganizationGroupResponse struct {
	GroupName string `json:"group_name"`
	OrgID     string `json:"org_id"`
	Role      string `json:"role"`
}

func orgGroupOf(orgID string) func(member.Group) OrganizationGroupResponse {
	return func(g member.Group) OrganizationGroupResponse {
		out := OrganizationGroupResponse{GroupName: g.Name, OrgID: orgID}
		for _, a := range g.Roles {
			if a.OrgID == orgID {
				out.Role = a.Role.ID
			}
		}
		return out
	}
}

// roleID knows the examples' words for an organization's roles.
func orgRole(name string) string {
	switch name {
	case "admin":
		return access.RoleOrgAdmin
	case "member":
		return access.RoleOrgMember
	}
	return name
}

type groupListOutput struct {
	Body List[EnterpriseGroupResponse]
}

type groupNamesOutput struct {
	Body []string `nullable:"false"`
}

type groupOutput struct{ Body EnterpriseGroupResponse }

type orgGroupsOutput struct {
	Body List[OrganizationGroupResponse]
}

type orgGroupOutput struct{ Body OrganizationGroupResponse }

// GroupPath names a group.
type GroupPath struct {
	GroupName string `path:"group_name" maxLength:"1000"`
}

func (r Rooms) allGroups(ctx context.Context, who access.Subject) ([]member.Group, error) {
	return older.All(func(p page.Request) (page.Page[member.Group], error) { return r.Members.GroupsWithRoles(ctx, who, p) })
}

func registerGroups(a *kit.API, rooms Rooms) {
	const tag, path, v3 = "groups", prefix + "/groups", "/v3/enterprise/"
	kit.Register(a, op("listGroups", http.MethodGet, path, "List registered groups", tag, "GET "+v3+"idp-groups"),
		func(ctx context.Context, who access.Subject, in *Paging) (*groupListOutput, error) {
			r, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Members.GroupsWithRoles(ctx, who, r)
			if err != nil {
				return nil, err
			}
			return &groupListOutput{Body: listOf(r, p, groupOf)}, nil
		})
	type registerInput struct{ Body EnterpriseIdpGroupsCreate }
	kit.Register(a, op("registerGroups", http.MethodPut, path, "Register groups and list all names", tag, "POST "+v3+"idp-groups"),
		func(ctx context.Context, who access.Subject, in *registerInput) (*groupNamesOutput, error) {
			if names := in.Body.GroupNames; len(names) > 0 {
				if _, err := rooms.Members.RegisterGroups(ctx, who, names); err != nil {
					return nil, older.Names{"idp_group_names": "group_names"}.Fault(err)
				}
			}
			all, err := rooms.allGroups(ctx, who)
			if err != nil {
				return nil, err
			}
			out := &groupNamesOutput{Body: make([]string, len(all))}
			for i, g := range all {
				out.Body[i] = g.Name
			}
			return out, nil
		})
	kit.Register(a, op("getGroup", http.MethodGet, path+"/{group_name}", "Read a group", tag, "GET "+v3+"members/idp-groups/{idp_group_name}"),
		func(ctx context.Context, who access.Subject, in *GroupPath) (*groupOutput, error) {
			g, err := rooms.Members.Group(ctx, who, "", in.GroupName)
			if err != nil {
				return nil, err
			}
			return &groupOutput{Body: groupOf(g)}, nil
		})
	type orgsInput struct {
		GroupPath
		Paging
		Shape
	}
	kit.Register(a, op("listGroupOrganizations", http.MethodGet, path+"/{group_name}/organizations", "List the organizations in which a group has a role", tag, ""),
		func(ctx context.Context, who access.Subject, in *orgsInput) (*organizationListOutput, error) {
			return rooms.groupOrgs(ctx, who, in.GroupName, in.Paging, rooms.examples(in.Shape))
		})
	registerOrgGroups(a, rooms)
}

func (r Rooms) groupOrgs(ctx context.Context, who access.Subject, name string, in Paging, examples bool) (*organizationListOutput, error) {
	req, err := in.request(ctx)
	if err != nil {
		return nil, err
	}
	g, err := r.Members.Group(ctx, who, "", name)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, a := range g.Roles {
		if a.OrgID != "" {
			ids = append(ids, a.OrgID)
		}
	}
	p := older.Slice(ids, req)
	orgs := page.Page[org.Org]{More: p.More, Total: p.Total}
	for _, orgID := range p.Items {
		o, err := r.Orgs.Get(ctx, who, orgID)
		if err != nil {
			return nil, err
		}
		orgs.Items = append(orgs.Items, o)
	}
	return r.organizations(ctx, req, orgs, examples)
}

func registerOrgGroups(a *kit.API, rooms Rooms) {
	const tag, path, v3 = "groups", organizationPath + "/groups", " /v3/enterprise/organizations/{org_id}/members/idp-groups"
	type listInput struct {
		OrgPath
		Paging
	}
	kit.Register(a, op("listOrganizationGroups", http.MethodGet, path, "List the groups with a role in an organization", tag, "GET"+v3),
		func(ctx context.Context, who access.Subject, in *listInput) (*orgGroupsOutput, error) {
			r, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			all, err := older.All(func(p page.Request) (page.Page[member.Group], error) {
				return rooms.Members.Groups(ctx, who, member.GroupsParams{OrgID: in.OrgID, Page: p})
			})
			if err != nil {
				return nil, err
			}
			return &orgGroupsOutput{Body: listOf(r, older.Slice(all, r), orgGroupOf(in.OrgID))}, nil
		})
	type addInput struct {
		OrgPath
		Body OrganizationGroupAdd
	}
	add := op("addOrganizationGroup", http.MethodPost, path, "Give a group a role in an organization", tag, "POST"+v3+"/{idp_group_name}")
	add.Creates = true
	kit.Register(a, add, older.Naming(older.Names{"role_id": "role"}, func(ctx context.Context, who access.Subject, in *addInput) (*orgGroupOutput, error) {
		g, err := rooms.Members.AssignGroupRole(ctx, who, member.GroupRoleParams{
			OrgID: in.OrgID, Group: in.Body.GroupName, RoleID: orgRole(in.Body.Role), FirstAnywhere: true,
		})
		if err != nil {
			return nil, err
		}
		return &orgGroupOutput{Body: orgGroupOf(in.OrgID)(g)}, nil
	}))
	type removeInput struct {
		OrgPath
		GroupPath
	}
	kit.Register(a, op("removeOrganizationGroup", http.MethodDelete, path+"/{group_name}", "Take a group's role in an organization", tag, "DELETE"+v3+"/{idp_group_name}"),
		func(ctx context.Context, who access.Subject, in *removeInput) (*successOutput, error) {
			_, err := rooms.Members.RemoveGroupRole(ctx, who, in.OrgID, in.GroupName)
			return success(err)
		})
}
