package metric_test

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/metric"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/rollup"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// boss may see everything, ours the metrics of o1 only.
var (
	boss = access.Subject{Kind: access.ServiceUser, ID: "boss"}.WithGrants(access.Grant{Permissions: access.SetOf(access.ViewAccountMetrics, access.ViewOrgMetrics)})
	ours = access.Subject{Kind: access.ServiceUser, ID: "ours", OrgID: "o1"}.
		WithGrants(access.Grant{OrgID: "o1", Permissions: access.SetOf(access.ViewOrgMetrics)})
)

// fact is what the model knows: a session with what it counts for now, or a search.
type fact struct {
	rollup.Session
	rollup.Measure
	search bool
}

// model counts everything anew for each answer. Its two services are replicas, which are asked the same again and again: whatever they
// have answered before, every answer is about the facts of now.
type model struct {
	d        *db.DB
	m, other *metric.Service
	facts    []*fact
	asked    []metric.ActiveFilter
}

func (m *model) write(t testing.TB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	require.NoError(t, m.d.Write(t.Context(), f))
}

var spring = at("2026-02-23T00:00:00Z")

func drawTime(t *rapid.T, name string) time.Time {
	return spring.Add(time.Duration(rapid.Int64Range(0, 80*24*3600).Draw(t, name)) * time.Second)
}

func drawMeasure(t *rapid.T) rollup.Measure {
	out := rollup.Measure{
		Size: rapid.SampledFrom(rollup.Sizes).Draw(t, "size"), ACUMicros: rapid.Int64Range(0, 9_000_000).Draw(t, "acus"),
		Category: rapid.SampledFrom([]string{"", "bug_fixing", "other"}).Draw(t, "category"),
	}
	if out.Category != "" {
		out.Subcategory = rapid.SampledFrom([]string{"Other", "Flaky tests"}).Draw(t, "subcategory")
	}
	for range rapid.IntRange(0, 2).Draw(t, "prs") {
		out.PullRequests = append(out.PullRequests, rollup.PullRequest{
			Day: rollup.Day(drawTime(t, "pr")), State: rapid.SampledFrom([]string{rollup.Open, rollup.Merged, rollup.Closed}).Draw(t, "state"),
			TakenOver: rapid.Bool().Draw(t, "taken"),
		})
	}
	return out
}

var (
	orgIDs      = []string{"o1", "o2", "o3"}
	userIDs     = []string{"", "u1", "u2", "u3", "u4"}
	serviceIDs  = []string{"", "su1", "su2"}
	playbookIDs = []string{"", "p1", "p2"}
)

// step does something: a session, a change of one, a search.
func (m *model) step(rt *rapid.T, t testing.TB) {
	switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
	case what < 5 || len(m.facts) == 0:
		f := &fact{Measure: drawMeasure(rt), Session: rollup.Session{
			OrgID: rapid.SampledFrom(orgIDs).Draw(rt, "org"), UserID: rapid.SampledFrom(userIDs).Draw(rt, "user"),
			ServiceUserID: rapid.SampledFrom(serviceIDs).Draw(rt, "service"), PlaybookID: rapid.SampledFrom(playbookIDs).Draw(rt, "playbook"),
			Origin: rapid.SampledFrom([]string{"api", "webapp", "scheduled", "cli", "newer"}).Draw(rt, "origin"), CreatedAt: drawTime(rt, "at"),
			WithSearch: rapid.Bool().Draw(rt, "with search"),
		}}
		m.write(t, func(ctx context.Context, tx *db.Tx) error { return rollup.BeginTx(ctx, tx, f.Session, f.Measure) })
		m.facts = append(m.facts, f)
	case what < 8:
		f := rapid.SampledFrom(m.facts).Draw(rt, "which")
		if f.search {
			return
		}
		after := drawMeasure(rt)
		m.write(t, func(ctx context.Context, tx *db.Tx) error { return rollup.MoveTx(ctx, tx, f.Session, f.Measure, after) })
		f.Measure = after
	default:
		f := &fact{search: true, Session: rollup.Session{
			OrgID: rapid.SampledFrom(orgIDs).Draw(rt, "org"), UserID: rapid.SampledFrom(userIDs).Draw(rt, "user"), CreatedAt: drawTime(rt, "at"),
		}}
		m.write(t, func(ctx context.Context, tx *db.Tx) error {
			return rollup.SearchTx(ctx, tx, rollup.Search{OrgID: f.OrgID, UserID: f.UserID, At: f.CreatedAt})
		})
		m.facts = append(m.facts, f)
	}
}

func some(t *rapid.T, name string, of []string) []string {
	if rapid.IntRange(0, 2).Draw(t, "any "+name) > 0 {
		return nil
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(of[1:]), "nobody")), 1, 2, rapid.ID[string]).Draw(t, name)
}

