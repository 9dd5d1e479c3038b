package servertest_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/schedule"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

// elapse makes a deleted organization's grace period be over.
func elapse(t testing.TB, s *servertest.Server, orgID string) {
	t.Helper()
	require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE organizations SET deleted_at = deleted_at - $1 WHERE org_id = $2`, s.Config.PurgeAfter.Milliseconds(), orgID)
		return err
	}))
}

// tables gives every row of every table as text.
func tables(t testing.TB, s *servertest.Server) map[string][]string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if s.DB.Engine() == db.Postgres {
		query = `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	}
	names, err := db.All(t.Context(), s.DB.Reader(), db.Text, query)
	require.NoError(t, err)
	require.Greater(t, len(names), 50)
	out := map[string][]string{}
	for _, name := range names {
		rows, err := s.DB.Reader().QueryContext(t.Context(), `SELECT * FROM `+name) //nolint:unqueryvet // whatever columns there are
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			text := ""
			for i, v := range values {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				text += fmt.Sprintf("%s=%v ", columns[i], v)
			}
			out[name] = append(out[name], text)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	return out
}

// Of a deleted organization nothing is left but what the audit log, usage and metrics need, wherever a room keeps it: a new table is found
// by this test.
func TestOfADeletedOrganizationOnlyTheRecordsStay(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		ctx := t.Context()
		gone, kept := newTenant(t, s, "Aardvark"), newTenant(t, s, "Badger")
		for _, o := range []*tenant{gone, kept} {
			_, err := s.Members.CreateOrgKey(ctx, s.Root(), o.org)
			require.NoError(t, err)
			_, err = s.Members.CreatePersonalKey(ctx, s.Root(), o.person, o.org)
			require.NoError(t, err)
			who, err := s.Members.Authenticator().Authenticate(ctx, o.admin.Token, noAddr)
			require.NoError(t, err)
			_, _, err = s.Sessions.CreateOnce(ctx, who, session.CreateParams{OrgID: o.org, Prompt: o.mark, Repos: []string{o.mark + "/repo"}})
			require.NoError(t, err)
			d, err := s.Schedules.Create(ctx, who, o.org, schedule.Spec{
				Name: o.mark, Prompt: o.mark, Type: schedule.Recurring, Frequency: "0 9 * * *", IntervalCount: 1, Agent: "devin", NotifyOn: schedule.Never,
			})
			require.NoError(t, err)
			_, err = s.Schedules.Delete(ctx, who, o.org, d.ID)
			require.NoError(t, err)
			over, err := s.Sessions.Create(ctx, who, session.CreateParams{
				OrgID: o.org, Prompt: "x", Secrets: []session.SecretParam{{Key: "TOKEN", Value: secret.New(o.mark)}},
			})
			require.NoError(t, err)
			_, err = s.Sessions.Terminate(ctx, who, o.org, over.ID, false)
			require.NoError(t, err)
			require.NoError(t, s.Forge.EnableIndexing(ctx, who, o.org, []string{o.mark + "/repo"}))
			require.Equal(t, http.StatusOK, s.Do(t, http.MethodPost, "/v3/organizations/"+o.org+"/knowledge/notes", o.admin.Token,
				`{"name":"`+o.mark+` late","trigger":"t","body":"b"}`).Status)
		}
		records := func() string {
			var b strings.Builder
			for _, path := range []string{
				"/v3/enterprise/consumption/daily?time_after=0&time_before=253402300799", "/v3/enterprise/consumption/daily/sessions/" + gone.sessions[0],
				"/v3/enterprise/metrics/sessions?time_after=0&time_before=253402300799", "/v3/enterprise/metrics/usage?time_after=0&time_before=253402300799",
			} {
				a := s.Do(t, http.MethodGet, path, s.Admin.Token.Reveal(), "")
				require.Equal(t, http.StatusOK, a.Status, "%s: %s", path, a.Body)
				b.WriteString(a.Body)
			}
			return b.String()
		}
		_, err := s.Orgs.Delete(ctx, s.Root(), gone.org)
		require.NoError(t, err)
		require.NoError(t, s.Sessions.Sweep(ctx))
		picture, used := kept.picture(t, s), records()
		require.NoError(t, s.Orgs.Purge(ctx))
		left, err := db.One(ctx, s.DB.Reader(), db.Int, `SELECT (SELECT COUNT(*) FROM secrets WHERE org_id = $1)
			+ (SELECT COUNT(*) FROM session_secrets x JOIN sessions s ON s.session_id = x.session_id WHERE s.org_id = $1)`, gone.org)
		require.NoError(t, err)
		require.Zero(t, left, "no secret waits")
		require.Contains(t, strings.Join(tables(t, s)["session_events"], ""), "Aardvark prompt", "the rest waits")

		elapse(t, s, gone.org)
		require.NoError(t, s.Orgs.Purge(ctx))
		require.Equal(t, picture, kept.picture(t, s))
		require.Equal(t, used, records())
		names := []string{
			"audit_entries", "organizations", // what was done, and by which name it was known
			"git_connections", "git_repositories", "idp_groups", "idp_group_roles", "idp_group_members", // the enterprise's
			"queue",         // which machine had a session
			"service_users", // who acted
		}
		ids := []string{
			"audit_entries", "organizations", "service_users", "sessions", "queue", "queue_lanes", "usage_entries", "usage_daily", "usage_cycles",
			"metric_days", "metric_categories", "metric_people", "metric_active", "metric_gaps",
		}
		for table, rows := range tables(t, s) {
			for _, row := range rows {
				if !slices.Contains(names, table) {
					require.NotContains(t, row, "Aardvark", table)
				}
				if slices.Contains(ids, table) {
					continue
				}
				for _, id := range append([]string{gone.org}, gone.sessions...) {
					require.NotContains(t, row, id, table)
				}
			}
		}
		require.NoError(t, filepath.WalkDir(filepath.Join(s.Config.Data, "blobs"), func(path string, _ fs.DirEntry, err error) error {
			for _, id := range append([]string{gone.org}, gone.sessions...) {
				require.NotContains(t, path, id)
			}
			return err
		}))
		logs := s.Do(t, http.MethodGet, "/v3/enterprise/audit-logs?action=purge_org", s.Admin.Token.Reveal(), "")
		require.Contains(t, logs.Body, gone.org)
		_, err = s.Members.PersonSubject(ctx, gone.person)
		require.NoError(t, err, "people are the enterprise's")
		keys, err := s.Members.ListOlderKeys(ctx, s.Root(), "", page.Request{First: 10})
		require.NoError(t, err)
		require.Len(t, keys.Items, 2, "the other organization's")
	})
}

// A purge runs beside other replicas' and after them.
func TestReplicasPurgeTogether(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			s := servertest.New(t, servertest.Options{Engine: e})
			other := servertest.New(t, servertest.Options{Engine: e, Of: s})
			o := newTenant(t, s, "Aardvark")
			_, err := s.Orgs.Delete(t.Context(), s.Root(), o.org)
			require.NoError(t, err)
			require.NoError(t, s.Sessions.Sweep(t.Context()))
			for range 2 {
				done := make(chan error)
				for _, r := range []*servertest.Server{s, other} {
					go func() { done <- r.Orgs.Purge(context.Background()) }()
				}
				require.NoError(t, <-done)
				require.NoError(t, <-done)
				elapse(t, s, o.org)
			}
			stage, err := db.One(t.Context(), s.DB.Reader(), db.Int, `SELECT purge_stage FROM organizations WHERE org_id = $1`, o.org)
			require.NoError(t, err)
			require.EqualValues(t, 2, stage)
		})
	}
}
