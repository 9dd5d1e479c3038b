package servertest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/knowledge"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/secret"
	"gantry/internal/playbook"
	"gantry/internal/schedule"
	"gantry/internal/secrets"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/usage"
	"gantry/internal/wire"
)

// tenant is an organization with everything that this release has in it. Every text of its own holds its mark.
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
	note, folder, manual  string
	secret, schedule      string
	connection            string
	// robot is a service user that nobody acts as.
	robot string
}

func newTenant(t testing.TB, s *servertest.Server, mark string) *tenant {
	t.Helper()
	o := &tenant{mark: mark, org: s.NewOrg(t, mark+" org")}
	o.admin = s.NewKey(t, o.org, access.RoleOrgAdmin)
	o.person, o.personKey = s.NewPerson(t, strings.ToLower(mark)+"@example.com", o.org, access.RoleOrgAdmin)
	s.NewGroup(t, mark+" group", o.org, access.RoleOrgMember, o.person)
	who, err := s.Members.Authenticator().Authenticate(t.Context(), o.admin.Token, noAddr)
	require.NoError(t, err)
	o.know(t, s, who)
	o.plan(t, s, who)
	o.connect(t, s)
	file, err := s.Sessions.Upload(t.Context(), who, o.org, mark+".txt", "text/plain", strings.NewReader(mark+" file"))
	require.NoError(t, err)
	o.attachments = append(o.attachments, file.ID)
	o.attachmentURL = strings.TrimSuffix(s.Sessions.AttachmentURL(file), mark+".txt")
	for i := range 2 {
		made, err := s.Sessions.Create(t.Context(), who, session.CreateParams{
			OrgID: o.org, Prompt: mark + " prompt", Title: fmt.Sprint(mark, " title ", i), Tags: []string{mark}, Links: o.sessions,
			Repos:          []string{mark + "/repo"},
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
	role := s.NewRole(t, access.Org, access.ViewOrgSessions) // roles are the enterprise's, so its name has no mark
	o.robot = s.NewKey(t, o.org, role).ServiceUserID
	o.ids = append(o.ids, role, o.robot)
	o.limit(t, s)
	o.work(t, s)
	o.learn(t, s, who)
	o.ids = append(o.ids, o.org, o.admin.ServiceUserID, o.admin.KeyID, key.ID, o.person, file.ID, o.sessions[0], o.sessions[1])
	return o
}

// know gives the tenant a note in a folder, which its sessions get, and a playbook.
func (o *tenant) know(t testing.TB, s *servertest.Server, who access.Subject) {
	t.Helper()
	f, err := s.Knowledge.CreateFolder(t.Context(), who, knowledge.FolderParams{OrgID: o.org, Path: "/" + o.mark + " folder"})
	require.NoError(t, err)
	n, err := s.Knowledge.Create(t.Context(), who, knowledge.NoteParams{
		OrgID: o.org, Name: o.mark + " note", Body: o.mark + " text", Trigger: o.mark, FolderID: f.ID, PinnedRepo: knowledge.AllRepos,
	})
	require.NoError(t, err)
	macro := "!" + o.mark
	p, err := s.Playbooks.Create(t.Context(), who, playbook.Params{OrgID: o.org, Title: o.mark + " playbook", Body: o.mark + " steps", Macro: &macro})
	require.NoError(t, err)
	o.folder, o.note, o.manual = f.ID, n.ID, p.ID
	o.ids = append(o.ids, f.ID, n.ID, p.ID)
}

// connect gives the tenant a git connection of its own, with a repository that it may use.
func (o *tenant) connect(t testing.TB, s *servertest.Server) {
	t.Helper()
	host := strings.ToLower(o.mark) + ".example.com"
	c, err := s.Forge.CreateConnection(t.Context(), s.Root(), forge.ConnectionParams{
		Name: o.mark + " git", Provider: forge.Plain, Host: host, Token: secret.New(o.mark + "-token"),
	})
	require.NoError(t, err)
	_, err = s.Forge.Add(t.Context(), s.Root(), c.ID, o.mark+"/repo", "https://"+host+"/"+o.mark+"/repo.git")
	require.NoError(t, err)
	p, err := s.Forge.AddPermissions(t.Context(), s.Root(), o.org, []forge.PermissionParams{{ConnectionID: c.ID, GroupPrefix: &o.mark}})
	require.NoError(t, err)
	o.connection = c.ID
	o.ids = append(o.ids, c.ID, p[0].ID)
}

// plan gives the tenant a secret, which its sessions get, and a schedule.
func (o *tenant) plan(t testing.TB, s *servertest.Server, who access.Subject) {
	t.Helper()
	x, err := s.Secrets.Create(t.Context(), who, secrets.CreateParams{
		OrgID: o.org, Type: secrets.KeyValue, Key: o.mark + " key", Value: secret.New(o.mark + "-value"), Note: o.mark + " note", Sensitive: true,
	})
	require.NoError(t, err)
	d, err := s.Schedules.Create(t.Context(), who, o.org, schedule.Spec{
		Name: o.mark + " schedule", Prompt: o.mark + " prompt", Type: schedule.Recurring, Frequency: "0 9 * * *", IntervalCount: 1, Agent: "devin",
		NotifyOn: schedule.Failure, PlaybookID: o.manual, Tags: []string{o.mark}, RunAsUserID: o.person,
	})
	require.NoError(t, err)
	o.secret, o.schedule = x.ID, d.ID
	o.ids = append(o.ids, x.ID, d.ID)
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

// limit gives the tenant tags, limits and a ledger.
func (o *tenant) limit(t testing.TB, s *servertest.Server) {
	t.Helper()
	_, err := s.Orgs.AddTags(t.Context(), s.Root(), o.org, []string{o.mark, o.mark + " default"})
	require.NoError(t, err)
	_, err = s.Orgs.SetDefaultTag(t.Context(), s.Root(), o.org, o.mark+" default")
	require.NoError(t, err)
	big := org.LimitChange{Set: true, Value: new(int64(1_000_000))}
	require.NoError(t, s.Orgs.SetCaps(t.Context(), s.Root(), org.CapParams{OrgID: o.org, Cloud: big, Local: big}))
	now := s.DB.Clock().Now()
	require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for i, w := range []usage.Work{{UserID: o.person}, {ServiceUserID: o.robot}} {
			w.SessionID, w.OrgID, w.Start, w.From, w.To = o.sessions[i], o.org, now.Add(-time.Minute), now.Add(-time.Minute), now
			if _, err := s.Usage.EnterTx(ctx, tx, w); err != nil {
				return err
			}
		}
		return nil
	}))
}

// learn has the first session analysed.
func (o *tenant) learn(t testing.TB, s *servertest.Server, who access.Subject) {
	t.Helper()
	started, err := s.Insights.Generate(t.Context(), who, o.org, o.sessions[0])
	require.NoError(t, err)
	require.True(t, started)
	for did := true; did; {
		did, err = s.Jobs.Step(t.Context())
		require.NoError(t, err)
	}
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
	see(v3 + "/sessions/insights")
	for _, m := range []string{"sessions", "prs", "searches", "usage", "active-users"} {
		see(v3 + "/metrics/" + m + "?time_after=0&time_before=253402300799")
	}
	see(v3 + "/metrics/mau?time_after=1767225600&time_before=1830297600")
	for _, id := range o.sessions {
		see(v3 + "/sessions/" + id + "/messages")
		see(v3 + "/sessions/" + id + "/attachments")
		see("/gantry/v1/organizations/" + o.org + "/sessions/" + id + "/events")
		see("/v3/enterprise/consumption/daily/sessions/" + id)
	}
	for _, path := range []string{"", "/users/" + o.person, "/service-users/" + o.robot} {
		see(v3 + "/consumption/daily" + path)
	}
	for _, path := range []string{"/tags", "/tags/default"} {
		see("/v3/enterprise/organizations/" + o.org + path)
	}
	see("/v3beta1/enterprise/organizations/" + o.org + "/consumption/acu-limits")
	for _, path := range []string{"/knowledge/folders", "/secrets", "/schedules"} {
		see(v3 + path)
	}
	for _, l := range [][3]string{ // what every list shows, the enterprise's and the operator's, is no tenant's
		{v3 + "/knowledge/notes", "org_id", o.org},
		{v3 + "/playbooks", "org_id", o.org},
		{"/v3beta1/organizations/" + o.org + "/repositories", "git_connection_id", o.connection},
	} {
		a := s.Do(t, http.MethodGet, l[0], s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusOK, a.Status, "%s: %s", l[0], a.Body)
		for _, item := range list[object](a.JSON(t)["items"]) {
			if item[l[1]] == l[2] {
				fmt.Fprintln(&b, l[0], item)
			}
		}
	}
	see("/v3/enterprise/organizations/" + o.org + "/git-providers/permissions")
	see("/v3/enterprise/git-providers/connections/" + o.connection + "/repositories")
	see("/gantry/v1/git-connections/" + o.connection)
	see("/v3/enterprise/organizations/" + o.org + "/audit-logs")
	for _, members := range []string{"service-users?include_inactive=true", "users", "idp-users", "idp-groups"} {
		see("/v3/enterprise/organizations/" + o.org + "/members/" + members)
	}
	return b.String()
}
