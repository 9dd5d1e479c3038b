package servertest_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/metric"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
	"gantry/internal/rollup"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// old is a database of an older release, with what that release wrote.
type old struct {
	t     *testing.T
	d     *db.DB
	url   string
	token string
}

// openOld gives an empty database.
func openOld(t *testing.T, e db.Engine) *old {
	t.Helper()
	o := &old{t: t, url: "sqlite://" + filepath.Join(t.TempDir(), "old.db"), token: id.NewKey(id.KeyService)}
	if e == db.Postgres {
		o.url = dbtest.URL(t, e)
	}
	var err error
	o.d, err = db.Open(t.Context(), o.url, db.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = o.d.Close() })
	if e == db.Postgres {
		o.exec(`DROP SCHEMA public CASCADE`)
		o.exec(`CREATE SCHEMA public`)
	}
	return o
}

func (o *old) exec(query string, args ...any) {
	o.t.Helper()
	require.NoError(o.t, o.d.Write(o.t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, query, args...)
		return err
	}), query)
}

// begun is the day on which the old release ran, noon a moment of it; all of it lies in one billing cycle.
var (
	begun   = time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	oldNoon = begun.Add(12 * time.Hour).UnixMilli()
)

// steps write, for each migration, what the release that came with it wrote.
var steps = []func(o *old){
	(*old).ground, (*old).jobs, (*old).people, (*old).access, (*old).seal, (*old).limits, (*old).knowledge, (*old).secrets, (*old).schedules,
	(*old).metrics, (*old).insights, (*old).forge, (*old).legacy, (*old).console, (*old).pulls,
	(*old).purge, (*old).claimKey, (*old).none,
}

func (o *old) ground() {
	o.exec(`INSERT INTO settings (name, value) VALUES ('bootstrap', 'done')`)
	o.exec(`INSERT INTO organizations (org_id, name, max_cycle_acu_limit, created_at, updated_at) VALUES ('org-a', 'Acme', 500, $1, $1)`, oldNoon)
	o.exec(`INSERT INTO organizations (org_id, name, created_at, updated_at, deleted_at) VALUES ('org-gone', 'Gone', $1, $1, $1)`, oldNoon)
	o.exec(`INSERT INTO users (user_id, email, name, created_at) VALUES ('user-ada', 'Ada@Example.com', 'Ada', $1)`, oldNoon)
	o.exec(`INSERT INTO users (user_id, email, name, created_at, deleted_at) VALUES ('user-left', 'left@example.com', 'Left', $1, $1)`, oldNoon)
	for _, r := range [][2]string{{"account_admin", "enterprise"}, {"account_member", "enterprise"}, {"org_admin", "org"}, {"org_member", "org"}} {
		o.exec(`INSERT INTO roles (role_id, role_name, role_type, permissions, is_builtin, created_at) VALUES ($1, $1, $2, '["ViewOrgSessions"]', 1, $3)`,
			r[0], r[1], oldNoon)
	}
	o.exec(`INSERT INTO service_users (service_user_id, name, created_at) VALUES ('service-user-root', 'admin', $1)`, oldNoon)
	o.exec(`INSERT INTO service_users (service_user_id, name, org_id, created_at) VALUES ('service-user-bot', 'bot', 'org-a', $1)`, oldNoon)
	for _, a := range [][4]string{
		{"service-user-root", "", "service_user", "account_admin"},
		{"service-user-bot", "org-a", "service_user", "org_member"},
		{"user-ada", "org-a", "user", "org_admin"},
	} {
		o.exec(`INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at) VALUES ($1, $2, $3, $4, $5)`, a[0], a[1], a[2], a[3], oldNoon)
	}
	o.exec(`INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at) VALUES ('api-key-1', 'service-user-root', 'first', $1, $2)`,
		id.HashKey(o.token), oldNoon)
	o.exec(`INSERT INTO repositories (name, url, created_at) VALUES ('acme/app', 'https://git.example.com/acme/app.git', $1)`, oldNoon)
	o.exec(`INSERT INTO agents (name, command, binds, modes, is_default, created_at) VALUES ('helper', '["/bin/true"]', '[]', '[]', 1, $1)`, oldNoon)
	o.exec(`INSERT INTO outposts (outpost_id, name, created_at) VALUES ('default', 'default', $1) ON CONFLICT DO NOTHING`, oldNoon)
	o.exec(`INSERT INTO worker_keys (worker_key_id, name, hash, outposts, created_at) VALUES ('worker-key-1', 'w', $1, '["default"]', $2)`,
		id.HashKey("gwk_x"), oldNoon)
	o.exec(`INSERT INTO audit_entries (audit_log_id, created_at, action, org_id, service_user_id, service_user_name, data)
		VALUES ('audit-1', $1, 'create_session', 'org-a', 'service-user-bot', 'bot', '{"session_id":"a1"}')`, oldNoon)
	o.session("a1", "exit", "", "user-ada", 900_000)
	o.session("a2", "suspended", "inactivity", "user-ada", 2_000_000)
	o.session("a3", "running", "waiting_for_user", "", 100_000)
	o.session("a4", "new", "", "user-ada", 0)
	o.exec(`UPDATE sessions SET pull_requests = '[{"url":"https://git.example.com/acme/app/pull/1","state":"merged"}]' WHERE session_id = 'a1'`)
	o.exec(`INSERT INTO queue_lanes (outpost_id, org_id, pending, served_at) VALUES ('default', 'org-a', 1, 0)`)
	o.exec(`INSERT INTO attachments (attachment_id, org_id, session_id, name, size, blob, source, created_at)
		VALUES ('0190f9d0-0000-7000-8000-000000000001', 'org-a', 'a1', 'report.txt', 3, 'none', 'devin', $1)`, oldNoon)
}

