package member_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// house is the rooms of one process on a database of its own, with an enterprise admin and one organization.
type house struct {
	*member.Service
	db    *db.DB
	time  *clock.Fake
	orgs  *org.Service
	audit *audit.Service
	admin access.Subject
	first *member.Admin
}

func newService(d *db.DB) *member.Service {
	return member.New(d, events.New(), slog.New(slog.DiscardHandler), member.AuthOptions{})
}

func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			d := dbtest.Open(t, e, fake.Clock())
			h := &house{Service: newService(d), db: d, time: fake, audit: audit.New(d)}
			h.orgs = org.New(d, h.Service, org.Options{})
			first, err := h.Bootstrap(t.Context(), member.BootstrapOptions{})
			require.NoError(t, err)
			require.NotNil(t, first)
			h.first = first
			h.admin = h.subject(t, first.Token.Reveal())
			f(t, h)
		})
	}
}

// subject authenticates a token that must be good.
func (h *house) subject(t *testing.T, token string) access.Subject {
	t.Helper()
	s, err := h.Authenticator().Authenticate(t.Context(), token, noAddr)
	require.NoError(t, err)
	return s
}

func (h *house) provision(t *testing.T, orgID, role string) (member.ServiceUser, string) {
	t.Helper()
	u, k, err := h.Provision(t.Context(), h.admin, member.ProvisionParams{OrgID: orgID, Name: "robot", RoleID: role, TTLSeconds: 3600})
	require.NoError(t, err)
	return u, k.Token.Reveal()
}

