// Package rollup keeps the counters that metrics are answered from. They are written in the transaction of the fact, so an answer's
// cost depends on the days and groups that it is about and never on how many sessions there were.
//
// A session counts on the UTC day of its creation, whatever happens to it later: its size class, ACUs, category and merged pull
// requests move the counters of that day. A pull request counts on the day it was first reported. A person is active on the days on
// which they started a session or searched; service users are no persons.
package rollup

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"gantry/internal/platform/db"
)

// Shards is over how many rows the enterprise's counters of a day are spread, by organization: the sessions of one wait for one another
// at its own row anyway, and what belongs to one organization, as most people and playbooks do, has one row.
const Shards = 8

// Sizes are the size classes, smallest first (contract/behaviour.md §7.3).
var Sizes = []string{"xs", "s", "m", "l", "xl"}

// Origins are those that are counted; any other counts as other.
var Origins = []string{"webapp", "slack", "teams", "api", "linear", "jira", "automation", "cli", "desktop", "code_scan", "other"}

// The states of a pull request that are told apart.
const (
	Open   = "open"
	Merged = "merged"
	Closed = "closed"
)

// StateOf reads a forge's word for a pull request's state. A word that nobody knows means that it is still open.
func StateOf(text string) string {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "merged", "completed":
		return Merged
	case "closed", "declined", "rejected", "abandoned", "superseded":
		return Closed
	default:
		return Open
	}
}

// Day gives the start of the UTC day that holds t, in Unix milliseconds.
func Day(t time.Time) int64 { return t.UTC().Truncate(24 * time.Hour).UnixMilli() }

// Week gives the start of the week that holds t: Monday, UTC.
func Week(t time.Time) int64 {
	day := t.UTC().Truncate(24 * time.Hour)
	return day.AddDate(0, 0, -(int(day.Weekday())+6)%7).UnixMilli()
}

// Month gives the start of the UTC month that holds t.
func Month(t time.Time) int64 {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).UnixMilli()
}

// Session is what a session counts by. None of it changes in its life.
type Session struct {
	OrgID         string
	UserID        string
	ServiceUserID string
	PlaybookID    string
	Origin        string
	WithSearch    bool // it was started from a search
	CreatedAt     time.Time
}

// Measure is what a session counts for at one time of its life. Category is empty until it has one; Subcategory is its shown name.
type Measure struct {
	Size         string
	ACUMicros    int64
	Category     string
	Subcategory  string
	PullRequests []PullRequest
}

// PullRequest is one pull request of a session: the day of its first report, its state, and whether the agent pushed to one that
// somebody else had opened.
type PullRequest struct {
	Day       int64
	State     string
	TakenOver bool
}

func (m Measure) equal(o Measure) bool {
	return m.Size == o.Size && m.ACUMicros == o.ACUMicros && m.Category == o.Category && m.Subcategory == o.Subcategory &&
		slices.Equal(m.PullRequests, o.PullRequests)
}

// BeginTx counts a session that wasn't counted yet.
func BeginTx(ctx context.Context, tx *db.Tx, s Session, m Measure) error {
	if err := s.begun(m).writeTx(ctx, tx, s.scopes()); err != nil {
		return err
	}
	if err := categoriesTx(ctx, tx, s, Measure{}, m); err != nil || s.UserID == "" {
		return err
	}
	return peopleTx(ctx, tx, s.OrgID, s.UserID, s.CreatedAt, act{sessions: 1})
}

// begun is what a session adds that wasn't counted.
func (s Session) begun(m Measure) tally {
	day, t := Day(s.CreatedAt), tally{}
	t.add(day, "sessions", 1)
	t.add(day, "origin_"+originOf(s.Origin), 1)
	if s.PlaybookID != "" {
		t.add(day, "with_playbook", 1)
	}
	if s.WithSearch {
		t.add(day, "with_search", 1)
	}
	t.measure(day, m, 1)
	return t
}

// MoveTx counts what has changed of a session that is counted.
func MoveTx(ctx context.Context, tx *db.Tx, s Session, before, after Measure) error {
	if before.equal(after) {
		return nil
	}
	day, t := Day(s.CreatedAt), tally{}
	t.measure(day, before, -1)
	t.measure(day, after, 1)
	if err := t.writeTx(ctx, tx, s.scopes()); err != nil {
		return err
	}
	return categoriesTx(ctx, tx, s, before, after)
}

// Search is one search of a person or a service user. Whatever answers searches calls SearchTx for each.
type Search struct {
	OrgID         string
	UserID        string
	ServiceUserID string
	At            time.Time
}

// SearchTx counts a search.
func SearchTx(ctx context.Context, tx *db.Tx, s Search) error {
	t := tally{}
	t.add(Day(s.At), "searches", 1)
	if err := t.writeTx(ctx, tx, s.scopes()); err != nil || s.UserID == "" {
		return err
	}
	return peopleTx(ctx, tx, s.OrgID, s.UserID, s.At, act{searches: 1})
}

func (s Search) scopes() []scope {
	return Session{OrgID: s.OrgID, UserID: s.UserID, ServiceUserID: s.ServiceUserID}.scopes()
}

func originOf(origin string) string {
	if origin == "scheduled" { // its older name (contract/behaviour.md §3.15)
		return "automation"
	}
	if !slices.Contains(Origins, origin) {
		return "other"
	}
	return origin
}

// scope is one row of a day: ” stands for all.
type scope struct {
	org, user, service, playbook string
	shard                        int64
}

// scopes are the rows that a session counts in: the enterprise's and its organization's, each for every combination of what it may be
// filtered by. Their order is the same for everybody, lest two transactions wait for one another.
func (s Session) scopes() []scope {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.OrgID)) // a hash takes everything
	shard := int64(h.Sum32() % Shards)
	var out []scope
	for _, org := range []string{"", s.OrgID} {
		for _, user := range orAll(s.UserID) {
			for _, service := range orAll(s.ServiceUserID) {
				for _, playbook := range orAll(s.PlaybookID) {
					out = append(out, scope{org, user, service, playbook, shard})
				}
			}
		}
		shard = 0
	}
	return out
}

func orAll(id string) []string {
	if id == "" {
		return []string{""}
	}
	return []string{"", id}
}
