package member_test

import (
	"context"
	"fmt"
	"slices"
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

// group registers a group and gives it a role in the enterprise.
func (h *house) group(t *testing.T, name, role string) {
	t.Helper()
	_, err := h.RegisterGroups(t.Context(), h.admin, []string{name})
	require.NoError(t, err)
	h.groupIn(t, "", name, role)
}

func (h *house) groupIn(t *testing.T, orgID, name, role string) {
	t.Helper()
	_, err := h.AssignGroupRole(t.Context(), h.admin, member.GroupRoleParams{OrgID: orgID, Group: name, RoleID: role})
	require.NoError(t, err)
}

func namesOf(groups []member.Group) []string {
	out := []string{}
	for _, g := range groups {
		out = append(out, g.Name)
	}
	return out
}

func TestGroupsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, before := t.Context(), len(h.actions(t, ""))
		strange := []string{"a/b", "50%41", "Café | devs", "..", "-", "a\"b'c", strings.Repeat("ü", 256), "Staff", "staff"}
		got, err := h.RegisterGroups(ctx, h.admin, append(strange, "staff", "a/b"))
		require.NoError(t, err)
		require.Equal(t, strange, namesOf(got), "once each, in their order, and compared exactly")
		got, err = h.RegisterGroups(ctx, h.admin, []string{"new", "staff"})
		require.NoError(t, err)
		require.Equal(t, []string{"new", "staff"}, namesOf(got), "known names are answered like new ones")
		require.Equal(t, slices.Repeat([]audit.Action{audit.RegisterIdpGroup}, len(strange)+1), h.actions(t, "")[before:])

		for _, bad := range [][]string{nil, {}, slices.Repeat([]string{"x"}, 101), {"x", ""}, {strings.Repeat("x", 257)}, {"\xff"}, {"a\nb"}, {"   "}} {
			_, err := h.RegisterGroups(ctx, h.admin, bad)
			requireKind(t, err, fault.Invalid)
			require.Equal(t, "idp_group_names", fault.As(err).Fields[0].Loc[1])
		}
		var all []string
		r := page.Request{First: 3}
		for {
			p, err := h.RegisteredGroups(ctx, h.admin, r)
			require.NoError(t, err)
			all = append(all, namesOf(p.Items)...)
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.ElementsMatch(t, append(strange, "new"), all)
		require.Len(t, all, len(strange)+1)
	})
}

func TestAGroupInUseStaysRegistered(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		ada := h.invite(t, "ada@example.com")
		h.group(t, "staff", access.RoleEnterpriseMember)
		h.groupIn(t, orgID, "staff", access.RoleOrgMember)
		require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, []string{"staff"}))
		refused := func() {
			_, err := h.UnregisterGroup(ctx, h.admin, "staff")
			requireKind(t, err, fault.Conflict)
		}
		refused()
		_, err := h.RemoveGroupRole(ctx, h.admin, "", "staff")
		require.NoError(t, err)
		refused()
		_, err = h.RemoveGroupRole(ctx, h.admin, orgID, "staff")
		require.NoError(t, err)
		refused()
		require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, nil))
		g, err := h.UnregisterGroup(ctx, h.admin, "staff")
		require.NoError(t, err)
		require.Equal(t, "staff", g.Name)
		_, err = h.UnregisterGroup(ctx, h.admin, "staff")
		requireKind(t, err, fault.NotFound)
		require.Equal(t, audit.UnregisterIdpGroup, last(h.actions(t, "")))
		require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, []string{"staff"}))
		p, err := h.Person(ctx, h.admin, ada.ID)
		require.NoError(t, err)
		require.Empty(t, p.GroupRoles)
	})
}

