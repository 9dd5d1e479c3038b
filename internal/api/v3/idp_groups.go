package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
)

func init() {
	registrations = append(registrations, registerIdpGroups, registerEnterpriseGroups, registerOrganizationGroups)
}

// IdpGroupResponse names a registered group.
type IdpGroupResponse struct {
	IdpGroupName string `json:"idp_group_name"`
}

// IdpGroup is a registered group with all its roles.
type IdpGroup struct {
	IdpGroupName    string           `json:"idp_group_name"`
	RoleAssignments []RoleAssignment `json:"role_assignments" nullable:"false"`
}

// IdpGroupsBulkCreateRequest names groups to register.
type IdpGroupsBulkCreateRequest struct {
	IdpGroupNames []string `json:"idp_group_names" minItems:"1" maxItems:"100" nullable:"false" doc:"As the identity provider sends them, 1 to 256 characters each; doubles count once."`
}

// IdpGroupUpdateRoleRequest names the role to give.
type IdpGroupUpdateRoleRequest struct {
	RoleID string `json:"role_id" minLength:"1" maxLength:"256"`
}

func idpGroupResponseOf(g member.Group) IdpGroupResponse {
	return IdpGroupResponse{IdpGroupName: g.Name}
}

func idpGroupOf(g member.Group) IdpGroup {
	return IdpGroup{IdpGroupName: g.Name, RoleAssignments: assignmentsOf(g.Roles)}
}

type idpGroupOutput struct{ Body IdpGroup }

func idpGroupAnswer(g member.Group, err error) (*idpGroupOutput, error) {
	if err != nil {
		return nil, err
	}
	return &idpGroupOutput{Body: idpGroupOf(g)}, nil
}

// IdpGroupInput is embedded in the input of an operation on one group.
type IdpGroupInput struct {
	IdpGroupName string `path:"idp_group_name" maxLength:"256" doc:"Group name as the identity provider sends it, percent-encoded."`
}

// OrgIdpGroupInput is embedded in the input of an operation on one group in an organization.
type OrgIdpGroupInput struct {
	OrgInput
	IdpGroupInput
}

const (
	idpGroupsPath        = "/v3/enterprise/idp-groups"
	enterpriseGroupsPath = "/v3/enterprise/members/idp-groups"
	enterpriseGroupPath  = enterpriseGroupsPath + "/{idp_group_name}"
	orgGroupsPath        = "/v3/enterprise/organizations/{org_id}/members/idp-groups"
	orgGroupPath         = orgGroupsPath + "/{idp_group_name}"
)

func idpGroupOp(id, method, path, summary, description string, any ...access.Permission) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"idp groups"}, Summary: summary, Description: description,
		},
		Any: any, Enterprise: true,
	}
}

func registerIdpGroups(a *kit.API, rooms Rooms) {
	type listOutput struct{ Body kit.Page[IdpGroupResponse] }
	kit.Register(a, idpGroupOp("listIdpGroups", http.MethodGet, idpGroupsPath, "List registered IdP groups", "By name.", readMembers...),
		func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, in.PageInput)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Members.RegisteredGroups(ctx, s, r)
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, p, idpGroupResponseOf)}, nil
		})

	type registerOutput struct {
		Body []IdpGroupResponse `nullable:"false"`
	}
	register := idpGroupOp("registerIdpGroups", http.MethodPost, idpGroupsPath, "Register IdP groups",
		"1 to 100 names; names that are registered already are answered like new ones.", access.ManageAccountMembership)
	register.Creates = true
	kit.Register(a, register, func(ctx context.Context, s access.Subject, in *struct{ Body IdpGroupsBulkCreateRequest }) (*registerOutput, error) {
		groups, err := rooms.Members.RegisterGroups(ctx, s, in.Body.IdpGroupNames)
		if err != nil {
			return nil, err
		}
		out := &registerOutput{Body: make([]IdpGroupResponse, len(groups))}
		for i, g := range groups {
			out.Body[i] = idpGroupResponseOf(g)
		}
		return out, nil
	})

	type unregisterOutput struct{ Body IdpGroupResponse }
	kit.Register(a, idpGroupOp("unregisterIdpGroup", http.MethodDelete, idpGroupsPath+"/{idp_group_name}", "Remove a registered IdP group",
		"409 while the group has roles or members.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *IdpGroupInput) (*unregisterOutput, error) {
			g, err := rooms.Members.UnregisterGroup(ctx, s, in.IdpGroupName)
			if err != nil {
				return nil, err
			}
			return &unregisterOutput{Body: idpGroupResponseOf(g)}, nil
		})
}

