package member_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

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

// invite makes one member with the enterprise role of a member.
func (h *house) invite(t *testing.T, email string) member.Person {
	t.Helper()
	people, err := h.Invite(t.Context(), h.admin, member.InviteParams{Emails: []string{email}, RoleID: access.RoleEnterpriseMember})
	require.NoError(t, err)
	require.Len(t, people, 1)
	return people[0]
}

// personalKey gives a person a key of their own, which no use case makes yet.
func (h *house) personalKey(t *testing.T, userID string) string {
	t.Helper()
	token := id.NewKey(id.KeyService)
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at) VALUES ($1, $2, 'laptop', $3, 0)`,
			id.New(id.APIKey), userID, id.HashKey(token))
		return err
	}))
	return token
}

func (h *house) newOrg(t *testing.T, name string) string {
	t.Helper()
	o, err := h.orgs.Create(t.Context(), h.admin, org.CreateParams{Name: name})
	require.NoError(t, err)
	return o.ID
}

// join gives a person an organization's role.
func (h *house) join(t *testing.T, orgID, userID, role string) member.Person {
	t.Helper()
	p, err := h.AssignPersonRole(t.Context(), h.admin, member.PersonRoleParams{OrgID: orgID, UserID: userID, RoleID: role})
	require.NoError(t, err)
	return p
}

// held lists roles as organization:role.
func held(roles []member.RoleAssignment) []string {
	out := []string{}
	for _, a := range roles {
		out = append(out, a.OrgID+":"+a.Role.ID)
	}
	return out
}

func emailsOf(people []member.Person) []string {
	out := []string{}
	for _, p := range people {
		out = append(out, p.Email)
	}
	return out
}

func TestKnownAddressesAreReturnedAndNotDoubled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		before := len(h.actions(t, ""))
		invite := func(role string, emails ...string) []member.Person {
			people, err := h.Invite(ctx, h.admin, member.InviteParams{Emails: emails, RoleID: role})
			require.NoError(t, err)
			return people
		}
		first := invite(access.RoleEnterpriseMember, "Ada@Example.com", "grace@example.com", "ADA@example.com")
		require.Equal(t, []string{"Ada@Example.com", "grace@example.com"}, emailsOf(first), "doubles in one call collapse, the first spelling stays")
		require.Equal(t, []string{":account_member"}, held(first[0].Roles))
		require.Empty(t, first[0].Name)
		require.True(t, strings.HasPrefix(first[0].ID, "user-"))

		second := invite(access.RoleEnterpriseAdmin, "new@example.com", "aDa@eXample.com", "grace@example.com")
		require.Equal(t, []string{"new@example.com", "Ada@Example.com", "grace@example.com"}, emailsOf(second))
		require.Equal(t, first[0].ID, second[1].ID)
		require.Equal(t, []string{":account_member"}, held(second[1].Roles), "who is known keeps their role")
		require.Equal(t, []string{":account_admin"}, held(second[0].Roles))
		require.Equal(t, slices.Repeat([]audit.Action{audit.AddEnterpriseMember}, 3), h.actions(t, "")[before:], "one entry for each who is new")

		p, err := h.People(ctx, h.admin, member.PeopleParams{Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, p.Items, 3)
		require.Empty(t, invite(access.RoleEnterpriseMember), "nobody is a list too")
	})
}

func TestOneOfManyInvitationsOfAnAddressAtTheSameTimeMakesTheMember(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var wg sync.WaitGroup
		ids := make([]string, 8)
		for i := range ids {
			wg.Go(func() {
				people, err := h.Invite(context.Background(), h.admin, member.InviteParams{Emails: []string{"ada@example.com"}, RoleID: access.RoleEnterpriseMember})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = people[0].ID
			})
		}
		wg.Wait()
		require.Equal(t, slices.Repeat(ids[:1], len(ids)), ids)
		require.NotEmpty(t, ids[0])
	})
}

func TestAnInvitationThatIsWrongInvitesNobody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, weakToken := h.provision(t, "", h.role(t, access.Enterprise, access.ManageAccountMembership))
		weak := h.subject(t, weakToken)
		good := "good@example.com"
		for _, c := range []struct {
			name  string
			sub   access.Subject
			p     member.InviteParams
			want  fault.Kind
			field string
		}{
			{"not allowed", access.As("test", access.ViewAccountMembership), member.InviteParams{Emails: []string{"x"}}, fault.Forbidden, ""},
			{"more than one holds", weak, member.InviteParams{Emails: []string{good}, RoleID: access.RoleEnterpriseAdmin}, fault.Forbidden, ""},
			{"no role", h.admin, member.InviteParams{Emails: []string{good}}, fault.Invalid, "enterprise_role_id"},
			{"unknown role", h.admin, member.InviteParams{Emails: []string{good}, RoleID: "nope"}, fault.NotFound, ""},
			{"an organization's role", h.admin, member.InviteParams{Emails: []string{good}, RoleID: access.RoleOrgAdmin}, fault.Invalid, "enterprise_role_id"},
			{"too many", h.admin, member.InviteParams{Emails: slices.Repeat([]string{good}, 101), RoleID: access.RoleEnterpriseMember}, fault.Invalid, "emails"},
		} {
			_, err := h.Invite(ctx, c.sub, c.p)
			requireKind(t, err, c.want)
			if c.field != "" {
				require.Equal(t, []string{"body", c.field}, fault.As(err).Fields[0].Loc, c.name)
			}
		}
		for _, bad := range []string{
			"", " ", "ada", "ada@", "@example.com", "a b@example.com", " ada@example.com", "ada@example.com ", "Ada <ada@example.com>", "<ada@example.com>",
			"ada@exa mple.com", "ada@example.com, b@example.com", "ada@example.com\n", "a\x00@example.com", "\xff@example.com",
			strings.Repeat("x", 250) + "@x.de", "ada@@example.com", "(x)ada@example.com",
		} {
			_, err := h.Invite(ctx, h.admin, member.InviteParams{Emails: []string{good, bad}, RoleID: access.RoleEnterpriseMember})
			requireKind(t, err, fault.Invalid)
			require.Equal(t, []string{"body", "emails", "1"}, fault.As(err).Fields[0].Loc, "%q", bad)
		}
		p, err := h.People(ctx, h.admin, member.PeopleParams{Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Empty(t, p.Items)
		for _, fine := range []string{"ada+gantry@sub.example.com", "ädä@exämple.com", "o'hara@example.com", "root@localhost"} {
			require.Equal(t, fine, h.invite(t, fine).Email)
		}
	})
}

func TestAMemberOfTheEnterpriseJoinsOrganizationsAndLeavesThem(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		ada := h.invite(t, "ada@example.com")
		in := func(orgID, role string) member.PersonRoleParams {
			return member.PersonRoleParams{OrgID: orgID, UserID: ada.ID, RoleID: role}
		}
		key := h.subject(t, h.personalKey(t, ada.ID))
		require.False(t, key.Can(access.UseDevinSessions, orgID))

		_, err := h.ChangePersonRole(ctx, h.admin, in(orgID, access.RoleOrgMember))
		requireKind(t, err, fault.NotFound)
		_, err = h.RemovePersonRole(ctx, h.admin, orgID, ada.ID)
		requireKind(t, err, fault.NotFound)
		require.Equal(t, []string{":account_member", orgID + ":org_member"}, held(h.join(t, orgID, ada.ID, access.RoleOrgMember).Roles))
		_, err = h.AssignPersonRole(ctx, h.admin, in(orgID, access.RoleOrgAdmin))
		requireKind(t, err, fault.Conflict)
		got, err := h.ChangePersonRole(ctx, h.admin, in(orgID, access.RoleOrgAdmin))
		require.NoError(t, err)
		require.Equal(t, []string{":account_member", orgID + ":org_admin"}, held(got.Roles))
		got, err = h.ChangePersonRole(ctx, h.admin, in("", access.RoleEnterpriseAdmin))
		require.NoError(t, err)
		require.Equal(t, []string{":account_admin", orgID + ":org_admin"}, held(got.Roles))
		read, err := h.Person(ctx, h.admin, ada.ID)
		require.NoError(t, err)
		require.Equal(t, got, read)

		got, err = h.RemovePersonRole(ctx, h.admin, orgID, ada.ID)
		require.NoError(t, err)
		require.Equal(t, []string{":account_admin"}, held(got.Roles), "who leaves an organization stays in the enterprise")
		_, err = h.RemovePersonRole(ctx, h.admin, "", ada.ID)
		requireKind(t, err, fault.Conflict)
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.AddMember, audit.AssignRoles, audit.DeleteMember}, h.actions(t, orgID))

		for name, c := range map[string]struct {
			p    member.PersonRoleParams
			want fault.Kind
		}{
			"unknown role":              {in(orgID, "nope"), fault.NotFound},
			"wrong scope":               {in(orgID, access.RoleEnterpriseMember), fault.Invalid},
			"wrong scope above":         {in("", access.RoleOrgMember), fault.Invalid},
			"no role":                   {in(orgID, ""), fault.Invalid},
			"unknown organization":      {in("org-x", access.RoleOrgMember), fault.NotFound},
			"unknown user":              {member.PersonRoleParams{OrgID: orgID, UserID: "user-x", RoleID: access.RoleOrgMember}, fault.NotFound},
			"a service user":            {member.PersonRoleParams{OrgID: orgID, UserID: h.admin.ID, RoleID: access.RoleOrgMember}, fault.NotFound},
			"unknown user, enterprise":  {member.PersonRoleParams{UserID: "user-x", RoleID: access.RoleEnterpriseMember}, fault.NotFound},
			"unknown user, wrong scope": {member.PersonRoleParams{UserID: "user-x", RoleID: access.RoleOrgMember}, fault.NotFound},
		} {
			for _, f := range []func(context.Context, access.Subject, member.PersonRoleParams) (member.Person, error){h.AssignPersonRole, h.ChangePersonRole} {
				_, err := f(ctx, h.admin, c.p)
				require.Error(t, err, name)
				require.Equal(t, c.want, fault.KindOf(err), "%s: %v", name, err)
			}
		}
	})
}

func TestNobodyGivesAPersonMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		_, token := h.provision(t, "", h.role(t, access.Enterprise, access.ManageAccountMembership))
		weak := h.subject(t, token)
		ada := h.invite(t, "ada@example.com")
		_, err := h.ChangePersonRole(ctx, weak, member.PersonRoleParams{UserID: ada.ID, RoleID: access.RoleEnterpriseAdmin})
		requireKind(t, err, fault.Forbidden)
		_, err = h.AssignPersonRole(ctx, weak, member.PersonRoleParams{OrgID: orgID, UserID: ada.ID, RoleID: access.RoleOrgMember})
		requireKind(t, err, fault.Forbidden)
		fine := h.role(t, access.Org, access.ViewOrgMembership)
		_, err = h.AssignPersonRole(ctx, weak, member.PersonRoleParams{OrgID: orgID, UserID: ada.ID, RoleID: fine})
		require.NoError(t, err)
		_, err = h.ChangePersonRole(ctx, weak, member.PersonRoleParams{OrgID: orgID, UserID: ada.ID, RoleID: access.RoleOrgMember})
		requireKind(t, err, fault.Forbidden)
	})
}

func TestWhoLeavesTheEnterpriseLeavesEverything(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		other := h.newOrg(t, "other")
		ada := h.invite(t, "ada@example.com")
		h.join(t, orgID, ada.ID, access.RoleOrgAdmin)
		h.join(t, other, ada.ID, access.RoleOrgMember)
		h.group(t, "staff", access.RoleEnterpriseMember)
		require.NoError(t, h.SyncGroups(ctx, h.admin, ada.ID, []string{"staff"}))
		token := h.personalKey(t, ada.ID)
		h.subject(t, token)

		gone, err := h.RemovePerson(ctx, h.admin, ada.ID)
		require.NoError(t, err)
		require.Equal(t, []string{":account_member", orgID + ":org_admin", other + ":org_member"}, sortedBy(held(gone.Roles)), "as they were")
		h.refused(t, token)
		_, err = h.PersonSubject(ctx, ada.ID)
		requireKind(t, err, fault.NotFound)
		for _, id := range []string{orgID, other} {
			p, err := h.People(ctx, h.admin, member.PeopleParams{OrgID: id, Page: page.Request{First: 10}})
			require.NoError(t, err)
			require.Empty(t, p.Items)
			require.Equal(t, audit.DeleteMember, last(h.actions(t, id)), "every organization's audit log tells it")
		}
		for _, table := range []string{"role_assignments WHERE principal_id", "idp_group_members WHERE user_id"} {
			n, err := db.One(ctx, h.db.Reader(), db.Int, `SELECT COUNT(*) FROM `+table+` = $1`, ada.ID)
			require.NoError(t, err)
			require.Zero(t, n, table)
		}
		_, err = h.RemoveGroupRole(ctx, h.admin, "", "staff")
		require.NoError(t, err)
		_, err = h.UnregisterGroup(ctx, h.admin, "staff")
		require.NoError(t, err, "a group without its last member goes")
		for _, f := range []func() error{
			func() error { _, err := h.RemovePerson(ctx, h.admin, ada.ID); return err },
			func() error { _, err := h.Person(ctx, h.admin, ada.ID); return err },
			func() error {
				_, err := h.AssignPersonRole(ctx, h.admin, member.PersonRoleParams{OrgID: orgID, UserID: ada.ID, RoleID: access.RoleOrgMember})
				return err
			},
			func() error { return h.SyncGroups(ctx, h.admin, ada.ID, nil) },
		} {
			requireKind(t, f(), fault.NotFound)
		}
		again := h.invite(t, "Ada@example.com")
		require.NotEqual(t, ada.ID, again.ID, "invited again they are somebody new")
		require.Equal(t, []string{":account_member"}, held(again.Roles))
		h.refused(t, token)
	})
}

func TestAnOrganizationsReadersSeeOnlyWhatPeopleHoldThere(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		other := h.newOrg(t, "other")
		_, token := h.provision(t, orgID, access.RoleOrgMember)
		reader := h.subject(t, token)
		ada, grace, eve := h.invite(t, "ada@example.com"), h.invite(t, "grace@example.com"), h.invite(t, "eve@example.com")
		h.join(t, orgID, ada.ID, access.RoleOrgMember)
		h.join(t, other, ada.ID, access.RoleOrgAdmin)
		h.join(t, other, eve.ID, access.RoleOrgMember)
		h.group(t, "staff", access.RoleEnterpriseMember)
		h.groupIn(t, orgID, "staff", access.RoleOrgMember)
		h.groupIn(t, other, "staff", access.RoleOrgAdmin)
		require.NoError(t, h.SyncGroups(ctx, h.admin, grace.ID, []string{"staff"}))

		p, err := h.OrgPeople(ctx, reader, member.PeopleParams{OrgID: orgID, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Equal(t, []string{"ada@example.com"}, emailsOf(p.Items))
		require.Equal(t, []string{orgID + ":org_member"}, held(p.Items[0].Roles))
		p, err = h.OrgIdpPeople(ctx, reader, member.PeopleParams{OrgID: orgID, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Equal(t, []string{"grace@example.com"}, emailsOf(p.Items))
		require.Len(t, p.Items[0].GroupRoles, 1)
		require.Equal(t, orgID, p.Items[0].GroupRoles[0].OrgID)

		one, err := h.OrgPerson(ctx, reader, orgID, ada.ID)
		require.NoError(t, err)
		require.Equal(t, []string{orgID + ":org_member"}, held(one.Roles))
		one, err = h.OrgPerson(ctx, reader, orgID, grace.ID)
		require.NoError(t, err, "who belongs through a group is a member too")
		require.Empty(t, one.Roles)
		require.Len(t, one.GroupRoles, 1)
		for _, stranger := range []string{eve.ID, "user-x", h.admin.ID} {
			_, err = h.OrgPerson(ctx, reader, orgID, stranger)
			requireKind(t, err, fault.NotFound)
		}
		for _, f := range []func() error{
			func() error {
				_, err := h.OrgPeople(ctx, reader, member.PeopleParams{OrgID: other, Page: page.Request{First: 10}})
				return err
			},
			func() error {
				_, err := h.OrgIdpPeople(ctx, reader, member.PeopleParams{OrgID: "org-x", Page: page.Request{First: 10}})
				return err
			},
			func() error { _, err := h.OrgPerson(ctx, reader, other, ada.ID); return err },
			func() error {
				_, err := h.People(ctx, reader, member.PeopleParams{OrgID: orgID, Page: page.Request{First: 10}})
				return err
			},
		} {
			requireKind(t, f(), fault.Forbidden)
		}
		_, err = h.OrgPeople(ctx, h.admin, member.PeopleParams{OrgID: "org-x", Page: page.Request{First: 10}})
		requireKind(t, err, fault.NotFound)
		_, err = h.OrgPerson(ctx, h.admin, "org-x", ada.ID)
		requireKind(t, err, fault.NotFound)
	})
}

func TestListsOfPeoplePageWithoutGapsAndFindOneAddress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, orgID := t.Context(), h.first.OrgID
		other := h.newOrg(t, "other")
		h.group(t, "a", access.RoleEnterpriseMember)
		h.group(t, "b", access.RoleEnterpriseMember)
		h.group(t, "far", access.RoleEnterpriseMember)
		h.groupIn(t, orgID, "a", access.RoleOrgMember)
		h.groupIn(t, orgID, "b", access.RoleOrgAdmin)
		h.groupIn(t, other, "far", access.RoleOrgAdmin)
		_, err := h.RegisterGroups(ctx, h.admin, []string{"without roles"})
		require.NoError(t, err)
		var all, direct, idp, idpThere []string
		for i := range 11 {
			email := fmt.Sprintf("p%02d@example.com", i)
			p := h.invite(t, email)
			all = append(all, email)
			if i%2 == 0 {
				h.join(t, orgID, p.ID, access.RoleOrgMember)
				direct = append(direct, email)
			} else {
				h.join(t, other, p.ID, access.RoleOrgMember)
			}
			groups := [][]string{{"a", "b"}, {"b", "far"}, {"far"}, {"without roles"}, nil}[i%5]
			require.NoError(t, h.SyncGroups(ctx, h.admin, p.ID, groups))
			if i%5 < 3 {
				idp = append(idp, email)
			}
			if i%5 < 2 {
				idpThere = append(idpThere, email)
			}
		}
		type list func(context.Context, access.Subject, member.PeopleParams) (page.Page[member.Person], error)
		for name, c := range map[string]struct {
			list list
			org  string
			want []string
		}{
			"all":                       {h.People, "", all},
			"an organization's":         {h.People, orgID, direct},
			"an organization's own":     {h.OrgPeople, orgID, direct},
			"idp":                       {h.IdpPeople, "", idp},
			"an organization's idp":     {h.IdpPeople, orgID, idpThere},
			"an organization's own idp": {h.OrgIdpPeople, orgID, idpThere},
		} {
			for _, first := range []int{1, 2, 3, 200} {
				var got []string
				params := member.PeopleParams{OrgID: c.org, Page: page.Request{First: first}}
				for {
					p, err := c.list(ctx, h.admin, params)
					require.NoError(t, err)
					require.LessOrEqual(t, len(p.Items), first)
					got = append(got, emailsOf(p.Items)...)
					if !p.More {
						break
					}
					params.Page.After = p.End
				}
				require.Equal(t, c.want, got, "%s, %d a page", name, first)
			}
			for _, email := range append([]string{"nobody@example.com", "not an address"}, all...) {
				p, err := c.list(ctx, h.admin, member.PeopleParams{OrgID: c.org, Email: strings.ToUpper(email), Page: page.Request{First: 5}})
				require.NoError(t, err)
				want := []string{}
				if slices.Contains(c.want, email) {
					want = []string{email}
				}
				require.Equal(t, want, emailsOf(p.Items), "%s, %s", name, email)
				require.False(t, p.More)
			}
		}
	})
}

func sortedBy(s []string) []string { slices.Sort(s); return s }

func last(a []audit.Action) audit.Action { return a[len(a)-1] }

// Lists that name the same in another order must not wait for one another in a circle.
func TestBulkListsMayNameTheSameInAnyOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for round := range 5 {
			var names []string
			for i := range 20 {
				names = append(names, fmt.Sprintf("p%02d-%d@example.com", i, round))
			}
			back := slices.Clone(names)
			slices.Reverse(back)
			var wg sync.WaitGroup
			for _, list := range [][]string{names, back, names, back} {
				wg.Go(func() {
					people, err := h.Invite(t.Context(), h.admin, member.InviteParams{Emails: list, RoleID: access.RoleEnterpriseMember})
					require.NoError(t, err)
					for i, p := range people {
						require.Equal(t, list[i], p.Email)
					}
				})
				wg.Go(func() {
					groups, err := h.RegisterGroups(t.Context(), h.admin, list)
					require.NoError(t, err)
					for i, g := range groups {
						require.Equal(t, list[i], g.Name)
					}
				})
			}
			wg.Wait()
		}
	})
}
