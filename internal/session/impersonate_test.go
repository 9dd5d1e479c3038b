package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/session"
)

// somebody makes somebody with at most one direct role.
func (h *house) somebody(t *testing.T, id, orgID, role string) {
	t.Helper()
	h.exec(t, `INSERT INTO users (user_id, email, email_key, name, created_at) VALUES ($1, $2, $2, 'Ada', 0)`, id, id+"@example.com")
	if role != "" {
		h.exec(t, `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at) VALUES ($1, $2, 'user', $3, 0)`, id, orgID, role)
	}
}

// teamed makes a group with a role in an organization, and puts somebody into it.
func (h *house) teamed(t *testing.T, name, orgID, role, userID string) {
	t.Helper()
	h.exec(t, `INSERT INTO idp_groups (idp_group_name, created_at) VALUES ($1, 0)`, name)
	h.exec(t, `INSERT INTO idp_group_roles (idp_group_name, org_id, role_id, created_at) VALUES ($1, $2, $3, 0)`, name, orgID, role)
	h.exec(t, `INSERT INTO idp_group_members (user_id, idp_group_name, created_at) VALUES ($1, $2, 0)`, userID, name)
}

func TestEveryBranchOfActingForAMember(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.somebody(t, "user-member", h.org, access.RoleOrgMember)
		h.somebody(t, "user-wiki", h.org, access.RoleDeepWikiOnly)
		h.somebody(t, "user-stranger", h.other, access.RoleOrgAdmin)
		h.somebody(t, "user-admin", "", access.RoleEnterpriseAdmin) // holds every right everywhere, but belongs to no organization
		h.somebody(t, "user-nobody", "", "")
		h.somebody(t, "user-grouped", "", "")
		h.teamed(t, "devs", h.org, access.RoleOrgMember, "user-grouped")
		h.somebody(t, "user-both", h.org, access.RoleDeepWikiOnly)
		h.teamed(t, "more", h.org, access.RoleOrgMember, "user-both")
		h.somebody(t, "user-elsewhere", h.org, access.RoleDeepWikiOnly)
		h.teamed(t, "others", h.other, access.RoleOrgAdmin, "user-elsewhere")
		h.somebody(t, "user-everywhere", h.org, access.RoleDeepWikiOnly) // a member who holds the right by an enterprise role
		h.exec(t, `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at) VALUES ('user-everywhere', '', 'user', 'account_admin', 0)`)
		h.somebody(t, "user-gone", h.org, access.RoleOrgMember)
		h.exec(t, `UPDATE users SET deleted_at = 1 WHERE user_id = 'user-gone'`)

		robot := func(orgID string, ps ...access.Permission) access.Subject {
			return access.Subject{Kind: access.ServiceUser, ID: "su-robot", Name: "robot", OrgID: orgID}.
				WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(ps...)})
		}
		may := robot(h.org, access.UseDevinSessions, access.ManageOrgSessions, access.ImpersonateOrgSessions)
		mayFromAbove := robot("", access.UseDevinSessions, access.ManageOrgSessions, access.ImpersonateOrgSessions)
		mayNot := robot(h.org, access.UseDevinSessions, access.ManageOrgSessions)
		mayElsewhere := access.Subject{Kind: access.ServiceUser, ID: "su-robot"}.WithGrants(
			access.Grant{OrgID: h.org, Permissions: access.SetOf(access.UseDevinSessions, access.ManageOrgSessions)},
			access.Grant{OrgID: h.other, Permissions: access.SetOf(access.ImpersonateOrgSessions)})
		session1 := h.create(t)
		for _, c := range []struct {
			name string
			who  access.Subject
			user string
			want fault.Kind
		}{
			{"all three", may, "user-member", fault.Internal},
			{"an enterprise's key", mayFromAbove, "user-member", fault.Internal},
			{"a member by a group", may, "user-grouped", fault.Internal},
			{"the right by a group", may, "user-both", fault.Internal},
			{"a member with the right from above", may, "user-everywhere", fault.Internal},
			{"no right to act for others", mayNot, "user-member", fault.Forbidden},
			{"that right in another organization", mayElsewhere, "user-member", fault.Forbidden},
			{"no right hides who is there", mayNot, "user-none", fault.Forbidden},
			{"unknown", may, "user-none", fault.NotFound},
			{"removed", may, "user-gone", fault.NotFound},
			{"no role anywhere", may, "user-nobody", fault.NotFound},
			{"another organization's", may, "user-stranger", fault.NotFound},
			{"the enterprise's admin", may, "user-admin", fault.NotFound},
			{"a member without the right", may, "user-wiki", fault.Forbidden},
			{"a member who has the right elsewhere", may, "user-elsewhere", fault.Forbidden},
		} {
			before := len(h.entries(t))
			made, createErr := h.Create(t.Context(), c.who, session.CreateParams{OrgID: h.org, Prompt: "x", CreateAsUserID: c.user})
			say := func(orgID string) error {
				_, err := h.SendMessage(t.Context(), c.who, session.MessageParams{OrgID: orgID, SessionID: session1.ID, Message: "m", AsUserID: c.user})
				return err
			}
			errs := []error{createErr, say(h.org)}
			if c.want != fault.Internal {
				for _, err := range errs {
					isFault(t, err, c.want)
				}
				require.Len(t, h.entries(t), before, "%s: nothing half done", c.name)
				continue
			}
			for _, err := range errs {
				require.NoError(t, err, c.name)
			}
			require.Equal(t, c.user, made.UserID, c.name)
			require.Equal(t, "su-robot", made.ServiceUserID, c.name)
			after := h.entries(t)[before:]
			require.Len(t, after, 2, c.name)
			for i, field := range []string{"create_as_user_id", "message_as_user_id"} {
				require.Equal(t, "su-robot", after[i].ServiceUserID, "the caller")
				require.Contains(t, string(after[i].Data), `"`+field+`":"`+c.user+`"`, "and for whom")
				require.Contains(t, string(after[i].Data), `"target_user_id":"`+c.user+`"`)
			}
		}
		// Who may not is told so before anything else is looked at (contract/behaviour.md §19 1).
		_, err := h.Create(t.Context(), mayNot, session.CreateParams{OrgID: h.org, Prompt: " ", CreateAsUserID: "user-member"})
		isFault(t, err, fault.Forbidden)
		ended := h.create(t)
		_, err = h.Terminate(t.Context(), h.boss, h.org, ended.ID, false)
		require.NoError(t, err)
		for who, want := range map[*access.Subject]fault.Kind{&mayNot: fault.Forbidden, &may: fault.Conflict} {
			_, err = h.SendMessage(t.Context(), *who, session.MessageParams{OrgID: h.org, SessionID: ended.ID, Message: "m", AsUserID: "user-member"})
			isFault(t, err, want)
		}
		// On the enterprise's path the organization is the session's.
		above := access.Subject{Kind: access.ServiceUser, ID: "su-above"}.WithGrants(access.Grant{Permissions: access.SetOf(access.ManageAccountSessions)})
		_, err = h.SendMessage(t.Context(), above, session.MessageParams{SessionID: session1.ID, Message: "m", AsUserID: "user-member"})
		isFault(t, err, fault.Forbidden)
		_, err = h.SendMessage(t.Context(), h.boss, session.MessageParams{SessionID: session1.ID, Message: "m", AsUserID: "user-stranger"})
		isFault(t, err, fault.NotFound)
		_, err = h.SendMessage(t.Context(), h.boss, session.MessageParams{SessionID: session1.ID, Message: "m", AsUserID: "user-member"})
		require.NoError(t, err)
	})
}

// entries are the audit entries of sessions made and messages sent, oldest first.
func (h *house) entries(t *testing.T) []audit.Log {
	t.Helper()
	p, err := h.audit.List(t.Context(), h.boss, audit.ListParams{OrgID: h.org, Order: audit.Asc, Page: page.Request{First: 200}})
	require.NoError(t, err)
	var out []audit.Log
	for _, l := range p.Items {
		if l.Action == audit.CreateSession || l.Action == audit.SendMessage {
			out = append(out, l)
		}
	}
	return out
}