// session writes a session of the first release: its row, labels, messages, place in the queue and ledger.
func (o *old) session(sessionID, status, detail, userID string, micros int64) {
	serviceID, phase := "", "parked"
	if userID == "" {
		serviceID = "service-user-bot"
	}
	var ended any
	switch status {
	case "exit":
		ended, phase = oldNoon+60_000, "ended"
	case "new":
		phase = "pending"
	}
	o.exec(`INSERT INTO sessions (session_id, org_id, title, status, status_detail, created_at, updated_at, user_id, service_user_id, child_session_ids,
			origin, agent, tags, repos, session_links, pull_requests, is_archived, resumable, bypass_approval, structured_output_required, acu_micros,
			run_acu_micros, last_seq, last_command, acked_command, num_user_messages, num_devin_messages, ended_at, outpost_id)
		VALUES ($1, 'org-a', $1, $2, $3, $4, $4, $5, $6, '[]', 'api', 'helper', '["nightly"]', '["acme/app"]', '[]', '[]', 0, 1, 0, 1, $7, $7, 2, 1, 1, 1, 1, $8,
			'default')`, sessionID, status, db.Null(detail), oldNoon, db.Null(userID), db.Null(serviceID), micros, ended)
	o.exec(`INSERT INTO session_tags (session_id, tag, org_id, created_at) VALUES ($1, 'nightly', 'org-a', $2)`, sessionID, oldNoon)
	o.exec(`INSERT INTO session_repos (session_id, repo, org_id, created_at) VALUES ($1, 'acme/app', 'org-a', $2)`, sessionID, oldNoon)
	o.exec(`INSERT INTO session_commands (session_id, number, kind, data, created_at) VALUES ($1, 1, 'message', '{"number":1,"kind":"message","text":"fix the bug"}', $2)`,
		sessionID, oldNoon)
	for seq, e := range [][2]string{{"user_message", `{"text":"fix the bug","command":1}`}, {"message", `{"text":"done"}`}} {
		o.exec(`INSERT INTO session_events (session_id, seq, event_id, type, created_at, data) VALUES ($1, $2, $3, $4, $5, $6)`,
			sessionID, seq+1, fmt.Sprintf("event-%s-%d", sessionID, seq), e[0], oldNoon, e[1])
	}
	o.exec(`INSERT INTO queue (session_id, org_id, outpost_id, kind, phase, session_status, fence, last_batch, secrets_given, enqueued_at, created_at, updated_at)
		VALUES ($1, 'org-a', 'default', 'new', $2, $2, 0, 0, 0, $3, $3, $3)`, sessionID, phase, oldNoon)
	if micros == 0 {
		return
	}
	o.exec(`INSERT INTO usage_entries (session_id, started_at, org_id, user_id, service_user_id, product, fence, ended_at, acu_micros)
		VALUES ($1, $2, 'org-a', $3, $4, 'devin', 1, $5, $6)`, sessionID, oldNoon, db.Null(userID), db.Null(serviceID), oldNoon+60_000, micros)
	who, whoID := "user", userID
	if userID == "" {
		who, whoID = "service_user", serviceID
	}
	billing := usage.Defaults().Day(db.Time(oldNoon)).UnixMilli()
	for _, r := range [][2]string{{"session", sessionID}, {who, whoID}, {"organization", "org-a"}} {
		o.exec(`INSERT INTO usage_daily (scope, scope_id, org_id, product, day, acu_micros) VALUES ($1, $2, 'org-a', 'devin', $3, $4)
			ON CONFLICT (scope, scope_id, org_id, day, product) DO UPDATE SET acu_micros = usage_daily.acu_micros + excluded.acu_micros`,
			r[0], r[1], billing, micros)
	}
}

