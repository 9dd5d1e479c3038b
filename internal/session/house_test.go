package session_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/knowledge"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/blob"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/safehttp"
	"gantry/internal/playbook"
	"gantry/internal/secrets"
	"gantry/internal/session"
	"gantry/internal/usage"
	"gantry/internal/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// house is the rooms of one process on a database of its own, with two organizations and one worker.
type house struct {
	*session.Service
	db        *db.DB
	time      *clock.Fake
	orgs      *org.Service
	fleet     *fleet.Service
	forge     *forge.Service
	audit     *audit.Service
	notes     *knowledge.Service
	playbooks *playbook.Service
	boss      access.Subject // holds everything, of enterprise scope
	ours      access.Subject // administers org only
	theirs    access.Subject // administers other only
	org       string
	other     string
	worker    access.Subject
	secrets   *secrets.Service
}

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(t, newHouse(t, e))
		})
	}
}

func newHouse(t testing.TB, e db.Engine) *house {
	t.Helper()
	ctx := t.Context()
	fake := clock.NewFake(noon)
	d := dbtest.Open(t, e, fake.Clock())
	log, hub := slog.New(slog.DiscardHandler), events.New()
	k, err := keeper.Open(ctx, "", t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	require.NoError(t, k.Attach(ctx, d))
	blobs, err := blob.Open(ctx, "", t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = blobs.Close() })
	members := member.New(d, hub, log, member.AuthOptions{})
	_, err = members.Bootstrap(ctx, member.BootstrapOptions{})
	require.NoError(t, err)
	public, err := url.Parse("https://gantry.example.com/base")
	require.NoError(t, err)
	fetch := safehttp.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}).Client(time.Minute)
	t.Cleanup(fetch.CloseIdleConnections)
	h := &house{
		db: d, time: fake, orgs: org.New(d, members, org.Options{}), forge: forge.New(d, forge.Options{}), audit: audit.New(d),
		fleet:  fleet.New(fleet.Options{DB: d, Clock: fake.Clock(), Hub: hub, Logger: log}),
		worker: access.Subject{Kind: access.Worker, ID: "wk-1", Outposts: []string{fleet.DefaultOutpost}},
	}
	require.NoError(t, h.fleet.EnsureDefault(ctx))
	h.notes, h.playbooks, h.secrets = knowledge.New(d), playbook.New(d), secrets.New(d, k)
	h.Service = session.New(session.Options{
		Knowledge: h.notes, Playbooks: h.playbooks, OrgSecrets: h.secrets,
		DB: d, Clock: fake.Clock(), Keeper: k, Blobs: blobs, Hub: hub, Fetch: fetch, Orgs: h.orgs, Agents: agents.New(d, k), Forge: h.forge,
		Fleet: h.fleet, People: members.PersonSubject, Usage: usage.New(d, usage.Options{Rates: usage.Defaults(), Orgs: h.orgs, Person: members.PersonSubject}), Logger: log, PublicURL: public, IdleTime: 30 * time.Minute,
	})
	roles := access.Builtin()
	h.boss = access.Subject{Kind: access.ServiceUser, ID: "su-boss", Name: "boss"}.WithGrants(access.Grant{Permissions: roles[0].Permissions})
	h.org, h.other = h.newOrg(t, org.CreateParams{Name: "ours"}), h.newOrg(t, org.CreateParams{Name: "theirs"})
	h.ours = access.Subject{Kind: access.ServiceUser, ID: "su-ours", Name: "ours", OrgID: h.org}.
		WithGrants(access.Grant{OrgID: h.org, Permissions: roles[2].Permissions})
	h.theirs = access.Subject{Kind: access.ServiceUser, ID: "su-theirs", Name: "theirs", OrgID: h.other}.
		WithGrants(access.Grant{OrgID: h.other, Permissions: roles[2].Permissions})
	return h
}

func (h *house) newOrg(t testing.TB, p org.CreateParams) string {
	t.Helper()
	o, err := h.orgs.Create(t.Context(), h.boss, p)
	require.NoError(t, err)
	return o.ID
}

func limit(n int64) org.LimitChange { return org.LimitChange{Set: true, Value: &n} }

// setLimits changes the limits of the house's organization.
func (h *house) setLimits(t testing.TB, session, cycle org.LimitChange) {
	t.Helper()
	_, err := h.orgs.Update(t.Context(), h.boss, org.UpdateParams{OrgID: h.org, SessionLimit: session, CycleLimit: cycle})
	require.NoError(t, err)
}

func (h *house) create(t testing.TB, change ...func(*session.CreateParams)) *session.Session {
	t.Helper()
	p := session.CreateParams{OrgID: h.org, Prompt: "do it"}
	for _, f := range change {
		f(&p)
	}
	s, err := h.Create(t.Context(), h.boss, p)
	require.NoError(t, err)
	return s
}

func (h *house) get(t testing.TB, sessionID string) *session.Session {
	t.Helper()
	s, err := h.Get(t.Context(), h.boss, "", sessionID)
	require.NoError(t, err)
	return s
}

// state is a session's status and detail, as text.
func (h *house) state(t testing.TB, sessionID string) string {
	t.Helper()
	s := h.get(t, sessionID).State
	return string(s.Status) + "/" + string(s.Detail)
}

