package session_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/session"
	"gantry/internal/usage"
	"gantry/internal/wire"
)

// rules are the settings of the enterprise that a house may be given.
type rules struct {
	maxACUs      int64
	cycleLimit   *int64
	requiredTags bool
}

// under gives the house other settings.
func (h *house) under(r rules) *house {
	o := h.Options
	members := member.New(h.db, events.New(), slog.New(slog.DiscardHandler), member.AuthOptions{})
	h.orgs = org.New(h.db, members, org.Options{RequiredTags: r.requiredTags})
	o.Orgs, o.MaxACUs = h.orgs, r.maxACUs
	o.Usage = usage.New(h.db, usage.Options{Rates: usage.Defaults(), CycleLimit: r.cycleLimit, Orgs: h.orgs, Person: members.PersonSubject})
	h.Service = session.New(o)
	return h
}

// person makes a member of the house's organizations and gives them as a subject.
func (h *house) person(t testing.TB, userID string) access.Subject {
	t.Helper()
	h.exec(t, `INSERT INTO users (user_id, email, name, created_at) VALUES ($1, $1, $1, 0)`, userID)
	return access.Subject{Kind: access.Person, ID: userID}.WithGrants(
		access.Grant{OrgID: h.org, Permissions: access.Builtin()[2].Permissions}, access.Grant{OrgID: h.other, Permissions: access.Builtin()[2].Permissions})
}

func (h *house) capUser(t testing.TB, userID string, c org.LimitChange) {
	t.Helper()
	require.NoError(t, h.Usage.SetUserLimits(t.Context(), h.boss, usage.UserLimitParams{UserID: userID, Cycle: c}))
}

func (h *house) group(t testing.TB, n *int64, orgs ...string) {
	t.Helper()
	_, err := h.orgs.ReplaceGroups(t.Context(), h.boss, map[string]org.Group{"g": {OrgIDs: orgs, MaxCycleACUs: n}})
	require.NoError(t, err)
}

// start makes a session as somebody and has a worker begin it.
func (h *house) start(t testing.TB, who access.Subject, orgID string) *run {
	t.Helper()
	s, err := h.Create(t.Context(), who, session.CreateParams{OrgID: orgID, Prompt: "do it"})
	require.NoError(t, err)
	r := h.claim(t, "w1")
	require.Equal(t, s.ID, r.row.SessionID)
	r.command = 1
	r.send(state(wire.StateWorking))
	return r
}

// stopped requires that a running session stops with its next report, and why.
func (r *run) stopped(want session.State, words ...string) {
	r.t.Helper()
	r.h.time.Advance(10 * time.Second)
	require.True(r.t, r.beat().Stop)
	s := r.h.get(r.t, r.row.SessionID)
	require.Equal(r.t, want, s.State)
	for _, w := range words {
		require.Contains(r.t, s.Reason, w)
	}
	r.lost()
}

// refused requires that the session takes no message, and says whom to ask.
func (h *house) refused(t testing.TB, r *run) {
	t.Helper()
	_, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{SessionID: r.row.SessionID, Message: "m"})
	isFault(t, err, fault.Conflict)
	require.Contains(t, err.Error(), "contact your enterprise admin")
}

func TestTheTotalOfASessionStopsItUntilItIsAcknowledged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.under(rules{maxACUs: 1})
		r := h.work(t)
		_, err := h.Acknowledge(t.Context(), h.boss, h.org, r.row.SessionID)
		isFault(t, err, fault.Conflict)
		require.False(t, r.worked(15*time.Minute-10*time.Second).Stop)
		r.stopped(total, "1 ACUs that the enterprise allows")
		require.Contains(t, h.types(t, r.row.SessionID), session.EventLimit)
		h.refused(t, r)
		_, err = h.Acknowledge(t.Context(), h.theirs, h.other, r.row.SessionID)
		isFault(t, err, fault.NotFound)
		s, err := h.Acknowledge(t.Context(), h.ours, h.org, r.row.SessionID)
		require.NoError(t, err)
		require.Equal(t, total, s.State, "the next message wakes it")
		logs, err := h.audit.List(t.Context(), h.boss, audit.ListParams{OrgID: h.org, Action: audit.AcknowledgeSessionHardCap, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 1)

		require.Equal(t, resuming, h.say(t, s.ID, "go on").State)
		r = h.claim(t, "w1")
		r.command = h.get(t, s.ID).LastCommand
		require.False(t, r.send(state(wire.StateWorking)).Stop)
		require.False(t, r.worked(15*time.Minute-10*time.Second).Stop, "as much again")
		r.stopped(total)
		h.refused(t, r)
		h.under(rules{maxACUs: 3})
		h.say(t, s.ID, "a raised limit needs no acknowledgement")
		_, err = h.Terminate(t.Context(), h.boss, h.org, s.ID, false)
		require.NoError(t, err)
		_, err = h.Acknowledge(t.Context(), h.boss, h.org, s.ID)
		isFault(t, err, fault.Conflict)
	})
}

