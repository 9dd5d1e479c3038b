package report_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
	"gantry/internal/worker/link"
	"gantry/internal/worker/report"
)

// A fault is what happens to one request of the fake gateway.
type faultKind int

const (
	faultNone        faultKind = iota
	faultLostRequest           // the connection drops before the server acts
	faultLostAnswer            // the server acts, the connection drops before the answer
	faultUnavailable           // 503
	faultTooMany               // 429 with Retry-After
	faultLostHalfway           // the answer is cut in the middle of its body
	faultKinds                 // how many there are
)

// gateway speaks the wire form of one session's batches and heartbeats, by the rules of wire.Batch.
type gateway struct {
	mu         sync.Mutex
	fence      int64
	last       int64 // number of the last batch
	command    int64
	events     []wire.Event
	batches    int
	heartbeats int
	faults     []faultKind // taken from the front, one per request
	refuse     func(wire.Batch) bool
	park       func(wire.Batch) bool
	leaseLen   int
	down       bool // every request fails
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	fault := faultNone
	if len(g.faults) > 0 {
		fault, g.faults = g.faults[0], g.faults[1:]
	}
	if g.down {
		fault = faultLostRequest
	}
	switch fault {
	case faultLostRequest:
		panic(http.ErrAbortHandler)
	case faultUnavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case faultTooMany:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	status, ack := g.answer(r.URL.Path, body)
	answer, _ := json.Marshal(ack)
	switch fault {
	case faultLostAnswer:
		panic(http.ErrAbortHandler)
	case faultLostHalfway:
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write(answer[:len(answer)/2])
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (g *gateway) answer(path string, body []byte) (int, any) {
	problem := func(status int, detail string) (int, any) {
		return status, map[string]any{"status": status, "detail": detail}
	}
	ack := wire.Ack{Number: g.last, LeaseSeconds: g.leaseLen}
	if path == "/gw/heartbeat" {
		var h wire.Heartbeat
		if json.Unmarshal(body, &h) != nil || h.Fence != g.fence {
			return problem(http.StatusConflict, "stale fence")
		}
		g.heartbeats++
		g.command = max(g.command, h.Command)
		return http.StatusOK, ack
	}
	var b wire.Batch
	switch err := json.Unmarshal(body, &b); {
	case err != nil:
		return problem(http.StatusUnprocessableEntity, "not a batch")
	case len(body) > wire.MaxBatchBytes, len(b.Events) > wire.MaxBatchEvents:
		return problem(http.StatusRequestEntityTooLarge, "batch too large")
	case b.Fence != g.fence:
		return problem(http.StatusConflict, "stale fence")
	case b.Number > g.last+1:
		return problem(http.StatusConflict, "gap")
	case b.Number <= g.last:
		return http.StatusOK, ack
	case g.refuse != nil && g.refuse(b):
		return problem(http.StatusUnprocessableEntity, "an event is not acceptable")
	}
	g.last, g.command = b.Number, max(g.command, b.Command)
	g.events = append(g.events, b.Events...)
	g.batches++
	ack.Number = g.last
	ack.Parked = g.park != nil && g.park(b)
	return http.StatusOK, ack
}

// texts lists the texts of all message events the gateway has.
func (g *gateway) texts(t require.TestingT) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, e := range g.events {
		if e.Type == wire.EventMessage {
			var m wire.MessageData
			require.NoError(t, json.Unmarshal(e.Data, &m))
			out = append(out, m.Text)
		}
	}
	return out
}

func (g *gateway) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// pipes is a listener whose connections live in memory, so that it can be used under testing/synctest.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve starts the gateway and returns its client side and a function that stops both.
func serve(t require.TestingT, g *gateway) (*link.Gateway, func()) {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: g, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(p) }()
	server, err := link.Open(link.Options{URL: "http://127.0.0.1:1", Dial: p.dial})
	require.NoError(t, err)
	client, err := server.Gateway("http://127.0.0.1:1/gw", "token")
	require.NoError(t, err)
	return client, func() {
		server.Close()
		_ = srv.Close()
		<-served
	}
}

// start opens and runs a report; the returned function stops it.
func start(t require.TestingT, dir string, g *gateway, change func(*report.Options)) (*report.Reporter, func()) {
	client, stopServer := serve(t, g)
	o := report.Options{
		Gateway: client, Fence: g.fence, LastBatch: g.last, Path: filepath.Join(dir, "spool"),
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	r := report.Open(o)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); r.Run(ctx) }()
	return r, func() {
		cancel()
		<-ran
		require.NoError(t, r.Close())
		stopServer()
	}
}

func message(text string) wire.MessageData { return wire.MessageData{Text: text} }
