package v3

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
)

func init() { registrations = append(registrations, registerIdpUsers) }

// IdpGroupUser is a person with the roles that groups of the identity provider give them.
type IdpGroupUser struct {
	UserID             string              `json:"user_id"`
	Email              *string             `json:"email"`
	Name               *string             `json:"name"`
	IdpRoleAssignments []IdpRoleAssignment `json:"idp_role_assignments" nullable:"false"`
}

func idpGroupUserOf(p member.Person) IdpGroupUser {
	return IdpGroupUser{UserID: p.ID, Email: kit.NullText(p.Email), Name: kit.NullText(p.Name), IdpRoleAssignments: idpAssignmentsOf(p.GroupRoles)}
}

type idpUserPage struct{ Body kit.Page[IdpGroupUser] }

func listIdpUsers(ctx context.Context, s access.Subject, orgID string, in UserFilter, list peopleList) (*idpUserPage, error) {
	p, err := openPeople(ctx, s, orgID, in, list)
	if err != nil {
		return nil, err
	}
	return &idpUserPage{Body: kit.ClosePage(ctx, p, idpGroupUserOf)}, nil
}

func registerIdpUsers(a *kit.API, rooms Rooms) {
	kit.Register(a, userOp("listEnterpriseIdpUsers", http.MethodGet, "/v3/enterprise/members/idp-users", "List users with roles through IdP groups",
		"In the enterprise or in any organization.", access.ViewAccountMembership),
		func(ctx context.Context, s access.Subject, in *UserFilter) (*idpUserPage, error) {
			return listIdpUsers(ctx, s, "", *in, rooms.Members.IdpPeople)
		})
	kit.Register(a, userOp("listOrgIdpUsers", http.MethodGet, "/v3/enterprise/organizations/{org_id}/members/idp-users",
		"List an organization's users through IdP groups", "With all roles that groups give them.", access.ViewAccountMembership),
		func(ctx context.Context, s access.Subject, in *OrgUserFilter) (*idpUserPage, error) {
			return listIdpUsers(ctx, s, in.OrgID, in.UserFilter, rooms.Members.IdpPeople)
		})
}