func TestTheGroupsLimitStopsTheSessionsOfEveryMember(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.group(t, new(int64(1)), h.org, h.other)
		a, b := h.start(t, h.boss, h.org), h.start(t, h.boss, h.other)
		alone := h.start(t, h.boss, h.newOrg(t, org.CreateParams{Name: "alone"}))
		for range 45 {
			h.time.Advance(10 * time.Second)
			a.beat()
			require.False(t, alone.beat().Stop)
			if b.beat().Stop {
				break
			}
		}
		require.Equal(t, orgLimit, h.get(t, b.row.SessionID).State)
		a.stopped(orgLimit, "the organization's group has used its 1 ACUs")
		require.False(t, alone.beat().Stop)
		h.refused(t, a)
		_, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.other, Prompt: "x"})
		isFault(t, err, fault.Conflict)
		h.group(t, new(int64(2)), h.org, h.other)
		require.Equal(t, resuming, h.say(t, a.row.SessionID, "go on").State)
	})
}

func TestTheEnterprisesLimitStopsEverybody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.under(rules{cycleLimit: new(int64(1))})
		a, b := h.start(t, h.boss, h.org), h.start(t, h.boss, h.other)
		for range 44 {
			h.time.Advance(10 * time.Second)
			require.False(t, a.beat().Stop || b.beat().Stop)
		}
		h.time.Advance(10 * time.Second)
		a.beat()
		require.True(t, b.beat().Stop)
		a.stopped(orgLimit, "the enterprise has used its 1 ACUs")
		h.refused(t, a)
		h.time.Advance(30 * 24 * time.Hour) // the next cycle
		require.Equal(t, resuming, h.say(t, a.row.SessionID, "go on").State)
	})
}

func TestAUsersLimitStopsTheirSessionsAndNobodyElses(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ann, bob := h.person(t, "ann"), h.person(t, "bob")
		h.capUser(t, "", limit(5))
		h.capUser(t, "ann", limit(1))
		here, there := h.start(t, ann, h.org), h.start(t, ann, h.other)
		other, robot := h.start(t, bob, h.org), h.start(t, h.boss, h.org)
		for range 44 {
			h.time.Advance(10 * time.Second)
			require.False(t, here.beat().Stop || there.beat().Stop || other.beat().Stop || robot.beat().Stop)
		}
		h.time.Advance(10 * time.Second)
		here.beat()
		require.True(t, there.beat().Stop, "over all organizations together")
		here.stopped(userLimit, "the user has used their 1 ACUs")
		require.False(t, other.beat().Stop || robot.beat().Stop)
		h.refused(t, here)
		_, err := h.Create(t.Context(), ann, session.CreateParams{OrgID: h.org, Prompt: "x"})
		isFault(t, err, fault.Conflict)
		h.capUser(t, "ann", org.LimitChange{Set: true}) // the default counts again
		require.Equal(t, resuming, h.say(t, here.row.SessionID, "go on").State)
		h.capUser(t, "bob", limit(0))
		other.stopped(userLimit)
	})
}

func TestALimitThatIsReachedStopsASessionBeforeItWorks(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t)
		h.setLimits(t, org.LimitChange{}, limit(0))
		r := h.claim(t, "w1")
		r.command = 1
		require.True(t, r.send(state(wire.StateWorking)).Stop)
		require.Equal(t, orgLimit, h.get(t, s.ID).State)
		require.Zero(t, h.get(t, s.ID).ACUMicros)
	})
}

func TestSessionsKeepToTheTagsThatAreRequired(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		free := h.create(t, func(p *session.CreateParams) { p.Tags = []string{"old"} })
		_, err := h.orgs.AddTags(ctx, h.boss, h.org, []string{"a", "b"})
		require.NoError(t, err)
		_, err = h.orgs.SetDefaultTag(ctx, h.boss, h.org, "b")
		require.NoError(t, err)
		require.Empty(t, h.create(t).Tags, "nothing is asked until the enterprise requires tags")
		h.under(rules{requiredTags: true})
		require.Equal(t, []string{"b"}, h.create(t).Tags, "the default")
		made := h.create(t, func(p *session.CreateParams) { p.Tags = []string{"a"} })
		require.Equal(t, []string{"a"}, made.Tags)
		_, err = h.Create(ctx, h.boss, session.CreateParams{OrgID: h.org, Prompt: "x", Tags: []string{"a", "x"}})
		require.Equal(t, "1", field(t, err))
		require.Equal(t, []string{"x"}, h.create(t, func(p *session.CreateParams) { p.OrgID, p.Tags = h.other, []string{"x"} }).Tags,
			"an organization that lists none asks nothing")

		for _, bad := range [][]string{{"x"}, {"a", "x"}} {
			_, err = h.SetTags(ctx, h.boss, h.org, made.ID, bad, false)
			isFault(t, err, fault.Invalid)
			_, err = h.SetTags(ctx, h.boss, h.org, made.ID, bad, true)
			isFault(t, err, fault.Invalid)
		}
		_, err = h.SetTags(ctx, h.boss, h.org, made.ID, nil, false)
		require.Equal(t, "tags", field(t, err), "no session may be left without one")
		require.Equal(t, []string{"a"}, h.get(t, made.ID).Tags)
		got, err := h.SetTags(ctx, h.boss, h.org, free.ID, []string{"b"}, true)
		require.NoError(t, err)
		require.Equal(t, []string{"old", "b"}, got, "what a session had before may stay")
		require.NoError(t, h.orgs.ClearDefaultTag(ctx, h.boss, h.org))
		_, err = h.Create(ctx, h.boss, session.CreateParams{OrgID: h.org, Prompt: "x"})
		require.Equal(t, "tags", field(t, err))
	})
}

