package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerUsers, registerOrganizationUsers) }

// User is a person with their direct roles. Name is null until they first sign in.
type User struct {
	UserID          string           `json:"user_id"`
	Email           *string          `json:"email"`
	Name            *string          `json:"name"`
	RoleAssignments []RoleAssignment `json:"role_assignments" nullable:"false"`
}

// IdpRoleAssignment is a role that comes with a group of the identity provider; OrgID is null for the enterprise's.
type IdpRoleAssignment struct {
	IdpGroupName string  `json:"idp_group_name"`
	Role         Role    `json:"role"`
	OrgID        *string `json:"org_id"`
}

// UserWithIdpRoles is a person with direct and inherited roles.
type UserWithIdpRoles struct {
	User
	IdpRoleAssignments []IdpRoleAssignment `json:"idp_role_assignments" nullable:"false"`
}

// UserBulkCreateRequest invites people.
type UserBulkCreateRequest struct {
	Emails           []string `json:"emails" maxItems:"100" nullable:"false" doc:"Compared without case; doubles count once."`
	EnterpriseRoleID string   `json:"enterprise_role_id" minLength:"1" maxLength:"256" doc:"A role of type enterprise whose permissions the caller holds."`
}

// UserUpdateRoleRequest names the role to give.
type UserUpdateRoleRequest struct {
	RoleID string `json:"role_id" minLength:"1" maxLength:"256"`
}

func userOf(p member.Person) User {
	return User{UserID: p.ID, Email: kit.NullText(p.Email), Name: kit.NullText(p.Name), RoleAssignments: assignmentsOf(p.Roles)}
}

func assignmentsOf(roles []member.RoleAssignment) []RoleAssignment {
	out := make([]RoleAssignment, len(roles))
	for i, r := range roles {
		out[i] = RoleAssignment{Role: roleOf(r.Role), OrgID: kit.NullText(r.OrgID)}
	}
	return out
}

func idpAssignmentsOf(roles []member.GroupRole) []IdpRoleAssignment {
	out := make([]IdpRoleAssignment, len(roles))
	for i, r := range roles {
		out[i] = IdpRoleAssignment{IdpGroupName: r.Group, Role: roleOf(r.Role), OrgID: kit.NullText(r.OrgID)}
	}
	return out
}

type userOutput struct{ Body User }

func userAnswer(p member.Person, err error) (*userOutput, error) {
	if err != nil {
		return nil, err
	}
	return &userOutput{Body: userOf(p)}, nil
}

type userWithIdpRolesOutput struct{ Body UserWithIdpRoles }

func userWithIdpRolesAnswer(p member.Person, err error) (*userWithIdpRolesOutput, error) {
	if err != nil {
		return nil, err
	}
	return &userWithIdpRolesOutput{Body: UserWithIdpRoles{User: userOf(p), IdpRoleAssignments: idpAssignmentsOf(p.GroupRoles)}}, nil
}

// UserInput is embedded in the input of an operation on one person.
type UserInput struct {
	UserID string `path:"user_id" maxLength:"256" doc:"User id, percent-encoded: it may hold a bar."`
}

// OrgUserInput is embedded in the input of an operation on one person in an organization.
type OrgUserInput struct {
	OrgInput
	UserInput
}

// UserFilter is the query of a list of people.
type UserFilter struct {
	kit.PageInput
	Email string `query:"email" maxLength:"1024" doc:"Exact e-mail address, in any case."`
}

// OrgUserFilter is UserFilter in an organization.
type OrgUserFilter struct {
	OrgInput
	UserFilter
}

type userPage struct{ Body kit.Page[User] }

// peopleList is a use case that lists people.
type peopleList func(context.Context, access.Subject, member.PeopleParams) (page.Page[member.Person], error)

func openPeople(ctx context.Context, s access.Subject, orgID string, in UserFilter, list peopleList) (page.Page[member.Person], error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return page.Page[member.Person]{}, err
	}
	return list(ctx, s, member.PeopleParams{OrgID: orgID, Email: in.Email, Page: r})
}

func listUsers(ctx context.Context, s access.Subject, orgID string, in UserFilter, list peopleList) (*userPage, error) {
	p, err := openPeople(ctx, s, orgID, in, list)
	if err != nil {
		return nil, err
	}
	return &userPage{Body: kit.ClosePage(ctx, p, userOf)}, nil
}

const (
	usersPath    = "/v3/enterprise/members/users"
	userPath     = usersPath + "/{user_id}"
	orgUsersPath = "/v3/enterprise/organizations/{org_id}/members/users"
	orgUserPath  = orgUsersPath + "/{user_id}"
)

