package member_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
)

func (h *house) olderKeys(t *testing.T, orgID string, r page.Request) page.Page[member.OlderKey] {
	t.Helper()
	p, err := h.ListOlderKeys(t.Context(), h.admin, orgID, r)
	require.NoError(t, err)
	return p
}

func TestAnOrganizationsOlderKeyIsItsAdminOnTheOlderVersionsOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		key, err := h.CreateOrgKey(t.Context(), h.admin, h.first.OrgID)
		require.NoError(t, err)
		require.True(t, id.WellFormed(id.KeyOrg, key.Token.Reveal()))
		h.refused(t, key.Token.Reveal())
		for _, strict := range []bool{false, true} {
			sub, err := h.Authenticator().OlderV1(strict).Authenticate(t.Context(), key.Token.Reveal(), noAddr)
			require.NoError(t, err)
			require.Equal(t, h.first.OrgID, sub.OrgID)
			require.True(t, sub.Can(access.ManageOrgSecrets, h.first.OrgID))
			require.False(t, sub.Can(access.ManageOrganizations, ""))
			_, err = h.Authenticator().OlderV1(strict).Authenticate(t.Context(), h.first.Token.Reveal(), noAddr)
			require.Equal(t, strict, fault.Is(err, fault.Unauthenticated), "a cog_ key is for the newer versions when the operator is strict")
		}
		items := h.olderKeys(t, "", page.Request{First: 10}).Items
		require.Len(t, items, 1)
		require.True(t, items[0].Service())
		require.Equal(t, key.ID, items[0].ID)

		require.NoError(t, h.RevokeOlderKey(t.Context(), h.admin, key.ID))
		_, err = h.Authenticator().OlderV1(false).Authenticate(t.Context(), key.Token.Reveal(), noAddr)
		requireKind(t, err, fault.Unauthenticated)
		requireKind(t, h.RevokeOlderKey(t.Context(), h.admin, key.ID), fault.NotFound)
		require.Empty(t, h.olderKeys(t, "", page.Request{First: 10}).Items)
		_, err = h.CreateOrgKey(t.Context(), h.admin, "org-unknown")
		requireKind(t, err, fault.NotFound)
	})
}

func TestAPersonsOlderKeyIsBoundToItsOrganizationAndEndsWithTheirAccess(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		people, err := h.Invite(t.Context(), h.admin, member.InviteParams{Emails: []string{"ann@example.com"}, RoleID: access.RoleEnterpriseMember})
		require.NoError(t, err)
		ann := people[0].ID
		_, err = h.CreatePersonalKey(t.Context(), h.admin, ann, h.first.OrgID)
		requireKind(t, err, fault.Invalid)
		role := member.PersonRoleParams{OrgID: h.first.OrgID, UserID: ann, RoleID: access.RoleOrgMember}
		_, err = h.AssignPersonRole(t.Context(), h.admin, role)
		require.NoError(t, err)
		key, err := h.CreatePersonalKey(t.Context(), h.admin, ann, h.first.OrgID)
		require.NoError(t, err)
		require.True(t, id.WellFormed(id.KeyPerson, key.Token.Reveal()))
		h.refused(t, key.Token.Reveal())

		v1 := h.Authenticator().OlderV1(false)
		sub, err := v1.Authenticate(t.Context(), key.Token.Reveal(), noAddr)
		require.NoError(t, err)
		require.Equal(t, h.first.OrgID, sub.OrgID)
		require.Equal(t, ann, sub.ID)
		require.True(t, sub.Can(access.UseDevinSessions, h.first.OrgID))
		require.False(t, sub.Can(access.ManageOrgSecrets, h.first.OrgID))
		sub, err = h.Authenticator().OlderV2(false).Authenticate(t.Context(), key.Token.Reveal(), noAddr)
		require.NoError(t, err)
		require.Error(t, access.RequireAdmin(sub))

		_, err = h.RemovePersonRole(t.Context(), h.admin, h.first.OrgID, ann)
		require.NoError(t, err)
		_, err = v1.Authenticate(t.Context(), key.Token.Reveal(), noAddr)
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestOlderKeysAreCountedSkippedAndRevokedTogether(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var ids []string
		for range 3 {
			k, err := h.CreateOrgKey(t.Context(), h.admin, h.first.OrgID)
			require.NoError(t, err)
			ids = append(ids, k.ID)
		}
		p := h.olderKeys(t, h.first.OrgID, page.Request{First: 1, Skip: 1, Total: true})
		require.Len(t, p.Items, 1)
		require.Equal(t, ids[1], p.Items[0].ID)
		require.True(t, p.More)
		require.EqualValues(t, 3, *p.Total)
		require.Empty(t, h.olderKeys(t, "org-other", page.Request{First: 1}).Items)

		require.NoError(t, h.RevokeOlderKeys(t.Context(), h.admin))
		require.Empty(t, h.olderKeys(t, "", page.Request{First: 10}).Items)
		h.subject(t, h.first.Token.Reveal())
	})
}

func TestOlderKeysNeedTheRightToManageServiceUsers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, token := h.provision(t, "", access.RoleEnterpriseMember)
		weak := h.subject(t, token)
		_, err := h.CreateOrgKey(t.Context(), weak, h.first.OrgID)
		requireKind(t, err, fault.Forbidden)
		_, err = h.ListOlderKeys(t.Context(), weak, "", page.Request{First: 1})
		requireKind(t, err, fault.Forbidden)
		_, err = h.CreatePersonalKey(t.Context(), weak, "user-x", h.first.OrgID)
		requireKind(t, err, fault.Forbidden)
		requireKind(t, h.RevokeOlderKey(t.Context(), weak, "x"), fault.Forbidden)
		requireKind(t, h.RevokeOlderKeys(t.Context(), weak), fault.Forbidden)
	})
}
