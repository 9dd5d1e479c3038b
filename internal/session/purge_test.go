package session_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/knowledge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// rich gives an organization a session with all that a session may have, and leaves it to its worker.
func (h *house) rich(t testing.TB, orgID string) *run {
	t.Helper()
	ctx, name := t.Context(), orgID[len(orgID)-4:]
	_, err := h.forge.Add(ctx, h.boss, forge.Listed, "acme/"+name, "https://git.example.com/acme/"+name)
	require.NoError(t, err)
	h.note(t, knowledge.NoteParams{OrgID: orgID, Name: "pinned", PinnedRepo: "all"})
	macro := "!go-" + name
	h.playbook(t, orgID, "steps", macro)
	file, err := h.Upload(ctx, h.boss, orgID, "a.txt", "", strings.NewReader("file"))
	require.NoError(t, err)
	_, err = h.Upload(ctx, h.boss, orgID, "unused.txt", "", strings.NewReader("unused"))
	require.NoError(t, err)
	s, _, err := h.CreateOnce(ctx, h.boss, session.CreateParams{
		OrgID: orgID, Prompt: "do it " + macro, Title: "a title", Tags: []string{"t"}, Repos: []string{"acme/" + name}, AttachmentURLs: []string{h.AttachmentURL(file)},
		Secrets: []session.SecretParam{{Key: "TOKEN", Value: secret.New("v"), Sensitive: true}},
		Links:   []string{h.create(t, func(p *session.CreateParams) { p.OrgID, p.KnowledgeIDs = orgID, []string{} }).ID},
	})
	require.NoError(t, err)
	h.claim(t, "w0") // the linked one
	r := h.claim(t, "w1")
	require.Equal(t, s.ID, r.row.SessionID)
	r.command = 1
	long := ev(wire.EventMessage, map[string]string{"text": strings.Repeat("long ", wire.InlinePayload/4)})
	long.Raw = json.RawMessage(`{"frame":1}`)
	r.send(state(wire.StateWorking), long)
	_, err = h.UploadByAgent(ctx, r.row, "made.txt", strings.NewReader("made"))
	require.NoError(t, err)
	h.exec(t, `UPDATE sessions SET structured_output = '{"a":1}', structured_output_schema = '{}', secret_ids = '[]' WHERE session_id = $1`, s.ID)
	h.exec(t, `INSERT INTO session_pulls (session_id, url, pushed, counted, since, next_at) VALUES ($1, 'https://git.example.com/acme/x/pull/1', '["fix"]', 0, 0, 0)`, s.ID)
	return r
}

// blobs are the keys of all files of an organization.
func (h *house) blobs(t testing.TB, orgID string) []string {
	t.Helper()
	keys, err := db.All(t.Context(), h.db.Reader(), db.Text, `SELECT blob FROM attachments WHERE org_id = $1 UNION ALL
		SELECT e.payload FROM session_events e JOIN sessions s ON s.session_id = e.session_id WHERE s.org_id = $1 AND e.payload IS NOT NULL UNION ALL
		SELECT e.raw FROM session_events e JOIN sessions s ON s.session_id = e.session_id WHERE s.org_id = $1 AND e.raw IS NOT NULL`, orgID)
	require.NoError(t, err)
	for i, k := range keys {
		keys[i], _, _ = strings.Cut(k, "#")
	}
	require.Len(t, keys, 5)
	return keys
}

// has counts what each table holds of an organization.
func (h *house) has(t testing.TB, orgID string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, table := range []string{"attachments", "session_texts", "session_requests", "session_notes", "session_playbooks", "session_tags", "session_repos"} {
		out[table] = h.count(t, `SELECT COUNT(*) FROM `+table+` WHERE org_id = $1`, orgID)
	}
	for _, table := range []string{"session_events", "session_commands", "session_secrets", "session_git", "session_pulls"} {
		out[table] = h.count(t, `SELECT COUNT(*) FROM `+table+` x JOIN sessions s ON s.session_id = x.session_id WHERE s.org_id = $1`, orgID)
	}
	return out
}