type idpGroupPage struct{ Body kit.Page[IdpGroup] }

func listGroups(ctx context.Context, rooms Rooms, s access.Subject, orgID string, in kit.PageInput) (*idpGroupPage, error) {
	r, err := kit.OpenPage(ctx, in)
	if err != nil {
		return nil, err
	}
	p, err := rooms.Members.Groups(ctx, s, member.GroupsParams{OrgID: orgID, Page: r})
	if err != nil {
		return nil, err
	}
	return &idpGroupPage{Body: kit.ClosePage(ctx, p, idpGroupOf)}, nil
}

func registerEnterpriseGroups(a *kit.API, rooms Rooms) {
	kit.Register(a, idpGroupOp("listEnterpriseGroupMembers", http.MethodGet, enterpriseGroupsPath, "List IdP groups with an enterprise role",
		"By name, with all their roles.", readMembers...),
		func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*idpGroupPage, error) {
			return listGroups(ctx, rooms, s, "", in.PageInput)
		})
	kit.Register(a, idpGroupOp("getEnterpriseGroupMember", http.MethodGet, enterpriseGroupPath, "Read an IdP group",
		"Any registered one, with all its roles.", readMembers...),
		func(ctx context.Context, s access.Subject, in *IdpGroupInput) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.Group(ctx, s, "", in.IdpGroupName))
		})

	type input struct {
		IdpGroupInput
		Body IdpGroupUpdateRoleRequest
	}
	params := func(in *input) member.GroupRoleParams {
		return member.GroupRoleParams{Group: in.IdpGroupName, RoleID: in.Body.RoleID}
	}
	kit.Register(a, idpGroupOp("assignEnterpriseGroupRole", http.MethodPost, enterpriseGroupPath, "Give an IdP group an enterprise role",
		"409 when it has one.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *input) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.AssignGroupRole(ctx, s, params(in)))
		})
	kit.Register(a, idpGroupOp("updateEnterpriseGroupRole", http.MethodPatch, enterpriseGroupPath, "Change an IdP group's enterprise role", "",
		access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *input) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.ChangeGroupRole(ctx, s, params(in)))
		})
	kit.Register(a, idpGroupOp("removeEnterpriseGroupRole", http.MethodDelete, enterpriseGroupPath, "Take an IdP group's enterprise role",
		"The group stays registered and keeps its roles in organizations.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *IdpGroupInput) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.RemoveGroupRole(ctx, s, "", in.IdpGroupName))
		})
}

func registerOrganizationGroups(a *kit.API, rooms Rooms) {
	type listInput struct {
		OrgInput
		kit.PageInput
	}
	kit.Register(a, idpGroupOp("listOrgGroupMembers", http.MethodGet, orgGroupsPath, "List IdP groups with a role in an organization",
		"By name, with all their roles.", readMembers...),
		func(ctx context.Context, s access.Subject, in *listInput) (*idpGroupPage, error) {
			return listGroups(ctx, rooms, s, in.OrgID, in.PageInput)
		})

	kit.Register(a, idpGroupOp("getOrgGroupMember", http.MethodGet, orgGroupPath, "Read an IdP group of an organization",
		"One with a role there, with all its roles.", readMembers...),
		func(ctx context.Context, s access.Subject, in *OrgIdpGroupInput) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.Group(ctx, s, in.OrgID, in.IdpGroupName))
		})

	type input struct {
		OrgIdpGroupInput
		Body IdpGroupUpdateRoleRequest
	}
	params := func(in *input) member.GroupRoleParams {
		return member.GroupRoleParams{OrgID: in.OrgID, Group: in.IdpGroupName, RoleID: in.Body.RoleID}
	}
	kit.Register(a, idpGroupOp("assignOrgGroupRole", http.MethodPost, orgGroupPath, "Give an IdP group a role in an organization",
		"409 when it has one there, and for a group that holds no role yet: the first one is the enterprise's.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *input) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.AssignGroupRole(ctx, s, params(in)))
		})
	kit.Register(a, idpGroupOp("updateOrgGroupRole", http.MethodPatch, orgGroupPath, "Change an IdP group's role in an organization", "",
		access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *input) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.ChangeGroupRole(ctx, s, params(in)))
		})
	kit.Register(a, idpGroupOp("removeOrgGroupRole", http.MethodDelete, orgGroupPath, "Take an IdP group's role in an organization",
		"What it has elsewhere stays.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *OrgIdpGroupInput) (*idpGroupOutput, error) {
			return idpGroupAnswer(rooms.Members.RemoveGroupRole(ctx, s, in.OrgID, in.IdpGroupName))
		})
}
