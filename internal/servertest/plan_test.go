package servertest_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/bench/data"
	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
	"gantry/internal/wire"
)

// heard is one statement that an answer took.
type heard struct {
	query string
	args  []any
}

// A question costs what its answer holds: of everything that v3 can be asked, no statement reads a table from end to end, and none sorts
// more than a page. The questions come from the emitted document and the statements from the running server, so none is forgotten; the
// database holds a two-hundredth of a large deployment's year.
func TestNoAnswerScansATableOrSortsMoreThanAPage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it loads thousands of sessions")
	}
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		w, err := data.Load(t.Context(), s.Server, data.Options{
			Scale: 0.005, Database: s.Config.Database, Until: s.DB.Clock().Now().Truncate(24 * time.Hour),
		})
		require.NoError(t, err)
		cases, err := w.Cases()
		require.NoError(t, err)
		var ran []heard
		s.DB.Watch(func(query string, args []any) { ran = append(ran, heard{query, slices.Clone(args)}) })
		seen := map[string]bool{}
		for _, c := range cases {
			ran = nil
			a := s.Do(t, http.MethodGet, deepened(t, s, c), s.Admin.Token.Reveal(), "")
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			for _, h := range slices.Clone(ran) {
				if seen[h.query] {
					continue
				}
				seen[h.query] = true
				for _, complaint := range complaints(t, s, h) {
					t.Errorf("%s: %s\n%s\n%v", c.Name, complaint, h.query, h.args)
				}
			}
		}
		require.Greater(t, len(seen), 100)
		ran = nil
		work(t, s, w)
		for _, h := range slices.Clone(ran) {
			if seen[h.query] || strings.HasPrefix(h.query, "INSERT") {
				continue
			}
			seen[h.query] = true
			for _, complaint := range complaints(t, s, h) {
				t.Errorf("while it works: %s\n%s\n%v", complaint, h.query, h.args)
			}
		}
		require.Greater(t, len(seen), 150)
	})
}