// walked calls a step until nothing is left, and gives how often.
func walked(t testing.TB, step func(after string) (string, error)) int {
	t.Helper()
	after := ""
	for n := 1; ; n++ {
		next, err := step(after)
		require.NoError(t, err)
		if next == "" {
			return n
		}
		require.Less(t, n, 1000)
		after = next
	}
}

// purge takes away all that sessions of an organization left.
func (h *house) purge(t testing.TB, orgID string) {
	t.Helper()
	walked(t, func(after string) (string, error) { return h.PurgeSecrets(t.Context(), orgID, after) })
	walked(t, func(after string) (string, error) { return h.PurgeSessions(t.Context(), orgID, after) })
	for _, f := range []func() (bool, error){
		func() (bool, error) { return h.PurgeTexts(t.Context(), orgID) },
		func() (bool, error) { return h.PurgeFiles(t.Context(), orgID) },
	} {
		for some := true; some; {
			var err error
			some, err = f()
			require.NoError(t, err)
		}
	}
}

func TestOfADeletedOrganizationsSessionsTheRowsStayAndNothingThatAnybodyWrote(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		mine, theirs := h.rich(t, h.org), h.rich(t, h.other)
		mine.worked(30 * time.Second)
		gone, kept := h.blobs(t, h.org), h.blobs(t, h.other)
		others := h.has(t, h.other)
		for table, n := range h.has(t, h.org) {
			require.Positive(t, n, table)
		}
		// What a server that died left behind: no row tells of it.
		for _, key := range []string{"attachments/" + h.org + "/left", "sessions/" + mine.row.SessionID + "/9-9.raw"} {
			require.NoError(t, h.Blobs.Put(ctx, key, strings.NewReader("left"), ""))
			gone = append(gone, key)
		}
		_, err := h.orgs.Delete(ctx, h.boss, h.org)
		require.NoError(t, err)
		_, err = h.PurgeSessions(ctx, h.org, "")
		isFault(t, err, fault.Conflict)
		require.Positive(t, h.has(t, h.org)["session_events"], "nothing goes as long as a session hasn't ended")
		h.sweep(t)
		require.Zero(t, h.has(t, h.org)["session_secrets"], "a session's secrets end with it")
		used := h.count(t, `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = 'session' AND scope_id = $1`, mine.row.SessionID)
		require.Positive(t, used)
		want := h.get(t, mine.row.SessionID)
		want.Title, want.Reason, want.Tags, want.Repos, want.Links, want.Output, want.OutputSchema = "", "", []string{}, []string{}, []string{}, nil, nil

		h.purge(t, h.org)
		for range 2 { // done again, it finds nothing
			for table, n := range h.has(t, h.org) {
				require.Zero(t, n, table)
			}
			for _, key := range gone {
				_, err := h.Blobs.Get(ctx, key)
				require.True(t, fault.Is(err, fault.NotFound), "%s: %v", key, err)
			}
			require.Equal(t, want, h.get(t, mine.row.SessionID))
			require.Equal(t, used, h.count(t, `SELECT SUM(acu_micros) FROM usage_daily WHERE scope = 'session' AND scope_id = $1`, mine.row.SessionID))
			h.purge(t, h.org)
		}
		require.Equal(t, others, h.has(t, h.other))
		for _, key := range kept {
			body, err := h.Blobs.Get(ctx, key)
			require.NoError(t, err, key)
			require.NoError(t, body.Close())
		}
		theirs.send(state(wire.StateFinished))
		list, err := h.List(ctx, h.boss, session.Filter{IncludeDeletedOrgs: true, OrgIDs: []string{h.org}}, page.Request{First: 10})
		require.NoError(t, err)
		require.Len(t, list.Items, 2)
	})
}