func TestAGroupsFirstRoleIsTheEnterprises(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		_, err := h.RegisterGroups(ctx, h.admin, []string{"staff"})
		require.NoError(t, err)
		in := func(orgID, role string) member.GroupRoleParams {
			return member.GroupRoleParams{OrgID: orgID, Group: "staff", RoleID: role}
		}
		_, err = h.AssignGroupRole(ctx, h.admin, in(orgID, access.RoleOrgMember))
		requireKind(t, err, fault.Conflict)
		_, err = h.ChangeGroupRole(ctx, h.admin, in("", access.RoleEnterpriseAdmin))
		requireKind(t, err, fault.NotFound)
		_, err = h.RemoveGroupRole(ctx, h.admin, "", "staff")
		requireKind(t, err, fault.NotFound)
		none, err := h.Group(ctx, h.admin, "", "staff")
		require.NoError(t, err)
		require.Empty(t, none.Roles)

		g, err := h.AssignGroupRole(ctx, h.admin, in("", access.RoleEnterpriseMember))
		require.NoError(t, err)
		require.Equal(t, []string{":account_member"}, held(g.Roles))
		_, err = h.AssignGroupRole(ctx, h.admin, in("", access.RoleEnterpriseAdmin))
		requireKind(t, err, fault.Conflict)
		_, err = h.Group(ctx, h.admin, orgID, "staff")
		requireKind(t, err, fault.NotFound)
		_, err = h.ChangeGroupRole(ctx, h.admin, in(orgID, access.RoleOrgMember))
		requireKind(t, err, fault.NotFound)
		g, err = h.AssignGroupRole(ctx, h.admin, in(orgID, access.RoleOrgMember))
		require.NoError(t, err)
		require.Equal(t, []string{":account_member", orgID + ":org_member"}, held(g.Roles))
		g, err = h.ChangeGroupRole(ctx, h.admin, in(orgID, access.RoleOrgAdmin))
		require.NoError(t, err)
		require.Equal(t, []string{":account_member", orgID + ":org_admin"}, held(g.Roles))
		read, err := h.Group(ctx, h.admin, orgID, "staff")
		require.NoError(t, err)
		require.Equal(t, g, read)
		g, err = h.RemoveGroupRole(ctx, h.admin, "", "staff")
		require.NoError(t, err)
		require.Equal(t, []string{orgID + ":org_admin"}, held(g.Roles))
		other := h.newOrg(t, "other")
		h.groupIn(t, other, "staff", access.RoleOrgMember) // it holds a role already
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.AddGroupMembership, audit.UpdateGroupMembership}, h.actions(t, orgID))
		_, err = h.RemoveGroupRole(ctx, h.admin, orgID, "staff")
		require.NoError(t, err)
		require.Equal(t, audit.DeleteGroupMembership, last(h.actions(t, orgID)))
	})
}

func TestGroupRolesAreRefusedAsTheContractSays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		h.group(t, "staff", access.RoleEnterpriseMember)
		_, token := h.provision(t, "", h.role(t, access.Enterprise, access.ManageAccountMembership))
		weak, reader := h.subject(t, token), access.As("test", access.ViewAccountMembership)
		type p = member.GroupRoleParams
		for name, c := range map[string]struct {
			sub  access.Subject
			p    p
			want fault.Kind
		}{
			"a reader":                 {reader, p{OrgID: orgID, Group: "staff", RoleID: access.RoleOrgMember}, fault.Forbidden},
			"more than one holds":      {weak, p{OrgID: orgID, Group: "staff", RoleID: access.RoleOrgMember}, fault.Forbidden},
			"more than one holds, all": {weak, p{Group: "staff", RoleID: access.RoleEnterpriseAdmin}, fault.Forbidden},
			"unknown role":             {h.admin, p{OrgID: orgID, Group: "staff", RoleID: "nope"}, fault.NotFound},
			"unknown group":            {h.admin, p{OrgID: orgID, Group: "Staff", RoleID: access.RoleOrgMember}, fault.NotFound},
			"unknown organization":     {h.admin, p{OrgID: "org-x", Group: "staff", RoleID: access.RoleOrgMember}, fault.NotFound},
			"wrong scope":              {h.admin, p{OrgID: orgID, Group: "staff", RoleID: access.RoleEnterpriseMember}, fault.Invalid},
			"wrong scope above":        {h.admin, p{Group: "staff", RoleID: access.RoleOrgMember}, fault.Invalid},
			"no role":                  {h.admin, p{Group: "staff"}, fault.Invalid},
		} {
			for _, f := range []func(context.Context, access.Subject, p) (member.Group, error){h.AssignGroupRole, h.ChangeGroupRole} {
				_, err := f(ctx, c.sub, c.p)
				require.Error(t, err, name)
				require.Equal(t, c.want, fault.KindOf(err), "%s: %v", name, err)
			}
		}
		for name, f := range map[string]func(access.Subject) error{
			"register":   func(s access.Subject) error { _, err := h.RegisterGroups(ctx, s, []string{"x"}); return err },
			"unregister": func(s access.Subject) error { _, err := h.UnregisterGroup(ctx, s, "staff"); return err },
			"remove":     func(s access.Subject) error { _, err := h.RemoveGroupRole(ctx, s, "", "staff"); return err },
			"sync":       func(s access.Subject) error { return h.SyncGroups(ctx, s, "user-x", nil) },
		} {
			err := f(reader)
			require.Equal(t, fault.Forbidden, fault.KindOf(err), "%s: %v", name, err)
		}
		_, err := h.RemoveGroupRole(ctx, h.admin, "org-x", "staff")
		requireKind(t, err, fault.NotFound)
		_, err = h.RemoveGroupRole(ctx, h.admin, "", "nobody")
		requireKind(t, err, fault.NotFound)
	})
}

