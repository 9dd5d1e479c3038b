package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
)

func TestABadFieldIsNamed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		long := strings.Repeat("x", session.MaxPrompt+1)
		many := make([]string, session.MaxListed+1)
		for name, c := range map[string]struct {
			field  string
			change func(*session.CreateParams)
		}{
			"empty prompt":     {"prompt", func(p *session.CreateParams) { p.Prompt = " \n" }},
			"long prompt":      {"prompt", func(p *session.CreateParams) { p.Prompt = long }},
			"NUL in prompt":    {"prompt", func(p *session.CreateParams) { p.Prompt = "a\x00b" }},
			"title":            {"title", func(p *session.CreateParams) { p.Title = long }},
			"51 tags":          {"tags", func(p *session.CreateParams) { p.Tags = make([]string, 51) }},
			"empty tag":        {"1", func(p *session.CreateParams) { p.Tags = []string{"a", " "} }},
			"no ACUs":          {"max_acu_limit", func(p *session.CreateParams) { p.MaxACU = new(int64(0)) }},
			"negative ACUs":    {"max_acu_limit", func(p *session.CreateParams) { p.MaxACU = new(int64(-1)) }},
			"too many ACUs":    {"max_acu_limit", func(p *session.CreateParams) { p.MaxACU = new(int64(1 << 62)) }},
			"mode":             {"devin_mode", func(p *session.CreateParams) { p.Mode = "slow" }},
			"origin":           {"origin", func(p *session.CreateParams) { p.Origin = "moon" }},
			"many repos":       {"repos", func(p *session.CreateParams) { p.Repos = many }},
			"unknown repo":     {"0", func(p *session.CreateParams) { p.Repos = []string{"acme/none"} }},
			"many attachments": {"attachment_urls", func(p *session.CreateParams) { p.AttachmentURLs = many }},
			"relative address": {"0", func(p *session.CreateParams) { p.AttachmentURLs = []string{"/attachments/x/y"} }},
			"many links":       {"session_links", func(p *session.CreateParams) { p.Links = many }},
			"large secrets": {"session_secrets", func(p *session.CreateParams) {
				for i := range 20 {
					p.Secrets = append(p.Secrets, session.SecretParam{Key: fmt.Sprint("K", i), Value: secret.New(strings.Repeat("x", 65_000))})
				}
			}},
			"a secret of wide characters": {"value", func(p *session.CreateParams) {
				p.Secrets = []session.SecretParam{{Key: "K", Value: secret.New(strings.Repeat("€", 60_000))}}
			}},
			"many secrets":      {"session_secrets", func(p *session.CreateParams) { p.Secrets = make([]session.SecretParam, session.MaxSecrets+1) }},
			"secret key":        {"key", func(p *session.CreateParams) { p.Secrets = []session.SecretParam{{}} }},
			"long secret value": {"value", func(p *session.CreateParams) { p.Secrets = []session.SecretParam{{Key: "A", Value: secret.New(long)}} }},
			"schema no object":  {"structured_output_schema", func(p *session.CreateParams) { p.OutputSchema = json.RawMessage(`[]`) }},
			"schema too large": {"structured_output_schema", func(p *session.CreateParams) {
				p.OutputSchema = json.RawMessage(`{"title":"` + strings.Repeat("x", 64<<10) + `"}`)
			}},
			"schema refers outside": {"structured_output_schema", func(p *session.CreateParams) {
				p.OutputSchema = json.RawMessage(`{"$ref":"https://example.com/s.json"}`)
			}},
			"schema refers to a file": {"structured_output_schema", func(p *session.CreateParams) {
				p.OutputSchema = json.RawMessage(`{"$ref":"file:///etc/passwd"}`)
			}},
			"schema is wrong": {"structured_output_schema", func(p *session.CreateParams) { p.OutputSchema = json.RawMessage(`{"type":5}`) }},
		} {
			p := session.CreateParams{OrgID: h.org, Prompt: "do it"}
			c.change(&p)
			_, err := h.Create(t.Context(), h.boss, p)
			require.Equal(t, c.field, field(t, err), name)
		}
		for field, p := range map[string]session.CreateParams{
			"playbook_id":         {PlaybookID: "playbook-1"},
			"child_playbook_id":   {ChildPlaybookID: "playbook-1"},
			"knowledge_ids":       {KnowledgeIDs: []string{"note-1"}},
			"secret_ids":          {SecretIDs: []string{"secret-1"}},
			"session_links.0":     {Links: []string{"devin-0123"}},
			"devin_id":            {ParentID: "0123"},
			"create_as_user_id":   {CreateAsUserID: "user-1"},
			"session_links.0: no": {Links: []string{"https://elsewhere.example.com/sessions/devin-devin-0123/"}},
		} {
			p.OrgID, p.Prompt = h.org, "do it"
			_, err := h.Create(t.Context(), h.boss, p)
			isFault(t, err, fault.NotFound)
			require.Contains(t, fault.As(err).Message, field)
		}
		_, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "do it", Platform: "Mars"})
		isFault(t, err, fault.BadRequest)
		require.Contains(t, fault.As(err).Message, "inherit, default", "the valid labels are listed")
		require.Zero(t, h.count(t, `SELECT COUNT(*) FROM sessions`))
	})
}

