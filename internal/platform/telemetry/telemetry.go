// Package telemetry holds what Gantry measures of itself, for Prometheus.
package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the instruments of one process, on a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	streams  *prometheus.CounterVec
	wait     prometheus.Histogram
	lag      prometheus.Histogram
}

// New makes the instruments.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gantry_http_request_seconds", Help: "How long requests took, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"method", "route", "status"}),
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gantry_http_streams_total", Help: "Streams and held requests that ended, by route.",
		}, []string{"route"}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gantry_db_write_wait_seconds", Help: "How long write transactions waited for their turn.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gantry_event_lag_seconds", Help: "Time between an event at the worker and its commit, by the worker's clock.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120},
		}),
	}
	m.registry.MustRegister(m.requests, m.streams, m.wait, m.lag,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Request notes an answered request. Streams are counted, not timed: their length says nothing.
func (m *Metrics) Request(method, route string, status int, took time.Duration, stream bool) {
	if route == "" {
		route = "none" // a path nobody serves must not make a series of its own
	}
	if stream {
		m.streams.WithLabelValues(route).Inc()
		return
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// WriteWait notes how long a write transaction waited for its turn.
func (m *Metrics) WriteWait(d time.Duration) { m.wait.Observe(d.Seconds()) }

// EventLag notes how old the last event of a batch was when it was committed. A worker's clock may be wrong; nonsense is left out.
func (m *Metrics) EventLag(d time.Duration) {
	if d >= 0 && d < time.Hour {
		m.lag.Observe(d.Seconds())
	}
}

// Queue is the state that is read from the database when Prometheus asks.
type Queue struct {
	Pending      int64
	OldestMillis int64
	Claims, Lost int64
	Backlog      int64 // what is still to be done: jobs, and live sessions of deleted organizations
}

// queueTime bounds the reads of one scrape.
const queueTime = 2 * time.Second

// Watch has the queue's state read at each scrape. A read that fails leaves the series out.
func (m *Metrics) Watch(read func(ctx context.Context) (Queue, error)) {
	m.registry.MustRegister(queueCollector{read})
}

type queueCollector struct {
	read func(ctx context.Context) (Queue, error)
}

var (
	pendingDesc = prometheus.NewDesc("gantry_queue_pending", "Sessions that wait for a worker.", nil, nil)
	oldestDesc  = prometheus.NewDesc("gantry_queue_oldest_seconds", "How long the oldest queued session has waited.", nil, nil)
	claimsDesc  = prometheus.NewDesc("gantry_claims_total", "Claims made by this process.", nil, nil)
	lostDesc    = prometheus.NewDesc("gantry_leases_lost_total", "Leases that lapsed, noticed by this process.", nil, nil)
	backlogDesc = prometheus.NewDesc("gantry_job_backlog", "Background work that is still to be done.", nil, nil)
)

// Describe names the series.
func (queueCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{pendingDesc, oldestDesc, claimsDesc, lostDesc, backlogDesc} {
		ch <- d
	}
}

// Collect reads and tells.
func (c queueCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queueTime) //nolint:forbidigo // a collector gets no context
	defer cancel()
	q, err := c.read(ctx)
	if err != nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(pendingDesc, float64(q.Pending))
	gauge(oldestDesc, float64(q.OldestMillis)/1000)
	gauge(backlogDesc, float64(q.Backlog))
	ch <- prometheus.MustNewConstMetric(claimsDesc, prometheus.CounterValue, float64(q.Claims))
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(q.Lost))
}
