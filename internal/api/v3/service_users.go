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
	registrations = append(registrations, registerServiceUsers, registerServiceUserRoles, registerProvisioning)
}

// RoleAssignment is a direct role; OrgID is null for the enterprise's.
type RoleAssignment struct {
	Role  Role    `json:"role"`
	OrgID *string `json:"org_id"`
}

// ServiceUser is a service user with its roles. Times are Unix seconds, null for never.
type ServiceUser struct {
	ServiceUserID   string           `json:"service_user_id"`
	Name            string           `json:"name"`
	ExpiresAt       *int64           `json:"expires_at" doc:"Unix time in seconds (UTC); null for never."`
	DeletedAt       *int64           `json:"deleted_at" doc:"Unix time in seconds (UTC); null while it lives."`
	RoleAssignments []RoleAssignment `json:"role_assignments" nullable:"false"`
}

// ServiceUserUpdateRoleRequest names the role to give.
type ServiceUserUpdateRoleRequest struct {
	RoleID string `json:"role_id" minLength:"1" maxLength:"256"`
}

// ServiceUserProvisionRequest makes a service user. The service user and its key end together.
type ServiceUserProvisionRequest struct {
	Name       string `json:"name" minLength:"1" maxLength:"256"`
	RoleID     string `json:"role_id" minLength:"1" maxLength:"256" doc:"A role of the path's scope whose permissions the caller holds."`
	TTLSeconds int64  `json:"ttl_seconds" minimum:"1" maximum:"31536000" doc:"How long the service user and its key live."`
}

// ServiceUserProvisionResponse shows the token once.
type ServiceUserProvisionResponse struct {
	ServiceUser ServiceUser `json:"service_user"`
	Token       string      `json:"token" doc:"The key, shown only here."`
}

func serviceUserOf(u member.ServiceUser) ServiceUser {
	return ServiceUser{
		ServiceUserID: u.ID, Name: u.Name, ExpiresAt: unixOrNull(u.ExpiresAt), DeletedAt: unixOrNull(u.DeletedAt),
		RoleAssignments: assignmentsOf(u.Roles),
	}
}

type serviceUserOutput struct{ Body ServiceUser }

func serviceUserAnswer(u member.ServiceUser, err error) (*serviceUserOutput, error) {
	if err != nil {
		return nil, err
	}
	return &serviceUserOutput{Body: serviceUserOf(u)}, nil
}

// ServiceUserInput is embedded in the input of an operation on one service user.
type ServiceUserInput struct {
	ServiceUserID string `path:"service_user_id" maxLength:"256" doc:"Service user id."`
}

const (
	serviceUsersPath    = "/v3/enterprise/members/service-users"
	serviceUserPath     = serviceUsersPath + "/{service_user_id}"
	orgServiceUsersPath = "/v3/enterprise/organizations/{org_id}/members/service-users"
	orgServiceUserPath  = orgServiceUsersPath + "/{service_user_id}"
)

func serviceUserOp(id, method, path, summary, description string, any ...access.Permission) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"service users"}, Summary: summary, Description: description,
		},
		Any: any, Enterprise: true,
	}
}

// ServiceUserFilter is the query of a list of service users.
type ServiceUserFilter struct {
	kit.PageInput
	IncludeInactive bool `query:"include_inactive" default:"false" doc:"Also list expired and removed ones."`
}

type serviceUserPage struct{ Body kit.Page[ServiceUser] }

func listServiceUsers(ctx context.Context, rooms Rooms, s access.Subject, orgID string, in ServiceUserFilter) (*serviceUserPage, error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	p, err := rooms.Members.List(ctx, s, member.ListParams{OrgID: orgID, IncludeInactive: in.IncludeInactive, Page: r})
	if err != nil {
		return nil, err
	}
	return &serviceUserPage{Body: kit.ClosePage(ctx, p, serviceUserOf)}, nil
}

func registerServiceUsers(a *kit.API, rooms Rooms) {
	kit.Register(a, serviceUserOp("listServiceUsers", http.MethodGet, serviceUsersPath, "List service users", "Oldest first.", readMembers...),
		func(ctx context.Context, s access.Subject, in *ServiceUserFilter) (*serviceUserPage, error) {
			return listServiceUsers(ctx, rooms, s, "", *in)
		})

	type orgListInput struct {
		OrgInput
		ServiceUserFilter
	}
	kit.Register(a, serviceUserOp("listOrganizationServiceUsers", http.MethodGet, orgServiceUsersPath, "List an organization's service users",
		"Its own, and others with a role there.", readMembers...),
		func(ctx context.Context, s access.Subject, in *orgListInput) (*serviceUserPage, error) {
			return listServiceUsers(ctx, rooms, s, in.OrgID, in.ServiceUserFilter)
		})

	kit.Register(a, serviceUserOp("getServiceUser", http.MethodGet, serviceUserPath, "Read a service user", "", readMembers...),
		func(ctx context.Context, s access.Subject, in *ServiceUserInput) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.Get(ctx, s, in.ServiceUserID))
		})

	kit.Register(a, serviceUserOp("deleteServiceUser", http.MethodDelete, serviceUserPath, "Delete a service user",
		"Ends the service user itself and all its keys, not only its role.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *ServiceUserInput) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.Delete(ctx, s, in.ServiceUserID))
		})
}

