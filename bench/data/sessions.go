package data

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"gantry/internal/audit"
	"gantry/internal/rollup"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// made is a session as it is written.
type made struct {
	id, title, status   string
	detail              string
	org                 *org
	user                *user
	service             string
	playbook, schedule  string
	parent              string
	origin              string
	category, sub       string
	tags, repos         []string
	pulls               []session.PullRequest
	archived            bool
	at, ended           time.Time
	micros              int64
	size                string
	userMsgs, agentMsgs int
	resumable           bool
}

var categories = []string{"bug_fixing", "feature_development", "unit_test_generation", "refactoring_and_optimization", "documentation_and_content"}

// loadSessions spreads the sessions over the year, more on working days, with their work, messages and searches.
func (l *loader) loadSessions(ctx context.Context) error {
	n := l.scaled(fullSessions)
	days := make([]int, 365)
	weight := 0
	for d := range days {
		days[d] = 4
		if w := l.from.Add(time.Duration(d) * day).Weekday(); w == time.Saturday || w == time.Sunday {
			days[d] = 1
		}
		weight += days[d]
	}
	sofar, count := 0, 0
	for d := range days {
		sofar += days[d]
		upTo := n * sofar / weight
		start := l.from.Add(time.Duration(d) * day)
		if d%30 == 0 {
			l.o.Said(fmt.Sprintf("sessions: %d of %d", count, n))
		}
		today := upTo - count
		for i := range today {
			at := start.Add(day * time.Duration(i) / time.Duration(today)).Truncate(time.Second)
			if err := l.loadSession(ctx, count+i, at); err != nil {
				return err
			}
		}
		count = upTo
		// Work and pull requests reach at most a few days beyond a session's own.
		if err := l.counters.Flush(start.Add(-7 * day)); err != nil {
			return err
		}
		if err := l.ledger.Flush(start.Add(-7 * day)); err != nil {
			return err
		}
	}
	l.world.Sessions = count
	if err := l.nameChildren(ctx); err != nil {
		return err
	}
	if err := l.counters.End(); err != nil {
		return err
	}
	return l.ledger.End()
}

