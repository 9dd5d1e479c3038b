package v3

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/metric"
)

func init() { registrations = append(registrations, registerMetrics) }

// ActiveUserMetricsResponse is how many people were active from start_time until end_time: the whole day, week or month, or the whole
// days of the range asked for.
type ActiveUserMetricsResponse struct {
	StartTime   int64 `json:"start_time" doc:"Unix time in seconds (UTC)."`
	EndTime     int64 `json:"end_time" doc:"Unix time in seconds (UTC); not in the period."`
	ActiveUsers int64 `json:"active_users" doc:"People, each once; service users are none."`
}

// PrMetricsResponse counts the pull requests first reported in the range, by their state now.
type PrMetricsResponse struct {
	PRsCreatedCount         int64 `json:"prs_created_count" doc:"All that were authored, in any state."`
	PRsOpenedCount          int64 `json:"prs_opened_count" doc:"Authored and still open."`
	PRsMergedCount          int64 `json:"prs_merged_count" doc:"Authored and merged."`
	PRsClosedCount          int64 `json:"prs_closed_count" doc:"Authored and closed unmerged."`
	PRsTakenOverCount       int64 `json:"prs_taken_over_count" doc:"Pull requests of others that got pushed commits."`
	PRsTakenOverOpenedCount int64 `json:"prs_taken_over_opened_count"`
	PRsTakenOverMergedCount int64 `json:"prs_taken_over_merged_count"`
	PRsTakenOverClosedCount int64 `json:"prs_taken_over_closed_count"`
}

// SearchMetricsResponse counts searches.
type SearchMetricsResponse struct {
	SearchesCreatedCount int64 `json:"searches_created_count"`
}

// SessionCountsByOrigin are sessions per origin; scheduled ones count as automation, other origins are not reported.
type SessionCountsByOrigin struct {
	Webapp     int64 `json:"webapp"`
	Slack      int64 `json:"slack"`
	Teams      int64 `json:"teams"`
	API        int64 `json:"api"`
	Linear     int64 `json:"linear"`
	Jira       int64 `json:"jira"`
	Automation int64 `json:"automation"`
	Desktop    int64 `json:"desktop"`
}

// SessionCountsBySize are sessions per size class.
type SessionCountsBySize struct {
	XS int64 `json:"xs"`
	S  int64 `json:"s"`
	M  int64 `json:"m"`
	L  int64 `json:"l"`
	XL int64 `json:"xl"`
}

// SessionMetricsResponse counts the sessions made in the range, as they are now.
type SessionMetricsResponse struct {
	SessionsCreatedCount             int64                 `json:"sessions_created_count"`
	SessionsCreatedByOrigin          SessionCountsByOrigin `json:"sessions_created_by_origin"`
	SessionsCreatedBySize            SessionCountsBySize   `json:"sessions_created_by_size"`
	SessionsCreatedWithPlaybookCount int64                 `json:"sessions_created_with_playbook_count"`
	SessionsCreatedWithSearchCount   int64                 `json:"sessions_created_with_search_count"`
	SessionsWithMergedPRsCount       int64                 `json:"sessions_with_merged_prs_count"`
	SessionsWithMergedPRsBySize      SessionCountsBySize   `json:"sessions_with_merged_prs_by_size"`
	AvgACUsPerSession                float64               `json:"avg_acus_per_session"`
}

// SessionMetricsByCategoryResponse are sessions and ACUs per kind of work.
type SessionMetricsByCategoryResponse struct {
	Categories []SessionCategoryMetrics `json:"categories" doc:"The most frequent first. Sessions in their first turn are in none yet."`
}

// SessionCategoryMetrics is one kind of work.
type SessionCategoryMetrics struct {
	Category      string                      `json:"category"`
	SessionsCount int64                       `json:"sessions_count"`
	ACUs          float64                     `json:"acus"`
	Subcategories []SessionSubcategoryMetrics `json:"subcategories"`
}