// level is one limit of the property below, and what may be used at most.
type level struct {
	query string
	args  []any
	limit *int64
	most  int64 // the limit, or what was used when it was set below that
	late  int64 // what may come besides: one interval of each session that runs
}

// ledger is what a level used in this cycle, from the ledger alone.
func (l *level) ledger(t testing.TB, h *house) int64 {
	return h.count(t, `SELECT COALESCE(SUM(acu_micros), 0) FROM usage_entries WHERE `+l.query, l.args...)
}

func (l *level) set(t testing.TB, h *house, n *int64) {
	l.limit, l.late = n, 0
	if n != nil {
		l.most = max(*n*usage.Micros, l.ledger(t, h))
	}
}

func (l *level) reached(t testing.TB, h *house) bool {
	return l.limit != nil && l.ledger(t, h) >= *l.limit*usage.Micros
}

// history is what the property below has going on.
type history struct {
	*house
	t      *testing.T
	rt     *rapid.T
	ann    access.Subject
	levels map[string]*level // by organization, user, "group" and "enterprise"
	runs   map[string]*run
	ids    []string
}

// of gives the levels that count for a session.
func (y *history) of(s *session.Session) []*level {
	out := []*level{y.levels[s.OrgID], y.levels["group"], y.levels["enterprise"]}
	if s.UserID != "" {
		out = append(out, y.levels[s.UserID])
	}
	return out
}

func (y *history) blocked(s *session.Session) bool {
	return slices.ContainsFunc(y.of(s), func(l *level) bool { return l.reached(y.t, y.house) })
}

const propertyEnterprise = 8

// Whatever is worked on, and in whatever order limits are set, lowered and lifted: what is used never exceeds a limit by more than one
// reporting interval of each session that runs; nothing goes on once it has reported on a limit that is reached; nothing is stopped or
// refused without.
func TestUseNeverExceedsALimitByMoreThanOneReport(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, e).under(rules{cycleLimit: new(int64(propertyEnterprise))})
			ann := h.person(t, "ann")
			// An ACU is 10 s of work here, so that a short history reaches limits.
			rates := usage.Rates{PerACU: 10 * time.Second, DayOffset: -8 * time.Hour}
			o := h.Options
			o.Usage = usage.New(h.db, usage.Options{
				Rates: rates, CycleLimit: new(int64(propertyEnterprise)), Orgs: h.orgs, Person: h.People,
			})
			h.Service = session.New(o)
			rapid.Check(t, func(rt *rapid.T) {
				y := &history{house: h, t: t, rt: rt, ann: ann, runs: map[string]*run{}, levels: map[string]*level{
					h.org: {query: "org_id = $1", args: []any{h.org}}, h.other: {query: "org_id = $1", args: []any{h.other}},
					"group": {query: "org_id IN ($1, $2)", args: []any{h.org, h.other}}, "ann": {query: "user_id = $1", args: []any{"ann"}},
					"enterprise": {query: "1 = 1", limit: new(int64(propertyEnterprise)), most: propertyEnterprise * usage.Micros},
				}}
				y.clear()
				for range 3 {
					y.create()
				}
				for range rapid.IntRange(3, 15).Draw(rt, "steps") {
					y.step()
				}
				for _, sessionID := range y.ids {
					_, err := h.Terminate(t.Context(), h.boss, "", sessionID, false)
					require.NoError(t, err)
				}
			})
		})
	}
}