func TestListsOfGroupsHoldThoseWithARoleThere(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		var all, there []string
		for i := range 7 {
			name := fmt.Sprint("group ", i)
			h.group(t, name, access.RoleEnterpriseMember)
			all = append(all, name)
			if i%3 == 0 {
				h.groupIn(t, orgID, name, access.RoleOrgMember)
				there = append(there, name)
			}
		}
		_, err := h.RegisterGroups(ctx, h.admin, []string{"without roles"})
		require.NoError(t, err)
		for org, want := range map[string][]string{"": all, orgID: there} {
			var got []string
			p := member.GroupsParams{OrgID: org, Page: page.Request{First: 2}}
			for {
				l, err := h.Groups(ctx, h.admin, p)
				require.NoError(t, err)
				for _, g := range l.Items {
					require.Contains(t, held(g.Roles), ":account_member")
				}
				got = append(got, namesOf(l.Items)...)
				if !l.More {
					break
				}
				p.Page.After = l.End
			}
			require.Equal(t, want, got)
		}
		_, err = h.Groups(ctx, h.admin, member.GroupsParams{OrgID: "org-x", Page: page.Request{First: 2}})
		requireKind(t, err, fault.NotFound)
		_, err = h.orgs.Delete(ctx, h.admin, orgID)
		require.NoError(t, err)
		g, err := h.Group(ctx, h.admin, "", "group 0")
		require.NoError(t, err)
		require.Equal(t, []string{":account_member"}, held(g.Roles), "an organization's end takes its group roles along")
	})
}

func TestWhatAPersonMayDoIsTheUnionOfTheirRolesAndTheirGroups(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		other := h.newOrg(t, "other")
		ada := h.invite(t, "ada@example.com")
		token := h.personalKey(t, ada.ID)
		h.join(t, orgID, ada.ID, h.role(t, access.Org, access.ManageOrgSecrets))
		h.group(t, "billing", h.role(t, access.Enterprise, access.ManageBilling))
		h.group(t, "devs", access.RoleEnterpriseMember)
		h.groupIn(t, orgID, "devs", h.role(t, access.Org, access.ManageOrgSchedules))
		// may asks both ways to a subject.
		may := func(want bool, p access.Permission, org string) {
			t.Helper()
			person, err := h.PersonSubject(ctx, ada.ID)
			require.NoError(t, err)
			for _, s := range []access.Subject{person, h.subject(t, token)} {
				require.Equal(t, want, s.Can(p, org), "%s in %q", p, org)
			}
		}
		may(true, access.ManageOrgSecrets, orgID)
		may(false, access.ManageBilling, "")
		require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, []string{"devs", "unknown", "billing", "devs"}))
		may(true, access.ManageOrgSecrets, orgID)
		may(true, access.ManageBilling, "")
		may(true, access.ViewOrgConsumption, other)
		may(true, access.ManageOrgSchedules, orgID)
		may(false, access.ManageOrgSchedules, other)

		h.groupIn(t, other, "devs", access.RoleOrgAdmin)
		may(true, access.ManageOrgSchedules, other)
		_, err := h.ChangeGroupRole(ctx, h.admin, member.GroupRoleParams{OrgID: other, Group: "devs", RoleID: access.RoleOrgMember})
		require.NoError(t, err)
		may(false, access.ManageOrgSecrets, other)
		may(true, access.UseDevinSessions, other)
		_, err = h.RemoveGroupRole(ctx, h.admin, other, "devs")
		require.NoError(t, err)
		may(false, access.UseDevinSessions, other)
		may(true, access.ManageOrgSchedules, orgID)

		p, err := h.Person(ctx, h.admin, ada.ID)
		require.NoError(t, err)
		require.Len(t, p.GroupRoles, 3)
		require.Equal(t, []string{"billing", "devs", "devs"}, []string{p.GroupRoles[0].Group, p.GroupRoles[1].Group, p.GroupRoles[2].Group})
		require.Equal(t, []string{"", "", orgID}, []string{p.GroupRoles[0].OrgID, p.GroupRoles[1].OrgID, p.GroupRoles[2].OrgID})
		require.Len(t, p.Roles, 2, "inherited roles aren't direct ones")

		require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, nil))
		may(false, access.ManageBilling, "")
		may(false, access.ManageOrgSchedules, orgID)
		may(true, access.ManageOrgSecrets, orgID)
	})
}

