package member_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// way is one way into an organization, and how it is lost.
type way struct {
	name string
	// give lets the person in, and takes them into the groups in also besides.
	give func(w *wayHouse)
	// take takes it away again.
	take func(w *wayHouse)
	// once says that it can't be given again.
	once bool
}

// wayHouse is a person who is to get into an organization and out of it.
type wayHouse struct {
	*house
	t           *testing.T
	org, person string
	also        []string
	staffed     string // a group that gives nothing in the organization
	role        string // one that may be emptied
	empty       string // one that holds nothing
	whole       string // of the enterprise, that holds a permission of every organization and may be emptied
}

func (w *wayHouse) ok(err error) {
	w.t.Helper()
	require.NoError(w.t, err)
}

func (w *wayHouse) change(orgID, role string) {
	w.t.Helper()
	_, err := w.ChangePersonRole(w.t.Context(), w.admin, member.PersonRoleParams{OrgID: orgID, UserID: w.person, RoleID: role})
	w.ok(err)
}

func (w *wayHouse) bulk(orgID, role string) {
	w.t.Helper()
	w.ok(w.ChangeRoles(w.t.Context(), w.admin, member.BulkParams{OrgIDs: []string{orgID}, UserIDs: []string{w.person}, RoleID: role}))
}

func (w *wayHouse) join(groups ...string) {
	w.t.Helper()
	w.ok(w.SyncGroups(w.t.Context(), w.admin, w.person, append(groups, w.also...)))
}

// staff gives a group a role in the organization and takes the person into it.
func (w *wayHouse) staff(role string) {
	w.t.Helper()
	w.groupIn(w.t, w.org, w.staffed, role)
	w.join(w.staffed)
}

func (w *wayHouse) fill(role string, permissions ...string) {
	w.t.Helper()
	_, err := w.UpdateRole(w.t.Context(), w.admin, member.UpdateRoleParams{RoleID: role, Permissions: &permissions})
	w.ok(err)
}

func (w *wayHouse) direct(role string) { w.house.join(w.t, w.org, w.person, role) }

