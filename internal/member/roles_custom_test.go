package member_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func names(ps ...access.Permission) []string { return access.SetOf(ps...).Names() }

func (h *house) customRole(t *testing.T, typ access.Scope, ps ...access.Permission) access.Role {
	t.Helper()
	r, err := h.CreateRole(t.Context(), h.admin, member.CreateRoleParams{Name: "custom", Type: typ, Permissions: names(ps...)})
	require.NoError(t, err)
	return r
}

func TestACustomRoleHoldsWhatItNamesAndWhatThatImplies(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r, err := h.CreateRole(t.Context(), h.admin, member.CreateRoleParams{
			Name: "People", Type: access.Enterprise, Permissions: []string{"ManageAccountMembership", "ManageAccountMembership", "UseDevinSessions"},
		})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(r.ID, "role-"))
		require.False(t, r.Builtin)
		require.Equal(t, access.SetOf(access.ManageAccountMembership, access.UseDevinSessions), r.Permissions)
		got, err := h.Role(t.Context(), h.admin, r.ID)
		require.NoError(t, err)
		require.Equal(t, r, got)
		p, err := h.Roles(t.Context(), h.admin, page.Request{First: 100})
		require.NoError(t, err)
		require.Contains(t, p.Items, r)

		// An organization's permission in a role of the enterprise counts in every organization.
		_, token := h.provision(t, "", r.ID)
		sub := h.subject(t, token)
		require.True(t, sub.Can(access.UseDevinSessions, h.first.OrgID))
		require.True(t, sub.Can(access.ViewOrgMembership, "org-any"))
		require.False(t, sub.Can(access.ManageOrganizations, ""))

		empty, err := h.CreateRole(t.Context(), h.admin, member.CreateRoleParams{Name: "People", Type: access.Org})
		require.NoError(t, err, "names are not unique, and a role may hold nothing")
		require.Empty(t, empty.Permissions.Names())
	})
}

func TestABadRoleIsRefusedByItsField(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for field, p := range map[string]member.CreateRoleParams{
			"role_name":     {Name: "", Type: access.Org},
			"role_type":     {Name: "x", Type: "team"},
			"permissions.1": {Name: "x", Type: access.Enterprise, Permissions: []string{"UseDevinSessions", "FlyToTheMoon"}},
			"permissions.0": {Name: "x", Type: access.Org, Permissions: []string{"ManageOrganizations"}},
		} {
			_, err := h.CreateRole(t.Context(), h.admin, p)
			requireKind(t, err, fault.Invalid)
			require.Equal(t, field, strings.Join(fault.As(err).Fields[0].Loc[1:], "."))
		}
		_, err := h.CreateRole(t.Context(), h.admin, member.CreateRoleParams{Name: strings.Repeat("é", 257), Type: access.Org})
		requireKind(t, err, fault.Invalid)
		r := h.customRole(t, access.Org, access.UseDevinSessions)
		enterprise, empty := access.Enterprise, ""
		for field, p := range map[string]member.UpdateRoleParams{
			"role_type":     {RoleID: r.ID, Type: &enterprise},
			"role_name":     {RoleID: r.ID, Name: &empty},
			"permissions.0": {RoleID: r.ID, Permissions: &[]string{"ManageBilling"}},
		} {
			_, err := h.UpdateRole(t.Context(), h.admin, p)
			requireKind(t, err, fault.Invalid)
			require.Equal(t, field, strings.Join(fault.As(err).Fields[0].Loc[1:], "."))
		}
		_, err = h.UpdateRole(t.Context(), h.admin, member.UpdateRoleParams{RoleID: "role-none", Permissions: &[]string{"x"}})
		requireKind(t, err, fault.Invalid) // before the lookup
		_, err = h.UpdateRole(t.Context(), h.admin, member.UpdateRoleParams{RoleID: "role-none"})
		requireKind(t, err, fault.NotFound)
		_, err = h.DeleteRole(t.Context(), h.admin, "role-none")
		requireKind(t, err, fault.NotFound)
	})
}

