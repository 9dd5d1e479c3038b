package v2

import (
	"context"
	"net/http"
	"strings"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
)

func init() { registrations = append(registrations, registerMembers, registerOrgMembers) }

// EnterpriseUserResponse is a member of the enterprise. Role and ID are the examples' names. When somebody last signed in isn't kept.
type EnterpriseUserResponse struct {
	UserID               string  `json:"user_id"`
	Email                string  `json:"email"`
	Name                 string  `json:"name" doc:"Empty until they first sign in."`
	EnterpriseRole       string  `json:"enterprise_role" doc:"A role's id, empty without a direct one."`
	CreatedAt            string  `json:"created_at"`
	LastLogin            *string `json:"last_login"`
	LoginCount           *int64  `json:"login_count"`
	SAMLID               *string `json:"saml_id"`
	SearchesCreatedCount int64   `json:"searches_created_count"`
	SessionsCreatedCount int64   `json:"sessions_created_count"`
	Role                 *string `json:"role,omitempty"`
	ID                   *string `json:"id,omitempty"`
}

// EnterpriseUserList is a page of members. Members are the examples' copies of the items.
type EnterpriseUserList struct {
	List[EnterpriseUserResponse]
	Members []EnterpriseUserResponse `json:"members,omitempty"`
}

// EnterpriseMemberInviteRequest invites people. Role is the examples': member, admin or a role's id; member where it is left out.
type EnterpriseMemberInviteRequest struct {
	Emails []string             `json:"emails" doc:"1 to 100 addresses; 400 tells what is wrong with them."`
	Role   kit.Optional[string] `json:"role,omitempty"`
}

// EnterpriseMemberInviteResponse tells who is new. Invited are the examples' list of their addresses.
type EnterpriseMemberInviteResponse struct {
	Status               string            `json:"status"`
	InvitedCount         int               `json:"invited_count"`
	InviteeUserIDToEmail map[string]string `json:"invitee_user_id_to_email"`
	Invited              *[]string         `json:"invited,omitempty"`
}

// MemberRolesUpdate gives a role to people.
type MemberRolesUpdate struct {
	RoleID  string   `json:"role_id" minLength:"1" maxLength:"256"`
	UserIDs []string `json:"user_ids" minItems:"1" maxItems:"1000"`
}

// UserOrgResponse is a person's role in an organization.
type UserOrgResponse struct {
	UserID         string  `json:"user_id"`
	Email          string  `json:"email"`
	Name           string  `json:"name"`
	OrgID          string  `json:"org_id"`
	OrgName        string  `json:"org_name"`
	OrgRole        string  `json:"org_role"`
	OrgRoleName    *string `json:"org_role_name"`
	EnterpriseRole *string `json:"enterprise_role"`
}

// EnterpriseBulkOrgMembersUpdate makes people and groups members of organizations: of those named, and of the one in the path.
type EnterpriseBulkOrgMembersUpdate struct {
	OrgIDs     []string             `json:"org_ids" maxItems:"100"`
	UserIDs    []string             `json:"user_ids" maxItems:"1000"`
	GroupNames []string             `json:"group_names,omitempty" nullable:"true" maxItems:"100"`
	OrgRole    kit.Optional[string] `json:"org_role,omitempty" doc:"A role's id, or admin or member; member where it is left out."`
}

func roleOf(p member.Person, orgID string) access.Role {
	for _, a := range p.Roles {
		if a.OrgID == orgID {
			return a.Role
		}
	}
	return access.Role{}
}