// SessionSubcategoryMetrics is a part of one.
type SessionSubcategoryMetrics struct {
	SubcategoryID *string `json:"subcategory_id" doc:"Null for the rest of the category."`
	DisplayName   string  `json:"display_name"`
	SessionsCount int64   `json:"sessions_count"`
	ACUs          float64 `json:"acus"`
}

// UsageMetricsResponse sums a range up.
type UsageMetricsResponse struct {
	SessionsCount   int64 `json:"sessions_count"`
	SearchesCount   int64 `json:"searches_count"`
	PRsCreatedCount int64 `json:"prs_created_count"`
	PRsMergedCount  int64 `json:"prs_merged_count"`
}

// MetricSpan is a range that must be given. Whole UTC days count: every day that it touches.
type MetricSpan struct {
	TimeAfter  int64 `query:"time_after" required:"true" minimum:"0" maximum:"253402300799" doc:"From this Unix time in seconds on; its whole UTC day counts."`
	TimeBefore int64 `query:"time_before" required:"true" minimum:"0" maximum:"253402300799" doc:"Up to this Unix time in seconds; the whole UTC day in which it falls counts."`
}

func (s MetricSpan) span() metric.Range {
	return metric.Range{After: time.Unix(s.TimeAfter, 0), Before: time.Unix(s.TimeBefore, 0)}
}

// OpenMetricSpan is a range whose ends may be left open.
type OpenMetricSpan struct {
	TimeAfter  kit.Optional[int64] `query:"time_after" minimum:"0" maximum:"253402300799" doc:"From this Unix time in seconds on; its whole UTC day counts."`
	TimeBefore kit.Optional[int64] `query:"time_before" minimum:"0" maximum:"253402300799" doc:"Up to this Unix time in seconds; the whole UTC day in which it falls counts."`
}

func (s OpenMetricSpan) span() metric.Range {
	return metric.Range{After: filterTime(s.TimeAfter), Before: filterTime(s.TimeBefore)}
}

// ActiveThresholds say who is active.
type ActiveThresholds struct {
	MinSessions int64 `query:"min_sessions" minimum:"0" maximum:"1000000000" default:"1" doc:"Sessions that make somebody active; with 0 everybody counts who did anything."`
	MinSearches int64 `query:"min_searches" minimum:"0" maximum:"1000000000" default:"1" doc:"Searches that make somebody active; with 0 everybody counts who did anything."`
}

// MetricPeople narrows metrics to sessions of these.
type MetricPeople struct {
	UserIDs        []string `query:"user_ids,explode"`
	ServiceUserIDs []string `query:"service_user_ids,explode"`
	PlaybookID     string   `query:"playbook_id"`
}

// MetricOrgs narrows the enterprise's metrics.
type MetricOrgs struct {
	OrgIDs []string `query:"org_ids,explode" doc:"Only these organizations."`
}

type (
	activeListOutput      struct{ Body []ActiveUserMetricsResponse }
	activeOutput          struct{ Body ActiveUserMetricsResponse }
	prMetricsOutput       struct{ Body PrMetricsResponse }
	searchMetricsOutput   struct{ Body SearchMetricsResponse }
	sessionMetricsOutput  struct{ Body SessionMetricsResponse }
	categoryMetricsOutput struct {
		Body SessionMetricsByCategoryResponse
	}
	usageMetricsOutput struct{ Body UsageMetricsResponse }
)

// The inputs of the two families: an organization's, and the enterprise's with its list of organizations.
type (
	ActiveMetricInput struct {
		MetricSpan
		ActiveThresholds
	}
	enterpriseActiveMetricInput struct {
		ActiveMetricInput
		MetricOrgs
	}
	GroupMetricInput struct {
		MetricSpan
		MetricPeople
	}
	enterpriseGroupMetricInput struct {
		GroupMetricInput
		MetricOrgs
	}
	enterpriseSpanInput struct {
		MetricSpan
		MetricOrgs
	}
)

