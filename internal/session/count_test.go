package session_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/metric"
	"gantry/internal/platform/db"
	"gantry/internal/rollup"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestTheSizeIsTheLargerClassOfACUsAndMessages(t *testing.T) {
	t.Parallel()
	z := session.DefaultSizes()
	for _, c := range []struct {
		acus     float64
		messages int64
		want     string
	}{
		{0, 1, "xs"},
		{1, 2, "xs"},
		{1.000001, 2, "s"},
		{1, 3, "s"},
		{3, 4, "s"},
		{3, 5, "m"},
		{6, 8, "m"},
		{6.5, 1, "l"},
		{10, 15, "l"},
		{10.000001, 1, "xl"},
		{0, 16, "xl"},
		{500, 900, "xl"},
	} {
		require.Equal(t, c.want, z.Of(int64(math.Round(c.acus*1e6)), c.messages), "%v", c)
	}
}

// recounted is what the roll-ups should say, from the sessions' rows and events alone.
type recounted struct {
	Sessions metric.Sessions
	PRs      metric.PullRequests
	Active   []int64
	Cats     map[string]int64
}

var wide = metric.Range{After: noon.AddDate(0, 0, -2), Before: noon.AddDate(0, 2, 0)}

func (h *house) recount(t testing.TB, orgID, userID string) recounted {
	t.Helper()
	out := recounted{Cats: map[string]int64{}, Sessions: metric.Sessions{
		ByOrigin: map[string]int64{}, BySize: map[string]int64{}, MergedBySize: map[string]int64{},
	}}
	for _, o := range rollup.Origins {
		out.Sessions.ByOrigin[o] = 0
	}
	for _, z := range rollup.Sizes {
		out.Sessions.BySize[z], out.Sessions.MergedBySize[z] = 0, 0
	}
	ids, err := db.All(t.Context(), h.db.Reader(), db.Text, `SELECT session_id FROM sessions ORDER BY session_id`)
	require.NoError(t, err)
	people := map[time.Time]map[string]bool{}
	var micros int64
	for _, id := range ids {
		s := h.get(t, id)
		if (orgID != "" && s.OrgID != orgID) || (userID != "" && s.UserID != userID) {
			continue
		}
		out.Sessions.Created++
		out.Sessions.ByOrigin[s.Origin]++
		// The size from the ledger and the conversation, not from the counters in the row.
		acus := h.count(t, `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_entries WHERE session_id = $1`, id)
		size := session.DefaultSizes().Of(acus, h.count(t, `SELECT COUNT(*) FROM session_events WHERE session_id = $1 AND type = 'user_message'`, id))
		micros += acus
		out.Sessions.BySize[size]++
		require.Equal(t, size, s.Size)
		if s.UserID != "" {
			day := s.CreatedAt.Truncate(24 * time.Hour)
			if people[day] == nil {
				people[day] = map[string]bool{}
			}
			people[day][s.UserID] = true
		}
		if s.Category != "" {
			out.Cats[s.Category]++
		}
		states := map[string]string{}
		for _, e := range h.all(t, id) {
			var d wire.PullRequestData
			if e.Type == wire.EventPullRequest {
				require.NoError(t, json.Unmarshal(e.Data, &d))
				states[d.URL] = d.State
			}
		}
		merged := false
		for _, st := range states {
			out.PRs.Created++
			switch st {
			case "merged":
				out.PRs.Merged++
				merged = true
			case "closed":
				out.PRs.Closed++
			default:
				out.PRs.Opened++
			}
		}
		if merged {
			out.Sessions.WithMergedPRs++
			out.Sessions.MergedBySize[size]++
		}
	}
	if out.Sessions.Created > 0 {
		out.Sessions.AverageACUs = float64(micros) / 1e6 / float64(out.Sessions.Created)
	}
	for day := wide.After.Truncate(24 * time.Hour); day.Before(wide.Before); day = day.AddDate(0, 0, 1) {
		out.Active = append(out.Active, int64(len(people[day])))
	}
	return out
}