// role writes a custom role with exactly these permissions and what they imply.
func (h *house) role(t *testing.T, scope access.Scope, ps ...access.Permission) string {
	t.Helper()
	names := `["` + ps[0].String() + `"`
	for _, p := range ps[1:] {
		names += `,"` + p.String() + `"`
	}
	roleID := "role-" + string(scope) + "-" + ps[0].String()
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO roles (role_id, role_name, role_type, permissions, is_builtin, created_at)
			VALUES ($1, 'custom', $2, $3, 0, 0)`, roleID, string(scope), names+"]")
		return err
	}))
	return roleID
}

func (h *house) actions(t *testing.T, orgID string) []audit.Action {
	t.Helper()
	p, err := h.audit.List(t.Context(), h.admin, audit.ListParams{OrgID: orgID, Order: audit.Asc, Page: page.Request{First: 200}})
	require.NoError(t, err)
	var out []audit.Action
	for _, l := range p.Items {
		out = append(out, l.Action)
	}
	return out
}

func requireKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

func TestProvisionMakesAServiceUserWithOneKeyThatEndsWithIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		before := len(h.actions(t, ""))
		u, token := h.provision(t, "", access.RoleEnterpriseMember)
		require.Equal(t, []audit.Action{audit.CreateServiceUser, audit.CreateServiceUserAPIKey}, h.actions(t, "")[before:])
		require.Equal(t, h.db.Clock().Now().Add(time.Hour), u.ExpiresAt)
		got, err := h.Get(t.Context(), h.admin, u.ID)
		require.NoError(t, err)
		require.Equal(t, u, got)

		s := h.subject(t, token)
		require.Equal(t, access.ServiceUser, s.Kind)
		require.True(t, s.EnterpriseScope())
		require.False(t, s.Can(access.ManageOrganizations, ""))

		h.time.Advance(time.Hour - time.Millisecond)
		h.subject(t, token)
		h.time.Advance(time.Millisecond)
		_, err = h.Authenticator().Authenticate(t.Context(), token, noAddr)
		requireKind(t, err, fault.Unauthenticated)
		_, err = newService(h.db).Authenticator().Authenticate(t.Context(), token, noAddr)
		requireKind(t, err, fault.Unauthenticated)

		p, err := h.List(t.Context(), h.admin, member.ListParams{Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, p.Items, 1, "an expired one is not listed")
		p, err = h.List(t.Context(), h.admin, member.ListParams{IncludeInactive: true, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, p.Items, 2)
		_, err = h.CreateKey(t.Context(), h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "late"})
		requireKind(t, err, fault.Conflict)
	})
}

func TestWhoMakesAnOrganizationsServiceUsersSeesThem(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		boss, token := h.provision(t, orgID, access.RoleOrgAdmin)
		plain, plainToken := h.provision(t, orgID, access.RoleOrgMember)
		visitor, _ := h.provision(t, "", access.RoleEnterpriseMember)
		_, err := h.AssignRole(ctx, h.admin, member.RoleParams{OrgID: orgID, ServiceUserID: visitor.ID, RoleID: access.RoleOrgMember})
		require.NoError(t, err)
		_, err = h.CreateOrgKey(ctx, h.admin, orgID)
		require.NoError(t, err)
		p, err := h.ListOwn(ctx, h.subject(t, token), orgID, page.Request{First: 1})
		require.NoError(t, err)
		require.True(t, p.More)
		require.Equal(t, boss.ID, p.Items[0].ID)
		p, err = h.ListOwn(ctx, h.subject(t, token), orgID, page.Request{First: 1, After: p.End})
		require.NoError(t, err)
		require.False(t, p.More)
		require.Equal(t, plain.ID, p.Items[0].ID)
		require.Len(t, p.Items[0].Roles, 1)
		_, err = h.ListOwn(ctx, h.subject(t, plainToken), orgID, page.Request{First: 1})
		requireKind(t, err, fault.Forbidden)
		_, err = h.ListOwn(ctx, h.subject(t, token), "org-other", page.Request{First: 1})
		requireKind(t, err, fault.Forbidden)
		_, err = h.List(ctx, h.subject(t, token), member.ListParams{OrgID: orgID, Page: page.Request{First: 1}})
		requireKind(t, err, fault.Forbidden)
	})
}

func TestProvisionRefusesWhatTheContractRefuses(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		manager := h.role(t, access.Enterprise, access.ManageAccountServiceUsers)
		u, token := h.provision(t, "", manager)
		_ = u
		weak := h.subject(t, token)
		_, orgToken := h.provision(t, orgID, access.RoleOrgAdmin)
		orgAdmin := h.subject(t, orgToken)
		other, err := h.orgs.Create(ctx, h.admin, org.CreateParams{Name: "other"})
		require.NoError(t, err)

		type p = member.ProvisionParams
		for name, c := range map[string]struct {
			sub  access.Subject
			p    p
			want fault.Kind
		}{
			"more than one holds":           {weak, p{Name: "x", RoleID: access.RoleEnterpriseAdmin, TTLSeconds: 1}, fault.Forbidden},
			"more than one holds in an org": {weak, p{OrgID: orgID, Name: "x", RoleID: access.RoleOrgMember, TTLSeconds: 1}, fault.Forbidden},
			"an org key on the enterprise":  {orgAdmin, p{Name: "x", RoleID: access.RoleEnterpriseMember, TTLSeconds: 1}, fault.Forbidden},
			"an org key on another org":     {orgAdmin, p{OrgID: other.ID, Name: "x", RoleID: access.RoleOrgMember, TTLSeconds: 1}, fault.Forbidden},
			"an org key on an unknown org":  {orgAdmin, p{OrgID: "org-x", Name: "x", RoleID: access.RoleOrgMember, TTLSeconds: 1}, fault.Forbidden},
			"an admin on an unknown org":    {h.admin, p{OrgID: "org-x", Name: "x", RoleID: access.RoleOrgMember, TTLSeconds: 1}, fault.NotFound},
			"an unknown role":               {h.admin, p{Name: "x", RoleID: "nope", TTLSeconds: 1}, fault.NotFound},
			"an org role in the enterprise": {h.admin, p{Name: "x", RoleID: access.RoleOrgAdmin, TTLSeconds: 1}, fault.Invalid},
			"an enterprise role in an org":  {h.admin, p{OrgID: orgID, Name: "x", RoleID: access.RoleEnterpriseMember, TTLSeconds: 1}, fault.Invalid},
			"no name":                       {h.admin, p{RoleID: access.RoleEnterpriseMember, TTLSeconds: 1}, fault.Invalid},
			"no role":                       {h.admin, p{Name: "x", TTLSeconds: 1}, fault.Invalid},
			"no life":                       {h.admin, p{Name: "x", RoleID: access.RoleEnterpriseMember}, fault.Invalid},
			"too long a life":               {h.admin, p{Name: "x", RoleID: access.RoleEnterpriseMember, TTLSeconds: member.MaxTTLSeconds + 1}, fault.Invalid},
		} {
			_, _, err := h.Provision(ctx, c.sub, c.p)
			require.Error(t, err, name)
			require.Equal(t, c.want, fault.KindOf(err), "%s: %v", name, err)
		}
		_, _, err = h.Provision(ctx, orgAdmin, p{OrgID: orgID, Name: "x", RoleID: access.RoleOrgAdmin, TTLSeconds: 1})
		require.NoError(t, err, "one may give what one holds, the right to give included")
		_, _, err = h.Provision(ctx, weak, p{Name: "x", RoleID: manager, TTLSeconds: 1})
		require.NoError(t, err)
	})
}

func TestRolesAreGivenChangedAndTaken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		u, token := h.provision(t, "", access.RoleEnterpriseMember)
		in := func(orgID, role string) member.RoleParams {
			return member.RoleParams{OrgID: orgID, ServiceUserID: u.ID, RoleID: role}
		}
		require.False(t, h.subject(t, token).Can(access.UseDevinSessions, orgID))

		_, err := h.AssignRole(ctx, h.admin, in("", access.RoleEnterpriseAdmin))
		requireKind(t, err, fault.Conflict)
		_, err = h.ChangeRole(ctx, h.admin, in(orgID, access.RoleOrgMember))
		requireKind(t, err, fault.NotFound)
		got, err := h.AssignRole(ctx, h.admin, in(orgID, access.RoleOrgMember))
		require.NoError(t, err)
		require.Len(t, got.Roles, 2)
		require.Empty(t, got.Roles[0].OrgID)
		require.Equal(t, access.RoleOrgMember, got.Roles[1].Role.ID)
		require.True(t, h.subject(t, token).Can(access.UseDevinSessions, orgID), "the change counts at once in this process")
		_, err = h.AssignRole(ctx, h.admin, in(orgID, access.RoleOrgAdmin))
		requireKind(t, err, fault.Conflict)

		_, err = h.ChangeRole(ctx, h.admin, in(orgID, access.RoleOrgAdmin))
		require.NoError(t, err)
		require.True(t, h.subject(t, token).Can(access.ManageOrgSecrets, orgID))
		p, err := h.List(ctx, h.admin, member.ListParams{OrgID: orgID, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, p.Items, 1, "an enterprise service user with a role in the organization is listed there")

		got, err = h.RemoveRole(ctx, h.admin, orgID, u.ID)
		require.NoError(t, err)
		require.Len(t, got.Roles, 1)
		require.False(t, h.subject(t, token).Can(access.UseDevinSessions, orgID))
		_, err = h.RemoveRole(ctx, h.admin, orgID, u.ID)
		requireKind(t, err, fault.NotFound)
		_, err = h.RemoveRole(ctx, h.admin, "", u.ID)
		requireKind(t, err, fault.Conflict)
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.AssignServiceUserRole, audit.AssignServiceUserRole, audit.RemoveServiceUserRole},
			h.actions(t, orgID))

		for name, c := range map[string]struct {
			p    member.RoleParams
			want fault.Kind
		}{
			"unknown role":         {in(orgID, "nope"), fault.NotFound},
			"wrong scope":          {in(orgID, access.RoleEnterpriseMember), fault.Invalid},
			"wrong scope above":    {in("", access.RoleOrgMember), fault.Invalid},
			"no role":              {in(orgID, ""), fault.Invalid},
			"unknown organization": {in("org-x", access.RoleOrgMember), fault.NotFound},
			"unknown service user": {member.RoleParams{OrgID: orgID, ServiceUserID: "nobody", RoleID: access.RoleOrgMember}, fault.NotFound},
		} {
			_, err := h.AssignRole(ctx, h.admin, c.p)
			require.Error(t, err, name)
			require.Equal(t, c.want, fault.KindOf(err), "%s: %v", name, err)
		}
	})
}

func TestAMemberManagerGivesNoMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		_, token := h.provision(t, "", h.role(t, access.Enterprise, access.ManageAccountMembership))
		manager := h.subject(t, token)
		u, _ := h.provision(t, "", access.RoleEnterpriseMember)
		_, err := h.ChangeRole(ctx, manager, member.RoleParams{ServiceUserID: u.ID, RoleID: access.RoleEnterpriseAdmin})
		requireKind(t, err, fault.Forbidden)
		_, err = h.AssignRole(ctx, manager, member.RoleParams{OrgID: orgID, ServiceUserID: u.ID, RoleID: access.RoleOrgMember})
		requireKind(t, err, fault.Forbidden)
		role := h.role(t, access.Org, access.ViewOrgMembership)
		_, err = h.AssignRole(ctx, manager, member.RoleParams{OrgID: orgID, ServiceUserID: u.ID, RoleID: role})
		require.NoError(t, err)
	})
}

func TestAServiceUserOfAnOrganizationStaysThere(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		u, token := h.provision(t, orgID, access.RoleOrgMember)
		s := h.subject(t, token)
		require.Equal(t, orgID, s.OrgID)
		other, err := h.orgs.Create(ctx, h.admin, org.CreateParams{Name: "other"})
		require.NoError(t, err)
		_, err = h.AssignRole(ctx, h.admin, member.RoleParams{ServiceUserID: u.ID, RoleID: access.RoleEnterpriseMember})
		requireKind(t, err, fault.Conflict)
		_, err = h.AssignRole(ctx, h.admin, member.RoleParams{OrgID: other.ID, ServiceUserID: u.ID, RoleID: access.RoleOrgMember})
		requireKind(t, err, fault.Conflict)
		_, err = h.ChangeRole(ctx, h.admin, member.RoleParams{OrgID: orgID, ServiceUserID: u.ID, RoleID: access.RoleOrgAdmin})
		require.NoError(t, err)
		require.True(t, h.subject(t, token).Can(access.ManageOrgSecrets, orgID))
	})
}

func TestDeleteEndsAServiceUserAndItsKeys(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		u, token := h.provision(t, "", access.RoleEnterpriseMember)
		k, err := h.CreateKey(ctx, h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "second"})
		require.NoError(t, err)
		h.subject(t, token)
		got, err := h.Delete(ctx, h.admin, u.ID)
		require.NoError(t, err)
		require.Equal(t, h.db.Clock().Now(), got.DeletedAt)
		for _, key := range []string{token, k.Token.Reveal()} {
			_, err = h.Authenticator().Authenticate(ctx, key, noAddr)
			requireKind(t, err, fault.Unauthenticated)
		}
		_, err = h.Get(ctx, h.admin, u.ID)
		requireKind(t, err, fault.NotFound)
		_, err = h.Delete(ctx, h.admin, u.ID)
		requireKind(t, err, fault.NotFound)
		_, err = h.ListKeys(ctx, h.admin, u.ID, member.KeysAll)
		requireKind(t, err, fault.NotFound)
		p, err := h.List(ctx, h.admin, member.ListParams{IncludeInactive: true, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Equal(t, got.DeletedAt, p.Items[1].DeletedAt)
	})
}

func TestListsPageWithoutGapsOrRepeats(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		want := []string{h.admin.ID}
		for range 7 {
			u, _ := h.provision(t, "", access.RoleEnterpriseMember) // all at the same time: the id decides
			want = append(want, u.ID)
		}
		var got []string
		r := page.Request{First: 3}
		for {
			p, err := h.List(t.Context(), h.admin, member.ListParams{Page: r})
			require.NoError(t, err)
			for _, u := range p.Items {
				got = append(got, u.ID)
				require.Len(t, u.Roles, 1)
			}
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.ElementsMatch(t, want, got)

		var roles []string
		r = page.Request{First: 2}
		for {
			p, err := h.Roles(t.Context(), h.admin, r)
			require.NoError(t, err)
			for _, x := range p.Items {
				roles = append(roles, x.ID)
			}
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.Equal(t, []string{"account_admin", "account_member", "org_admin", "org_deepwiki_only", "org_member"}, roles)
		x, err := h.Role(t.Context(), h.admin, access.RoleOrgAdmin)
		require.NoError(t, err)
		require.True(t, x.Builtin && x.Permissions.Has(access.ManageOrgSecrets))
		_, err = h.Role(t.Context(), h.admin, "nope")
		requireKind(t, err, fault.NotFound)
	})
}
