package session_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/session"
)

// The queries that run for every request or every second read an index, and no sort stands between it and the answer.
func TestHotQueriesReadAnIndex(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		const orphans = `SELECT session_id FROM sessions WHERE ended_at IS NULL
			AND org_id IN (SELECT org_id FROM organizations WHERE deleted_at IS NOT NULL) LIMIT 100`
		if h.db.Engine() == db.Postgres {
			h.fill(t)
		}
		for _, q := range []struct{ name, index, query string }{
			{"lanes", "queue_lanes_next", `SELECT org_id, (SELECT MAX(served_at) FROM queue_lanes WHERE outpost_id = 'default' AND pending > 0) FROM queue_lanes
				WHERE outpost_id = 'default' AND pending > 0 ORDER BY served_at, org_id LIMIT 8`},
			{"pick", "queue_pending", `SELECT session_id FROM queue WHERE outpost_id = 'default' AND org_id = 'o' AND phase = 'pending'
				AND (last_acceptor IS NULL OR last_acceptor = 'w' OR enqueued_at <= 5) ORDER BY enqueued_at, session_id LIMIT 16`},
			{"lapsed", "queue_leases", `SELECT session_id FROM queue WHERE phase = 'claimed' AND lease_until < 5 ORDER BY lease_until LIMIT 100`},
			{"held", "queue_claimed", `SELECT session_id FROM queue WHERE outpost_id = 'default' AND phase = 'claimed' AND acceptor_id = 'w'`},
			{"active claims", "queue_claimed", `SELECT COUNT(*) FROM queue WHERE outpost_id = 'default' AND phase = 'claimed'`},
			{"token", "queue_token", `SELECT session_id FROM queue WHERE token_hash = '\x00'`},
			{"oldest", "queue_oldest", `SELECT COALESCE(MIN(enqueued_at), 0) FROM queue WHERE phase = 'pending'`},
			{"watch", "queue_watch", `SELECT session_id FROM queue WHERE outpost_id = 'default' AND (updated_at, session_id) >= (5, 'x')
				ORDER BY updated_at, session_id LIMIT 100`},
			{"idle", "sessions_idle", `SELECT session_id FROM sessions WHERE idle_since < 5 ORDER BY idle_since LIMIT 100`},
			{"waiting", "sessions_waiting", `SELECT COUNT(*) FROM sessions WHERE status IN ('new', 'claimed', 'resuming')`},
			{"orphans, organizations", "organizations_deleted", orphans},
			{"orphans, sessions", "sessions_live (org_id=?)", orphans},
			{"not counted yet", "sessions_uncounted", `SELECT session_id FROM sessions WHERE counted = 0 LIMIT 50`},
			{"events", "session_events", `SELECT seq FROM session_events WHERE session_id = 's' AND seq > 5 ORDER BY seq LIMIT 100`},
			{"messages", "session_events_messages", `SELECT seq FROM session_events WHERE session_id = 's' AND seq > 5
				AND type IN ('message', 'user_message') ORDER BY seq LIMIT 100`},
			{"commands", "session_commands", `SELECT data FROM session_commands WHERE session_id = 's' AND number > 5 ORDER BY number LIMIT 100`},
			{"cycle", "usage_daily", `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = 'organization' AND scope_id = 'o' AND org_id = 'o'
				AND day >= 5 AND day < 9`},
			{"acknowledged", "sessions", `SELECT acknowledged_micros FROM sessions WHERE session_id = 's'`},
			{"attachments", "attachments_session", `SELECT attachment_id FROM attachments WHERE session_id = 's' ORDER BY created_at, attachment_id LIMIT 1000`},
		} {
			h.reads(t, q.name, q.index, q.query)
		}
		for _, q := range []struct {
			name, index string
			f           session.Filter
		}{
			{"a page", "sessions_org", session.Filter{OrgID: "o"}},
			{"a page of the enterprise", "sessions_all", session.Filter{IncludeDeletedOrgs: true}},
			{"a tag", "session_tags_", session.Filter{OrgID: "o", Tags: []string{"t"}}},
			{"a repository", "session_repos_", session.Filter{OrgID: "o", RepoNames: []string{"r"}}},
			{"a tag of the enterprise", "session_tags_all", session.Filter{IncludeDeletedOrgs: true, Tags: []string{"t"}}},
			{"a repository of the enterprise", "session_repos_all", session.Filter{IncludeDeletedOrgs: true, RepoNames: []string{"r"}}},
			{"a person of the enterprise", "sessions_user_all", session.Filter{IncludeDeletedOrgs: true, UserIDs: []string{"u"}}},
			{"a robot of the enterprise", "sessions_service_user_all", session.Filter{IncludeDeletedOrgs: true, ServiceUserIDs: []string{"u"}}},
			{"a playbook of the enterprise", "sessions_playbook_all", session.Filter{IncludeDeletedOrgs: true, PlaybookID: "p"}},
			{"an automation", "sessions_automation", session.Filter{OrgID: "o", AutomationIDs: []string{"a"}}},
			{"a schedule", "sessions_schedule", session.Filter{OrgID: "o", ScheduleID: "a"}},
		} {
			h.reads(t, q.name, q.index, session.ListQuery(q.f))
		}
	})
}