func (r Rooms) members(ctx context.Context, people []member.Person, examples bool) (map[string]EnterpriseUserResponse, error) {
	ids := make([]string, len(people))
	for i, p := range people {
		ids[i] = p.ID
	}
	did, err := r.Metrics.PeopleTotals(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make(map[string]EnterpriseUserResponse, len(people))
	for _, p := range people {
		m := EnterpriseUserResponse{
			UserID: p.ID, Email: p.Email, Name: p.Name, EnterpriseRole: roleOf(p, "").ID, CreatedAt: older.Time(p.CreatedAt),
			SearchesCreatedCount: did[p.ID].Searches, SessionsCreatedCount: did[p.ID].Sessions,
		}
		if examples {
			m.Role, m.ID = &m.EnterpriseRole, &m.UserID
		}
		out[p.ID] = m
	}
	return out, nil
}

type memberListOutput struct{ Body EnterpriseUserList }

type memberOutput struct{ Body EnterpriseUserResponse }

type inviteOutput struct {
	Body EnterpriseMemberInviteResponse
}

type userOrgsOutput struct{ Body List[UserOrgResponse] }

// UserPath names a person.
type UserPath struct {
	UserID string `path:"user_id" maxLength:"256"`
}

func registerMembers(a *kit.API, rooms Rooms) {
	const tag, path, v3 = "members", prefix + "/members", " /v3/enterprise/members/users"
	type listInput struct {
		Paging
		Shape
		Email string `query:"email" maxLength:"320" doc:"Only the member with this address."`
	}
	kit.Register(a, op("listMembers", http.MethodGet, path, "List members", tag, "GET"+v3),
		func(ctx context.Context, who access.Subject, in *listInput) (*memberListOutput, error) {
			r, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Members.People(ctx, who, member.PeopleParams{Email: in.Email, Page: r})
			if err != nil {
				return nil, err
			}
			examples := rooms.examples(in.Shape)
			wire, err := rooms.members(ctx, p.Items, examples)
			if err != nil {
				return nil, err
			}
			out := &memberListOutput{Body: EnterpriseUserList{List: listOf(r, p, func(p member.Person) EnterpriseUserResponse { return wire[p.ID] })}}
			if examples {
				out.Body.Members = out.Body.Items
			}
			return out, nil
		})

	type inviteInput struct {
		Shape
		Body EnterpriseMemberInviteRequest
	}
	invite := op("inviteMembers", http.MethodPost, path+"/invite", "Invite people", tag, "POST"+v3)
	invite.Creates = true
	kit.Register(a, invite, func(ctx context.Context, who access.Subject, in *inviteInput) (*inviteOutput, error) {
		return rooms.invite(ctx, who, in.Body, rooms.examples(in.Shape))
	})

	type rolesInput struct{ Body MemberRolesUpdate }
	kit.Register(a, op("updateMemberRoles", http.MethodPatch, path+"/roles", "Give people an enterprise role", tag, "PATCH"+v3+"/{user_id}"),
		func(ctx context.Context, who access.Subject, in *rolesInput) (*successOutput, error) {
			return success(rooms.Members.ChangeRoles(ctx, who, member.BulkParams{OrgIDs: []string{""}, UserIDs: in.Body.UserIDs, RoleID: in.Body.RoleID}))
		})

	type readInput struct {
		UserPath
		Shape
	}
	kit.Register(a, op("getMember", http.MethodGet, path+"/{user_id}", "Read a member", tag, "GET"+v3+"/{user_id}"),
		func(ctx context.Context, who access.Subject, in *readInput) (*memberOutput, error) {
			p, err := rooms.Members.Person(ctx, who, in.UserID)
			if err != nil {
				return nil, err
			}
			wire, err := rooms.members(ctx, []member.Person{p}, rooms.examples(in.Shape))
			return &memberOutput{Body: wire[p.ID]}, err
		})
	kit.Register(a, op("removeMember", http.MethodDelete, path+"/{user_id}", "Remove a member and all that they have", tag, "DELETE"+v3+"/{user_id}"),
		func(ctx context.Context, who access.Subject, in *UserPath) (*successOutput, error) {
			_, err := rooms.Members.RemovePerson(ctx, who, in.UserID)
			return success(err)
		})
	type orgsInput struct {
		UserPath
		Paging
	}
	kit.Register(a, op("listMemberOrganizations", http.MethodGet, path+"/{user_id}/organizations", "List a member's organizations", tag, "GET"+v3+"/{user_id}"),
		func(ctx context.Context, who access.Subject, in *orgsInput) (*userOrgsOutput, error) {
			return rooms.memberOrgs(ctx, who, in.UserID, in.Paging)
		})
}

// inviteNames are v2's names of an invitation's fields.
var inviteNames = older.Names{"enterprise_role_id": "role", "role_id": "role"}

// badEmails turns what is wrong with addresses into the 400 that v2's page names for it (contract/v2.json x-variants).
func badEmails(err error) error {
	f := fault.As(err)
	if f.Kind == fault.Invalid && strings.HasPrefix(f.Message, "emails") {
		return fault.Wrap(err, fault.BadRequest, "%s", f.Message)
	}
	return inviteNames.Fault(err)
}

// invite tells new members from known ones by who is a member before.
func (r Rooms) invite(ctx context.Context, who access.Subject, b EnterpriseMemberInviteRequest, examples bool) (*inviteOutput, error) {
	if len(b.Emails) == 0 {
		return nil, fault.New(fault.BadRequest, "emails: must name somebody")
	}
	role := b.Role.Or("member")
	switch role {
	case "member":
		role = access.RoleEnterpriseMember
	case "admin":
		role = access.RoleEnterpriseAdmin
	}
	people, err := r.Members.Invite(ctx, who, member.InviteParams{Emails: b.Emails, RoleID: role})
	if err != nil {
		return nil, badEmails(err)
	}
	out := EnterpriseMemberInviteResponse{Status: "success", InviteeUserIDToEmail: map[string]string{}}
	invited := []string{}
	for _, p := range people {
		if p.New {
			out.InviteeUserIDToEmail[p.ID] = p.Email
			invited = append(invited, p.Email)
		}
	}
	out.InvitedCount = len(invited)
	if examples {
		out.Invited = &invited
	}
	return &inviteOutput{Body: out}, nil
}

func (r Rooms) memberOrgs(ctx context.Context, who access.Subject, userID string, in Paging) (*userOrgsOutput, error) {
	req, err := in.request(ctx)
	if err != nil {
		return nil, err
	}
	p, err := r.Members.Person(ctx, who, userID)
	if err != nil {
		return nil, err
	}
	var roles []member.RoleAssignment
	for _, a := range p.Roles {
		if a.OrgID != "" {
			roles = append(roles, a)
		}
	}
	cut := older.Slice(roles, req)
	names := map[string]string{}
	for _, a := range cut.Items {
		o, err := r.Orgs.Get(ctx, who, a.OrgID)
		if err != nil {
			return nil, err
		}
		names[a.OrgID] = o.Name
	}
	return &userOrgsOutput{Body: listOf(req, cut, func(a member.RoleAssignment) UserOrgResponse { return userOrgOf(p, a, names[a.OrgID]) })}, nil
}

func userOrgOf(p member.Person, a member.RoleAssignment, orgName string) UserOrgResponse {
	return UserOrgResponse{
		UserID: p.ID, Email: p.Email, Name: p.Name, OrgID: a.OrgID, OrgName: orgName, OrgRole: a.Role.ID, OrgRoleName: kit.NullText(a.Role.Name),
		EnterpriseRole: kit.NullText(roleOf(p, "").ID),
	}
}

func registerOrgMembers(a *kit.API, rooms Rooms) {
	const tag, path, v3 = "organization members", organizationPath + "/members", " /v3/enterprise/organizations/{org_id}/members/users"
	type listInput struct {
		OrgPath
		Paging
	}
	kit.Register(a, op("listOrganizationMembers", http.MethodGet, path, "List an organization's members", tag, "GET"+v3),
		func(ctx context.Context, who access.Subject, in *listInput) (*userOrgsOutput, error) {
			r, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Members.People(ctx, who, member.PeopleParams{OrgID: in.OrgID, Page: r})
			if err != nil {
				return nil, err
			}
			o, err := rooms.Orgs.Get(ctx, who, in.OrgID)
			if err != nil {
				return nil, err
			}
			return &userOrgsOutput{Body: listOf(r, p, func(p member.Person) UserOrgResponse {
				return userOrgOf(p, member.RoleAssignment{OrgID: in.OrgID, Role: roleOf(p, in.OrgID)}, o.Name)
			})}, nil
		})
	type addInput struct {
		OrgPath
		Body EnterpriseBulkOrgMembersUpdate
	}
	kit.Register(a, op("addOrganizationMembers", http.MethodPost, path, "Make people and groups members of organizations", tag, "POST"+v3+"/{user_id}"),
		older.Naming(older.Names{"role_id": "org_role"}, func(ctx context.Context, who access.Subject, in *addInput) (*successOutput, error) {
			return success(rooms.Members.AddMembers(ctx, who, member.BulkParams{
				OrgIDs: append([]string{in.OrgID}, in.Body.OrgIDs...), UserIDs: in.Body.UserIDs, Groups: in.Body.GroupNames,
				RoleID: orgRole(in.Body.OrgRole.Or("member")),
			}))
		}))
	type rolesInput struct {
		OrgPath
		Body MemberRolesUpdate
	}
	kit.Register(a, op("updateOrganizationMemberRoles", http.MethodPatch, path+"/roles", "Change people's role in an organization", tag, "PATCH"+v3+"/{user_id}"),
		func(ctx context.Context, who access.Subject, in *rolesInput) (*successOutput, error) {
			return success(rooms.Members.ChangeRoles(ctx, who, member.BulkParams{
				OrgIDs: []string{in.OrgID}, UserIDs: in.Body.UserIDs, RoleID: orgRole(in.Body.RoleID),
			}))
		})
	type removeInput struct {
		OrgPath
		UserPath
	}
	kit.Register(a, op("removeOrganizationMember", http.MethodDelete, path+"/{user_id}", "Remove a member of an organization", tag, "DELETE"+v3+"/{user_id}"),
		func(ctx context.Context, who access.Subject, in *removeInput) (*successOutput, error) {
			_, err := rooms.Members.RemovePersonRole(ctx, who, in.OrgID, in.UserID)
			return success(err)
		})
}
