package member_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
)

var noAddr netip.Addr

func (h *house) refused(t *testing.T, token string) {
	t.Helper()
	_, err := h.Authenticator().Authenticate(t.Context(), token, noAddr)
	requireKind(t, err, fault.Unauthenticated)
}

func TestAKeyExpiresWithItsServiceUser(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		u, _ := h.provision(t, "", access.RoleEnterpriseMember)
		k, err := h.CreateKey(t.Context(), h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "without an end of its own"})
		require.NoError(t, err)
		h.time.Advance(2 * time.Hour)
		h.refused(t, k.Token.Reveal())
		for status, want := range map[member.KeyStatus]int{member.KeysActive: 0, member.KeysExpired: 2, member.KeysRevoked: 0, member.KeysAll: 2} {
			keys, err := h.ListKeys(t.Context(), h.admin, u.ID, status)
			require.NoError(t, err)
			require.Len(t, keys, want, string(status))
			for _, k := range keys {
				require.False(t, k.Active)
			}
		}
	})
}

func TestKeysAreMadeListedRevokedAndRotated(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		u, _ := h.provision(t, "", access.RoleEnterpriseMember)
		now := h.db.Clock().Now()
		short, err := h.CreateKey(ctx, h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "short", ExpiresAt: now.Add(time.Minute)})
		require.NoError(t, err)
		require.True(t, id.WellFormed(id.KeyService, short.Token.Reveal()))
		gone, err := h.CreateKey(ctx, h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "gone"})
		require.NoError(t, err)
		h.subject(t, gone.Token.Reveal())
		revoked, err := h.RevokeKey(ctx, h.admin, u.ID, gone.ID)
		require.NoError(t, err)
		require.Equal(t, now, revoked.RevokedAt)
		require.False(t, revoked.Active)
		h.refused(t, gone.Token.Reveal())
		_, err = h.RevokeKey(ctx, h.admin, u.ID, gone.ID)
		requireKind(t, err, fault.Conflict)
		_, err = h.RevokeKey(ctx, h.admin, u.ID, "nope")
		requireKind(t, err, fault.NotFound)
		_, err = h.RevokeKey(ctx, h.admin, h.admin.ID, gone.ID)
		requireKind(t, err, fault.NotFound)

		h.time.Advance(time.Minute)
		names := func(s member.KeyStatus) (out []string) {
			keys, err := h.ListKeys(ctx, h.admin, u.ID, s)
			require.NoError(t, err)
			for _, k := range keys {
				out = append(out, k.Name)
				require.Equal(t, k.Name == "robot" || k.Name == "next", k.Active, k.Name)
			}
			return out
		}
		require.ElementsMatch(t, []string{"robot"}, names(member.KeysActive))
		require.ElementsMatch(t, []string{"gone"}, names(member.KeysRevoked))
		require.ElementsMatch(t, []string{"short"}, names(member.KeysExpired))
		require.ElementsMatch(t, []string{"robot", "short", "gone"}, names(""))
		_, err = h.ListKeys(ctx, h.admin, u.ID, "some")
		requireKind(t, err, fault.Invalid)

		for _, dead := range []string{short.ID, gone.ID} {
			_, err = h.RotateKey(ctx, h.admin, member.RotateKeyParams{ServiceUserID: u.ID, KeyID: dead})
			requireKind(t, err, fault.BadRequest)
		}
		_, err = h.RotateKey(ctx, h.admin, member.RotateKeyParams{ServiceUserID: u.ID, KeyID: "nope"})
		requireKind(t, err, fault.NotFound)

		a, err := h.CreateKey(ctx, h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "next"})
		require.NoError(t, err)
		b, err := h.RotateKey(ctx, h.admin, member.RotateKeyParams{ServiceUserID: u.ID, KeyID: a.ID, KeepCurrent: true})
		require.NoError(t, err)
		h.subject(t, a.Token.Reveal())
		c, err := h.RotateKey(ctx, h.admin, member.RotateKeyParams{ServiceUserID: u.ID, KeyID: b.ID})
		require.NoError(t, err)
		require.Equal(t, "next", c.Name)
		h.refused(t, b.Token.Reveal())
		require.Equal(t, u.ID, h.subject(t, c.Token.Reveal()).ID)
		require.Contains(t, h.actions(t, ""), audit.RotateServiceUserAPIKey)

		for _, bad := range []member.CreateKeyParams{
			{ServiceUserID: u.ID},
			{ServiceUserID: u.ID, Name: "x", ExpiresAt: h.db.Clock().Now()},
			{ServiceUserID: u.ID, Name: "x", ExpiresAt: time.Unix(1<<53, 0)},
		} {
			_, err = h.CreateKey(ctx, h.admin, bad)
			requireKind(t, err, fault.Invalid)
		}
		_, err = h.CreateKey(ctx, h.admin, member.CreateKeyParams{ServiceUserID: "nobody", Name: "x"})
		requireKind(t, err, fault.NotFound)
	})
}

