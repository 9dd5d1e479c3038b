// Package older holds what the doors of v1 and v2 share: times as text, and audit entries in their flat form.
package older

import (
	"encoding/json"
	"strconv"
	"time"

	"gantry/internal/audit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/usage"
)

// Deprecated is since when programs ought to use v3: when its groups left the beta.
var Deprecated = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

// Time writes a time as the older versions do: ISO 8601 with microseconds and an offset.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

// NullTime is Time, null for the zero time.
func NullTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := Time(t)
	return &s
}

// forms are the ways to write a time or a date; one without an offset is UTC.
var forms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", time.DateOnly,
}

// maxSeconds tells Unix seconds from Unix milliseconds: as seconds it is the year 5138.
const maxSeconds = 100_000_000_000

// Instant reads a time of the query: ISO 8601, a bare date (00:00 UTC), or Unix seconds or milliseconds. An empty text is the zero time, which
// is none; what lies before 1970 is 1970, since nothing here is older and 0001-01-01 would be none.
func Instant(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n < maxSeconds*1000 {
		if n < maxSeconds {
			return time.Unix(n, 0).UTC(), nil
		}
		return time.UnixMilli(n).UTC(), nil
	}
	for _, f := range forms {
		if t, err := time.Parse(f, text); err == nil && t.Year() >= 0 && t.UTC().Year() <= 9999 {
			if t.Unix() < 0 {
				t = time.Unix(0, 0)
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.InvalidQuery(name, "must be a date, an ISO 8601 time, or Unix seconds")
}

// AuditEntry is an audit entry in the flat form: the action's own fields stand beside the common ones and never in their place.
type AuditEntry map[string]any

// EntryOf flattens an audit entry. Times are Unix milliseconds (contract/legacy.md §3).
func EntryOf(l audit.Log) (AuditEntry, error) {
	e := AuditEntry{}
	if len(l.Data) > 0 {
		if err := json.Unmarshal(l.Data, &e); err != nil {
			return nil, err
		}
	}
	e["audit_log_id"], e["created_at"], e["action"] = l.ID, l.CreatedAt.UnixMilli(), string(l.Action)
	e["org_id"], e["user_id"], e["user_email"] = null(l.OrgID), null(l.UserID), null(l.UserEmail)
	e["service_user_id"], e["service_user_name"] = null(l.ServiceUserID), null(l.ServiceUserName)
	for _, name := range []string{"session_id", "target_user_id"} {
		if _, ok := e[name]; !ok {
			e[name] = nil
		}
	}
	return e, nil
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// allPage is how many items All reads at a time.
const allPage = 200

// All reads every page of a list, for the operations that have no pages.
func All[T any](list func(page.Request) (page.Page[T], error)) ([]T, error) {
	var out []T
	for r := (page.Request{First: allPage}); ; {
		p, err := list(r)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if !p.More {
			return out, nil
		}
		r.After = p.End
	}
}

// ACUs turns millionths into ACUs.
func ACUs(micros int64) float64 { return float64(micros) / usage.Micros }

// ACUsBy gives ACUs by name.
func ACUsBy[K comparable](by map[K]int64, name func(K) string) map[string]float64 {
	out := make(map[string]float64, len(by))
	for k, micros := range by {
		out[name(k)] += ACUs(micros)
	}
	return out
}

// Slice cuts the page that was asked for out of a whole list.
func Slice[T any](all []T, r page.Request) page.Page[T] {
	total := int64(len(all))
	rest := all[min(r.Skip, len(all)):]
	return page.Page[T]{Items: rest[:min(r.First, len(rest))], More: len(rest) > r.First, Total: &total}
}
