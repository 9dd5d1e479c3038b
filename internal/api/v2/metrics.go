package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/metric"
)

func init() { registrations = append(registrations, registerMetrics) }

// PRMetricsResponse counts pull requests by their state now.
type PRMetricsResponse struct {
	PRsOpened int64 `json:"prs_opened"`
	PRsMerged int64 `json:"prs_merged"`
	PRsClosed int64 `json:"prs_closed"`
}

// SessionsMetricsResponse counts sessions.
type SessionsMetricsResponse struct {
	SessionsCount int64 `json:"sessions_count"`
}

// SearchesMetricsResponse counts searches.
type SearchesMetricsResponse struct {
	SearchesCount int64 `json:"searches_count"`
}

// UsageMetricsResponse has all of them.
type UsageMetricsResponse struct {
	PRMetricsResponse
	SessionsMetricsResponse
	SearchesMetricsResponse
}

// MetricsFilter is the query of a metric.
type MetricsFilter struct {
	Span
	UserIDs []string `query:"user_ids,explode" doc:"Only these people."`
}

func (in *MetricsFilter) filter() (metric.Filter, error) {
	f := metric.Filter{OrgIDs: in.OrgIDs, UserIDs: in.UserIDs}
	var err error
	f.After, f.Before, err = in.times()
	return f, err
}

func (r Rooms) prs(ctx context.Context, who access.Subject, f metric.Filter) (PRMetricsResponse, error) {
	n, err := r.Metrics.PullRequests(ctx, who, f)
	return PRMetricsResponse{PRsOpened: n.Opened, PRsMerged: n.Merged, PRsClosed: n.Closed}, err
}

func (r Rooms) sessions(ctx context.Context, who access.Subject, f metric.Filter) (SessionsMetricsResponse, error) {
	u, err := r.Metrics.Usage(ctx, who, f)
	return SessionsMetricsResponse{SessionsCount: u.Sessions}, err
}

func (r Rooms) searches(ctx context.Context, who access.Subject, f metric.Filter) (SearchesMetricsResponse, error) {
	n, err := r.Metrics.Searches(ctx, who, f)
	return SearchesMetricsResponse{SearchesCount: n}, err
}

func (r Rooms) usage(ctx context.Context, who access.Subject, f metric.Filter) (UsageMetricsResponse, error) {
	var out UsageMetricsResponse
	var err error
	if out.PRMetricsResponse, err = r.prs(ctx, who, f); err != nil {
		return out, err
	}
	u, err := r.Metrics.Usage(ctx, who, f)
	out.SessionsCount, out.SearchesCount = u.Sessions, u.Searches
	return out, err
}

func registerMetrics(a *kit.API, rooms Rooms) {
	registerMetric(a, "prs", "Count pull requests", rooms.prs)
	registerMetric(a, "sessions", "Count sessions", rooms.sessions)
	registerMetric(a, "searches", "Count searches", rooms.searches)
	registerMetric(a, "usage", "Count sessions, searches and pull requests", rooms.usage)
}

func registerMetric[T any](a *kit.API, name, summary string, read func(context.Context, access.Subject, metric.Filter) (T, error)) {
	type output struct{ Body T }
	kit.Register(a, op(name+"Metrics", http.MethodGet, prefix+"/metrics/"+name, summary, "metrics", "GET /v3/enterprise/metrics/"+name),
		func(ctx context.Context, who access.Subject, in *MetricsFilter) (*output, error) {
			f, err := in.filter()
			if err != nil {
				return nil, err
			}
			body, err := read(ctx, who, f)
			if err != nil {
				return nil, in.names().Fault(err)
			}
			return &output{Body: body}, nil
		})
}
