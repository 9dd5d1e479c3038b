package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/telemetry"
)

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Content-Type"), "version=0.0.4")
	return w.Body.String()
}

func TestAScrapeTellsRequestsStreamsAndWaits(t *testing.T) {
	t.Parallel()
	m := telemetry.New()
	for range 2 {
		m.Request(http.MethodGet, "/v3/organizations/{org_id}/sessions", 200, 2*time.Millisecond, false)
	}
	m.Request(http.MethodGet, "", 404, 20*time.Second, false)
	m.Request(http.MethodGet, "/events", 200, time.Hour, true)
	m.WriteWait(time.Millisecond)
	m.EventLag(time.Second)
	m.EventLag(-time.Second)  // a clock that goes wrong
	m.EventLag(2 * time.Hour) // and another
	text := scrape(t, m)
	const sessions = `{method="GET",route="/v3/organizations/{org_id}/sessions",status="200"`
	for _, want := range []string{
		"# TYPE gantry_http_request_seconds histogram\n",
		`gantry_http_request_seconds_bucket` + sessions + `,le="0.001"} 0` + "\n",
		`gantry_http_request_seconds_bucket` + sessions + `,le="0.0025"} 2` + "\n",
		`gantry_http_request_seconds_count` + sessions + `} 2` + "\n",
		`gantry_http_request_seconds_bucket{method="GET",route="none",status="404",le="10"} 0` + "\n",
		`gantry_http_request_seconds_bucket{method="GET",route="none",status="404",le="+Inf"} 1` + "\n",
		"# TYPE gantry_http_streams_total counter\ngantry_http_streams_total{route=\"/events\"} 1\n",
		"gantry_db_write_wait_seconds_count 1\n",
		"gantry_event_lag_seconds_count 1\n",
		"gantry_http_request_seconds_sum" + sessions + "} 0.004\n",
		"\ngo_goroutines ", "\nprocess_start_time_seconds ", "\nprocess_cpu_seconds_total ", "\nprocess_open_fds ",
	} {
		require.Contains(t, text, want)
	}
	line := regexp.MustCompile(`^(# (TYPE|HELP) [a-z0-9_]+ .+|[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+0-9.eINaNf]+)$`)
	for l := range strings.Lines(text) {
		require.Regexp(t, line, strings.TrimSuffix(l, "\n"))
	}
}

func TestAScrapeReadsTheQueueOrLeavesItOut(t *testing.T) {
	t.Parallel()
	m := telemetry.New()
	require.NotContains(t, scrape(t, m), "gantry_queue")
	var fails error
	m.Watch(func(context.Context) (telemetry.Queue, error) {
		return telemetry.Queue{Pending: 3, OldestMillis: 1500, Claims: 7, Lost: 1, Backlog: 2}, fails
	})
	text := scrape(t, m)
	for _, want := range []string{
		"gantry_queue_pending 3\n", "gantry_queue_oldest_seconds 1.5\n", "gantry_job_backlog 2\n", "gantry_claims_total 7\n", "gantry_leases_lost_total 1\n",
	} {
		require.Contains(t, text, want)
	}
	fails = errors.New("the database is away")
	text = scrape(t, m)
	require.NotContains(t, text, "gantry_queue")
	require.Contains(t, text, "go_goroutines ")
}