func TestNobodyMakesOrChangesARoleBeyondTheirOwnPermissions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		clerkRole := h.customRole(t, access.Enterprise, access.ManageAccountMembership, access.ViewOrgSessions)
		u, token := h.provision(t, "", clerkRole.ID)
		_, err := h.AssignRole(ctx, h.admin, member.RoleParams{ServiceUserID: u.ID, OrgID: h.first.OrgID, RoleID: access.RoleOrgAdmin})
		require.NoError(t, err)
		clerk := h.subject(t, token)
		within, err := h.CreateRole(ctx, clerk, member.CreateRoleParams{Name: "viewer", Type: access.Org, Permissions: names(access.ViewOrgSessions)})
		require.NoError(t, err)
		// What is held in one organization only isn't enough: the role may be given in any.
		for _, p := range []access.Permission{access.ManageBilling, access.ManageOrgSecrets} {
			typ := p.Scope()
			_, err := h.CreateRole(ctx, clerk, member.CreateRoleParams{Name: "x", Type: typ, Permissions: names(p)})
			requireKind(t, err, fault.Forbidden)
			require.ErrorContains(t, err, p.String())
		}
		wider := names(access.ViewOrgSessions, access.ManageOrgSecrets)
		_, err = h.UpdateRole(ctx, clerk, member.UpdateRoleParams{RoleID: within.ID, Permissions: &wider})
		requireKind(t, err, fault.Forbidden)
		// Nor may they weaken or delete one that holds more than they do.
		strong := h.customRole(t, access.Org, access.ManageOrgSecrets)
		none := []string{}
		_, err = h.UpdateRole(ctx, clerk, member.UpdateRoleParams{RoleID: strong.ID, Permissions: &none})
		requireKind(t, err, fault.Forbidden)
		_, err = h.DeleteRole(ctx, clerk, strong.ID)
		requireKind(t, err, fault.Forbidden)
		_, err = h.UpdateRole(ctx, clerk, member.UpdateRoleParams{RoleID: within.ID, Permissions: &none})
		require.NoError(t, err)
		_, err = h.DeleteRole(ctx, clerk, within.ID)
		require.NoError(t, err)

		// Without ManageAccountMembership nothing is made, changed or deleted; ViewAccountMembership reads.
		viewer := access.As("test", access.ViewAccountMembership, access.ManageOrgSecrets)
		_, err = h.Role(ctx, viewer, strong.ID)
		require.NoError(t, err)
		_, err = h.CreateRole(ctx, viewer, member.CreateRoleParams{Name: "x", Type: access.Org})
		requireKind(t, err, fault.Forbidden)
		_, err = h.UpdateRole(ctx, viewer, member.UpdateRoleParams{RoleID: strong.ID, Permissions: &none})
		requireKind(t, err, fault.Forbidden)
		_, err = h.DeleteRole(ctx, viewer, strong.ID)
		requireKind(t, err, fault.Forbidden)
	})
}

func TestBuiltInRolesCanNeitherBeChangedNorDeleted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, r := range access.Builtin() {
			name := "x"
			_, err := h.UpdateRole(t.Context(), h.admin, member.UpdateRoleParams{RoleID: r.ID, Name: &name})
			requireKind(t, err, fault.Conflict)
			_, err = h.DeleteRole(t.Context(), h.admin, r.ID)
			requireKind(t, err, fault.Conflict)
		}
	})
}

func TestARoleInUseIsNotDeletedAndSaysByHowMany(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r := h.customRole(t, access.Org, access.UseDevinSessions)
		h.provision(t, h.first.OrgID, r.ID)
		gone, _ := h.provision(t, h.first.OrgID, r.ID)
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			// One whose roles were left when it was deleted, as an earlier release did.
			if _, err := db.Exec(ctx, tx, `UPDATE service_users SET deleted_at = 1 WHERE service_user_id = $1`, gone.ID); err != nil {
				return err
			}
			for _, s := range []string{
				`INSERT INTO users (user_id, email, email_key, name, created_at) VALUES ('user-1', 'ada@example.com', 'ada@example.com', 'Ada', 0)`,
				`INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at)
					VALUES ('user-1', 'org-a', 'user', '` + r.ID + `', 0), ('user-1', 'org-b', 'user', '` + r.ID + `', 0),
						('user-2', 'org-a', 'user', '` + r.ID + `', 0)`,
				`INSERT INTO idp_groups (idp_group_name, created_at) VALUES ('devs', 0)`,
				`INSERT INTO idp_group_roles (idp_group_name, org_id, role_id, created_at) VALUES ('devs', 'org-a', '` + r.ID + `', 0)`,
			} {
				if _, err := db.Exec(ctx, tx, s); err != nil {
					return err
				}
			}
			return nil
		}))
		_, err := h.DeleteRole(ctx, h.admin, r.ID)
		requireKind(t, err, fault.Conflict)
		require.Contains(t, fault.As(err).Message, "2 people, 1 service user, 1 group")
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			for _, s := range []string{
				`DELETE FROM role_assignments WHERE principal_id <> '` + gone.ID + `' AND role_id = '` + r.ID + `'`, `DELETE FROM idp_group_roles`,
			} {
				if _, err := db.Exec(ctx, tx, s); err != nil {
					return err
				}
			}
			return nil
		}))
		got, err := h.DeleteRole(ctx, h.admin, r.ID)
		require.NoError(t, err)
		require.Equal(t, r, got)
		_, err = h.Role(ctx, h.admin, r.ID)
		requireKind(t, err, fault.NotFound)
	})
}

