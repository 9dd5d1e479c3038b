// Package metric answers what people and sessions did, from the roll-ups of package rollup (contract/behaviour.md §6).
//
// Figures are by whole UTC days: a range counts every day that it touches, and the lists of active users every day, week or month that
// it touches, whole. Sessions and pull requests are those that were made in the range, as they are now: a session that was made in
// March and grew in April is a large session of March.
package metric

import (
	"time"

	"gantry/internal/platform/fault"
	"gantry/internal/rollup"
)

// Range is a time range; Before isn't in it. The zero time leaves an end open.
type Range struct{ After, Before time.Time }

func (r Range) check() error {
	if !r.After.IsZero() && !r.Before.IsZero() && r.Before.Before(r.After) {
		return fault.InvalidQuery("time_before", "must not be before time_after")
	}
	return nil
}

// Filter says whose sessions are asked for. A session passes a list by having any of its values, and must pass every list. OrgID is
// the organization of an organization's route, empty on the enterprise's.
type Filter struct {
	Range
	OrgID          string
	OrgIDs         []string
	UserIDs        []string
	ServiceUserIDs []string
	PlaybookID     string
}

// maxGroups is how many combinations of organizations, users and service users one answer may be about.
const maxGroups = 10_000

func (f Filter) check() error {
	if err := f.Range.check(); err != nil {
		return err
	}
	groups := 1
	for _, l := range []struct {
		name string
		n    int
	}{{"org_ids", len(f.OrgIDs)}, {"user_ids", len(f.UserIDs)}, {"service_user_ids", len(f.ServiceUserIDs)}} {
		if groups *= max(1, l.n); groups > maxGroups {
			return fault.InvalidQuery(l.name, "too many values together with the other filters: at most %d combinations", maxGroups)
		}
	}
	return nil
}

// orgs are the organizations asked for; none is the whole enterprise.
func (f Filter) orgs() []string {
	if f.OrgID != "" {
		return []string{f.OrgID}
	}
	return f.OrgIDs
}

// Period is what active users are counted by.
type Period string

// The periods. Weeks run from Monday to Sunday.
const (
	Daily   Period = rollup.ByDay
	Weekly  Period = rollup.ByWeek
	Monthly Period = rollup.ByMonth
)

// start gives the beginning of the period that holds t.
func (p Period) start(t time.Time) time.Time {
	switch p {
	case Weekly:
		return time.UnixMilli(rollup.Week(t)).UTC()
	case Monthly:
		return time.UnixMilli(rollup.Month(t)).UTC()
	case Daily:
	}
	return time.UnixMilli(rollup.Day(t)).UTC()
}

// next gives the beginning of the period after the one that begins at t.
func (p Period) next(t time.Time) time.Time {
	switch p {
	case Weekly:
		return t.Add(7 * 24 * time.Hour)
	case Monthly:
		return t.AddDate(0, 1, 0)
	case Daily:
	}
	return t.Add(24 * time.Hour)
}

// maxPeriods is how many periods one list may have: three years of days.
const maxPeriods = 1100

// periods lists the beginnings of the periods that a range touches.
func (p Period) periods(r Range) ([]time.Time, error) {
	var out []time.Time
	for at := p.start(r.After); at.Before(r.Before); at = p.next(at) {
		if len(out) == maxPeriods {
			return nil, fault.InvalidQuery("time_before", "the range has more than %d periods of a %s; ask for fewer", maxPeriods, p)
		}
		out = append(out, at)
	}
	return out, nil
}

// ActiveFilter asks for active people: those with at least MinSessions sessions or at least MinSearches searches. With a least of 0
// everybody counts who did anything at all.
type ActiveFilter struct {
	Range
	OrgID       string
	OrgIDs      []string
	MinSessions int64
	MinSearches int64
}

func (f ActiveFilter) check() error {
	if f.MinSessions < 0 {
		return fault.InvalidQuery("min_sessions", "must not be negative")
	}
	if f.MinSearches < 0 {
		return fault.InvalidQuery("min_searches", "must not be negative")
	}
	return f.Range.check()
}

// anything reports whether whoever did anything counts.
func (f ActiveFilter) anything() bool {
	return f.MinSessions == 0 || f.MinSearches == 0 || (f.MinSessions == 1 && f.MinSearches == 1)
}

// Active is how many people were active from Start until End.
type Active struct {
	Start, End time.Time
	Users      int64
}

// Sessions are the figures of the sessions made in a range.
type Sessions struct {
	Created       int64
	ByOrigin      map[string]int64
	BySize        map[string]int64
	WithPlaybook  int64
	WithSearch    int64
	WithMergedPRs int64
	MergedBySize  map[string]int64
	AverageACUs   float64
}

// PullRequests are the figures of the pull requests first reported in a range, by their state now. Created are all that the agent
// authored; TakenOver are others' that it pushed to.
type PullRequests struct {
	Created, Opened, Merged, Closed                              int64
	TakenOver, TakenOverOpened, TakenOverMerged, TakenOverClosed int64
}

// Usage is the summary of a range.
type Usage struct{ Sessions, Searches, PRsCreated, PRsMerged int64 }

// Category is one kind of work. Sessions that aren't classified yet, because their first turn goes on, are in none.
type Category struct {
	Name          string
	Sessions      int64
	ACUs          float64
	Subcategories []Subcategory
}

// Subcategory is a part of one. ID is empty for the rest, whose Name is Other.
type Subcategory struct {
	ID       string
	Name     string
	Sessions int64
	ACUs     float64
}
