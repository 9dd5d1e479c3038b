// Package telemetry holds what Gantry measures of itself, in the text form that Prometheus scrapes (docs/operations.md names each series).
// It writes that form itself: the usual client library brings Protocol Buffers along, a fifteenth of the program, for what is a list of
// numbers here.
package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"gantry/internal/platform/clock"
)

// Metrics are the instruments of one process.
type Metrics struct {
	started  time.Time
	requests family[histogram]
	streams  family[counter]
	wait     *histogram
	lag      *histogram
	queue    func(ctx context.Context) (Queue, error)
}

// New makes the instruments. Bounds are in seconds.
func New() *Metrics {
	requests := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	return &Metrics{
		started:  clock.Clock{}.Now(),
		requests: family[histogram]{make: func() *histogram { return newHistogram(requests...) }},
		streams:  family[counter]{make: func() *counter { return new(counter) }},
		wait:     newHistogram(.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5),
		lag:      newHistogram(.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120),
	}
}

// Request notes an answered request. Streams are counted, not timed: their length says nothing.
func (m *Metrics) Request(method, route string, status int, took time.Duration, stream bool) {
	if route == "" {
		route = "none" // a path nobody serves must not make a series of its own
	}
	if stream {
		m.streams.of(labels{route: route}).add(1)
		return
	}
	m.requests.of(labels{method, route, status}).observe(took.Seconds())
}

// WriteWait notes how long a write transaction waited for its turn.
func (m *Metrics) WriteWait(d time.Duration) { m.wait.observe(d.Seconds()) }

// EventLag notes how old the last event of a batch was when it was committed. A worker's clock may be wrong; nonsense is left out.
func (m *Metrics) EventLag(d time.Duration) {
	if d >= 0 && d < time.Hour {
		m.lag.observe(d.Seconds())
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

// Watch has the queue's state read at each scrape. A read that fails leaves the series out. It comes before the handler serves.
func (m *Metrics) Watch(read func(ctx context.Context) (Queue, error)) { m.queue = read }

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p page
		m.requests.write(&p, "gantry_http_request_seconds", "How long requests took, by route and status.")
		m.streams.write(&p, "gantry_http_streams_total", "Streams and held requests that ended, by route.")
		m.wait.family(&p, "gantry_db_write_wait_seconds", "How long write transactions waited for their turn.")
		m.lag.family(&p, "gantry_event_lag_seconds", "Time between an event at the worker and its commit, by the worker's clock.")
		m.writeQueue(r.Context(), &p)
		writeProcess(&p, m.started)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(p.text)
	})
}

func (m *Metrics) writeQueue(ctx context.Context, p *page) {
	if m.queue == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, queueTime)
	defer cancel()
	q, err := m.queue(ctx)
	if err != nil {
		return
	}
	p.gauge("gantry_queue_pending", "Sessions that wait for a worker.", float64(q.Pending))
	p.gauge("gantry_queue_oldest_seconds", "How long the oldest queued session has waited.", float64(q.OldestMillis)/1000)
	p.gauge("gantry_job_backlog", "Background work that is still to be done.", float64(q.Backlog))
	p.counter("gantry_claims_total", "Claims made by this process.", float64(q.Claims))
	p.counter("gantry_leases_lost_total", "Leases that lapsed, noticed by this process.", float64(q.Lost))
}

// labels tell the series of a family apart. What is empty isn't written.
type labels struct {
	method, route string
	status        int
}

func (l labels) text() string {
	out := `route=` + strconv.Quote(l.route)
	if l.method != "" {
		out = `method=` + strconv.Quote(l.method) + `,` + out + `,status="` + strconv.Itoa(l.status) + `"`
	}
	return out
}