func TestAPersonWithoutADirectRoleGetsOneByInvitation(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error { // as a sign-in will make them
			_, err := db.Exec(ctx, tx, `INSERT INTO users (user_id, email, email_key, name, created_at)
				VALUES ('google-oauth2|1', 'Ada@example.com', 'ada@example.com', 'Ada', 0), ('okta|2', 'b@example.com', 'b@example.com', 'B', 0)`)
			return err
		}))
		p, err := h.Person(ctx, h.admin, "google-oauth2|1")
		require.NoError(t, err)
		require.Empty(t, p.Roles)
		invited := h.invite(t, "ada@example.com")
		require.Equal(t, "google-oauth2|1", invited.ID)
		require.Equal(t, "Ada", invited.Name)
		require.Equal(t, []string{":account_member"}, held(invited.Roles))
		p, err = h.ChangePersonRole(ctx, h.admin, member.PersonRoleParams{UserID: "okta|2", RoleID: access.RoleEnterpriseMember})
		require.NoError(t, err)
		require.Equal(t, []string{":account_member"}, held(p.Roles))
	})
}

func TestASignInThatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		ada := h.invite(t, "ada@example.com")
		h.group(t, "a", access.RoleEnterpriseMember)
		h.group(t, "b", access.RoleEnterpriseMember)
		before := len(h.actions(t, ""))
		var many []string
		for i := range 1200 {
			many = append(many, fmt.Sprint("unregistered ", i))
		}
		for range 2 {
			require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, append(many, "b", "a", "a", "", "\xff", "a\x00", strings.Repeat("x", 300))))
		}
		require.Equal(t, []audit.Action{audit.SyncIdpGroups}, h.actions(t, "")[before:])
		p, err := h.audit.List(ctx, h.admin, audit.ListParams{Order: audit.Desc, Page: page.Request{First: 1}})
		require.NoError(t, err)
		require.Contains(t, string(p.Items[0].Data), `"joined":["a","b"],"left":[]`)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := h.SyncGroups(context.Background(), h.admin, ada.ID, []string{"a", "b"}[:1+i%2]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestAGroupsRolesReachOtherProcessesWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := dbtest.URL(t, e)
			here, there := process(t, url, events.New()), process(t, url, events.New())
			ctx := t.Context()
			first, err := here.Bootstrap(ctx, member.BootstrapOptions{})
			require.NoError(t, err)
			admin, err := here.Authenticator().Authenticate(ctx, first.Token.Reveal(), noAddr)
			require.NoError(t, err)
			people, err := here.Invite(ctx, admin, member.InviteParams{Emails: []string{"ada@example.com"}, RoleID: access.RoleEnterpriseMember})
			require.NoError(t, err)
			d, err := db.Open(ctx, url, db.Options{Clock: clock.Clock{}})
			require.NoError(t, err)
			t.Cleanup(func() { _ = d.Close() })
			token := (&house{db: d}).personalKey(t, people[0].ID)
			_, err = here.RegisterGroups(ctx, admin, []string{"devs"})
			require.NoError(t, err)
			may := func(p access.Permission, org string) bool {
				s, err := there.Authenticator().Authenticate(ctx, token, noAddr)
				return err == nil && s.Can(p, org)
			}
			require.False(t, may(access.ManageBilling, ""), "the other process holds the person in memory now")
			soon := func(want bool, change func() error) {
				t.Helper()
				require.NoError(t, change())
				require.Eventually(t, func() bool { return may(access.ManageBilling, "") == want }, 2*time.Second, 20*time.Millisecond)
			}
			role := member.GroupRoleParams{Group: "devs", RoleID: access.RoleEnterpriseAdmin}
			_, err = here.AssignGroupRole(ctx, admin, role)
			require.NoError(t, err)
			soon(true, func() error { return here.SyncGroups(ctx, admin, people[0].ID, []string{"devs"}) })
			soon(false, func() error { _, err := here.RemoveGroupRole(ctx, admin, "", "devs"); return err })
			soon(true, func() error { _, err := here.AssignGroupRole(ctx, admin, role); return err })
			role.RoleID = access.RoleEnterpriseMember
			soon(false, func() error { _, err := here.ChangeGroupRole(ctx, admin, role); return err })
			direct := member.PersonRoleParams{UserID: people[0].ID, RoleID: access.RoleEnterpriseAdmin}
			soon(true, func() error { _, err := here.ChangePersonRole(ctx, admin, direct); return err })
			soon(false, func() error { _, err := here.RemovePerson(ctx, admin, people[0].ID); return err })
		})
	}
}