func (h *house) counted(t testing.TB, orgID, userID string) recounted {
	t.Helper()
	m, ctx := metric.New(h.db), t.Context()
	f := metric.Filter{Range: wide, OrgID: orgID}
	if userID != "" {
		f.UserIDs = []string{userID}
	}
	var out recounted
	var err error
	out.Sessions, err = m.Sessions(ctx, h.boss, f)
	require.NoError(t, err)
	out.PRs, err = m.PullRequests(ctx, h.boss, f)
	require.NoError(t, err)
	active, err := m.Active(ctx, h.boss, metric.Daily, metric.ActiveFilter{Range: wide, OrgID: orgID, MinSessions: 1, MinSearches: 1})
	require.NoError(t, err)
	for _, a := range active {
		out.Active = append(out.Active, a.Users)
	}
	cats, err := m.Categories(ctx, h.boss, metric.Filter{Range: wide, OrgID: orgID})
	require.NoError(t, err)
	out.Cats = map[string]int64{}
	for _, c := range cats {
		out.Cats[c.Name] = c.Sessions
	}
	return out
}

// live does one random thing.
func (h *house) live(rt *rapid.T, t testing.TB, runs map[string]*run) {
	h.time.Advance(time.Duration(rapid.IntRange(0, 3).Draw(rt, "hours")) * time.Hour)
	ids := slices.Sorted(maps.Keys(runs))
	what := rapid.SampledFrom([]string{"create", "create", "work", "work", "pr", "pr", "say", "end turn", "sweep", "terminate", "lapse"}).Draw(rt, "what")
	if what == "create" || len(ids) == 0 {
		orgID := rapid.SampledFrom([]string{h.org, h.other}).Draw(rt, "org")
		who := rapid.SampledFrom([]access.Subject{h.boss, person("user-1"), person("user-2")}).Draw(rt, "who")
		_, err := h.Create(t.Context(), who, session.CreateParams{
			OrgID: orgID, Prompt: rapid.SampledFrom([]string{"fix the bug", "write unit tests", "go"}).Draw(rt, "prompt"),
			Origin: rapid.SampledFrom([]string{"api", "webapp", "cli"}).Draw(rt, "origin"),
		})
		require.NoError(t, err)
		r := h.claim(t, "w1")
		r.command = 1
		r.send(state(wire.StateWorking))
		runs[r.row.SessionID] = r
		return
	}
	id := rapid.SampledFrom(ids).Draw(rt, "session")
	r := runs[id]
	switch what {
	case "work":
		r.worked(time.Duration(rapid.IntRange(1, 10).Draw(rt, "minutes")) * time.Minute)
	case "pr":
		r.send(ev(wire.EventPullRequest, wire.PullRequestData{
			URL:   fmt.Sprint("https://example.com/pr/", rapid.IntRange(1, 3).Draw(rt, "pr")),
			State: rapid.SampledFrom([]string{"", "open", "merged", "closed"}).Draw(rt, "state"),
		}))
	case "say":
		for range rapid.IntRange(1, 9).Draw(rt, "messages") {
			_, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{SessionID: id, Message: "more"})
			require.NoError(t, err)
		}
	case "end turn":
		r.command = h.get(t, id).LastCommand
		r.send(ev(wire.EventTurn, wire.TurnData{Status: "ended", Command: 1}))
	case "sweep":
		require.NoError(t, h.Sweep(t.Context()))
		for id := range runs {
			if h.row(t, id).Phase != "claimed" {
				delete(runs, id)
			}
		}
	case "terminate", "lapse":
		_, err := h.Terminate(t.Context(), h.boss, h.get(t, id).OrgID, id, false)
		require.NoError(t, err)
		delete(runs, id)
	}
}