func (o *old) jobs() {
	o.exec(`INSERT INTO jobs (job_id, kind, args, attempt, run_at, created_at) VALUES ('job-1', 'mail', '{}', 0, $1, $2)`, int64(1)<<52, oldNoon)
}

func (o *old) people() {
	o.exec(`INSERT INTO users (user_id, email, email_key, name, created_at) VALUES ('user-bob', 'Bob@Example.com', 'bob@example.com', 'Bob', $1)`, oldNoon)
	o.exec(`INSERT INTO idp_groups (idp_group_name, created_at) VALUES ('engineers', $1)`, oldNoon)
	o.exec(`INSERT INTO idp_group_roles (idp_group_name, org_id, role_id, created_at) VALUES ('engineers', 'org-a', 'org_member', $1)`, oldNoon)
	o.exec(`INSERT INTO idp_group_members (user_id, idp_group_name, created_at) VALUES ('user-bob', 'engineers', $1)`, oldNoon)
}

func (o *old) access() {
	o.exec(`INSERT INTO roles (role_id, role_name, role_type, permissions, is_builtin, created_at) VALUES ('role-1', 'reader', 'org', '["ViewOrgSessions"]', 0, $1)`, oldNoon)
}

func (o *old) seal() {
	o.exec(`INSERT INTO audit_entries (audit_log_id, created_at, action, org_id, service_user_name, data) VALUES ('audit-2', $1, 'update_org', 'org-a', 'system', '{}')`, oldNoon+1)
}

func (o *old) limits() {
	o.exec(`INSERT INTO org_tags (org_id, tag) VALUES ('org-a', 'nightly')`)
	o.exec(`INSERT INTO org_groups (name, max_cycle_acus) VALUES ('all', 1000)`)
	o.exec(`INSERT INTO org_group_members (org_id, group_name) VALUES ('org-a', 'all')`)
	o.exec(`INSERT INTO user_acu_limits (user_id, cycle_acu_limit) VALUES ('user-ada', 70)`)
	require.NoError(o.t, o.d.Write(o.t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := usage.Defaults().EnterTx(ctx, tx, usage.Work{
			SessionID: "a2", OrgID: "org-a", UserID: "user-ada", Start: db.Time(oldNoon + 120_000), From: db.Time(oldNoon + 120_000),
			To: db.Time(oldNoon + 120_000).Add(15 * time.Minute),
		})
		return err
	}))
	o.exec(`UPDATE sessions SET acu_micros = acu_micros + 1000000 WHERE session_id = 'a2'`)
}

func (o *old) knowledge() {
	o.exec(`INSERT INTO knowledge_notes (note_id, org_id, created_at, updated_at, is_enabled, name, trigger_text, size, hash, body, folded)
		VALUES ('note-1', 'org-a', $1, $1, 1, 'Build', 'the build breaks', 4, 'x', 'look', 'build the build breaks look')`, oldNoon)
	o.exec(`INSERT INTO playbooks (playbook_id, org_id, created_at, updated_at, created_by, updated_by, macro, title, size, hash, body)
		VALUES ('playbook-1', 'org-a', $1, $1, 'user-ada', 'user-ada', '!ship', 'Ship', 4, 'x', 'ship')`, oldNoon)
}

func (o *old) secrets() {
	o.exec(`INSERT INTO secrets (secret_id, org_id, name, secret_type, is_sensitive, sealed, created_by, created_at)
		VALUES ('secret-1', 'org-a', 'TOKEN', 'key-value', 1, $1, 'user-ada', $2)`, []byte("sealed"), oldNoon)
}

func (o *old) schedules() {
	o.exec(`INSERT INTO schedules (schedule_id, org_id, name, prompt, schedule_type, frequency, interval_count, enabled, agent, bypass_approval, notify_on, created_at,
		updated_at, version, consecutive_failures) VALUES ('sched-1', 'org-a', 'Nightly', 'go', 'recurring', '0 9 * * *', 1, 0, 'devin', 0, 'never', $1, $1, 1, 0)`, oldNoon)
}