func (in ActiveMetricInput) filter(orgID string, orgIDs []string) metric.ActiveFilter {
	return metric.ActiveFilter{Range: in.span(), OrgID: orgID, OrgIDs: orgIDs, MinSessions: in.MinSessions, MinSearches: in.MinSearches}
}

func (in GroupMetricInput) filter(orgID string, orgIDs []string) metric.Filter {
	return metric.Filter{
		Range: in.span(), OrgID: orgID, OrgIDs: orgIDs, UserIDs: in.UserIDs, ServiceUserIDs: in.ServiceUserIDs, PlaybookID: in.PlaybookID,
	}
}

// metricDoor answers each metric for the enterprise and for an organization.
type metricDoor struct{ m *metric.Service }

const (
	enterpriseMetrics = "/v3/enterprise/metrics/"
	orgMetrics        = "/v3/organizations/{org_id}/metrics/"
)

func metricOp(id, path, summary string) kit.Op {
	op := kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"metrics"}, Summary: summary, DefaultStatus: http.StatusOK,
		},
		Any: []access.Permission{access.ViewAccountMetrics}, Enterprise: true,
	}
	if len(path) > len(orgMetrics) && path[:len(orgMetrics)] == orgMetrics {
		op.Any = []access.Permission{access.ViewOrgMetrics, access.ViewAccountMetrics}
		op.Enterprise = false
		op.Operation.Parameters = []*huma.Param{orgParam}
	}
	return op
}

func registerMetrics(a *kit.API, rooms Rooms) {
	d := metricDoor{rooms.Metrics}
	d.registerActive(a)
	d.registerGroups(a)
	d.registerSearches(a)
	d.registerUsage(a)
	kit.Register(a, metricOp("getSessionsByCategory", enterpriseMetrics+"sessions-by-category", "Count sessions by kind of work"),
		func(ctx context.Context, s access.Subject, in *enterpriseSpanInput) (*categoryMetricsOutput, error) {
			list, err := d.m.Categories(ctx, s, metric.Filter{Range: in.span(), OrgIDs: in.OrgIDs})
			if err != nil {
				return nil, err
			}
			return &categoryMetricsOutput{Body: wireCategories(list)}, nil
		})
}

func (d metricDoor) registerActive(a *kit.API) {
	for _, p := range []struct {
		path, name, summary string
		period              metric.Period
	}{
		{"dau", "Daily", "Count active people by UTC day", metric.Daily},
		{"wau", "Weekly", "Count active people by week, Monday to Sunday UTC", metric.Weekly},
		{"mau", "Monthly", "Count active people by UTC month", metric.Monthly},
	} {
		list := func(ctx context.Context, s access.Subject, f metric.ActiveFilter) (*activeListOutput, error) {
			periods, err := d.m.Active(ctx, s, p.period, f)
			if err != nil {
				return nil, err
			}
			out := make([]ActiveUserMetricsResponse, len(periods))
			for i, at := range periods {
				out[i] = wireActive(at)
			}
			return &activeListOutput{Body: out}, nil
		}
		kit.Register(a, metricOp("getEnterprise"+p.name+"ActiveUsers", enterpriseMetrics+p.path, p.summary),
			func(ctx context.Context, s access.Subject, in *enterpriseActiveMetricInput) (*activeListOutput, error) {
				return list(ctx, s, in.filter("", in.OrgIDs))
			})
		kit.Register(a, metricOp("get"+p.name+"ActiveUsers", orgMetrics+p.path, p.summary),
			func(ctx context.Context, s access.Subject, in *ActiveMetricInput) (*activeListOutput, error) {
				return list(ctx, s, in.filter(kit.Org(ctx), nil))
			})
	}
	one := func(ctx context.Context, s access.Subject, f metric.ActiveFilter) (*activeOutput, error) {
		active, err := d.m.ActiveUsers(ctx, s, f)
		return &activeOutput{Body: wireActive(active)}, err
	}
	const summary = "Count the active people of one range"
	kit.Register(a, metricOp("getEnterpriseActiveUsers", enterpriseMetrics+"active-users", summary),
		func(ctx context.Context, s access.Subject, in *enterpriseActiveMetricInput) (*activeOutput, error) {
			return one(ctx, s, in.filter("", in.OrgIDs))
		})
	kit.Register(a, metricOp("getActiveUsers", orgMetrics+"active-users", summary),
		func(ctx context.Context, s access.Subject, in *ActiveMetricInput) (*activeOutput, error) {
			return one(ctx, s, in.filter(kit.Org(ctx), nil))
		})
}

