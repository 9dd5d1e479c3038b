package servertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
)

// root may do everything: tests make their principals with it.
func root() access.Subject {
	all := make([]access.Permission, 0, len(access.Catalogue()))
	for _, e := range access.Catalogue() {
		all = append(all, e.Permission)
	}
	return access.As("test", all...)
}

// Root is a subject that may do everything, for calls of use cases.
func (s *Server) Root() access.Subject { return root() }

// exec runs statements in one transaction.
func (s *Server) exec(t testing.TB, do func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	require.NoError(t, s.DB.Write(t.Context(), do))
}

// NewOrg makes an organization.
func (s *Server) NewOrg(t testing.TB, name string) string {
	t.Helper()
	o, err := s.Orgs.Create(t.Context(), root(), org.CreateParams{Name: name})
	require.NoError(t, err)
	return o.ID
}

// NewRole makes a custom role of these permissions and what they imply.
func (s *Server) NewRole(t testing.TB, scope access.Scope, ps ...access.Permission) string {
	t.Helper()
	r, err := s.Members.CreateRole(t.Context(), root(), member.CreateRoleParams{
		Name: "custom", Type: scope, Permissions: access.SetOf(ps...).Names(),
	})
	require.NoError(t, err)
	return r.ID
}

// Key is a service user's key.
type Key struct {
	Token         string
	ServiceUserID string
	KeyID         string
}

const year = 365 * 24 * 60 * 60

// NewKey makes a service user with a role and gives its key. orgID is the organization that both belong to, empty for the enterprise.
func (s *Server) NewKey(t testing.TB, orgID, roleID string) Key {
	t.Helper()
	u, k, err := s.Members.Provision(t.Context(), root(), member.ProvisionParams{OrgID: orgID, Name: "robot", RoleID: roleID, TTLSeconds: year})
	require.NoError(t, err)
	return Key{Token: k.Token.Reveal(), ServiceUserID: u.ID, KeyID: k.ID}
}

// Give gives a service user of enterprise scope a role in an organization.
func (s *Server) Give(t testing.TB, k Key, orgID, roleID string) {
	t.Helper()
	_, err := s.Members.AssignRole(t.Context(), root(), member.RoleParams{OrgID: orgID, ServiceUserID: k.ServiceUserID, RoleID: roleID})
	require.NoError(t, err)
}

// Revoked makes a key and revokes it.
func (s *Server) Revoked(t testing.TB, orgID, roleID string) string {
	t.Helper()
	k := s.NewKey(t, orgID, roleID)
	_, err := s.Members.RevokeKey(t.Context(), root(), k.ServiceUserID, k.KeyID)
	require.NoError(t, err)
	return k.Token
}

// Expired makes a key that ended a minute ago.
func (s *Server) Expired(t testing.TB, orgID, roleID string) string {
	t.Helper()
	k := s.NewKey(t, orgID, roleID)
	s.exec(t, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE api_keys SET expires_at = $1 WHERE api_key_id = $2`,
			s.DB.Clock().Now().Add(-time.Minute).UnixMilli(), k.KeyID)
		return err
	})
	return k.Token
}

// NewPerson makes a person with a role in an organization, or with orgID "" in the enterprise, and gives their id and a personal key.
func (s *Server) NewPerson(t testing.TB, email, orgID, roleID string) (userID, token string) {
	t.Helper()
	enterprise := access.RoleEnterpriseMember
	if orgID == "" {
		enterprise = roleID
	}
	people, err := s.Members.Invite(t.Context(), root(), member.InviteParams{Emails: []string{email}, RoleID: enterprise})
	require.NoError(t, err)
	userID, token = people[0].ID, id.NewKey(id.KeyService)
	if orgID != "" {
		_, err = s.Members.AssignPersonRole(t.Context(), root(), member.PersonRoleParams{OrgID: orgID, UserID: userID, RoleID: roleID})
		require.NoError(t, err)
	}
	s.exec(t, func(ctx context.Context, tx *db.Tx) error { // as if they had signed in and made a key
		if _, err := db.Exec(ctx, tx, `UPDATE users SET name = email WHERE user_id = $1`, userID); err != nil {
			return err
		}
		_, err := db.Exec(ctx, tx, `INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at) VALUES ($1, $2, 'laptop', $3, 0)`,
			id.New(id.APIKey), userID, id.HashKey(token))
		return err
	})
	return userID, token
}

// NewGroup registers a group of the identity provider with a role in an organization, and puts a person into it.
func (s *Server) NewGroup(t testing.TB, name, orgID, roleID, userID string) {
	t.Helper()
	_, err := s.Members.RegisterGroups(t.Context(), root(), []string{name})
	require.NoError(t, err)
	for _, p := range []member.GroupRoleParams{{Group: name, RoleID: access.RoleEnterpriseMember}, {OrgID: orgID, Group: name, RoleID: roleID}} {
		_, err = s.Members.AssignGroupRole(t.Context(), root(), p)
		require.NoError(t, err)
	}
	require.NoError(t, s.Members.SyncGroups(t.Context(), root(), userID, []string{name}))
}

// WorkerKey makes a key for workers of the default outpost. Without orgs it is good for every organization.
func (s *Server) WorkerKey(t testing.TB, orgs ...string) string {
	t.Helper()
	_, token, err := s.Members.CreateWorkerKey(t.Context(), root(), member.WorkerKeyParams{
		Name: "worker", Outposts: []string{fleet.DefaultOutpost}, Orgs: orgs,
	})
	require.NoError(t, err)
	return token.Reveal()
}

// WorkerKeyFrom makes a key that is good from these ranges only.
func (s *Server) WorkerKeyFrom(t testing.TB, ranges ...string) string {
	t.Helper()
	_, token, err := s.Members.CreateWorkerKey(t.Context(), root(), member.WorkerKeyParams{
		Name: "worker", Outposts: []string{fleet.DefaultOutpost}, IPRanges: ranges,
	})
	require.NoError(t, err)
	return token.Reveal()
}