func (h *house) say(t testing.TB, sessionID, text string) *session.Session {
	t.Helper()
	s, err := h.SendMessage(t.Context(), h.boss, session.MessageParams{OrgID: h.org, SessionID: sessionID, Message: text})
	require.NoError(t, err)
	return s
}

func (h *house) row(t testing.TB, sessionID string) fleet.Row {
	t.Helper()
	r, err := fleet.Get(t.Context(), h.db.Reader(), sessionID)
	require.NoError(t, err)
	return r
}

func (h *house) count(t testing.TB, query string, args ...any) int64 {
	t.Helper()
	n, err := db.One(t.Context(), h.db.Reader(), db.Int, query, args...)
	require.NoError(t, err)
	return n
}

func (h *house) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, query, args...)
		return err
	}))
}

// all gives every event of a session.
func (h *house) all(t testing.TB, sessionID string) []session.Event {
	t.Helper()
	evs, err := h.EventsAfter(t.Context(), sessionID, 0, 100_000)
	require.NoError(t, err)
	return evs
}

func (h *house) types(t testing.TB, sessionID string) []string {
	t.Helper()
	var out []string
	for _, e := range h.all(t, sessionID) {
		out = append(out, e.Type)
	}
	return out
}

// actions are the audited actions, oldest first, from the n-th on.
func (h *house) actions(t testing.TB, n int) []audit.Action {
	t.Helper()
	p, err := h.audit.List(t.Context(), h.boss, audit.ListParams{Order: audit.Asc, Page: page.Request{First: 200}})
	require.NoError(t, err)
	var out []audit.Action
	for _, l := range p.Items[n:] {
		out = append(out, l.Action)
	}
	return out
}

// run is one claim, as its worker uses it.
type run struct {
	h       *house
	t       testing.TB
	row     fleet.Row
	token   string
	number  int64
	command int64
}

// claim claims the next session for a worker of the default outpost.
func (h *house) claim(t testing.TB, workerID string) *run {
	t.Helper()
	c, ok, err := h.ClaimNext(t.Context(), h.worker, fleet.DefaultOutpost, workerID)
	require.NoError(t, err)
	require.True(t, ok, "nothing to claim")
	return &run{h: h, t: t, row: c.Row, token: c.Token}
}

func (h *house) nothingToClaim(t testing.TB, workerID string) {
	t.Helper()
	_, ok, err := h.ClaimNext(t.Context(), h.worker, fleet.DefaultOutpost, workerID)
	require.NoError(t, err)
	require.False(t, ok)
}

// work creates a session and claims it, its prompt taken in hand and the agent working.
func (h *house) work(t testing.TB, change ...func(*session.CreateParams)) *run {
	t.Helper()
	s := h.create(t, change...)
	r := h.claim(t, "w1")
	require.Equal(t, s.ID, r.row.SessionID)
	r.command = 1
	r.send(state(wire.StateWorking))
	return r
}

func (r *run) try(evs ...wire.Event) (*wire.Ack, error) {
	return r.h.Apply(r.t.Context(), r.row, wire.Batch{Fence: r.row.Fence, Number: r.number + 1, Command: r.command, Events: evs})
}

func (r *run) send(evs ...wire.Event) *wire.Ack {
	r.t.Helper()
	ack, err := r.try(evs...)
	require.NoError(r.t, err)
	r.number++
	require.Equal(r.t, r.number, ack.Number)
	return ack
}

func (r *run) beat() *wire.Ack {
	r.t.Helper()
	ack, err := r.h.Beat(r.t.Context(), r.row, wire.Heartbeat{Fence: r.row.Fence, Command: r.command})
	require.NoError(r.t, err)
	return ack
}

// worked lets time pass with a heartbeat every ten seconds and after the rest.
func (r *run) worked(d time.Duration) *wire.Ack {
	r.t.Helper()
	var ack *wire.Ack
	for d > 0 {
		step := min(d, 10*time.Second)
		r.h.time.Advance(step)
		d -= step
		if ack = r.beat(); ack.Stop {
			return ack
		}
	}
	return ack
}

// lost requires that the claim is good no more.
func (r *run) lost() {
	r.t.Helper()
	_, err := r.try(state(wire.StateWorking))
	isFault(r.t, err, fault.Conflict)
	_, err = r.h.Beat(r.t.Context(), r.row, wire.Heartbeat{Fence: r.row.Fence})
	isFault(r.t, err, fault.Conflict)
	_, err = r.h.fleet.ByToken(r.t.Context(), r.token, netip.Addr{})
	isFault(r.t, err, fault.Unauthenticated)
}

func ev(typ string, data any) wire.Event {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return wire.Event{Type: typ, Data: b}
}

func state(s string) wire.Event { return ev(wire.EventState, wire.StateData{State: s}) }

func isFault(t testing.TB, err error, k fault.Kind) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

// field is the path of the field that a refusal names.
func field(t testing.TB, err error) string {
	t.Helper()
	isFault(t, err, fault.Invalid)
	require.NotEmpty(t, fault.As(err).Fields)
	return fault.As(err).Fields[0].Loc[len(fault.As(err).Fields[0].Loc)-1]
}