func TestASessionSaysThatItsModeHasNoAgent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, err := h.Agents.Add(t.Context(), h.boss, agents.Agent{Name: "quick", Command: []string{"/bin/true"}, Modes: []string{"fast"}})
		require.NoError(t, err)
		ignored := func(mode string) (agent, text string) {
			s := h.create(t, func(p *session.CreateParams) { p.Mode = mode })
			var d struct {
				Agent   string
				Ignored []string
			}
			require.NoError(t, json.Unmarshal(h.all(t, s.ID)[0].Data, &d))
			return d.Agent, strings.Join(d.Ignored, "|")
		}
		for mode, want := range map[string][2]string{
			"":       {agents.Runbook, ""},
			"normal": {agents.Runbook, ""},
			"fast":   {"quick", ""},
			"ultra":  {agents.Runbook, "devin_mode ultra: no agent is set up for it"},
		} {
			agent, text := ignored(mode)
			require.Equal(t, want, [2]string{agent, text}, "mode %q", mode)
		}
	})
}

func TestASessionIsWrittenWholeWithItsMessageQueueRowAndAudit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		before := len(h.actions(t, 0))
		s := h.create(t, func(p *session.CreateParams) {
			p.Prompt = "\n```sh\n# Build it all\n```\n"
			p.Tags = []string{"b", "a", "b"}
			p.KnowledgeIDs = []string{}
			p.Mode, p.Origin, p.MaxACU = "fast", "cli", new(int64(7))
		})
		require.Equal(t, "Build it all", s.Title, "made from the prompt's first line of text")
		require.Equal(t, []string{"b", "a"}, s.Tags, "doubles are dropped, the order is kept")
		require.Equal(t, fresh, s.State)
		got := h.get(t, s.ID)
		require.Equal(t, s, got, "what is answered is what is kept")
		require.Equal(t, "su-boss", got.ServiceUserID)
		require.True(t, got.Resumable && got.OutputRequired)
		require.Equal(t, []string{"created", "user_message"}, h.types(t, s.ID))
		require.Equal(t, []audit.Action{audit.CreateSession}, h.actions(t, before))
		r := h.row(t, s.ID)
		require.Equal(t, fleet.Pending, r.Phase)
		require.Equal(t, "new", r.Kind)
		require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM sessions WHERE knowledge_ids = '[]' AND secret_ids IS NULL`))
	})
}

func TestWhatCannotBeAuditedDoesNotHappen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t)
		h.exec(t, `DROP TABLE audit_entries`)
		_, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "x", Tags: []string{"t"}, Secrets: []session.SecretParam{{Key: "A"}}})
		require.Error(t, err)
		_, err = h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: s.ID, Message: "more"})
		require.Error(t, err)
		_, err = h.Terminate(t.Context(), h.boss, h.org, s.ID, false)
		require.Error(t, err)
		_, err = h.Archive(t.Context(), h.boss, h.org, s.ID)
		require.Error(t, err)
		_, err = h.ClaimByName(t.Context(), h.boss, s.ID, "w1")
		require.Error(t, err)
		require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM sessions`))
		require.EqualValues(t, 1, h.count(t, `SELECT SUM(pending) FROM queue_lanes`))
		require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM session_commands`))
		require.Zero(t, h.count(t, `SELECT (SELECT COUNT(*) FROM session_tags) + (SELECT COUNT(*) FROM session_secrets)`))
		require.Equal(t, "new/", h.state(t, s.ID))
		require.Len(t, h.all(t, s.ID), 2)
	})
}

func TestSessionSecretsAreSealedAndGivenOncePerClaim(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t, func(p *session.CreateParams) {
			p.Secrets = []session.SecretParam{
				{Key: "api key", Value: secret.New("hunter2hunter2"), Sensitive: true}, {Key: "api_key", Value: secret.New("plain")}, {Key: "9x", Value: secret.New("")},
			}
		})
		sealed, err := db.All(t.Context(), h.db.Reader(), func(r db.Scanner) (string, error) {
			var b []byte
			err := r.Scan(&b)
			return string(b), err
		}, `SELECT sealed FROM session_secrets ORDER BY position`)
		require.NoError(t, err)
		require.Len(t, sealed, 3)
		require.NotContains(t, strings.Join(sealed, ""), "hunter2")
		require.Zero(t, h.count(t, `SELECT COUNT(*) FROM session_events WHERE data LIKE '%hunter2%'`))
		require.Zero(t, h.count(t, `SELECT COUNT(*) FROM audit_entries WHERE data LIKE '%hunter2%'`))

		before := len(h.actions(t, 0))
		r := h.claim(t, "w1")
		require.Equal(t, s.ID, r.row.SessionID)
		got, err := h.Secrets(t.Context(), h.worker, r.row)
		require.NoError(t, err)
		var names, values []string
		for _, e := range got.Environment {
			names, values = append(names, e.Name), append(values, fmt.Sprint(e.Value, " ", e.Sensitive))
		}
		require.Equal(t, []string{"api_key", "api_key_2", "_9x"}, names)
		require.Equal(t, []string{"hunter2hunter2 true", "plain false", " false"}, values)
		require.Equal(t, []audit.Action{audit.ReleaseSecrets}, h.actions(t, before))
		again, err := h.Secrets(t.Context(), h.worker, r.row)
		isFault(t, err, fault.Conflict)
		require.Nil(t, again)
	})
}

func TestACreateWithinTheLimitsOfItsOrganization(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ask := func(n *int64) (*session.Session, error) {
			return h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "x", MaxACU: n})
		}
		s, err := ask(nil)
		require.NoError(t, err)
		require.Zero(t, s.MaxACU)
		h.setLimits(t, limit(5), limit(100))
		for _, c := range []struct {
			asked *int64
			want  int64
		}{{nil, 5}, {new(int64(3)), 3}, {new(int64(9)), 5}} {
			s, err := ask(c.asked)
			require.NoError(t, err)
			require.Equal(t, c.want, s.MaxACU)
			require.Equal(t, c.want, h.get(t, s.ID).MaxACU)
		}
		h.setLimits(t, limit(0), limit(100))
		_, err = ask(new(int64(1)))
		isFault(t, err, fault.Conflict)
		require.Contains(t, fault.As(err).Message, "max_session_acu_limit")
		h.setLimits(t, limit(5), limit(0))
		_, err = ask(nil)
		isFault(t, err, fault.Conflict)
		require.Contains(t, fault.As(err).Message, "contact your enterprise admin")
		_, err = h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: s.ID, Message: "more"})
		isFault(t, err, fault.Conflict)
		_, err = h.orgs.Delete(t.Context(), h.boss, h.org)
		require.NoError(t, err)
		_, err = ask(nil)
		isFault(t, err, fault.NotFound)
	})
}

func TestParentsAndLinksAreOfTheSameOrganization(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		o, err := h.fleet.CreateOutpost(t.Context(), h.boss, "Gpu", "linux-gpu", "")
		require.NoError(t, err)
		parent := h.create(t, func(p *session.CreateParams) { p.Platform = "LINUX-gpu" })
		require.Equal(t, o.ID, parent.OutpostID)
		child := h.create(t, func(p *session.CreateParams) {
			p.ParentID, p.Platform, p.Links = "devin-"+parent.ID, "inherit", []string{"https://x.example.com/sessions/devin-" + parent.ID, parent.ID}
		})
		require.Equal(t, parent.ID, child.ParentID)
		require.Equal(t, o.ID, child.OutpostID, "a child inherits its parent's platform")
		require.Equal(t, []string{parent.ID, parent.ID}, child.Links)
		second := h.create(t, func(p *session.CreateParams) { p.ParentID, p.Platform = parent.ID, "default" })
		require.Equal(t, []string{child.ID, second.ID}, h.get(t, parent.ID).ChildIDs)

		// Who may only start sessions has their own to go on from: another's answers like an unknown one.
		only := access.Subject{Kind: access.Person, ID: "user-only"}.WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(access.UseDevinSessions)})
		own, err := h.Create(t.Context(), only, session.CreateParams{OrgID: h.org, Prompt: "x"})
		require.NoError(t, err)
		_, err = h.Create(t.Context(), only, session.CreateParams{OrgID: h.org, Prompt: "x", ParentID: own.ID, Links: []string{own.ID}})
		require.NoError(t, err)
		for _, other := range []string{parent.ID, "0190f9d000007000800000000000000a"} {
			_, err = h.Create(t.Context(), only, session.CreateParams{OrgID: h.org, Prompt: "x", ParentID: other})
			isFault(t, err, fault.NotFound)
			require.Equal(t, "devin_id: no such session", fault.As(err).Message)
			_, err = h.Create(t.Context(), only, session.CreateParams{OrgID: h.org, Prompt: "x", Links: []string{other}})
			isFault(t, err, fault.NotFound)
		}
		require.Equal(t, []string{child.ID, second.ID}, h.get(t, parent.ID).ChildIDs)
		for _, p := range []access.Permission{access.ViewOrgSessions, access.ManageOrgSessions} {
			sees := access.Subject{Kind: access.Person, ID: "user-sees"}.WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(access.UseDevinSessions, p)})
			_, err = h.Create(t.Context(), sees, session.CreateParams{OrgID: h.org, Prompt: "x", ParentID: parent.ID})
			require.NoError(t, err)
		}

		for _, p := range []session.CreateParams{{ParentID: parent.ID}, {Links: []string{parent.ID}}} {
			p.OrgID, p.Prompt = h.other, "x"
			_, err := h.Create(t.Context(), h.boss, p)
			isFault(t, err, fault.NotFound)
		}
	})
}

func TestAnOutpostThatIsDeletedMeanwhileTakesNoSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		o, err := h.fleet.CreateOutpost(t.Context(), h.boss, "gpu", "", "")
		require.NoError(t, err)
		_, err = h.fleet.DeleteOutpost(t.Context(), h.boss, o.ID)
		require.NoError(t, err)
		err = h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error { return h.fleet.KeepTx(ctx, tx, o.ID) })
		isFault(t, err, fault.BadRequest)
	})
}

func TestActingForAMemberNeedsAllThreeConditions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		person := func(id string, orgID, role string) {
			h.exec(t, `INSERT INTO users (user_id, email, name, created_at) VALUES ($1, $2, 'Ada', 0)`, id, id+"@example.com")
			if orgID != "" {
				h.exec(t, `INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at) VALUES ($1, $2, 'user', $3, 0)`,
					id, orgID, role)
			}
		}
		person("user-member", h.org, access.RoleOrgMember)
		person("user-reader", h.org, access.RoleDeepWikiOnly)
		person("user-stranger", h.other, access.RoleOrgMember)
		person("user-nobody", "", "")
		plain := access.Subject{Kind: access.ServiceUser, ID: "su", OrgID: h.org}.WithGrants(access.Grant{
			OrgID: h.org, Permissions: access.SetOf(access.UseDevinSessions, access.ManageOrgSessions),
		})
		as := func(who access.Subject, user string) (*session.Session, error) {
			return h.Create(t.Context(), who, session.CreateParams{OrgID: h.org, Prompt: "x", CreateAsUserID: user})
		}
		s, err := as(h.ours, "user-member")
		require.NoError(t, err)
		require.Equal(t, "user-member", s.UserID)
		require.Equal(t, "su-ours", s.ServiceUserID)
		_, err = as(plain, "user-member")
		isFault(t, err, fault.Forbidden)
		for _, user := range []string{"user-stranger", "user-nobody", "user-none"} {
			_, err = as(h.ours, user)
			isFault(t, err, fault.NotFound)
			require.Equal(t, "create_as_user_id: no such member of this organization", fault.As(err).Message)
		}
		_, err = as(h.ours, "user-reader")
		isFault(t, err, fault.Forbidden)

		speak := func(who access.Subject, user string) error {
			_, err := h.SendMessage(t.Context(), who, session.MessageParams{OrgID: h.org, SessionID: s.ID, Message: "m", AsUserID: user})
			return err
		}
		require.NoError(t, speak(h.ours, "user-member"))
		isFault(t, speak(plain, "user-member"), fault.Forbidden)
		isFault(t, speak(h.ours, "user-stranger"), fault.NotFound)
		isFault(t, speak(h.ours, "user-reader"), fault.Forbidden)
	})
}

func TestWhoMayCreate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for p, want := range map[access.Permission]bool{
			access.UseDevinSessions: true, access.ManageOrgSessions: true, access.ViewOrgSessions: false, access.ManageOrgKnowledge: false,
		} {
			who := access.Subject{Kind: access.ServiceUser, ID: "su", OrgID: h.org}.WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(p)})
			_, err := h.Create(t.Context(), who, session.CreateParams{OrgID: h.org, Prompt: "x"})
			if want {
				require.NoError(t, err)
			} else {
				isFault(t, err, fault.Forbidden)
			}
		}
		_, err := h.Create(t.Context(), h.theirs, session.CreateParams{OrgID: h.org})
		isFault(t, err, fault.Forbidden)
	})
}