func userOp(id, method, path, summary, description string, any ...access.Permission) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"users"}, Summary: summary, Description: description,
		},
		Any: any, Enterprise: true,
	}
}

func registerUsers(a *kit.API, rooms Rooms) {
	kit.Register(a, userOp("listEnterpriseUsers", http.MethodGet, usersPath, "List users", "Oldest first, with all their direct roles.", readMembers...),
		func(ctx context.Context, s access.Subject, in *UserFilter) (*userPage, error) {
			return listUsers(ctx, s, "", *in, rooms.Members.People)
		})

	type inviteOutput struct {
		Body []User `nullable:"false"`
	}
	invite := userOp("inviteEnterpriseUsers", http.MethodPost, usersPath, "Invite users by e-mail",
		"Answers with the user of each address, in the order of the addresses. Users who are known stay as they are; only one without a direct "+
			"enterprise role gets this one.", access.ManageAccountMembership)
	invite.Creates = true
	kit.Register(a, invite, func(ctx context.Context, s access.Subject, in *struct{ Body UserBulkCreateRequest }) (*inviteOutput, error) {
		people, err := rooms.Members.Invite(ctx, s, member.InviteParams{Emails: in.Body.Emails, RoleID: in.Body.EnterpriseRoleID})
		if err != nil {
			return nil, err
		}
		out := &inviteOutput{Body: make([]User, len(people))}
		for i, p := range people {
			out.Body[i] = userOf(p)
		}
		return out, nil
	})

	kit.Register(a, userOp("getEnterpriseUser", http.MethodGet, userPath, "Read a user with direct and inherited roles", "", readMembers...),
		func(ctx context.Context, s access.Subject, in *UserInput) (*userWithIdpRolesOutput, error) {
			return userWithIdpRolesAnswer(rooms.Members.Person(ctx, s, in.UserID))
		})

	type roleInput struct {
		UserInput
		Body UserUpdateRoleRequest
	}
	kit.Register(a, userOp("updateEnterpriseUserRole", http.MethodPatch, userPath, "Change a user's enterprise role",
		"Gives it to a user who has none.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *roleInput) (*userOutput, error) {
			return userAnswer(rooms.Members.ChangePersonRole(ctx, s, member.PersonRoleParams{UserID: in.UserID, RoleID: in.Body.RoleID}))
		})

	kit.Register(a, userOp("removeEnterpriseUser", http.MethodDelete, userPath, "Remove a user from the enterprise",
		"Ends the user's roles in every organization, their groups and their keys too. Answers with the user as they were.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *UserInput) (*userOutput, error) {
			return userAnswer(rooms.Members.RemovePerson(ctx, s, in.UserID))
		})
}

func registerOrganizationUsers(a *kit.API, rooms Rooms) {
	kit.Register(a, userOp("listOrgUsersByEnterprise", http.MethodGet, orgUsersPath, "List an organization's users",
		"Those with a direct role there, with all their direct roles.", readMembers...),
		func(ctx context.Context, s access.Subject, in *OrgUserFilter) (*userPage, error) {
			return listUsers(ctx, s, in.OrgID, in.UserFilter, rooms.Members.People)
		})

	type roleInput struct {
		OrgUserInput
		Body UserUpdateRoleRequest
	}
	params := func(in *roleInput) member.PersonRoleParams {
		return member.PersonRoleParams{OrgID: in.OrgID, UserID: in.UserID, RoleID: in.Body.RoleID}
	}
	kit.Register(a, userOp("assignOrgUserRole", http.MethodPost, orgUserPath, "Add a user to an organization",
		"The user must be a member of the enterprise. 409 when they have a role there.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *roleInput) (*userOutput, error) {
			return userAnswer(rooms.Members.AssignPersonRole(ctx, s, params(in)))
		})
	kit.Register(a, userOp("updateOrgUserRole", http.MethodPatch, orgUserPath, "Change a user's role in an organization", "",
		access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *roleInput) (*userOutput, error) {
			return userAnswer(rooms.Members.ChangePersonRole(ctx, s, params(in)))
		})
	kit.Register(a, userOp("removeOrgUser", http.MethodDelete, orgUserPath, "Remove a user from an organization",
		"The user stays in the enterprise, and keeps what groups give them.", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *OrgUserInput) (*userOutput, error) {
			return userAnswer(rooms.Members.RemovePersonRole(ctx, s, in.OrgID, in.UserID))
		})
}