func wireActive(a metric.Active) ActiveUserMetricsResponse {
	return ActiveUserMetricsResponse{StartTime: a.Start.Unix(), EndTime: a.End.Unix(), ActiveUsers: a.Users}
}

func (d metricDoor) registerGroups(a *kit.API) {
	prs := func(ctx context.Context, s access.Subject, f metric.Filter) (*prMetricsOutput, error) {
		p, err := d.m.PullRequests(ctx, s, f)
		return &prMetricsOutput{Body: PrMetricsResponse{
			PRsCreatedCount: p.Created, PRsOpenedCount: p.Opened, PRsMergedCount: p.Merged, PRsClosedCount: p.Closed,
			PRsTakenOverCount: p.TakenOver, PRsTakenOverOpenedCount: p.TakenOverOpened, PRsTakenOverMergedCount: p.TakenOverMerged,
			PRsTakenOverClosedCount: p.TakenOverClosed,
		}}, err
	}
	sessions := func(ctx context.Context, s access.Subject, f metric.Filter) (*sessionMetricsOutput, error) {
		n, err := d.m.Sessions(ctx, s, f)
		return &sessionMetricsOutput{Body: wireSessionMetrics(n)}, err
	}
	kit.Register(a, metricOp("getEnterprisePrMetrics", enterpriseMetrics+"prs", "Count pull requests"),
		func(ctx context.Context, s access.Subject, in *enterpriseGroupMetricInput) (*prMetricsOutput, error) {
			return prs(ctx, s, in.filter("", in.OrgIDs))
		})
	kit.Register(a, metricOp("getPrMetrics", orgMetrics+"prs", "Count pull requests"),
		func(ctx context.Context, s access.Subject, in *GroupMetricInput) (*prMetricsOutput, error) {
			return prs(ctx, s, in.filter(kit.Org(ctx), nil))
		})
	kit.Register(a, metricOp("getEnterpriseSessionMetrics", enterpriseMetrics+"sessions", "Count sessions"),
		func(ctx context.Context, s access.Subject, in *enterpriseGroupMetricInput) (*sessionMetricsOutput, error) {
			return sessions(ctx, s, in.filter("", in.OrgIDs))
		})
	kit.Register(a, metricOp("getSessionMetrics", orgMetrics+"sessions", "Count sessions"),
		func(ctx context.Context, s access.Subject, in *GroupMetricInput) (*sessionMetricsOutput, error) {
			return sessions(ctx, s, in.filter(kit.Org(ctx), nil))
		})
}

func (d metricDoor) registerSearches(a *kit.API) {
	searches := func(ctx context.Context, s access.Subject, f metric.Filter) (*searchMetricsOutput, error) {
		n, err := d.m.Searches(ctx, s, f)
		return &searchMetricsOutput{Body: SearchMetricsResponse{SearchesCreatedCount: n}}, err
	}
	kit.Register(a, metricOp("getEnterpriseSearchMetrics", enterpriseMetrics+"searches", "Count searches"),
		func(ctx context.Context, s access.Subject, in *enterpriseSpanInput) (*searchMetricsOutput, error) {
			return searches(ctx, s, metric.Filter{Range: in.span(), OrgIDs: in.OrgIDs})
		})
	kit.Register(a, metricOp("getSearchMetrics", orgMetrics+"searches", "Count searches"),
		func(ctx context.Context, s access.Subject, in *MetricSpan) (*searchMetricsOutput, error) {
			return searches(ctx, s, metric.Filter{Range: in.span(), OrgID: kit.Org(ctx)})
		})
}