// work has sessions made, claimed and ended, and what goes on in the background happen, so that what is looked up on the way is heard.
func work(t *testing.T, s *servertest.Server, w data.World) {
	t.Helper()
	send := func(method, path, body string, header ...string) string {
		a := s.Do(t, method, path, s.Admin.Token.Reveal(), body, header...)
		require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", method, path, a.Body)
		return a.Body
	}
	org := "/v3/organizations/" + w.Org
	var made struct {
		ID string `json:"session_id"`
	}
	body := send(http.MethodPost, org+"/sessions", `{"prompt":"when the build breaks, !step-1","tags":["`+w.Tag+`"],"repos":["`+w.Repo+`"],"playbook_id":"`+w.Playbook+`"}`,
		"Idempotency-Key", "one")
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	one := org + "/sessions/devin-" + made.ID
	send(http.MethodPost, one+"/messages", `{"message":"!step-2 and look at the build"}`)
	who := access.Subject{Kind: access.Worker, ID: "w", Outposts: []string{fleet.DefaultOutpost}}
	c, ok, err := s.Sessions.ClaimNext(t.Context(), who, fleet.DefaultOutpost, "w")
	require.NoError(t, err)
	require.True(t, ok)
	at := s.DB.Clock().Millis()
	_, err = s.Sessions.Apply(t.Context(), c.Row, wire.Batch{Fence: c.Fence, Number: 1, Command: 1, Events: []wire.Event{
		{Type: wire.EventState, At: at, Data: []byte(`{"state":"working"}`)},
		{Type: wire.EventMessage, At: at, Data: []byte(`{"text":"done"}`)},
		{Type: wire.EventPullRequest, At: at, Data: []byte(`{"url":"https://git.example.com/acme/app/pull/1","state":"open"}`)},
	}})
	require.NoError(t, err)
	send(http.MethodPut, one+"/tags", `{"tags":["team-02"]}`)
	send(http.MethodPost, one+"/insights/generate", "")
	send(http.MethodPost, org+"/knowledge/notes", `{"name":"n","trigger":"t","body":"b"}`)
	send(http.MethodPost, org+"/playbooks", `{"title":"t","body":"b","macro":"!new"}`)
	send(http.MethodPost, one+"/archive", "")
	send(http.MethodDelete, one, "")
	for _, path := range []string{"/gantry/v1/roles", "/gantry/v1/repositories", "/gantry/v1/git-connections", "/gantry/v1/organizations/" + w.Org + "/sessions/devin-" + w.Session + "/events"} {
		send(http.MethodGet, path, "")
	}
	require.NoError(t, s.Sessions.Sweep(t.Context()))
	require.NoError(t, s.Schedules.Dispatch(t.Context()))
	for did := true; did; {
		did, err = s.Jobs.Step(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, s.Audit.Seal(t.Context()))
	require.NoError(t, s.Kit.Sweep(t.Context()))
	gone := s.NewOrg(t, "gone")
	_, err = s.Orgs.Delete(t.Context(), s.Root(), gone)
	require.NoError(t, err)
	for range 2 { // its secrets, and then the rest
		require.NoError(t, s.Orgs.Purge(t.Context()))
		elapse(t, s, gone)
	}
	require.NoError(t, s.Orgs.Purge(t.Context()))
}

// deepened is a case's path, for a deep page with the cursor of the first.
func deepened(t *testing.T, s *servertest.Server, c data.Case) string {
	t.Helper()
	if !c.Deep {
		return c.Path
	}
	join := "?"
	if strings.Contains(c.Path, "?") {
		join = "&"
	}
	a := s.Do(t, http.MethodGet, c.Path+join+"first=1", s.Admin.Token.Reveal(), "")
	var page struct {
		EndCursor *string `json:"end_cursor"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.Body), &page), a.Body)
	if page.EndCursor == nil {
		return c.Path
	}
	return c.Path + join + "after=" + *page.EndCursor
}

// complaints says what is wrong with how the engine reads a statement.
func complaints(t *testing.T, s *servertest.Server, h heard) []string {
	t.Helper()
	if s.DB.Engine() == db.Postgres {
		return postgresComplaints(t, s, h)
	}
	lines, err := db.All(t.Context(), s.DB.Reader(), func(r db.Scanner) (string, error) {
		var id, parent, unused int
		var detail string
		err := r.Scan(&id, &parent, &unused, &detail)
		return detail, err
	}, "EXPLAIN QUERY PLAN "+h.query, h.args...)
	require.NoError(t, err, h.query)
	for _, l := range lines {
		sorts := strings.Contains(l, "TEMP B-TREE") && !strings.Contains(l, "FOR LAST") // those sort what has the same first key
		if (fullScan.MatchString(l) || strings.Contains(l, "AUTOMATIC") || sorts) && !isAllowed(h.query) {
			return []string{strings.Join(lines, "\n")}
		}
	}
	return nil
}

// fullScan is a scan without an index. What a subquery gave is read from end to end, and rightly so.
var fullScan = regexp.MustCompile(`^SCAN [a-z_]+$`)

// smallRows is how many rows a plan may pass over that aren't in its answer: a table of this size is cheaper to read than to look up.
const smallRows = 250

// node is a node of PostgreSQL's plan, as it ran.
type node struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []node  `json:"Plans"`
}

func (n node) read() float64 { return (n.Rows + n.Removed) * n.Loops }

func postgresComplaints(t *testing.T, s *servertest.Server, h heard) []string {
	t.Helper()
	var text string
	back := errors.New("back") // what EXPLAIN ran is undone
	require.ErrorIs(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		// A small table is cheap to scan and to sort: what counts is whether there is another way.
		for _, off := range []string{"SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_sort = off"} {
			if _, err := db.Exec(ctx, tx, off); err != nil {
				return err
			}
		}
		var err error
		if text, err = db.One(ctx, tx, db.Text, "EXPLAIN (ANALYZE, FORMAT JSON) "+inlined(h)); err != nil {
			return err
		}
		return back
	}), back, h.query)
	var plans []struct{ Plan node }
	require.NoError(t, json.Unmarshal([]byte(text), &plans))
	var out []string
	var walk func(n node)
	walk = func(n node) {
		switch {
		case n.Type == "Seq Scan" && n.read() > smallRows:
			out = append(out, fmt.Sprintf("scans %s: %.0f rows", n.Table, n.read()))
		case n.Type == "Sort" && n.Plans[0].Rows*n.Plans[0].Loops > smallRows && !isAllowed(h.query):
			out = append(out, fmt.Sprintf("sorts %.0f rows", n.Plans[0].Rows*n.Plans[0].Loops))
		case n.Removed*n.Loops > 1000 && !isAllowed(h.query):
			out = append(out, fmt.Sprintf("passes over %.0f rows of %s by %s", n.Removed*n.Loops, n.Table, n.Index))
		}
		for _, p := range n.Plans {
			walk(p)
		}
	}
	walk(plans[0].Plan)
	return out
}

// inlined puts the arguments in their places: EXPLAIN takes none on PostgreSQL.
func inlined(h heard) string {
	return regexp.MustCompile(`\$[0-9]+`).ReplaceAllStringFunc(h.query, func(p string) string {
		var n int
		_, _ = fmt.Sscanf(p, "$%d", &n) // the pattern is a number
		v, err := driver.DefaultParameterConverter.ConvertValue(h.args[n-1])
		if err != nil {
			return err.Error()
		}
		switch v := v.(type) {
		case nil:
			return "NULL"
		case string:
			return "'" + strings.ReplaceAll(v, "'", "''") + "'"
		case []byte:
			return fmt.Sprintf("'\\x%x'", v)
		}
		return fmt.Sprint(v)
	})
}

// allowed are the statements that group or sort more than a page, and why that is theirs to do. Each is a part of the statement's text.
var allowed = []struct{ text, why string }{
	{"WITH RECURSIVE walk", "it sorts the page that it walked"},
	{"FROM metric_people", "a person counts once in several organizations, or above a threshold: the answer groups people, which is what is asked"},
	{"FROM metric_categories", "it groups the days of the range by kind of work"},
	{"COUNT(*) FROM knowledge_notes WHERE org_id", "it counts the notes of one scope by folder, as the answer shows them"},
	{"FROM usage_enterprise", "it adds up the shards of each day of the answer"},
	{"FROM org_groups", "the answer is all groups"},
	{"FROM service_users b WHERE b.org_id", "they are the service users of one organization, bound to it or with a role there, by their age"},
	{"FROM session_notes WHERE session_id", "they are the notes of one session"},
	{"s.updated_at >= ", "of the sessions made before a time, those that changed since are few, and are found by the time of their change"},
}

func isAllowed(query string) bool {
	return slices.ContainsFunc(allowed, func(a struct{ text, why string }) bool { return strings.Contains(query, a.text) })
}