func TestNobodyMakesAKeyForSomeoneWhoHoldsMore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, token := h.provision(t, "", h.role(t, access.Enterprise, access.ManageAccountServiceUsers))
		weak := h.subject(t, token)
		_, err := h.CreateKey(ctx, weak, member.CreateKeyParams{ServiceUserID: h.admin.ID, Name: "climb"})
		requireKind(t, err, fault.Forbidden)
		_, err = h.RotateKey(ctx, weak, member.RotateKeyParams{ServiceUserID: h.admin.ID, KeyID: h.admin.KeyID})
		requireKind(t, err, fault.Forbidden)
		inOrg, _ := h.provision(t, h.first.OrgID, access.RoleOrgMember)
		_, err = h.CreateKey(ctx, weak, member.CreateKeyParams{ServiceUserID: inOrg.ID, Name: "climb"})
		requireKind(t, err, fault.Forbidden)
		plain, _ := h.provision(t, "", access.RoleEnterpriseMember)
		_, err = h.CreateKey(ctx, weak, member.CreateKeyParams{ServiceUserID: plain.ID, Name: "fine"})
		require.NoError(t, err)
	})
}

func TestWorkerKeysReachTheirOutpostsOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		k, token, err := h.CreateWorkerKey(ctx, h.admin, member.WorkerKeyParams{
			Name: "rack", Outposts: []string{"default", "gpu"}, Orgs: []string{h.first.OrgID}, ExpiresAt: h.db.Clock().Now().Add(time.Hour),
		})
		require.NoError(t, err)
		s := h.subject(t, token.Reveal())
		require.Equal(t, access.Worker, s.Kind)
		require.Equal(t, []string{"default", "gpu"}, s.Outposts)
		require.Equal(t, []string{h.first.OrgID}, s.WorkerOrgs)
		for p := access.None + 1; int(p) <= len(access.Catalogue()); p++ {
			require.False(t, s.Can(p, "") || s.Can(p, h.first.OrgID), "a worker holds no permission, not even %s", p)
		}
		everywhere, _, err := h.CreateWorkerKey(ctx, h.admin, member.WorkerKeyParams{Name: "all", Outposts: []string{"default"}})
		require.NoError(t, err)
		p, err := h.ListWorkerKeys(ctx, h.admin, page.Request{First: 10})
		require.NoError(t, err)
		require.Len(t, p.Items, 2)
		require.Equal(t, everywhere.Orgs, p.Items[1].Orgs)
		require.Nil(t, p.Items[1].Orgs)

		_, err = h.RevokeWorkerKey(ctx, h.admin, k.ID)
		require.NoError(t, err)
		h.refused(t, token.Reveal())
		_, err = h.RevokeWorkerKey(ctx, h.admin, k.ID)
		requireKind(t, err, fault.Conflict)
		_, err = h.RevokeWorkerKey(ctx, h.admin, "nope")
		requireKind(t, err, fault.NotFound)
		for _, bad := range []member.WorkerKeyParams{{Name: "x"}, {Outposts: []string{"a"}}, {Name: "x", Outposts: []string{"a"}, Orgs: []string{}}} {
			_, _, err = h.CreateWorkerKey(ctx, h.admin, bad)
			requireKind(t, err, fault.Invalid)
		}
		_, _, err = h.CreateWorkerKey(ctx, h.admin, member.WorkerKeyParams{Name: "x", Outposts: []string{"a"}, Orgs: []string{"org-x"}})
		requireKind(t, err, fault.NotFound)
	})
}

func TestBootstrapHappensOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		again, err := newService(h.db).Bootstrap(ctx, member.BootstrapOptions{})
		require.NoError(t, err)
		require.Nil(t, again)
		orgs, err := h.orgs.List(ctx, h.admin, page.Request{First: 10})
		require.NoError(t, err)
		require.Len(t, orgs.Items, 1)
		require.Equal(t, "Default", orgs.Items[0].Name)
		require.Equal(t, h.first.OrgID, orgs.Items[0].ID)
		require.True(t, h.admin.Can(access.ManageOrganizations, "") && h.admin.Can(access.ManageOrgSecrets, "org-any"))

		// Another process makes a key while this one runs.
		fresh, err := newService(h.db).AdminKey(ctx, member.BootstrapOptions{})
		require.NoError(t, err)
		require.Equal(t, h.first.ServiceUserID, fresh.ServiceUserID)
		require.Equal(t, h.first.OrgID, fresh.OrgID)
		require.True(t, h.subject(t, fresh.Token.Reveal()).Can(access.ManageOrganizations, ""))

		_, err = h.Delete(ctx, h.admin, h.admin.ID)
		require.NoError(t, err)
		_, err = h.orgs.Delete(ctx, h.admin, h.first.OrgID)
		require.NoError(t, err)
		rescued, err := h.AdminKey(ctx, member.BootstrapOptions{})
		require.NoError(t, err)
		require.NotEqual(t, h.first.ServiceUserID, rescued.ServiceUserID)
		require.Empty(t, rescued.OrgID)
		require.True(t, h.subject(t, rescued.Token.Reveal()).Can(access.ManageOrganizations, ""))
	})
}

func TestBuiltinRolesAreBroughtUpToDate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `UPDATE roles SET permissions = '["ReadAccountMeta","FromALaterRelease"]' WHERE role_id = 'account_admin'`)
			return err
		}))
		weak, err := newService(h.db).Authenticator().Authenticate(ctx, h.first.Token.Reveal(), noAddr)
		require.NoError(t, err)
		require.False(t, weak.Can(access.ManageOrganizations, ""))
		other := newService(h.db)
		_, err = other.Bootstrap(ctx, member.BootstrapOptions{})
		require.NoError(t, err)
		require.True(t, h.subject(t, h.first.Token.Reveal()).Can(access.ManageOrganizations, ""))
	})
}

func TestTheEndOfAnOrganizationEndsItsServiceUsersAndRoles(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		_, bound := h.provision(t, orgID, access.RoleOrgMember)
		u, roaming := h.provision(t, "", access.RoleEnterpriseMember)
		_, err := h.AssignRole(ctx, h.admin, member.RoleParams{OrgID: orgID, ServiceUserID: u.ID, RoleID: access.RoleOrgMember})
		require.NoError(t, err)
		other, err := h.orgs.Create(ctx, h.admin, org.CreateParams{Name: "other"})
		require.NoError(t, err)
		_, safe := h.provision(t, other.ID, access.RoleOrgMember)
		require.True(t, h.subject(t, roaming).Can(access.UseDevinSessions, orgID))
		h.subject(t, bound)

		_, err = h.orgs.Delete(ctx, h.admin, orgID)
		require.NoError(t, err)
		h.refused(t, bound)
		require.False(t, h.subject(t, roaming).Can(access.UseDevinSessions, orgID))
		h.subject(t, safe)
		_, _, err = h.Provision(ctx, h.admin, member.ProvisionParams{OrgID: orgID, Name: "x", RoleID: access.RoleOrgMember, TTLSeconds: 1})
		requireKind(t, err, fault.NotFound)
		require.Contains(t, h.actions(t, orgID), audit.DeleteServiceUser)
	})
}