func drawRange(t *rapid.T) metric.Range {
	r := metric.Range{After: drawTime(t, "after"), Before: drawTime(t, "before")}
	if r.Before.Before(r.After) {
		r.After, r.Before = r.Before, r.After
	}
	if rapid.Bool().Draw(t, "whole days") {
		r.After, r.Before = r.After.Truncate(24*time.Hour), r.Before.Truncate(24*time.Hour)
	}
	return r
}

// touches reports whether a range and a day have a moment in common; a range without length has the moment where it lies.
func touches(r metric.Range, day time.Time) bool {
	return day.Before(r.Before) && day.Add(24*time.Hour).After(r.After)
}

func passes(f metric.Filter, s rollup.Session) bool {
	in := func(list []string, id string) bool { return len(list) == 0 || slices.Contains(list, id) }
	return (f.OrgID == "" || s.OrgID == f.OrgID) && in(f.OrgIDs, s.OrgID) && in(f.UserIDs, s.UserID) && in(f.ServiceUserIDs, s.ServiceUserID) &&
		(f.PlaybookID == "" || s.PlaybookID == f.PlaybookID)
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func (m *model) sessions(f metric.Filter) metric.Sessions {
	s := metric.Sessions{ByOrigin: map[string]int64{}, BySize: map[string]int64{}, MergedBySize: map[string]int64{}}
	for _, o := range rollup.Origins {
		s.ByOrigin[o] = 0
	}
	for _, z := range rollup.Sizes {
		s.BySize[z], s.MergedBySize[z] = 0, 0
	}
	var micros int64
	for _, x := range m.facts {
		if x.search || !passes(f, x.Session) || !touches(f.Range, dayOf(x.CreatedAt)) {
			continue
		}
		s.Created++
		micros += x.ACUMicros
		s.ByOrigin[map[string]string{"scheduled": "automation", "newer": "other"}[x.Origin]+
			map[bool]string{true: x.Origin}[x.Origin != "scheduled" && x.Origin != "newer"]]++
		s.BySize[x.Size]++
		if x.PlaybookID != "" {
			s.WithPlaybook++
		}
		if x.WithSearch {
			s.WithSearch++
		}
		if slices.ContainsFunc(x.PullRequests, func(p rollup.PullRequest) bool { return p.State == rollup.Merged }) {
			s.WithMergedPRs++
			s.MergedBySize[x.Size]++
		}
	}
	if s.Created > 0 {
		s.AverageACUs = float64(micros) / 1e6 / float64(s.Created)
	}
	return s
}

func (m *model) prs(f metric.Filter) metric.PullRequests {
	var out metric.PullRequests
	for _, x := range m.facts {
		for _, p := range x.PullRequests {
			if !passes(f, x.Session) || !touches(f.Range, time.UnixMilli(p.Day).UTC()) {
				continue
			}
			into := map[bool]map[string]*int64{
				false: {"": &out.Created, rollup.Open: &out.Opened, rollup.Merged: &out.Merged, rollup.Closed: &out.Closed},
				true:  {"": &out.TakenOver, rollup.Open: &out.TakenOverOpened, rollup.Merged: &out.TakenOverMerged, rollup.Closed: &out.TakenOverClosed},
			}[p.TakenOver]
			*into[""]++
			*into[p.State]++
		}
	}
	return out
}

func (m *model) searches(f metric.Filter) (n int64) {
	for _, x := range m.facts {
		if x.search && passes(f, x.Session) && touches(f.Range, dayOf(x.CreatedAt)) {
			n++
		}
	}
	return n
}

// active counts the people who did enough between two days.
func (m *model) active(f metric.ActiveFilter, start, end time.Time) int64 {
	did := map[string][2]int64{}
	for _, x := range m.facts {
		if x.UserID == "" || !passes(metric.Filter{OrgID: f.OrgID, OrgIDs: f.OrgIDs}, x.Session) || x.CreatedAt.Before(start) || !x.CreatedAt.Before(end) {
			continue
		}
		n := did[x.UserID]
		if x.search {
			n[1]++
		} else {
			n[0]++
		}
		did[x.UserID] = n
	}
	var out int64
	for _, n := range did {
		if n[0] >= f.MinSessions || n[1] >= f.MinSearches {
			out++
		}
	}
	return out
}

func (m *model) categories(f metric.Filter) map[string][2]int64 {
	out := map[string][2]int64{}
	for _, x := range m.facts {
		if !x.search && x.Category != "" && passes(f, x.Session) && touches(f.Range, dayOf(x.CreatedAt)) {
			for _, k := range []string{x.Category, x.Category + "/" + x.Subcategory} {
				out[k] = [2]int64{out[k][0] + 1, out[k][1] + x.ACUMicros}
			}
		}
	}
	return out
}

// check draws questions and holds every answer against the model's.
func (m *model) check(rt *rapid.T, t testing.TB) {
	ctx := t.Context()
	f := metric.Filter{
		Range: drawRange(rt), OrgIDs: some(rt, "orgs", append([]string{""}, orgIDs...)), UserIDs: some(rt, "users", userIDs),
		ServiceUserIDs: some(rt, "services", serviceIDs), PlaybookID: rapid.SampledFrom(playbookIDs).Draw(rt, "of playbook"),
	}
	if f.OrgIDs == nil && rapid.Bool().Draw(rt, "one") {
		f.OrgID = "o1"
	}
	got, err := m.m.Sessions(ctx, boss, f)
	require.NoError(t, err)
	want := m.sessions(f)
	require.InDelta(t, want.AverageACUs, got.AverageACUs, 1e-9)
	want.AverageACUs = got.AverageACUs
	require.Equal(t, want, got, "%+v", f)
	prs, err := m.m.PullRequests(ctx, boss, f)
	require.NoError(t, err)
	require.Equal(t, m.prs(f), prs, "%+v", f)
	wide := metric.Filter{Range: f.Range, OrgID: f.OrgID, OrgIDs: f.OrgIDs}
	if rapid.Bool().Draw(rt, "open end") {
		wide.Range = metric.Range{}
	}
	usage, err := m.m.Usage(ctx, boss, wide)
	require.NoError(t, err)
	all := wide
	if all.Before.IsZero() {
		all.Range = metric.Range{After: spring.AddDate(-1, 0, 0), Before: spring.AddDate(1, 0, 0)}
	}
	require.Equal(t, metric.Usage{
		Sessions: m.sessions(all).Created, Searches: m.searches(all), PRsCreated: m.prs(all).Created, PRsMerged: m.prs(all).Merged,
	}, usage)
	cats, err := m.m.Categories(ctx, boss, wide)
	require.NoError(t, err)
	sums := map[string][2]int64{}
	for _, c := range cats {
		sums[c.Name] = [2]int64{c.Sessions, int64(c.ACUs*1e6 + .5)}
		for _, s := range c.Subcategories {
			sums[c.Name+"/"+s.Name] = [2]int64{s.Sessions, int64(s.ACUs*1e6 + .5)}
		}
	}
	require.Equal(t, m.categories(all), sums)
	m.checkActive(rt, t, metric.ActiveFilter{
		Range: f.Range, OrgID: f.OrgID, OrgIDs: f.OrgIDs,
		MinSessions: rapid.Int64Range(0, 3).Draw(rt, "min sessions"), MinSearches: rapid.Int64Range(0, 3).Draw(rt, "min searches"),
	})
}

func (m *model) checkActive(rt *rapid.T, t testing.TB, f metric.ActiveFilter) {
	if rapid.Bool().Draw(rt, "defaults") {
		f.MinSessions, f.MinSearches = 1, 1
	}
	if m.asked = append(m.asked, f); len(m.asked) > 4 {
		m.asked = m.asked[1:]
	}
	for _, f := range []metric.ActiveFilter{f, rapid.SampledFrom(m.asked).Draw(rt, "asked before")} {
		for _, replica := range []*metric.Service{m.m, m.other} {
			m.checkPeople(t, replica, f)
		}
	}
}

func (m *model) checkPeople(t testing.TB, replica *metric.Service, f metric.ActiveFilter) {
	for _, p := range []metric.Period{metric.Daily, metric.Weekly, metric.Monthly} {
		list, err := replica.Active(t.Context(), boss, p, f)
		require.NoError(t, err)
		require.True(t, slices.IsSortedFunc(list, func(a, b metric.Active) int { return cmp.Compare(a.Start.Unix(), b.Start.Unix()) }))
		for i, a := range list {
			require.Equal(t, m.active(f, a.Start, a.End), a.Users, "%s %+v", p, f)
			require.True(t, i == 0 || list[i-1].End.Equal(a.Start), "the periods follow one another")
		}
		if f.After.Before(f.Before) {
			require.False(t, list[0].Start.After(f.After) || list[len(list)-1].End.Before(f.Before), "the range is covered")
		}
	}
	one, err := replica.ActiveUsers(t.Context(), boss, f)
	require.NoError(t, err)
	require.Equal(t, m.active(f, one.Start, one.End), one.Users, "%+v", f)
}

func TestEveryAnswerIsWhatAFullRecountGives(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m := &model{d: d, m: metric.New(d), other: metric.New(d)}
		rapid.Check(t, func(rt *rapid.T) {
			for range rapid.IntRange(1, 8).Draw(rt, "steps") {
				m.step(rt, t)
			}
			m.check(rt, t)
		})
	})
}