var ways = []way{
	{
		name: "their role is removed",
		give: func(w *wayHouse) { w.direct(access.RoleOrgMember) },
		take: func(w *wayHouse) {
			_, err := w.RemovePersonRole(w.t.Context(), w.admin, w.org, w.person)
			w.ok(err)
		},
	},
	{
		name: "their role is replaced by one that holds nothing",
		give: func(w *wayHouse) {
			if _, err := w.AssignPersonRole(w.t.Context(), w.admin, member.PersonRoleParams{OrgID: w.org, UserID: w.person, RoleID: access.RoleOrgMember}); err != nil {
				w.change(w.org, access.RoleOrgMember)
			}
		},
		take: func(w *wayHouse) { w.change(w.org, w.empty) },
	},
	{
		name: "many roles are replaced at once",
		give: func(w *wayHouse) {
			w.ok(w.AddMembers(w.t.Context(), w.admin, member.BulkParams{OrgIDs: []string{w.org}, UserIDs: []string{w.person}, RoleID: w.empty}))
			w.bulk(w.org, access.RoleOrgMember)
		},
		take: func(w *wayHouse) { w.bulk(w.org, w.empty) },
	},
	{
		name: "they are an enterprise admin no longer",
		give: func(w *wayHouse) { w.change("", access.RoleEnterpriseAdmin) },
		take: func(w *wayHouse) { w.change("", access.RoleEnterpriseMember) },
	},
	{
		name: "many enterprise roles are replaced at once",
		give: func(w *wayHouse) { w.bulk("", access.RoleEnterpriseAdmin) },
		take: func(w *wayHouse) { w.bulk("", access.RoleEnterpriseMember) },
	},
	{
		name: "their group's role is removed",
		give: func(w *wayHouse) { w.staff(access.RoleOrgMember) },
		take: func(w *wayHouse) {
			_, err := w.RemoveGroupRole(w.t.Context(), w.admin, w.org, w.staffed)
			w.ok(err)
		},
	},
	{
		name: "their group's role is replaced by one that holds nothing",
		give: func(w *wayHouse) {
			w.ok(w.AddMembers(w.t.Context(), w.admin, member.BulkParams{OrgIDs: []string{w.org}, Groups: []string{w.staffed}, RoleID: w.empty}))
			_, err := w.ChangeGroupRole(w.t.Context(), w.admin, member.GroupRoleParams{OrgID: w.org, Group: w.staffed, RoleID: access.RoleOrgMember})
			w.ok(err)
			w.join(w.staffed)
		},
		take: func(w *wayHouse) {
			_, err := w.ChangeGroupRole(w.t.Context(), w.admin, member.GroupRoleParams{OrgID: w.org, Group: w.staffed, RoleID: w.empty})
			w.ok(err)
		},
	},
	{
		name: "their group's enterprise role is removed",
		give: func(w *wayHouse) {
			if _, err := w.ChangeGroupRole(w.t.Context(), w.admin, member.GroupRoleParams{Group: w.staffed, RoleID: access.RoleEnterpriseAdmin}); err != nil {
				w.groupIn(w.t, "", w.staffed, access.RoleEnterpriseAdmin)
			}
			w.join(w.staffed)
		},
		take: func(w *wayHouse) {
			_, err := w.RemoveGroupRole(w.t.Context(), w.admin, "", w.staffed)
			w.ok(err)
		},
	},
	{
		name: "they leave the group that gave it",
		give: func(w *wayHouse) {
			_, _ = w.AssignGroupRole(w.t.Context(), w.admin, member.GroupRoleParams{OrgID: w.org, Group: w.staffed, RoleID: access.RoleOrgMember})
			w.join(w.staffed)
		},
		take: func(w *wayHouse) { w.join() },
	},
	{
		name: "the role that they hold is emptied",
		give: func(w *wayHouse) {
			w.fill(w.role, "UseDevinSessions")
			_, _ = w.AssignPersonRole(w.t.Context(), w.admin, member.PersonRoleParams{OrgID: w.org, UserID: w.person, RoleID: w.role})
		},
		take: func(w *wayHouse) { w.fill(w.role) },
	},
	{
		name: "the role that their group holds is emptied",
		give: func(w *wayHouse) {
			w.fill(w.role, "UseDevinSessions")
			_, _ = w.AssignGroupRole(w.t.Context(), w.admin, member.GroupRoleParams{OrgID: w.org, Group: w.staffed, RoleID: w.role})
			w.join(w.staffed)
		},
		take: func(w *wayHouse) { w.fill(w.role) },
	},
	{
		name: "the enterprise role that they hold is emptied",
		give: func(w *wayHouse) {
			w.fill(w.whole, "UseDevinSessions")
			w.change("", w.whole)
		},
		take: func(w *wayHouse) { w.fill(w.whole) },
	},
	{
		name: "they leave the enterprise",
		give: func(w *wayHouse) { w.direct(access.RoleOrgMember) },
		take: func(w *wayHouse) {
			_, err := w.RemovePerson(w.t.Context(), w.admin, w.person)
			w.ok(err)
		},
		once: true,
	},
	{
		name: "the organization is deleted",
		give: func(w *wayHouse) { w.change("", access.RoleEnterpriseAdmin) },
		take: func(w *wayHouse) {
			_, err := w.orgs.Delete(w.t.Context(), w.admin, w.org)
			w.ok(err)
		},
		once: true,
	},
}

func newWay(t *testing.T, h *house, n string) *wayHouse {
	t.Helper()
	w := &wayHouse{house: h, t: t, org: h.newOrg(t, "o"+n), person: h.invite(t, "ann"+n+"@example.com").ID}
	made := func(typ access.Scope) string {
		r, err := h.CreateRole(t.Context(), h.admin, member.CreateRoleParams{Name: "r", Type: typ})
		w.ok(err)
		return r.ID
	}
	w.role, w.empty, w.whole = made(access.Org), made(access.Org), made(access.Enterprise)
	w.staffed = "staff" + n
	h.group(t, w.staffed, access.RoleEnterpriseMember)
	return w
}

// alive says whether a personal key is good on v1.
func (h *house) alive(t *testing.T, k member.NewKey) bool {
	t.Helper()
	_, err := h.Authenticator().OlderV1(true).Authenticate(t.Context(), k.Token.Reveal(), noAddr)
	if err != nil {
		requireKind(t, err, fault.Unauthenticated)
	}
	return err == nil
}