func person(id string) access.Subject {
	return access.Subject{Kind: access.Person, ID: id}.WithGrants(access.Grant{Permissions: access.Builtin()[0].Permissions})
}

func (h *house) balanced(t testing.TB) {
	t.Helper()
	for _, orgID := range []string{"", h.org, h.other} {
		require.Equal(t, h.recount(t, orgID, ""), h.counted(t, orgID, ""), "organization %q", orgID)
	}
	want, got := h.recount(t, "", "user-1"), h.counted(t, "", "user-1")
	require.Equal(t, want.Sessions, got.Sessions)
	require.Equal(t, want.PRs, got.PRs)
}

func TestTheRollUpsAreWhatARecountOfSessionsAndEventsGives(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		runs := map[string]*run{}
		rapid.Check(t, func(rt *rapid.T) {
			for range rapid.IntRange(1, 4).Draw(rt, "steps") {
				if h.time.Clock().Now().Before(wide.Before.AddDate(0, 0, -2)) {
					h.live(rt, t, runs)
				}
			}
		})
		h.balanced(t)
		sum := h.recount(t, "", "")
		require.Positive(t, sum.PRs.Merged, "too little happened to prove anything: %+v", sum)
		require.Greater(t, len(sum.Cats), 1)
		require.Less(t, sum.Sessions.BySize["xs"], sum.Sessions.Created)

		// Sessions of an older release, which no counter knows, are counted afterwards, once, however often the sweep looks.
		for _, table := range []string{"metric_days", "metric_categories", "metric_people", "metric_active", "metric_gaps"} {
			h.exec(t, `DELETE FROM `+table)
		}
		h.exec(t, `UPDATE sessions SET counted = 0, size = 'xs'`)
		require.NoError(t, h.Sweep(t.Context()))
		require.NoError(t, h.Sweep(t.Context()))
		h.balanced(t)
	})
}

func TestASessionOfAnOlderReleaseIsCountedWithItsFirstChange(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t)
		for _, table := range []string{"metric_days", "metric_people", "metric_active", "metric_gaps"} {
			h.exec(t, `DELETE FROM `+table)
		}
		h.exec(t, `UPDATE sessions SET counted = 0`)
		h.say(t, s.ID, "more")
		h.balanced(t)
		require.NoError(t, h.Sweep(t.Context()))
		h.balanced(t)
	})
}

// New sessions and the sweep that counts an older release's write the same counters. Two sessions counted in one transaction would
// take them in no common order.
func TestCountingOlderSessionsNeverWaitsInACircle(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		if h.db.Engine() != db.Postgres {
			t.Skip("SQLite has one writer")
		}
		for range 60 {
			h.create(t)
		}
		h.exec(t, `UPDATE sessions SET counted = 0`)
		done := make(chan error)
		for range 4 {
			go func() {
				for range 20 {
					if _, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "do it"}); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		require.NoError(t, h.Sweep(t.Context()))
		for range 4 {
			require.NoError(t, <-done)
		}
		n, err := db.One(t.Context(), h.db.Reader(), db.Int, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestTheRollUpsHoldWhenManyWriteAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		done := make(chan error)
		for i := range 8 {
			go func() {
				for n := range 5 {
					s, err := h.Create(t.Context(), person([]string{"user-1", "user-2"}[i%2]), session.CreateParams{
						OrgID: []string{h.org, h.other}[n%2], Prompt: "do it",
					})
					if err == nil {
						_, err = h.SendMessage(t.Context(), h.boss, session.MessageParams{SessionID: s.ID, Message: "more"})
					}
					if err == nil {
						_, err = h.SendMessage(t.Context(), h.boss, session.MessageParams{SessionID: s.ID, Message: "and more"})
					}
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 8 {
			require.NoError(t, <-done)
		}
		h.balanced(t)
		require.EqualValues(t, 40, h.recount(t, "", "").Sessions.BySize["s"], "three messages each")
	})
}