// PostgreSQL, told nothing of what is dear, reads a schedule's newest sessions and not all of them: it takes columns for independent, and
// those of one schedule are nearly all of one organization.
func TestAFirstPageOfASchedulesSessionsSortsNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		if h.db.Engine() != db.Postgres {
			return
		}
		h.fill(t)
		h.exec(t, `UPDATE sessions SET schedule_id = 'daily', org_id = 'org-1' WHERE created_at % 20 = 0`)
		h.exec(t, `ANALYZE sessions`)
		query, args := session.FirstQuery(session.Filter{OrgID: "org-1", ScheduleID: "daily"})
		lines, err := db.All(t.Context(), h.db.Reader(), db.Text, "EXPLAIN "+query, args...)
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		require.Contains(t, plan, "using sessions_schedule", plan)
		require.NotContains(t, plan, "Sort", plan)
	})
}

// fill gives PostgreSQL's planner sessions of many organizations to reckon with.
func (h *house) fill(t *testing.T) {
	t.Helper()
	h.exec(t, `INSERT INTO sessions (session_id, org_id, status, created_at, updated_at, child_session_ids, origin, agent, tags, repos,
			session_links, pull_requests, is_archived, resumable, bypass_approval, structured_output_required, acu_micros, run_acu_micros,
			last_seq, last_command, acked_command, num_user_messages, num_devin_messages, outpost_id)
		SELECT 's' || i, 'org-' || (i % 100), 'suspended', i, i, '[]', 'api', 'runbook', '[]', '[]', '[]', '[]', 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0,
			'default' FROM generate_series(1, 20000) i`)
	h.exec(t, `INSERT INTO organizations (org_id, name, created_at, updated_at, deleted_at)
		SELECT 'org-' || i, 'x', 0, 0, CASE WHEN i = 7 THEN 1 END FROM generate_series(0, 99) i`)
	for _, l := range [][2]string{{"session_tags", "tag"}, {"session_repos", "repo"}} {
		h.exec(t, `INSERT INTO `+l[0]+` (session_id, `+l[1]+`, org_id, created_at)
			SELECT 's' || i, 'label-' || (i % 50 / 7), 'org-' || (i % 100), i FROM generate_series(1, 20000) i`)
	}
	h.exec(t, `ANALYZE`)
}

func (h *house) reads(t *testing.T, name, index, query string) {
	t.Helper()
	if h.db.Engine() == db.Postgres {
		index, _, _ = strings.Cut(index, " ") // the columns are SQLite's way to say that it searches
	}
	plan := dbtest.Plan(t, h.db, query)
	require.Contains(t, plan, index, "%s\n%s", name, plan)
	for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan", "SCAN s\n", "SCAN sessions\n"} {
		require.NotContains(t, plan+"\n", bad, "%s\n%s", name, plan)
	}
}
