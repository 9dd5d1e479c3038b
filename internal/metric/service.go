package metric

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/rollup"
	"gantry/internal/usage"
)

// Service holds the use cases. All of them read only and need ViewAccountMetrics, or for an organization ViewOrgMetrics.
type Service struct {
	db    *db.DB
	known answers
}

// New makes the service.
func New(d *db.DB) *Service { return &Service{db: d} }

func mayRead(who access.Subject, orgID string) error {
	if orgID == "" {
		return access.Require(who, access.ViewAccountMetrics, "")
	}
	return access.RequireAny(who, orgID, access.ViewOrgMetrics, access.ViewAccountMetrics)
}

// Active lists how many people were active in each day, week or month that a range touches, oldest first and without gaps.
func (v *Service) Active(ctx context.Context, who access.Subject, p Period, f ActiveFilter) ([]Active, error) {
	if err := mayRead(who, f.OrgID); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	starts, err := p.periods(f.Range)
	if err != nil || len(starts) == 0 {
		return []Active{}, err
	}
	rows, err := v.activeByPeriod(ctx, p, f, starts[0], p.next(starts[len(starts)-1]))
	if err != nil {
		return nil, err
	}
	out := make([]Active, len(starts))
	for i, at := range starts {
		out[i] = Active{Start: at, End: p.next(at)}
		if len(rows) > 0 && rows[0].began == at.UnixMilli() {
			out[i].Users, rows = rows[0].users, rows[1:]
		}
	}
	return out, nil
}

// ActiveUsers counts the people who were active in a range, each once. Its answer names the days that were counted.
func (v *Service) ActiveUsers(ctx context.Context, who access.Subject, f ActiveFilter) (Active, error) {
	if err := mayRead(who, f.OrgID); err != nil {
		return Active{}, err
	}
	if err := f.check(); err != nil {
		return Active{}, err
	}
	a := Active{Start: Daily.start(f.After), End: Daily.start(f.Before)}
	if a.End.Before(f.Before) {
		a.End = Daily.next(a.End)
	}
	var err error
	a.Users, err = v.activeInRange(ctx, f, a.Start, a.End)
	return a, err
}

// Sessions gives the figures of the sessions that were made in a range.
func (v *Service) Sessions(ctx context.Context, who access.Subject, f Filter) (Sessions, error) {
	s := Sessions{ByOrigin: map[string]int64{}, BySize: map[string]int64{}, MergedBySize: map[string]int64{}}
	columns := []string{"sessions", "with_playbook", "with_search", "acu_micros"}
	for _, o := range rollup.Origins {
		columns = append(columns, "origin_"+o)
	}
	for _, z := range rollup.Sizes {
		columns = append(columns, "size_"+z, "merged_"+z)
	}
	n, err := v.sums(ctx, who, f, columns...)
	if err != nil {
		return s, err
	}
	s.Created, s.WithPlaybook, s.WithSearch = n["sessions"], n["with_playbook"], n["with_search"]
	for _, o := range rollup.Origins {
		s.ByOrigin[o] = n["origin_"+o]
	}
	for _, z := range rollup.Sizes {
		s.BySize[z], s.MergedBySize[z] = n["size_"+z], n["merged_"+z]
		s.WithMergedPRs += n["merged_"+z]
	}
	if s.Created > 0 {
		s.AverageACUs = float64(n["acu_micros"]) / usage.Micros / float64(s.Created)
	}
	return s, nil
}

// PullRequests gives the figures of the pull requests that were first reported in a range.
func (v *Service) PullRequests(ctx context.Context, who access.Subject, f Filter) (PullRequests, error) {
	n, err := v.sums(ctx, who, f, "prs_open", "prs_merged", "prs_closed", "taken_open", "taken_merged", "taken_closed")
	if err != nil {
		return PullRequests{}, err
	}
	return PullRequests{
		Created: n["prs_open"] + n["prs_merged"] + n["prs_closed"],
		Opened:  n["prs_open"], Merged: n["prs_merged"], Closed: n["prs_closed"],
		TakenOver:       n["taken_open"] + n["taken_merged"] + n["taken_closed"],
		TakenOverOpened: n["taken_open"], TakenOverMerged: n["taken_merged"], TakenOverClosed: n["taken_closed"],
	}, nil
}

// Searches counts the searches of a range.
func (v *Service) Searches(ctx context.Context, who access.Subject, f Filter) (int64, error) {
	n, err := v.sums(ctx, who, f, "searches")
	return n["searches"], err
}

// Usage sums a range up, or with open ends all of history.
func (v *Service) Usage(ctx context.Context, who access.Subject, f Filter) (Usage, error) {
	n, err := v.sums(ctx, who, f, "sessions", "searches", "prs_open", "prs_merged", "prs_closed")
	return Usage{
		Sessions: n["sessions"], Searches: n["searches"], PRsCreated: n["prs_open"] + n["prs_merged"] + n["prs_closed"],
		PRsMerged: n["prs_merged"],
	}, err
}

// Categories gives the sessions that were made in a range by kind of work, the most frequent first.
func (v *Service) Categories(ctx context.Context, who access.Subject, f Filter) ([]Category, error) {
	if err := mayRead(who, f.OrgID); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	rows, err := v.categories(ctx, f)
	if err != nil {
		return nil, err
	}
	out := []Category{}
	at := map[string]int{}
	for _, r := range rows {
		i, seen := at[r.category]
		if !seen {
			i = len(out)
			at[r.category] = i
			out = append(out, Category{Name: r.category})
		}
		out[i].Sessions += r.sessions
		out[i].ACUs += acus(r.micros)
		out[i].Subcategories = append(out[i].Subcategories, Subcategory{
			ID: subcategoryID(r.subcategory), Name: r.subcategory, Sessions: r.sessions, ACUs: acus(r.micros),
		})
	}
	slices.SortStableFunc(out, func(a, b Category) int { return cmp.Compare(b.Sessions, a.Sessions) })
	for _, c := range out {
		slices.SortStableFunc(c.Subcategories, func(a, b Subcategory) int { return cmp.Compare(b.Sessions, a.Sessions) })
	}
	return out, nil
}

func acus(micros int64) float64 { return float64(micros) / usage.Micros }

// otherName is the shown name of a category's rest.
const otherName = "Other"

// subcategoryID makes an id of a shown name.
func subcategoryID(name string) string {
	if name == otherName {
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(name), " ", "_")
}

// months gives the whole months inside of a range of days; from is not before to when there is none.
func months(start, end time.Time) (from, to time.Time) {
	from = Monthly.start(start)
	if from.Before(start) {
		from = Monthly.next(from)
	}
	return from, Monthly.start(end)
}

// PersonTotals is what a person did since they came.
type PersonTotals struct{ Sessions, Searches int64 }

// PeopleTotals gives what people did in all organizations. It authorises nobody: who may read a member may read it.
func (v *Service) PeopleTotals(ctx context.Context, userIDs []string) (map[string]PersonTotals, error) {
	out := make(map[string]PersonTotals, len(userIDs))
	if len(userIDs) == 0 {
		return out, nil
	}
	var w db.Where
	w.Add("org_id = '' AND period = 'ever' AND began = 0")
	w.In("user_id", userIDs)
	_, err := db.All(ctx, v.db.Reader(), func(r db.Scanner) (struct{}, error) {
		var id string
		var t PersonTotals
		err := r.Scan(&id, &t.Sessions, &t.Searches)
		out[id] = t
		return struct{}{}, err
	}, `SELECT user_id, sessions, searches FROM metric_people`+w.SQL(), w.Args()...)
	return out, err
}