// metrics has a session that is counted already beside those that aren't.
func (o *old) metrics() {
	o.session("a5", "exit", "", "user-ada", 0)
	o.exec(`UPDATE sessions SET counted = 1, category = 'bug_fixing', subcategory = 'Other' WHERE session_id = 'a5'`)
	require.NoError(o.t, o.d.Write(o.t.Context(), func(ctx context.Context, tx *db.Tx) error {
		return rollup.BeginTx(ctx, tx, rollup.Session{OrgID: "org-a", UserID: "user-ada", Origin: "api", CreatedAt: db.Time(oldNoon)},
			rollup.Measure{Size: "xs", Category: "bug_fixing", Subcategory: "Other"})
	}))
	o.exec(`DELETE FROM metric_active WHERE period LIKE 'any %'`) // that release had none such
}

func (o *old) insights() {
	o.exec(`INSERT INTO session_insights (session_id, org_id, state, generation, messages, started_at, finished_at, analysis) VALUES ('a1', 'org-a', 'done', 1, 1, $1, $1,
		'{"made_by":"rules","action_items":[],"classification":null,"issues":[],"note_usage":null,"suggested_prompt":null,"timeline":[]}')`, oldNoon)
}

func (o *old) forge() {
	o.exec(`INSERT INTO git_connections (git_connection_id, name, provider_type, host, base_url, username, known_hosts, built_in, created_at, updated_at)
		VALUES ('git-connection-1', 'own', 'git', 'own.example.com', '', '', '', 0, $1, $1)`, oldNoon)
	o.exec(`INSERT INTO git_repositories (git_connection_id, folded, path, search, url, provider_repository_id, seen_at, created_at)
		VALUES ('git-connection-1', 'acme/lib', 'acme/lib', 'acme/lib', 'https://own.example.com/acme/lib.git', 'acme/lib', $1, $1)`, oldNoon)
	o.exec(`INSERT INTO git_permissions (git_permission_id, org_id, git_connection_id, scope, value, folded, read_only, created_at)
		VALUES ('git-permission-1', 'org-a', 'git-connection-1', 'group', 'acme/', 'acme/', 0, $1)`, oldNoon)
}

func (o *old) legacy() {
	o.exec(`INSERT INTO session_requests (org_id, principal_id, hash, session_id, created_at) VALUES ('org-a', 'service-user-root', $1, 'a1', $2)`, []byte{1}, oldNoon)
	o.exec(`INSERT INTO indexed_repositories (org_id, name, created_at) VALUES ('org-a', 'acme/app', $1)`, oldNoon)
}