func TestAPersonalKeyEndsForGoodWithTheLastOfItsPersonsAccess(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for i, c := range ways {
			t.Run(c.name, func(t *testing.T) { //nolint:paralleltest // they share the house
				w := newWay(t, h, fmt.Sprint(i))
				elsewhere := h.newOrg(t, "elsewhere")
				h.join(t, elsewhere, w.person, access.RoleOrgMember)
				c.give(w)
				key, err := h.CreatePersonalKey(t.Context(), h.admin, w.person, w.org)
				require.NoError(t, err)
				other, err := h.CreatePersonalKey(t.Context(), h.admin, w.person, elsewhere)
				require.NoError(t, err)
				require.True(t, h.alive(t, key))
				c.take(w)
				require.False(t, h.alive(t, key))
				require.Equal(t, c.name != "they leave the enterprise", h.alive(t, other), "access to another organization is another matter")
				logs, err := h.audit.List(t.Context(), h.admin, audit.ListParams{OrgID: w.org, Action: audit.RevokeAPIKey, Page: page.Request{First: 10}})
				require.NoError(t, err)
				require.Len(t, logs.Items, 1)
				var data map[string]any
				require.NoError(t, json.Unmarshal(logs.Items[0].Data, &data))
				require.Equal(t, map[string]any{"api_key_id": key.ID, "target_user_id": w.person, "reason": "access lost"}, data)
				require.Equal(t, h.admin.ID, logs.Items[0].ServiceUserID)
				if c.once {
					return
				}
				c.give(w)
				require.False(t, h.alive(t, key), "who comes back needs a new key")
				key, err = h.CreatePersonalKey(t.Context(), h.admin, w.person, w.org)
				require.NoError(t, err)
				require.True(t, h.alive(t, key))
			})
		}
	})
}

func TestAPersonalKeyStaysAsLongAsThereIsAnotherWayIn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for i, c := range ways {
			if c.once {
				continue
			}
			t.Run(c.name, func(t *testing.T) { //nolint:paralleltest // they share the house
				w, others := newWay(t, h, fmt.Sprint(i)), fmt.Sprint("others", i)
				w.also = []string{others}
				h.group(t, others, access.RoleEnterpriseMember)
				h.groupIn(t, w.org, others, access.RoleOrgMember)
				c.give(w)
				w.ok(h.SyncGroups(t.Context(), h.admin, w.person, []string{w.staffed, others}))
				key, err := h.CreatePersonalKey(t.Context(), h.admin, w.person, w.org)
				require.NoError(t, err)
				c.take(w)
				require.True(t, h.alive(t, key))
				_, err = h.RemoveGroupRole(t.Context(), h.admin, w.org, others)
				require.NoError(t, err)
				require.False(t, h.alive(t, key), "and no longer")
			})
		}
	})
}

func TestTheLastOfTwoWaysIsSeenWhenBothGoAtTheSameTime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		w := newWay(t, h, "")
		for range 5 {
			w.direct(access.RoleOrgMember)
			w.staff(access.RoleOrgMember)
			key, err := h.CreatePersonalKey(t.Context(), h.admin, w.person, w.org)
			require.NoError(t, err)
			errs := make([]error, 3)
			var wg sync.WaitGroup
			var late member.NewKey
			wg.Go(func() { _, errs[0] = h.RemovePersonRole(context.Background(), h.admin, w.org, w.person) })
			wg.Go(func() { _, errs[1] = h.RemoveGroupRole(context.Background(), h.admin, w.org, w.staffed) })
			wg.Go(func() { late, errs[2] = h.CreatePersonalKey(context.Background(), h.admin, w.person, w.org) })
			wg.Wait()
			require.NoError(t, errs[0])
			require.NoError(t, errs[1])
			live := h.olderKeys(t, w.org, page.Request{First: 10}).Items
			require.Empty(t, live)
			require.False(t, h.alive(t, key))
			if errs[2] == nil {
				require.False(t, h.alive(t, late), "a key that was made at this moment ends as well")
			} else {
				requireKind(t, errs[2], fault.Invalid)
			}
		}
	})
}