func registerServiceUserRoles(a *kit.API, rooms Rooms) {
	type input struct {
		ServiceUserInput
		Body ServiceUserUpdateRoleRequest
	}
	kit.Register(a, serviceUserOp("assignServiceUserRole", http.MethodPost, serviceUserPath, "Give a service user an enterprise role",
		"409 when it has one.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *input) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.AssignRole(ctx, s, member.RoleParams{ServiceUserID: in.ServiceUserID, RoleID: in.Body.RoleID}))
		})
	kit.Register(a, serviceUserOp("changeServiceUserRole", http.MethodPatch, serviceUserPath, "Change a service user's enterprise role", "",
		access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *input) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.ChangeRole(ctx, s, member.RoleParams{ServiceUserID: in.ServiceUserID, RoleID: in.Body.RoleID}))
		})

	type orgRoleInput struct {
		OrgInput
		ServiceUserInput
		Body ServiceUserUpdateRoleRequest
	}
	params := func(in *orgRoleInput) member.RoleParams {
		return member.RoleParams{OrgID: in.OrgID, ServiceUserID: in.ServiceUserID, RoleID: in.Body.RoleID}
	}
	kit.Register(a, serviceUserOp("assignOrganizationServiceUserRole", http.MethodPost, orgServiceUserPath,
		"Give a service user a role in an organization", "409 when it has one there.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *orgRoleInput) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.AssignRole(ctx, s, params(in)))
		})
	kit.Register(a, serviceUserOp("changeOrganizationServiceUserRole", http.MethodPatch, orgServiceUserPath,
		"Change a service user's role in an organization", "", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *orgRoleInput) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.ChangeRole(ctx, s, params(in)))
		})

	type orgMemberInput struct {
		OrgInput
		ServiceUserInput
	}
	kit.Register(a, serviceUserOp("removeOrganizationServiceUserRole", http.MethodDelete, orgServiceUserPath,
		"Take a service user's role in an organization", "The service user itself stays.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *orgMemberInput) (*serviceUserOutput, error) {
			return serviceUserAnswer(rooms.Members.RemoveRole(ctx, s, in.OrgID, in.ServiceUserID))
		})
}

type provisionOutput struct{ Body ServiceUserProvisionResponse }

func provision(ctx context.Context, rooms Rooms, s access.Subject, orgID string, in ServiceUserProvisionRequest) (*provisionOutput, error) {
	u, key, err := rooms.Members.Provision(ctx, s, member.ProvisionParams{OrgID: orgID, Name: in.Name, RoleID: in.RoleID, TTLSeconds: in.TTLSeconds})
	if err != nil {
		return nil, err
	}
	return &provisionOutput{Body: ServiceUserProvisionResponse{ServiceUser: serviceUserOf(u), Token: key.Token.Reveal()}}, nil
}

func registerProvisioning(a *kit.API, rooms Rooms) {
	enterprise := serviceUserOp("provisionServiceUser", http.MethodPost, "/v3beta1/enterprise/service-users",
		"Create an enterprise service user with a key", "The token is shown once.", access.ManageAccountServiceUsers)
	enterprise.Creates, enterprise.ShowsSecret = true, true
	kit.Register(a, enterprise, func(ctx context.Context, s access.Subject, in *struct{ Body ServiceUserProvisionRequest }) (*provisionOutput, error) {
		return provision(ctx, rooms, s, "", in.Body)
	})

	type orgProvisionInput struct {
		OrgInput
		Body ServiceUserProvisionRequest
	}
	inOrg := serviceUserOp("provisionOrganizationServiceUser", http.MethodPost, "/v3beta1/organizations/{org_id}/service-users",
		"Create a service user of an organization with a key", "The token is shown once.", access.ManageOrgServiceUsers)
	inOrg.Creates, inOrg.ShowsSecret, inOrg.Enterprise = true, true, false
	kit.Register(a, inOrg, func(ctx context.Context, s access.Subject, in *orgProvisionInput) (*provisionOutput, error) {
		return provision(ctx, rooms, s, in.OrgID, in.Body)
	})
}