func (o *old) console() {
	o.exec(`INSERT INTO browser_sessions (token_hash, key_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
		id.HashKey("browser"), id.HashKey(o.token), oldNoon, oldNoon+1)
}

func (o *old) pulls() {
	o.exec(`INSERT INTO session_pulls (session_id, url, pushed, counted, since, next_at)
		VALUES ('a2', 'https://git.example.com/acme/app/pull/2', '["fix"]', 0, $1, $1)`, oldNoon)
}

func (o *old) purge() {
	o.exec(`UPDATE organizations SET purge_stage = 1, purge_place = 'sessions 0/' WHERE org_id = 'org-gone'`)
}

func (o *old) claimKey() {
	o.exec(`UPDATE queue SET claim_key = 'worker-key-1' WHERE session_id = 'a3'`)
}

// none is for a migration that only lays down anew what there was.
func (o *old) none() {}

// From every step on, with data in it, the newest release reads what was there.
func TestUpgradesFromEveryStepKeepWhatWasThere(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		for last := range steps {
			t.Run(fmt.Sprintf("%s from %d", e, last+1), func(t *testing.T) {
				t.Parallel()
				o := openOld(t, e)
				for i, write := range steps[:last+1] {
					require.NoError(t, o.d.MigrateTo(t.Context(), int64(i+1)))
					write(o)
				}
				s := servertest.New(t, servertest.Options{Engine: e, Of: &servertest.Server{
					Admin: member.Admin{Token: secret.New(o.token), ServiceUserID: "service-user-root"}, Org: "org-a",
					Config: &config.Serve{Storage: config.Storage{Data: t.TempDir(), Database: o.url}},
				}})
				u := upgraded{t, s, last + 1}
				u.sessions()
				u.ledger()
				u.counted()
				u.repositories()
				u.people()
				u.log()
				u.rest()
			})
		}
	}
}

// A new migration comes with what its release writes.
func TestEveryMigrationHasAStepOfTheUpgradeTest(t *testing.T) {
	t.Parallel()
	_, want, err := dbtest.Open(t, db.SQLite, servertest.New(t, servertest.Options{}).DB.Clock()).SchemaVersion(t.Context())
	require.NoError(t, err)
	require.Len(t, steps, int(want), "give the new migration a function in steps")
}

// upgraded is a server on a database that began at an older step.
type upgraded struct {
	t    *testing.T
	s    *servertest.Server
	step int
}

func (u upgraded) see(path string) string {
	u.t.Helper()
	a := u.s.Do(u.t, http.MethodGet, path, u.s.Admin.Token.Reveal(), "")
	require.Equal(u.t, http.StatusOK, a.Status, "%s\n%s", path, a.Body)
	return a.Body
}

func (u upgraded) ids() []string {
	ids := []string{"a1", "a2", "a3", "a4"}
	if u.step >= 10 {
		ids = append(ids, "a5")
	}
	return ids
}

func (u upgraded) sessions() {
	u.t.Helper()
	for _, path := range []string{"/v3/organizations/org-a/sessions", "/v3/enterprise/sessions?tags=nightly", "/v3/organizations/org-a/sessions?repo_names=acme/app"} {
		body := u.see(path)
		require.Equal(u.t, len(u.ids()), strings.Count(body, `"session_id"`), body)
		for _, id := range u.ids() {
			require.Contains(u.t, body, id)
		}
	}
	require.Contains(u.t, u.see("/v3/organizations/org-a/sessions/devin-a1"), `"pr_url":"https://git.example.com/acme/app/pull/1"`)
	require.Contains(u.t, u.see("/v3/organizations/org-a/sessions/devin-a2"), `"status":"suspended"`)
	messages := u.see("/v3/organizations/org-a/sessions/devin-a3/messages")
	require.Contains(u.t, messages, "fix the bug")
	require.Contains(u.t, messages, "done")
	require.Contains(u.t, u.see("/v3/organizations/org-a/sessions/devin-a1/attachments"), "report.txt")
	// One that slept goes on.
	_, err := u.s.Sessions.SendMessage(u.t.Context(), u.s.Root(), session.MessageParams{OrgID: "org-a", SessionID: "a2", Message: "more"})
	require.NoError(u.t, err)
}

func (u upgraded) ledger() {
	u.t.Helper()
	total := func(p usage.DailyParams) (sum int64) {
		days, err := u.s.Usage.Daily(u.t.Context(), u.s.Root(), p)
		require.NoError(u.t, err)
		for _, d := range days {
			sum += d.Total()
		}
		return sum
	}
	ada, a2, all := int64(2_900_000), int64(2_000_000), int64(3_000_000)
	if u.step >= 6 {
		ada, a2, all = ada+1_000_000, a2+1_000_000, all+1_000_000
	}
	require.Equal(u.t, all, total(usage.DailyParams{}), "the enterprise")
	require.Equal(u.t, all, total(usage.DailyParams{Scope: usage.Organization, ID: "org-a"}))
	require.Equal(u.t, ada, total(usage.DailyParams{Scope: usage.User, ID: "user-ada"}), "a person in all organizations")
	require.Equal(u.t, ada, total(usage.DailyParams{Scope: usage.User, ID: "user-ada", OrgID: "org-a"}))
	require.Equal(u.t, int64(100_000), total(usage.DailyParams{Scope: usage.ServiceUser, ID: "service-user-bot"}))
	require.Equal(u.t, a2, total(usage.DailyParams{Scope: usage.Session, ID: "a2"}))
	used, err := u.s.Usage.OrgCycle(u.t.Context(), u.s.DB.Reader(), "org-a", db.Time(oldNoon))
	require.NoError(u.t, err)
	require.Equal(u.t, all, used, "what the limit of the cycle is held against")
}

// counted has the counters catch up.
func (u upgraded) counted() {
	u.t.Helper()
	require.NoError(u.t, u.s.Sessions.Sweep(u.t.Context()))
	f := metric.Filter{Range: metric.Range{After: begun, Before: begun.Add(24 * time.Hour)}, OrgID: "org-a"}
	got, err := u.s.Rooms.Metrics.Sessions(u.t.Context(), u.s.Root(), f)
	require.NoError(u.t, err)
	require.EqualValues(u.t, len(u.ids()), got.Created)
	require.EqualValues(u.t, 1, got.WithMergedPRs)
	active, err := u.s.Rooms.Metrics.ActiveUsers(u.t.Context(), u.s.Root(), metric.ActiveFilter{Range: f.Range, MinSessions: 1, MinSearches: 1})
	require.NoError(u.t, err)
	require.EqualValues(u.t, 1, active.Users)
}

func (u upgraded) repositories() {
	u.t.Helper()
	require.Contains(u.t, u.see("/v3beta1/organizations/org-a/repositories"), "acme/app")
	found, err := u.s.Forge.Resolve(u.t.Context(), "org-a", []string{"acme/app"})
	require.NoError(u.t, err)
	require.Equal(u.t, "https://git.example.com/acme/app.git", found[0].URL)
	made, err := u.s.Sessions.Create(u.t.Context(), u.s.Root(), session.CreateParams{OrgID: "org-a", Prompt: "go", Repos: []string{"acme/app"}})
	require.NoError(u.t, err, "an agent and a repository of the older release serve a new session")
	require.Equal(u.t, "helper", made.Agent)
	if u.step >= 12 {
		require.Contains(u.t, u.see("/v3/enterprise/git-providers/connections/git-connection-1/repositories"), "acme/lib")
	}
}

func (u upgraded) people() {
	u.t.Helper()
	require.Contains(u.t, u.see("/v3/enterprise/members/users?email=ADA@example.com"), "user-ada")
	require.Contains(u.t, u.see("/v3/enterprise/organizations/org-a/members/users"), "Ada@Example.com")
	require.NotContains(u.t, u.see("/v3/enterprise/members/users"), "user-left")
	require.Contains(u.t, u.see("/v3/enterprise/members/service-users"), "service-user-bot")
	if u.step >= 3 {
		require.Contains(u.t, u.see("/v3/enterprise/organizations/org-a/members/idp-users"), "user-bob")
	}
	if u.step >= 4 {
		require.Contains(u.t, u.see("/v3/enterprise/roles"), "role-1")
	}
}

// log seals what the older release wrote, and finds nothing wrong with it.
func (u upgraded) log() {
	u.t.Helper()
	body := u.see("/v3/enterprise/audit-logs")
	require.Contains(u.t, body, "audit-1")
	require.NoError(u.t, u.s.Audit.Seal(u.t.Context()))
	report, err := u.s.Audit.Verify(u.t.Context(), u.s.Root(), audit.Anchor{})
	require.NoError(u.t, err)
	require.Empty(u.t, report.Findings)
	require.Positive(u.t, report.Sealed)
}

// rest looks for what later steps brought.
func (u upgraded) rest() {
	u.t.Helper()
	for _, c := range []struct {
		since       int
		path, shows string
	}{
		{1, "/v3/enterprise/organizations", "Acme"},
		{6, "/v3/enterprise/organizations/org-a/tags", "nightly"},
		{6, "/v3/enterprise/org-group-limits", "org-a"},
		{6, "/v3beta1/enterprise/users/user-ada/consumption/acu-limits", "70"},
		{7, "/v3/organizations/org-a/knowledge/notes", "note-1"},
		{7, "/v3/organizations/org-a/playbooks", "playbook-1"},
		{8, "/v3/organizations/org-a/secrets", "secret-1"},
		{9, "/v3/organizations/org-a/schedules", "sched-1"},
		{11, "/v3/organizations/org-a/sessions/devin-a1/insights", `"a1"`},
		{12, "/v3/enterprise/organizations/org-a/git-providers/permissions", "git-permission-1"},
	} {
		if u.step >= c.since {
			require.Contains(u.t, u.see(c.path), c.shows, c.path)
		}
	}
	require.NotContains(u.t, u.see("/v3/enterprise/organizations"), "org-gone")
	for range 2 { // what it left goes: its secrets, and then the rest
		require.NoError(u.t, u.s.Orgs.Purge(u.t.Context()))
	}
	require.Contains(u.t, u.see("/v3/enterprise/audit-logs?action=purge_org"), "org-gone")
	if u.step >= 2 {
		n, err := db.One(u.t.Context(), u.s.DB.Reader(), db.Int, `SELECT COUNT(*) FROM jobs WHERE job_id = 'job-1'`)
		require.NoError(u.t, err)
		require.EqualValues(u.t, 1, n, "a job that waits")
	}
	if u.step >= 15 {
		n, err := u.s.Sessions.AskDue(u.t.Context())
		require.NoError(u.t, err)
		require.Equal(u.t, 1, n, "a pull request to ask about")
	}
}