func (d metricDoor) registerUsage(a *kit.API) {
	usage := func(ctx context.Context, s access.Subject, f metric.Filter) (*usageMetricsOutput, error) {
		u, err := d.m.Usage(ctx, s, f)
		return &usageMetricsOutput{Body: UsageMetricsResponse{
			SessionsCount: u.Sessions, SearchesCount: u.Searches, PRsCreatedCount: u.PRsCreated, PRsMergedCount: u.PRsMerged,
		}}, err
	}
	kit.Register(a, metricOp("getEnterpriseUsageMetrics", enterpriseMetrics+"usage", "Sum usage up"),
		func(ctx context.Context, s access.Subject, in *OpenMetricSpan) (*usageMetricsOutput, error) {
			return usage(ctx, s, metric.Filter{Range: in.span()})
		})
	kit.Register(a, metricOp("getOrgUsageMetricsByEnterprise", "/v3/enterprise/organizations/{org_id}/metrics/usage", "Sum an organization's usage up"),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			OpenMetricSpan
		},
		) (*usageMetricsOutput, error) {
			return usage(ctx, s, metric.Filter{Range: in.span(), OrgIDs: []string{in.OrgID}}) // the enterprise's permission counts
		})
	kit.Register(a, metricOp("getUsageMetrics", orgMetrics+"usage", "Sum usage up"),
		func(ctx context.Context, s access.Subject, in *OpenMetricSpan) (*usageMetricsOutput, error) {
			return usage(ctx, s, metric.Filter{Range: in.span(), OrgID: kit.Org(ctx)})
		})
}

func wireSizes(n map[string]int64) SessionCountsBySize {
	return SessionCountsBySize{XS: n["xs"], S: n["s"], M: n["m"], L: n["l"], XL: n["xl"]}
}

func wireSessionMetrics(n metric.Sessions) SessionMetricsResponse {
	o := n.ByOrigin
	return SessionMetricsResponse{
		SessionsCreatedCount: n.Created,
		SessionsCreatedByOrigin: SessionCountsByOrigin{
			Webapp: o["webapp"], Slack: o["slack"], Teams: o["teams"], API: o["api"], Linear: o["linear"], Jira: o["jira"],
			Automation: o["automation"], Desktop: o["desktop"],
		},
		SessionsCreatedBySize: wireSizes(n.BySize), SessionsCreatedWithPlaybookCount: n.WithPlaybook,
		SessionsCreatedWithSearchCount: n.WithSearch, SessionsWithMergedPRsCount: n.WithMergedPRs,
		SessionsWithMergedPRsBySize: wireSizes(n.MergedBySize), AvgACUsPerSession: n.AverageACUs,
	}
}

func wireCategories(list []metric.Category) SessionMetricsByCategoryResponse {
	out := SessionMetricsByCategoryResponse{Categories: make([]SessionCategoryMetrics, len(list))}
	for i, c := range list {
		w := SessionCategoryMetrics{
			Category: c.Name, SessionsCount: c.Sessions, ACUs: c.ACUs, Subcategories: make([]SessionSubcategoryMetrics, len(c.Subcategories)),
		}
		for k, s := range c.Subcategories {
			w.Subcategories[k] = SessionSubcategoryMetrics{
				SubcategoryID: kit.NullText(s.ID), DisplayName: s.Name, SessionsCount: s.Sessions, ACUs: s.ACUs,
			}
		}
		out.Categories[i] = w
	}
	return out
}