// nameChildren tells the parents of their children.
func (l *loader) nameChildren(ctx context.Context) error {
	if err := l.flush(ctx, "sessions"); err != nil {
		return err
	}
	for _, parent := range slices.Sorted(maps.Keys(l.children)) {
		if err := l.sink.exec(ctx, `UPDATE sessions SET child_session_ids = $1 WHERE session_id = $2`, list(l.children[parent]), parent); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) loadSession(ctx context.Context, n int, at time.Time) error {
	m := l.invent(n, at)
	cost, err := l.ledger.Enter(usage.Work{
		SessionID: m.id, OrgID: m.org.id, UserID: m.userID(), ServiceUserID: m.service, Fence: 1, Start: at.Add(5 * time.Second),
		From: at.Add(5 * time.Second), To: m.ended,
	})
	if err != nil {
		return err
	}
	m.micros, m.size = cost, l.sizes.Of(cost, int64(m.userMsgs))
	l.count(m)
	if m.org == l.orgs[0] && m.user == l.orgs[0].users[0] && m.userMsgs > 1 {
		l.world.Session = m.id
	}
	if err := l.putSession(ctx, m); err != nil {
		return err
	}
	return l.putEvents(ctx, m)
}

func (m *made) userID() string {
	if m.user == nil {
		return ""
	}
	return m.user.id
}

func (l *loader) invent(n int, at time.Time) *made {
	o := l.orgs[l.skewed(len(l.orgs))]
	m := &made{
		id: l.id("", at), title: fmt.Sprintf("Task %d of the nightly run", n), org: o, at: at, status: "exit", resumable: true,
		origin: pick(l, []string{"webapp", "webapp", "slack", "api", "cli", "automation"}), category: pick(l, categories), sub: "Other",
		ended: at.Add(time.Duration(5+l.rng.IntN(90)) * time.Minute), userMsgs: 1 + l.skewed(5), agentMsgs: 1 + l.skewed(3),
		archived: l.rng.IntN(20) == 0,
	}
	if l.rng.IntN(6) == 0 {
		m.status, m.detail = "suspended", "inactivity"
	}
	if l.rng.IntN(5) == 0 || len(o.users) == 0 {
		m.service = pick(l, o.services)
	} else {
		m.user = o.users[l.skewed(len(o.users))]
	}
	if l.rng.IntN(5) == 0 {
		m.playbook = pick(l, o.playbooks)
	}
	if l.rng.IntN(20) == 0 {
		m.schedule, m.origin = pick(l, o.schedules), "automation"
	}
	switch {
	case l.rng.IntN(50) == 0 && o.parent != "":
		m.parent = o.parent
		l.children[o.parent] = append(l.children[o.parent], m.id)
	case o.parent == "" || l.rng.IntN(200) == 0:
		o.parent = m.id
		if o == l.orgs[0] && l.world.Parent == "" {
			l.world.Parent = m.id
		}
	}
	for range l.rng.IntN(3) {
		if t := tag(l.skewed(20)); len(m.tags) == 0 || m.tags[0] != t {
			m.tags = append(m.tags, t)
		}
	}
	m.repos = []string{o.repos[l.skewed(len(o.repos))]}
	if l.rng.IntN(3) == 0 {
		m.pulls = []session.PullRequest{{
			URL: fmt.Sprintf("https://git.example.com/%s/pull/%d", m.repos[0], n), State: pick(l, []string{"open", "merged", "merged", "closed"}),
			At: m.ended.UnixMilli(), TakenOver: l.rng.IntN(10) == 0,
		}}
	}
	return m
}

// count counts the session as the server does (internal/session/count.go).
func (l *loader) count(m *made) {
	s := rollup.Session{
		OrgID: m.org.id, UserID: m.userID(), ServiceUserID: m.service, PlaybookID: m.playbook, Origin: m.origin, CreatedAt: m.at,
	}
	x := rollup.Measure{Size: m.size, ACUMicros: m.micros, Category: m.category, Subcategory: m.sub}
	for _, p := range m.pulls {
		x.PullRequests = append(x.PullRequests, rollup.PullRequest{
			Day: rollup.Day(time.UnixMilli(p.At)), State: rollup.StateOf(p.State), TakenOver: p.TakenOver,
		})
	}
	l.counters.Begin(s, x)
	if l.rng.IntN(4) == 0 {
		l.counters.Search(rollup.Search{OrgID: s.OrgID, UserID: s.UserID, ServiceUserID: s.ServiceUserID, At: m.at})
	}
}

func (l *loader) putSession(ctx context.Context, m *made) error {
	var ended any
	if m.status == "exit" {
		ended = m.ended.UnixMilli()
	}
	at, end := m.at.UnixMilli(), m.ended.UnixMilli()
	err := l.put(ctx, "sessions", m.id, m.org.id, m.title, m.status, null(m.detail), at, end, null(m.userID()), null(m.service), null(m.playbook),
		null(m.parent), "[]", null(m.schedule), m.origin, m.category, m.sub, "runbook", list(m.tags), list(m.repos), "[]", list(m.pulls),
		b2i(m.archived), b2i(m.resumable), 0, 1, m.micros, m.micros, 1+m.userMsgs+m.agentMsgs, m.userMsgs, m.userMsgs, m.userMsgs, m.agentMsgs,
		ended, "default", m.size, 1)
	if err != nil {
		return err
	}
	for _, t := range m.tags {
		if err := l.put(ctx, "session_tags", m.id, t, m.org.id, at); err != nil {
			return err
		}
	}
	for _, r := range m.repos {
		if err := l.put(ctx, "session_repos", m.id, r, m.org.id, at); err != nil {
			return err
		}
	}
	if l.rng.IntN(10) == 0 {
		return l.put(ctx, "session_insights", m.id, m.org.id, "done", 1, m.userMsgs, end, end, analysis)
	}
	return nil
}

const analysis = `{"made_by":"rules","action_items":[],"classification":null,"issues":[],"note_usage":null,"suggested_prompt":null,"timeline":[]}`

func list[T any](of []T) string {
	if len(of) == 0 {
		return "[]"
	}
	b, err := json.Marshal(of)
	if err != nil {
		panic("data: " + err.Error()) // texts and plain objects encode
	}
	return string(b)
}

// putEvents writes a session's beginning and its conversation.
func (l *loader) putEvents(ctx context.Context, m *made) error {
	seq := 1
	event := func(kind, data string) error {
		at := m.at.Add(time.Duration(seq) * time.Second)
		err := l.put(ctx, "session_events", m.id, seq, l.id("event-", at), kind, at.UnixMilli(), data)
		seq++
		return err
	}
	if err := event("created", `{"title":"`+m.title+`","agent":"runbook","repos":[],"platform":"","devin_mode":""}`); err != nil {
		return err
	}
	for i := range m.userMsgs {
		if err := event("user_message", fmt.Sprintf(`{"text":"Look at the tests of the parser, part %d.","command":%d}`, i, i+1)); err != nil {
			return err
		}
	}
	for range m.agentMsgs {
		if err := event("message", `{"text":"Two of them failed because of the clock; both are mended."}`); err != nil {
			return err
		}
	}
	return nil
}

var actions = []audit.Action{
	audit.CreateSession, audit.CreateSession, audit.CreateSession, audit.SendMessage, audit.SendMessage, audit.SleepSession, audit.TerminateSession,
	audit.UpdateOrg, audit.CreateServiceUserAPIKey,
}

// loadEntries spreads the audit entries over the year.
func (l *loader) loadEntries(ctx context.Context) error {
	n := l.scaled(fullEntries)
	for i := range n {
		at := l.from.Add(365 * day / time.Duration(n) * time.Duration(i)).Truncate(time.Millisecond)
		o := l.orgs[l.skewed(len(l.orgs))]
		e := audit.Log{ID: l.id("audit-", at), CreatedAt: at, Action: pick(l, actions), OrgID: o.id, RequestID: l.id("req-", at)}
		if len(o.users) > 0 && l.rng.IntN(4) > 0 {
			u := o.users[l.skewed(len(o.users))]
			e.UserID, e.UserEmail = u.id, u.email
		} else {
			e.ServiceUserID, e.ServiceUserName = o.services[0], "robot"
		}
		e.Data = json.RawMessage(`{"session_id":"` + l.id("", at) + `"}`)
		row, err := l.entries.Row(e)
		if err != nil {
			return err
		}
		if err := l.put(ctx, "audit_entries", row...); err != nil {
			return err
		}
	}
	return nil
}
