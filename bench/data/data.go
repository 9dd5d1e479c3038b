// Package data fills a database with a year of a large deployment, the same each time: organizations, people, sessions with their
// messages, the ledger and every roll-up, the audit log, notes, playbooks, schedules and repositories. Benches and tests of plans read it.
//
// What belongs together agrees: roll-ups are reckoned by the rooms that write them, and audit entries are stamped and sealed.
package data

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/rollup"
	"gantry/internal/server"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// Options of Load.
type Options struct {
	// Scale is how much of the full size is loaded: 1 is 1,000 organizations, 10,000 people, 1,000,000 sessions and 2,000,000 audit
	// entries. The year is always a whole one.
	Scale float64
	// Database is the URL of the server's database.
	Database string
	// Until is the end of the year, by default the server's now.
	Until time.Time
	// Said hears how far it is; nil is nobody.
	Said func(string)
}

// World names what was loaded, for questions about it.
type World struct {
	Scale    float64   `json:"scale"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Sessions int       `json:"sessions"`

	// Org is the organization with most sessions.
	Org string `json:"org"`
	// Session is one of its sessions, with messages, a user and ACUs; Parent has children.
	Session     string `json:"session"`
	Parent      string `json:"parent"`
	User        string `json:"user"`
	UserEmail   string `json:"user_email"`
	ServiceUser string `json:"service_user"`
	Group       string `json:"group"`
	Tag         string `json:"tag"`
	Repo        string `json:"repo"`
	Playbook    string `json:"playbook"`
	Schedule    string `json:"schedule"`
	Note        string `json:"note"`
	// EnterprisePlaybook is one of no organization.
	EnterprisePlaybook string `json:"enterprise_playbook"`
	Folder             string `json:"folder"` // its path
	Connection         string `json:"connection"`
	OtherOrgs          []string
}

// The full size.
const (
	fullOrgs     = 1_000
	fullUsers    = 10_000
	fullSessions = 1_000_000
	fullEntries  = 2_000_000
)

const day = 24 * time.Hour

// loader is one load.
type loader struct {
	o     Options
	s     *server.Server
	sink  sink
	rng   *rand.Rand
	world World
	from  time.Time
	rates usage.Rates
	sizes session.Sizes

	tables map[string]*table
	orgs   []*org
	users  []*user
	// children are the ids of sessions by that of their parent.
	children map[string][]string

	counters *rollup.Bulk
	ledger   *usage.Bulk
	entries  audit.Bulk
}

// table is what waits to be written.
type table struct {
	columns []string
	rows    [][]any
}

// batch is how many rows of a table are written at once.
const batch = 1000

// Load fills the database of a server that was just made. Nothing else may use it.
func Load(ctx context.Context, s *server.Server, o Options) (World, error) {
	if o.Until.IsZero() {
		o.Until = s.DB.Clock().Now()
	}
	if o.Said == nil {
		o.Said = func(string) {}
	}
	o.Until = o.Until.UTC().Truncate(time.Hour)
	l := &loader{
		o: o, s: s, rng: rand.New(rand.NewPCG(20, 26)), from: o.Until.Add(-365 * day), rates: s.Usage.Rates, sizes: session.DefaultSizes(),
		tables: map[string]*table{}, children: map[string][]string{},
	}
	l.world = World{Scale: o.Scale, From: l.from, Until: o.Until}
	if err := s.Audit.Seal(ctx); err != nil {
		return l.world, err
	}
	head, err := s.Audit.Head(ctx, access.Subject{Kind: access.System}.WithGrants(access.Grant{Permissions: access.Builtin()[0].Permissions}))
	if err != nil {
		return l.world, err
	}
	l.entries = audit.Bulk{DB: s.DB, Head: head}
	if l.sink, err = openSink(ctx, s.DB.Engine(), o.Database); err != nil {
		return l.world, err
	}
	err = l.load(ctx)
	if ended := l.sink.end(ctx, err == nil); err == nil {
		err = ended
	}
	return l.world, err
}

func (l *loader) load(ctx context.Context) error {
	l.declare()
	l.counters = rollup.NewBulk(func(t string, row ...any) error { return l.put(ctx, t, row...) })
	l.ledger = usage.NewBulk(l.rates, func(t string, row ...any) error { return l.put(ctx, t, row...) })
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"organizations", l.loadOrgs},
		{"people", l.loadPeople},
		{"texts", l.loadTexts},
		{"repositories", l.loadRepos},
		{"sessions", l.loadSessions},
		{"audit entries", l.loadEntries},
	} {
		l.o.Said(step.name)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.tables)) {
		if err := l.flush(ctx, name); err != nil {
			return err
		}
	}
	return l.sink.exec(ctx, `UPDATE audit_head SET number = $1, link = $2 WHERE id = 1`, l.entries.Head.Number, l.entries.Head.Link)
}

// put writes a row sooner or later.
func (l *loader) put(ctx context.Context, name string, row ...any) error {
	t := l.tables[name]
	if t == nil || len(row) != len(t.columns) {
		return fmt.Errorf("table %s: a row of %d values", name, len(row))
	}
	t.rows = append(t.rows, row)
	if len(t.rows) < batch {
		return nil
	}
	return l.flush(ctx, name)
}

// refersTo are the tables that must be there before a table's rows.
var refersTo = map[string][]string{
	"idp_group_roles": {"idp_groups"}, "idp_group_members": {"idp_groups", "users"}, "org_group_members": {"org_groups"},
}

func (l *loader) flush(ctx context.Context, name string) error {
	for _, first := range refersTo[name] {
		if err := l.flush(ctx, first); err != nil {
			return err
		}
	}
	t := l.tables[name]
	if len(t.rows) == 0 {
		return nil
	}
	err := l.sink.put(ctx, name, t.columns, t.rows)
	t.rows = t.rows[:0]
	if err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	return nil
}

// scaled is how many of something there are, at least one.
func (l *loader) scaled(full int) int { return max(1, int(float64(full)*l.o.Scale+0.5)) }

// id makes an id as the server does, of a time.
func (l *loader) id(prefix string, at time.Time) string {
	var b [16]byte
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	for i := 6; i < 16; i++ {
		b[i] = byte(l.rng.Uint32())
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	return prefix + hex.EncodeToString(b[:])
}

// skewed picks from n with the first ones far more often than the last: half of all falls on about a sixth.
func (l *loader) skewed(n int) int {
	x := l.rng.Float64()
	return int(x * x * x * float64(n))
}

func pick[T any](l *loader, from []T) T { return from[l.rng.IntN(len(from))] }

// null is nil for "".
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}
