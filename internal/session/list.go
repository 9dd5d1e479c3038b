package session

import (
	"context"
	"slices"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func errNothingToApprove() error {
	return fault.New(fault.Conflict, "the session doesn't wait for an approval")
}

// Filter narrows a list of sessions (contract/behaviour.md §3.4 17). A session passes one field of several values by having any of
// them. Archived nil shows the sessions that aren't archived.
type Filter struct {
	OrgID              string // empty on the enterprise's routes
	OrgIDs             []string
	IncludeDeletedOrgs bool
	SessionIDs         []string
	CreatedAfter       time.Time
	CreatedBefore      time.Time
	UpdatedAfter       time.Time
	UpdatedBefore      time.Time
	Tags               []string
	PlaybookID         string
	Origins            []string
	Category           string
	RepoNames          []string
	Archived           *bool
	ScheduleID         string
	AutomationIDs      []string
	ParentID           string
	UserIDs            []string
	ServiceUserIDs     []string

	// touched says that few of those made before CreatedBefore are expected to have changed since UpdatedAfter.
	touched bool
}

// Get gives one session. It needs ViewOrgSessions, on the enterprise's routes ViewAccountSessions.
func (v *Service) Get(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	if err := require(who, orgID, access.ViewAccountSessions, access.ViewOrgSessions); err != nil {
		return nil, err
	}
	return find(ctx, v.DB.Reader(), orgID, sessionID)
}

// List gives a page of sessions, newest first. It needs ViewOrgSessions, on the enterprise's routes ViewAccountSessions.
func (v *Service) List(ctx context.Context, who access.Subject, f Filter, r page.Request) (page.Page[*Session], error) {
	var none page.Page[*Session]
	if err := require(who, f.OrgID, access.ViewAccountSessions, access.ViewOrgSessions); err != nil {
		return none, err
	}
	if f.Category != "" && !slices.Contains(Categories, f.Category) {
		return none, fault.InvalidQuery("category", "must be one of %s", strings.Join(Categories, ", "))
	}
	for _, o := range f.Origins {
		if o != "scheduled" && !slices.Contains(Origins, o) {
			return none, fault.InvalidQuery("origins", "must be of %s", strings.Join(Origins, ", "))
		}
	}
	f.RepoNames = slices.Clone(f.RepoNames)
	for i, name := range f.RepoNames {
		f.RepoNames[i] = forge.PlainName(name)
	}
	rows, err := v.page(ctx, f, r)
	if err != nil {
		return none, err
	}
	p := page.Cut(rows, r, func(s *Session) page.Position { return page.Position{s.CreatedAt.UnixMilli(), s.ID} })
	if r.Total {
		p.Total, err = v.count(ctx, f)
	}
	return p, err
}

// page reads the rows of a page. Of what changed in an organization since some time, what was made since comes first, in the order of the
// list; only when that doesn't fill the page, the older ones that changed are found by the time of their change.
func (v *Service) page(ctx context.Context, f Filter, r page.Request) ([]*Session, error) {
	read := func(f Filter, r page.Request) ([]*Session, error) {
		query, args := f.query(r)
		return db.All(ctx, v.DB.Reader(), scan, query, args...)
	}
	since := f.UpdatedAfter
	if since.IsZero() || f.OrgID == "" || f.leader() != leadNone || r.Skip > 0 {
		return read(f, r)
	}
	newer, older := f, f
	newer.UpdatedAfter = time.Time{} // no session changed before it was made
	if newer.CreatedAfter.Before(since) {
		newer.CreatedAfter = since
	}
	rows, err := read(newer, r)
	if err != nil || len(rows) == r.Limit() {
		return rows, err
	}
	older.touched = true
	if older.CreatedBefore.IsZero() || older.CreatedBefore.After(since) {
		older.CreatedBefore = since
	}
	r.First -= len(rows)
	more, err := read(older, r)
	return append(rows, more...), err
}

// count says how many sessions pass the filter. It looks at each of them: only the older API versions ask.
func (v *Service) count(ctx context.Context, f Filter) (*int64, error) {
	var w db.Where
	f.where(&w)
	for _, l := range f.labels() {
		l.where(&w)
	}
	n, err := db.One(ctx, v.DB.Reader(), db.Int, `SELECT COUNT(*) FROM sessions s`+w.SQL(), w.Args()...)
	return &n, err
}

// leader says which index a filter's list is read by. SQLite keeps no count of values, and by itself takes the index of the organization
// where few sessions of it pass; a condition that no index can serve leaves it the right one. PostgreSQL, which takes columns for
// independent, expects next to nothing of one organization to pass, and would sort all that pass the filter; of such a condition it expects
// that most do.
type leader int

const (
	leadNone leader = iota // the organization's, or a label's
	leadOrg                // one that holds the organization and a column of the filter
	leadOwn                // one of the filter's column alone
)

func (f *Filter) leader() leader {
	switch {
	case len(f.SessionIDs) > 0, f.ParentID != "", f.ScheduleID != "", len(f.AutomationIDs) == 1:
		return leadOwn
	case len(f.UserIDs) == 1, len(f.ServiceUserIDs) == 1, f.PlaybookID != "", f.touched:
		return leadOrg
	}
	return leadNone
}

func (f *Filter) labels() []label {
	return []label{{"session_tags", "tag", f.Tags}, {"session_repos", "repo", f.RepoNames}}
}

// query reads in the order of the index that fits. A single tag or repository leads itself, so that a rare one doesn't cost a look at
// every session there ever was.
func (f *Filter) query(r page.Request) (string, []any) {
	var w db.Where
	labels := f.labels()
	from, lead := `sessions s`, "s"
	for i, l := range labels {
		if len(l.values) == 1 && f.leader() == leadNone {
			from, lead = l.table+` x CROSS JOIN sessions s`, "x"
			w.Add("s.session_id = x.session_id")
			if f.OrgID != "" {
				w.Add("x.org_id = ?", f.OrgID)
			}
			w.Add("x."+l.column+" = ?", l.values[0])
			labels = slices.Delete(labels, i, i+1)
			break
		}
	}
	f.where(&w)
	for _, l := range labels {
		l.where(&w)
	}
	if r.After != nil {
		w.Add("("+lead+".created_at, "+lead+".session_id) < (?, ?)", r.After[0], r.After[1])
	}
	where := w.SQL()
	limit := w.Limit(r.Limit(), r.Skip)
	return `SELECT ` + aliased + ` FROM ` + from + where + ` ORDER BY ` + lead + `.created_at DESC, ` + lead + `.session_id DESC ` + limit, w.Args()
}

// label is a filter by rows beside the session's. Table and column are constants of this file.
type label struct {
	table, column string
	values        []string
}

func (l label) where(w *db.Where) {
	if len(l.values) == 0 {
		return
	}
	args := make([]any, len(l.values))
	for i, t := range l.values {
		args[i] = t
	}
	w.Add("EXISTS (SELECT 1 FROM "+l.table+" y WHERE y.session_id = s.session_id AND y."+l.column+" IN (?"+
		strings.Repeat(", ?", len(args)-1)+"))", args...)
}

// aliased is the list of columns with the table's alias.
var aliased = "s." + strings.Join(strings.FieldsFunc(columns, func(r rune) bool { return strings.ContainsRune(", \n\t", r) }), ", s.")

func (f *Filter) where(w *db.Where) {
	by := f.leader()
	switch {
	case f.OrgID != "" && by == leadOwn:
		w.Add("CASE s.org_id WHEN ? THEN 1 ELSE 0 END <> 0", f.OrgID)
	case f.OrgID != "":
		w.Add("s.org_id = ?", f.OrgID)
	case len(f.OrgIDs) > 0:
		w.In("s.org_id", f.OrgIDs)
	}
	if f.OrgID == "" && !f.IncludeDeletedOrgs {
		w.Add("NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = s.org_id AND o.deleted_at IS NOT NULL)")
	}
	archived := db.Bool(f.Archived != nil && *f.Archived)
	if by == leadNone {
		w.Add("s.is_archived = ?", archived)
	} else {
		w.Add("s.is_archived <> ?", 1-archived)
	}
	w.In("s.session_id", f.SessionIDs)
	for _, t := range []struct {
		cond string
		at   time.Time
	}{
		{"s.created_at >= ?", f.CreatedAfter},
		{"s.created_at < ?", f.CreatedBefore},
		{"s.updated_at >= ?", f.UpdatedAfter},
		{"s.created_at < ?", f.UpdatedBefore}, // no session changed before it was made
		{"s.updated_at + 0 < ?", f.UpdatedBefore},
	} {
		if !t.at.IsZero() {
			w.Add(t.cond, t.at.UnixMilli())
		}
	}
	w.In("s.origin", origins(f.Origins))
	w.In("s.automation_id", f.AutomationIDs)
	w.In("s.user_id", f.UserIDs)
	w.In("s.service_user_id", f.ServiceUserIDs)
	for _, e := range []struct{ cond, value string }{
		{"s.playbook_id = ?", f.PlaybookID},
		{"s.category = ?", f.Category},
		{"s.schedule_id = ?", f.ScheduleID},
		{"s.parent_session_id = ?", f.ParentID},
	} {
		if e.value != "" {
			w.Add(e.cond, e.value)
		}
	}
}

// origins reads the older name `scheduled` as automation (contract/behaviour.md §3.15).
func origins(in []string) []string {
	out := slices.Clone(in)
	for i, o := range out {
		if o == "scheduled" {
			out[i] = "automation"
		}
	}
	return out
}
