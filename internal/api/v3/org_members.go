package v3

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerOrgMembers) }

const ownUsersPath = "/v3beta1/organizations/{org_id}/members/users"

// registerOrgMembers registers what an organization's own credentials may read of its members: never what they hold elsewhere.
func registerOrgMembers(a *kit.API, rooms Rooms) {
	op := func(id, path, summary, description string) kit.Op {
		o := userOp(id, http.MethodGet, path, summary, description, access.ViewOrgMembership)
		o.Enterprise = false
		return o
	}
	kit.Register(a, op("listOrganizationUsers", ownUsersPath, "List the organization's users", "Those with a direct role in it, with that role."),
		func(ctx context.Context, s access.Subject, in *OrgUserFilter) (*userPage, error) {
			return listUsers(ctx, s, in.OrgID, in.UserFilter, rooms.Members.OrgPeople)
		})
	kit.Register(a, op("getOrganizationUser", ownUsersPath+"/{user_id}", "Read a user of the organization",
		"Somebody with a role in it, direct or through a group, with these roles."),
		func(ctx context.Context, s access.Subject, in *OrgUserInput) (*userWithIdpRolesOutput, error) {
			return userWithIdpRolesAnswer(rooms.Members.OrgPerson(ctx, s, in.OrgID, in.UserID))
		})
	kit.Register(a, op("listOrganizationIdpUsers", "/v3beta1/organizations/{org_id}/members/idp-users", "List the organization's users through IdP groups",
		"With the roles in it that groups give them."),
		func(ctx context.Context, s access.Subject, in *OrgUserFilter) (*idpUserPage, error) {
			return listIdpUsers(ctx, s, in.OrgID, in.UserFilter, rooms.Members.OrgIdpPeople)
		})
}
