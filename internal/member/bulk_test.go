package member_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestManyRolesAreGivenTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		people, err := h.Invite(ctx, h.admin, member.InviteParams{Emails: []string{"a@example.com", "b@example.com"}, RoleID: access.RoleEnterpriseMember})
		require.NoError(t, err)
		_, err = h.RegisterGroups(ctx, h.admin, []string{"devs"})
		require.NoError(t, err)
		other, err := h.orgs.Create(ctx, h.admin, org.CreateParams{Name: "other"})
		require.NoError(t, err)
		p := member.BulkParams{
			OrgIDs: []string{h.first.OrgID, other.ID, other.ID}, UserIDs: []string{people[0].ID, people[1].ID}, Groups: []string{"devs"},
			RoleID: access.RoleOrgMember,
		}
		bad := p
		bad.UserIDs = append([]string{people[0].ID}, "user-none")
		err = h.AddMembers(ctx, h.admin, bad)
		requireKind(t, err, fault.NotFound)
		require.ErrorContains(t, err, "user_ids.1")
		got, err := h.Person(ctx, h.admin, people[0].ID)
		require.NoError(t, err)
		require.Len(t, got.Roles, 1, "nothing is half done")

		require.NoError(t, h.AddMembers(ctx, h.admin, p))
		for _, u := range people {
			got, err := h.Person(ctx, h.admin, u.ID)
			require.NoError(t, err)
			require.Len(t, got.Roles, 3)
		}
		g, err := h.Group(ctx, h.admin, "", "devs")
		require.NoError(t, err)
		require.Len(t, g.Roles, 2, "a group's first role may be in an organization here")

		p.RoleID = access.RoleOrgAdmin
		require.NoError(t, h.AddMembers(ctx, h.admin, p))
		got, err = h.Person(ctx, h.admin, people[0].ID)
		require.NoError(t, err)
		require.Equal(t, access.RoleOrgMember, got.Roles[1].Role.ID, "who is a member keeps their role")
		p.Groups = nil
		require.NoError(t, h.ChangeRoles(ctx, h.admin, p))
		got, err = h.Person(ctx, h.admin, people[0].ID)
		require.NoError(t, err)
		require.Equal(t, access.RoleOrgAdmin, got.Roles[1].Role.ID)

		log, err := h.audit.List(ctx, h.admin, audit.ListParams{Action: audit.AssignRoles, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, log.Items, 4)
	})
}

func TestABulkChangeOfRolesKeepsItsRules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		people, err := h.Invite(ctx, h.admin, member.InviteParams{Emails: []string{"a@example.com"}, RoleID: access.RoleEnterpriseMember})
		require.NoError(t, err)
		ids := []string{people[0].ID}
		one := func(orgID, role string, users []string) member.BulkParams {
			return member.BulkParams{OrgIDs: []string{orgID}, UserIDs: users, RoleID: role}
		}
		requireKind(t, h.ChangeRoles(ctx, h.admin, one(h.first.OrgID, access.RoleOrgMember, ids)), fault.NotFound)
		requireKind(t, h.ChangeRoles(ctx, h.admin, one("", access.RoleOrgMember, ids)), fault.Invalid)
		requireKind(t, h.AddMembers(ctx, h.admin, one("org-none", access.RoleOrgMember, ids)), fault.NotFound)
		requireKind(t, h.AddMembers(ctx, h.admin, one(h.first.OrgID, "role-none", ids)), fault.NotFound)
		requireKind(t, h.AddMembers(ctx, h.admin, one(h.first.OrgID, "", ids)), fault.Invalid)
		requireKind(t, h.AddMembers(ctx, h.admin, one(h.first.OrgID, access.RoleOrgMember, nil)), fault.Invalid)
		requireKind(t, h.AddMembers(ctx, h.admin, one(h.first.OrgID, access.RoleOrgMember, make([]string, 2001))), fault.Invalid)
		require.NoError(t, h.ChangeRoles(ctx, h.admin, one("", access.RoleEnterpriseAdmin, ids)))
		_, token := h.provision(t, "", access.RoleEnterpriseMember)
		requireKind(t, h.AddMembers(ctx, h.subject(t, token), one(h.first.OrgID, access.RoleOrgMember, ids)), fault.Forbidden)
	})
}
