package servertest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/member"
	"gantry/internal/platform/secret"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// tenant is an organization with everything that this release has in it. Every text in it holds its mark.
type tenant struct {
	mark  string
	org   string
	admin servertest.Key
	// ids name its things, in the order of their making.
	ids []string
	// sessions are its sessions' ids, attachments those of its files; attachmentURL is one file's address without its name.
	sessions, attachments []string
	attachmentURL         string
	person, personKey     string
}

func newTenant(t testing.TB, s *servertest.Server, mark string) *tenant {
	t.Helper()
	o := &tenant{mark: mark, org: s.NewOrg(t, mark+" org")}
	o.admin = s.NewKey(t, o.org, access.RoleOrgAdmin)
	o.person, o.personKey = s.NewPerson(t, strings.ToLower(mark)+"@example.com", o.org, access.RoleOrgAdmin)
	s.NewGroup(t, mark+" group", o.org, access.RoleOrgMember, o.person)
	who, err := s.Members.Authenticator().Authenticate(t.Context(), o.admin.Token, noAddr)
	require.NoError(t, err)
	file, err := s.Sessions.Upload(t.Context(), who, o.org, mark+".txt", "text/plain", strings.NewReader(mark+" file"))
	require.NoError(t, err)
	o.attachments = append(o.attachments, file.ID)
	o.attachmentURL = strings.TrimSuffix(s.Sessions.AttachmentURL(file), mark+".txt")
	for i := range 2 {
		made, err := s.Sessions.Create(t.Context(), who, session.CreateParams{
			OrgID: o.org, Prompt: mark + " prompt", Title: fmt.Sprint(mark, " title ", i), Tags: []string{mark}, Links: o.sessions,
			AttachmentURLs: []string{s.Sessions.AttachmentURL(file)},
			Secrets:        []session.SecretParam{{Key: "TOKEN", Value: secret.New(mark + "-secret"), Sensitive: true}},
		})
		require.NoError(t, err)
		o.sessions = append(o.sessions, made.ID)
	}
	_, err = s.Sessions.SendMessage(t.Context(), who, session.MessageParams{OrgID: o.org, SessionID: o.sessions[0], Message: mark + " message"})
	require.NoError(t, err)
	_, err = s.Sessions.Archive(t.Context(), who, o.org, o.sessions[1])
	require.NoError(t, err)
	key, err := s.Members.CreateKey(t.Context(), s.Root(), member.CreateKeyParams{ServiceUserID: o.admin.ServiceUserID, Name: mark + " key"})
	require.NoError(t, err)
	role, err := s.Members.CreateRole(t.Context(), s.Root(), member.CreateRoleParams{Name: mark + " role", Type: access.Org, Permissions: []string{"ViewOrgSessions"}})
	require.NoError(t, err)
	o.ids = append(o.ids, role.ID, s.NewKey(t, o.org, role.ID).ServiceUserID)
	o.work(t, s)
	o.ids = append(o.ids, o.org, o.admin.ServiceUserID, o.admin.KeyID, key.ID, o.person, file.ID, o.sessions[0], o.sessions[1])
	return o
}

// work has a worker say something in the first session, and leaves the claim open.
func (o *tenant) work(t testing.TB, s *servertest.Server) {
	t.Helper()
	who := access.Subject{Kind: access.Worker, ID: "worker " + o.mark, Outposts: []string{fleet.DefaultOutpost}, WorkerOrgs: []string{o.org}}
	c, ok, err := s.Sessions.ClaimNext(t.Context(), who, fleet.DefaultOutpost, "worker-"+o.mark)
	require.NoError(t, err)
	require.True(t, ok)
	_, err = s.Sessions.Apply(t.Context(), c.Row, wire.Batch{Fence: c.Fence, Number: 1, Command: 1, Events: []wire.Event{
		{Type: wire.EventMessage, At: s.DB.Clock().Millis(), Data: []byte(`{"text":"` + o.mark + ` answer"}`)},
	}})
	require.NoError(t, err)
	_, err = s.Sessions.UploadByAgent(t.Context(), c.Row, o.mark+"-result.txt", strings.NewReader(o.mark))
	require.NoError(t, err)
}

// picture is all that an enterprise admin sees of a tenant: it must not change by what others do.
func (o *tenant) picture(t testing.TB, s *servertest.Server) string {
	t.Helper()
	var b strings.Builder
	see := func(path string) {
		a := s.Do(t, http.MethodGet, path, s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusOK, a.Status, "%s: %s", path, a.Body)
		b.WriteString(path + "\n" + a.Body)
	}
	v3 := "/v3/organizations/" + o.org
	see("/v3/enterprise/organizations/" + o.org)
	see(v3 + "/sessions")
	see(v3 + "/sessions?is_archived=true")
	for _, id := range o.sessions {
		see(v3 + "/sessions/" + id + "/messages")
		see(v3 + "/sessions/" + id + "/attachments")
		see("/gantry/v1/organizations/" + o.org + "/sessions/" + id + "/events")
	}
	see("/v3/enterprise/organizations/" + o.org + "/audit-logs")
	for _, members := range []string{"service-users?include_inactive=true", "users", "idp-users", "idp-groups"} {
		see("/v3/enterprise/organizations/" + o.org + "/members/" + members)
	}
	return b.String()
}