func TestTheSecretsOfEndedSessionsGoWithTheirOrganizationToo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		with := func(p *session.CreateParams) {
			p.Secrets = []session.SecretParam{{Key: "TOKEN", Value: secret.New("v")}}
		}
		over := h.create(t, with)
		_, err := h.Terminate(t.Context(), h.boss, h.org, over.ID, false)
		require.NoError(t, err)
		h.create(t, with, func(p *session.CreateParams) { p.OrgID = h.other })
		_, err = h.orgs.Delete(t.Context(), h.boss, h.org)
		require.NoError(t, err)
		h.sweep(t)
		require.EqualValues(t, 1, h.has(t, h.org)["session_secrets"])
		require.Equal(t, 2, walked(t, func(after string) (string, error) { return h.PurgeSecrets(t.Context(), h.org, after) }))
		require.Zero(t, h.has(t, h.org)["session_secrets"])
		require.EqualValues(t, 1, h.has(t, h.other)["session_secrets"])
	})
}

func TestALongSessionAndManyShortOnesGoInBoundedSteps(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		long := h.create(t)
		h.exec(t, `WITH RECURSIVE seq (i) AS (SELECT 100 UNION ALL SELECT seq.i + 1 FROM seq WHERE seq.i < 5099)
			INSERT INTO session_events (session_id, seq, event_id, type, created_at, data) SELECT $1, i, 'e' || i, 'thought', 0, '{}' FROM seq`, long.ID)
		h.exec(t, `UPDATE sessions SET last_seq = 5099 WHERE session_id = $1`, long.ID)
		for i := range 120 {
			h.exec(t, `INSERT INTO sessions (session_id, org_id, status, created_at, updated_at, child_session_ids, origin, agent, tags, repos,
					session_links, pull_requests, is_archived, resumable, bypass_approval, structured_output_required, acu_micros, run_acu_micros,
					last_seq, last_command, acked_command, num_user_messages, num_devin_messages, outpost_id, ended_at, counted)
				VALUES ($1, $2, 'exit', 0, $3, '[]', 'api', 'runbook', '[]', '[]', '[]', '[]', 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 'default', 1, 1)`,
				fmt.Sprintf("s%03d", i), h.org, i%7) // many of the same time
			h.exec(t, `INSERT INTO session_events (session_id, seq, event_id, type, created_at, data) VALUES ($1, 1, 'e', 'message', 0, '{}')`, fmt.Sprintf("s%03d", i))
		}
		_, err := h.Terminate(t.Context(), h.boss, h.org, long.ID, false)
		require.NoError(t, err)
		_, err = h.orgs.Delete(t.Context(), h.boss, h.org)
		require.NoError(t, err)
		left := h.has(t, h.org)["session_events"]
		n := walked(t, func(after string) (string, error) {
			next, err := h.PurgeSessions(t.Context(), h.org, after)
			now := h.has(t, h.org)["session_events"]
			require.LessOrEqual(t, left-now, int64(2000))
			left = now
			return next, err
		})
		require.Zero(t, left)
		require.LessOrEqual(t, n, 9, "50 and 50, 20 with the long one's, four parts of that, itself, and the end")
		require.EqualValues(t, 121, h.count(t, `SELECT COUNT(*) FROM sessions WHERE org_id = $1`, h.org))
	})
}

func TestPurgesReadAnIndex(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		if h.db.Engine() == db.Postgres {
			h.fill(t)
		}
		for _, q := range session.PurgeQueries() {
			query, args, index := q[0].(string), q[1].([]any), q[2].(string)
			plan := dbtest.Plan(t, h.db, query, args...)
			require.Contains(t, plan, index, "%s\n%s", query, plan)
			for _, bad := range []string{"Seq Scan", "SCAN ", "TEMP B-TREE FOR ORDER"} {
				require.NotContains(t, plan, bad, "%s\n%s", query, plan)
			}
		}
	})
}