// clear begins a new cycle without limits.
func (y *history) clear() {
	y.time.Advance(31 * 24 * time.Hour)
	y.exec(y.t, `DELETE FROM usage_entries`) // the roll-ups stay: they are the cycle's
	for _, l := range y.levels {
		l.late = 0
	}
	for _, orgID := range []string{y.house.org, y.other} {
		y.setOrg(orgID, nil)
	}
	y.group(y.t, nil)
	y.capUser(y.t, "ann", org.LimitChange{Set: true})
	for name, l := range y.levels {
		if name != "enterprise" {
			l.set(y.t, y.house, nil)
		}
	}
}

func (y *history) setOrg(orgID string, n *int64) {
	require.NoError(y.t, y.orgs.SetCaps(y.t.Context(), y.boss, org.CapParams{OrgID: orgID, Cloud: org.LimitChange{Set: true, Value: n}}))
}

func (y *history) step() {
	switch rapid.SampledFrom([]string{"create", "work", "work", "work", "limit", "message", "cycle"}).Draw(y.rt, "what") {
	case "create":
		y.create()
	case "message":
		if len(y.ids) == 0 {
			return
		}
		sessionID := rapid.SampledFrom(y.ids).Draw(y.rt, "session")
		want := y.blocked(y.get(y.t, sessionID))
		_, err := y.SendMessage(y.t.Context(), y.boss, session.MessageParams{SessionID: sessionID, Message: "m"})
		require.Equal(y.rt, want, fault.Is(err, fault.Conflict), "%v", err)
		if err == nil && y.runs[sessionID] == nil {
			y.begin(sessionID)
		}
	case "limit":
		y.limit()
	case "work":
		for range rapid.IntRange(1, 4).Draw(y.rt, "rounds") {
			y.work()
		}
	case "cycle":
		if len(y.runs) == 0 {
			y.clear()
		}
	}
}

// create asks for a session as somebody somewhere, which a reached limit forbids and nothing else.
func (y *history) create() {
	who := rapid.SampledFrom([]access.Subject{y.boss, y.ann}).Draw(y.rt, "who")
	orgID := rapid.SampledFrom([]string{y.house.org, y.other}).Draw(y.rt, "organization")
	like := &session.Session{OrgID: orgID}
	if who.Kind == access.Person {
		like.UserID = who.ID
	}
	want := y.blocked(like)
	s, err := y.Create(y.t.Context(), who, session.CreateParams{OrgID: orgID, Prompt: "x"})
	require.Equal(y.rt, want, fault.Is(err, fault.Conflict), "%v", err)
	if err == nil {
		y.ids = append(y.ids, s.ID)
		y.begin(s.ID)
	}
}

// begin has a worker take a queued session, which nothing stops at once.
func (y *history) begin(sessionID string) {
	r := y.claim(y.t, "w1")
	require.Equal(y.rt, sessionID, r.row.SessionID)
	r.command = y.get(y.t, sessionID).LastCommand
	require.False(y.rt, r.send(state(wire.StateWorking)).Stop)
	y.runs[sessionID] = r
	y.note()
}

// note keeps how many sessions ran at the same time since each limit was set: ten seconds of each, an ACU here, may come late.
func (y *history) note() {
	running := map[*level]int64{}
	for sessionID := range y.runs {
		for _, l := range y.of(y.get(y.t, sessionID)) {
			running[l]++
		}
	}
	for l, n := range running {
		l.late = max(l.late, n*usage.Micros)
	}
}

func (y *history) limit() {
	var n *int64
	if v := rapid.Int64Range(-1, 6).Draw(y.rt, "limit"); v >= 0 {
		n = &v
	}
	name := rapid.SampledFrom([]string{y.house.org, y.other, "group", "ann"}).Draw(y.rt, "level")
	switch name {
	case "group":
		y.group(y.t, n, y.house.org, y.other)
	case "ann":
		y.capUser(y.t, "ann", org.LimitChange{Set: true, Value: n})
	default:
		y.setOrg(name, n)
	}
	y.levels[name].set(y.t, y.house, n)
	y.note()
}

// work has every running session report once, in any order, at most ten seconds after its last report.
func (y *history) work() {
	order := rapid.Permutation(y.running()).Draw(y.rt, "order")
	for i, sessionID := range order {
		most := 5 * time.Second / time.Duration(len(order))
		y.time.Advance(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "step")).Truncate(time.Millisecond)
		}).Draw(y.rt, "step"))
		ack := y.runs[sessionID].beat()
		s := y.get(y.t, sessionID)
		require.Equal(y.rt, y.blocked(s), ack.Stop, "report %d: a session stops with its report on a reached limit, and not without", i)
		if ack.Stop {
			delete(y.runs, sessionID)
		}
	}
	for name, l := range y.levels {
		if l.limit != nil {
			require.LessOrEqual(y.rt, l.ledger(y.t, y.house), l.most+l.late, name)
		}
	}
}

func (y *history) running() []string {
	var out []string
	for _, sessionID := range y.ids {
		if y.runs[sessionID] != nil {
			out = append(out, sessionID)
		}
	}
	return out
}