func TestChangesOfRolesAreAudited(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		before := len(h.actions(t, ""))
		r := h.customRole(t, access.Org, access.ViewOrgSessions)
		name, wider := "renamed", names(access.ViewOrgSessions, access.UseDevinSessions)
		_, err := h.UpdateRole(ctx, h.admin, member.UpdateRoleParams{RoleID: r.ID, Name: &name, Permissions: &wider})
		require.NoError(t, err)
		_, err = h.UpdateRole(ctx, h.admin, member.UpdateRoleParams{RoleID: r.ID, Name: &name})
		require.NoError(t, err, "what changes nothing is no decision")
		_, err = h.DeleteRole(ctx, h.admin, r.ID)
		require.NoError(t, err)
		require.Equal(t, []audit.Action{audit.CreateRole, audit.UpdateRole, audit.DeleteRole}, h.actions(t, "")[before:])
		logs, err := h.audit.List(ctx, h.admin, audit.ListParams{Action: audit.UpdateRole, Page: page.Request{First: 1}})
		require.NoError(t, err)
		require.JSONEq(t, `{"role_id":"`+r.ID+`","roles":["`+r.ID+`"],"role_name":"renamed","role_type":"org","permissions":["ViewOrgSessions","UseDevinSessions"],
			"previous_role_name":"custom","previous_permissions":["ViewOrgSessions"]}`, string(logs.Items[0].Data))
	})
}

func TestAChangedRoleCountsEverywhereWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := dbtest.URL(t, e)
			a, b := process(t, url, events.New()), process(t, url, events.New()) // two hubs: no notice passes between them
			ctx := t.Context()
			first, err := a.Bootstrap(ctx, member.BootstrapOptions{})
			require.NoError(t, err)
			admin, err := a.Authenticator().Authenticate(ctx, first.Token.Reveal(), noAddr)
			require.NoError(t, err)
			r, err := a.CreateRole(ctx, admin, member.CreateRoleParams{Name: "r", Type: access.Enterprise, Permissions: names(access.ManageBilling)})
			require.NoError(t, err)
			_, k, err := a.Provision(ctx, admin, member.ProvisionParams{Name: "x", RoleID: r.ID, TTLSeconds: 60})
			require.NoError(t, err)
			can := func(s *member.Service) bool {
				sub, err := s.Authenticator().Authenticate(ctx, k.Token.Reveal(), noAddr)
				require.NoError(t, err)
				return sub.Can(access.ManageBilling, "")
			}
			require.True(t, can(a) && can(b))
			none := []string{}
			_, err = a.UpdateRole(ctx, admin, member.UpdateRoleParams{RoleID: r.ID, Permissions: &none})
			require.NoError(t, err)
			require.False(t, can(a), "at once where it was changed")
			var real clock.Clock
			begun := real.Now()
			require.Eventually(t, func() bool { return !can(b) }, 10*time.Second, 5*time.Millisecond)
			require.Less(t, real.Since(begun), 2*time.Second)
		})
	}
}

func TestARoleIsNeverGivenAndDeletedAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for range 20 {
			r := h.customRole(t, access.Org, access.UseDevinSessions)
			var wg sync.WaitGroup
			var given, deleted error
			wg.Go(func() {
				_, _, given = h.Provision(t.Context(), h.admin, member.ProvisionParams{OrgID: h.first.OrgID, Name: "x", RoleID: r.ID, TTLSeconds: 60})
			})
			wg.Go(func() { _, deleted = h.DeleteRole(t.Context(), h.admin, r.ID) })
			wg.Wait()
			if deleted == nil {
				requireKind(t, given, fault.NotFound)
			} else {
				requireKind(t, deleted, fault.Conflict)
				require.NoError(t, given)
			}
		}
	})
}