func TestWeeksBeginOnMondayAndMonthsOnTheFirst(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m := metric.New(d)
		starts := func(p metric.Period, after, before string) (out []string) {
			list, err := m.Active(t.Context(), boss, p, metric.ActiveFilter{Range: metric.Range{After: at(after), Before: at(before)}})
			require.NoError(t, err)
			for _, a := range list {
				out = append(out, a.Start.Format(time.DateOnly)+" "+a.End.Format(time.DateOnly))
			}
			return out
		}
		require.Equal(t, []string{"2026-03-02 2026-03-09", "2026-03-09 2026-03-16"}, starts(metric.Weekly, "2026-03-08T23:59:59Z", "2026-03-09T00:00:01Z"))
		require.Equal(t, []string{"2026-03-09 2026-03-16"}, starts(metric.Weekly, "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"))
		require.Equal(t, []string{"1969-12-29 1970-01-05"}, starts(metric.Weekly, "1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"))
		require.Equal(t, []string{"2026-01-01 2026-02-01", "2026-02-01 2026-03-01"}, starts(metric.Monthly, "2026-01-31T12:00:00Z", "2026-02-28T23:59:59Z"))
		require.Equal(t, []string{"2026-03-01 2026-03-02"}, starts(metric.Daily, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"))
		require.Empty(t, starts(metric.Daily, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"))
	})
}

func TestRangesThatCannotBeAnsweredAreRefusedByName(t *testing.T) {
	t.Parallel()
	m := metric.New(dbtest.Open(t, db.SQLite, clock.Clock{}))
	refused := func(err error, field string) {
		t.Helper()
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
		loc := fault.As(err).Fields[0].Loc
		require.Equal(t, field, loc[len(loc)-1])
	}
	back := metric.Range{After: at("2026-03-02T00:00:00Z"), Before: at("2026-03-01T00:00:00Z")}
	_, err := m.Sessions(t.Context(), boss, metric.Filter{Range: back})
	refused(err, "time_before")
	_, err = m.ActiveUsers(t.Context(), boss, metric.ActiveFilter{Range: back})
	refused(err, "time_before")
	_, err = m.Active(t.Context(), boss, metric.Daily, metric.ActiveFilter{Range: metric.Range{After: at("1970-01-01T00:00:00Z"), Before: at("9999-01-01T00:00:00Z")}})
	refused(err, "time_before")
	_, err = m.ActiveUsers(t.Context(), boss, metric.ActiveFilter{MinSessions: -1})
	refused(err, "min_sessions")
	_, err = m.ActiveUsers(t.Context(), boss, metric.ActiveFilter{MinSearches: -1})
	refused(err, "min_searches")
	many := make([]string, 200)
	_, err = m.PullRequests(t.Context(), boss, metric.Filter{OrgIDs: many, UserIDs: many})
	refused(err, "user_ids")
	_, err = m.PullRequests(t.Context(), boss, metric.Filter{OrgIDs: make([]string, 1000)})
	require.NoError(t, err)
}

func TestMetricsNeedTheirPermission(t *testing.T) {
	t.Parallel()
	m := metric.New(dbtest.Open(t, db.SQLite, clock.Clock{}))
	ask := func(who access.Subject, orgID string) []error {
		f, a := metric.Filter{OrgID: orgID}, metric.ActiveFilter{OrgID: orgID}
		var out []error
		_, err := m.Sessions(t.Context(), who, f)
		out = append(out, err)
		_, err = m.PullRequests(t.Context(), who, f)
		out = append(out, err)
		_, err = m.Searches(t.Context(), who, f)
		out = append(out, err)
		_, err = m.Usage(t.Context(), who, f)
		out = append(out, err)
		_, err = m.Categories(t.Context(), who, f)
		out = append(out, err)
		_, err = m.Active(t.Context(), who, metric.Daily, a)
		out = append(out, err)
		_, err = m.ActiveUsers(t.Context(), who, a)
		return append(out, err)
	}
	for _, err := range slices.Concat(ask(boss, ""), ask(boss, "o2"), ask(ours, "o1")) {
		require.NoError(t, err)
	}
	nobody := access.Subject{Kind: access.ServiceUser, ID: "nobody"}.WithGrants()
	for _, err := range slices.Concat(ask(ours, ""), ask(ours, "o2"), ask(nobody, ""), ask(nobody, "o1")) {
		require.Equal(t, fault.Forbidden, fault.KindOf(err))
	}
}
