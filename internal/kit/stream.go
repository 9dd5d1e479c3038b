package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
)

const (
	eventStream = "text/event-stream"
	// writeWait is how long a client may leave a write waiting.
	writeWait = 30 * time.Second
)

// Event is one server-sent event. ID is what the client gives back as Last-Event-ID, empty for none; Data is encoded as JSON.
type Event struct {
	ID   string
	Type string
	Data any
}

// Stream is an open stream of server-sent events.
type Stream struct {
	// LastID is the client's Last-Event-ID, empty on a first connection.
	LastID string

	c         *call
	kit       *Kit
	rc        *http.ResponseController
	buf       bytes.Buffer
	lastWrite time.Time
	live      clock.Clock // the machine's: deadlines are the kernel's
}

// StreamFunc fills a stream. When it returns the stream ends; an error is logged, because the answer has long begun.
type StreamFunc func(ctx context.Context, st *Stream) error

// ErrStreamOver is what Wait gives when the stream has to end: the server stops, the client left, or its credential is good no more.
var ErrStreamOver = errors.New("the stream is over")

// RegisterStream registers an operation that answers with server-sent events. open decides while a refusal can still be answered.
func RegisterStream[I any](a *API, op Op, open func(ctx context.Context, s access.Subject, in *I) (StreamFunc, error)) {
	op.Stream = true
	op.Operation.Responses = withContent(op.Operation.Responses, map[string]*huma.MediaType{eventStream: {Schema: &huma.Schema{Type: huma.TypeString}}})
	stream := func(ctx context.Context, s access.Subject, in *I) (*huma.StreamResponse, error) {
		f, err := open(ctx, s, in)
		if err != nil {
			return nil, err
		}
		return streaming(ctx, f), nil
	}
	a.add(&op, [2]reflect.Type{reflect.TypeFor[I](), reflect.TypeFor[huma.StreamResponse]()}, acting(stream)).opens = true
}

// Apart runs f on a goroutine of its own and waits for it. A stream's goroutine lives for hours and keeps the largest stack it ever
// needed: a query needs several times what waiting does. Only so many run at once, because many streams are woken by one event, and
// what they ask waits for the database anyway. So f must be short, and must not call Apart.
func Apart[T any](f func() (T, error)) (T, error) {
	var out T
	var err error
	apart(func() { out, err = f() })
	return out, err
}

// apartSlots are for those that run at once.
var apartSlots = make(chan struct{}, 32)

func apart(f func()) {
	apartSlots <- struct{}{}
	defer func() { <-apartSlots }()
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if panicked = recover(); panicked != nil && panicked != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
				panicked = fmt.Sprintf("%v\n%s", panicked, debug.Stack())
			}
		}()
		f()
	}()
	<-done
	if panicked != nil {
		panic(panicked) // the request's own handler deals with it
	}
}

// RegisterPageOrStream registers an operation that answers with JSON, or with `Accept: text/event-stream` with events.
func RegisterPageOrStream[I, T any](a *API, op Op,
	page func(ctx context.Context, s access.Subject, in *I) (*T, error),
	open func(ctx context.Context, s access.Subject, in *I) (StreamFunc, error),
) {
	RegisterChoice(a, op, nil, page, open)
}

// RegisterChoice is RegisterPageOrStream for operations whose input may ask for the stream as well.
func RegisterChoice[I, T any](a *API, op Op, wants func(in *I) bool,
	page func(ctx context.Context, s access.Subject, in *I) (*T, error),
	open func(ctx context.Context, s access.Subject, in *I) (StreamFunc, error),
) {
	describe := func(h *huma.Operation) {
		schema := a.schemas().Schema(reflect.TypeFor[T](), true, h.OperationID+"Response")
		h.Responses = withContent(h.Responses, map[string]*huma.MediaType{
			"application/json": {Schema: schema}, eventStream: {Schema: &huma.Schema{Type: huma.TypeString}},
		})
	}
	answer := func(ctx context.Context, s access.Subject, in *I) (*huma.StreamResponse, error) {
		c := callOf(ctx)
		if c.stream || (wants != nil && wants(in)) {
			f, err := open(ctx, s, in)
			if err != nil {
				return nil, err
			}
			return streaming(ctx, f), nil
		}
		out, err := page(ctx, s, in)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(huma.Context) {
			c.w.Header().Set("Content-Type", "application/json")
			if err := marshal(&c.w, out); err != nil {
				a.kit.log.ErrorContext(c, "answer not written", "error", err)
			}
		}}, nil
	}
	o := a.add(&op, [2]reflect.Type{reflect.TypeFor[I](), reflect.TypeFor[huma.StreamResponse]()}, acting(answer))
	o.last, o.either, o.opens = describe, true, true
}

func withContent(rs map[string]*huma.Response, content map[string]*huma.MediaType) map[string]*huma.Response {
	if rs == nil {
		rs = map[string]*huma.Response{}
	}
	if rs["200"] == nil {
		rs["200"] = &huma.Response{Description: http.StatusText(http.StatusOK), Content: content}
	}
	return rs
}

func streaming(ctx context.Context, f StreamFunc) *huma.StreamResponse {
	c := callOf(ctx)
	return &huma.StreamResponse{Body: func(huma.Context) { beginStream(c.op.api.kit, c, f) }}
}

func beginStream(k *Kit, c *call, f StreamFunc) {
	h := c.w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Accel-Buffering", "no")
	st := &Stream{c: c, kit: k, rc: http.NewResponseController(&c.w), LastID: c.req.Header.Get("Last-Event-ID")}
	c.w.WriteHeader(http.StatusOK)
	c.tail = func() { st.run(f) }
}

func (st *Stream) run(f StreamFunc) {
	err := st.flush()
	if err == nil {
		err = f(st.c, st)
	}
	_ = st.rc.SetWriteDeadline(time.Time{}) // the connection may serve another request
	if err != nil && !errors.Is(err, ErrStreamOver) && st.c.Err() == nil {
		st.kit.log.ErrorContext(st.c, "stream ended", "error", err)
	}
}

// Send writes events and hands them to the network in one piece.
func (st *Stream) Send(events ...Event) error {
	for _, e := range events {
		data, err := json.Marshal(e.Data)
		if err != nil {
			return err
		}
		st.put(e.ID, e.Type, data)
	}
	return st.flush()
}

// SendRaw writes one event whose data is JSON already. More of them go out together with the next Flush or Send.
func (st *Stream) SendRaw(id, kind string, data []byte) { st.put(id, kind, data) }

// Flush hands what SendRaw wrote to the network.
func (st *Stream) Flush() error { return st.flush() }

func (st *Stream) put(id, kind string, data []byte) {
	if id != "" {
		st.buf.WriteString("id: " + oneLine(id) + "\n")
	}
	if kind != "" {
		st.buf.WriteString("event: " + oneLine(kind) + "\n")
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		st.buf.WriteString("data: ")
		st.buf.Write(line)
		st.buf.WriteByte('\n')
	}
	st.buf.WriteByte('\n')
}

func oneLine(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		s = strings.NewReplacer("\r", "", "\n", "").Replace(s)
	}
	return s
}

func (st *Stream) flush() error {
	if st.buf.Len() == 0 && !st.lastWrite.IsZero() {
		return nil // the headers are out and nothing waits; a silent stream stays due for its keep-alive
	}
	now := st.live.Now()
	st.lastWrite = now
	if err := st.rc.SetWriteDeadline(now.Add(writeWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if st.buf.Len() > 0 {
		_, err := st.c.w.Write(st.buf.Bytes())
		st.buf = bytes.Buffer{} // most streams are silent for long: they keep no room
		if err != nil {
			return err
		}
	}
	return st.rc.Flush()
}

// recheckEvery is how often a waiting stream asks whether its subject may still read. The answer comes from memory.
const recheckEvery = time.Second

// Wait returns when wake fires, when most has passed, or with ErrStreamOver. It keeps a silent connection alive with comments, and
// asks again at each wake and each second whether the subject may still read.
func (st *Stream) Wait(wake <-chan struct{}, most time.Duration) error {
	k := st.kit
	until := st.live.Now().Add(most)
	timer := time.NewTimer(st.quiet(k.o.KeepAlive, most))
	defer timer.Stop()
	for {
		select {
		case <-st.c.Done():
			return ErrStreamOver
		case <-k.stop:
			return ErrStreamOver
		case <-wake:
			return st.recheck()
		case <-timer.C:
		}
		left := until.Sub(st.live.Now())
		if left <= 0 {
			return st.recheck()
		}
		if err := st.recheck(); err != nil {
			return err
		}
		if st.live.Since(st.lastWrite) >= k.o.KeepAlive {
			st.buf.WriteString(": keep-alive\n\n")
			if err := st.flush(); err != nil {
				return ErrStreamOver
			}
		}
		timer.Reset(st.quiet(k.o.KeepAlive, left))
	}
}

// quiet is how long nothing has to be done: until the next keep-alive or recheck, and no longer than left.
func (st *Stream) quiet(keepAlive, left time.Duration) time.Duration {
	return min(left, recheckEvery, max(0, keepAlive-st.live.Since(st.lastWrite)))
}

// recheck asks whether the credential still stands and still may: a revoked key ends its streams.
func (st *Stream) recheck() error {
	c := st.c
	if c.again != nil {
		s, err := c.again()
		if err != nil {
			return ErrStreamOver
		}
		c.subject = s
		return nil
	}
	if c.op.public {
		return nil
	}
	s, err := c.op.api.auth.Authenticate(c, c.bearer, c.remote)
	if err != nil {
		return ErrStreamOver
	}
	s.RequestID = c.id
	c.subject = s
	if c.op.api.kit.o.EarlyCheckOff {
		return nil
	}
	if c.op.allow(c) != nil {
		return ErrStreamOver
	}
	return nil
}

// Retry tells the client how long to wait before it connects again.
func (st *Stream) Retry(d time.Duration) error {
	st.buf.WriteString("retry: " + strconv.FormatInt(d.Milliseconds(), 10) + "\n\n")
	return st.flush()
}

// Pause waits within a request that is held open: until wake fires, most has passed, or the request or the server ends. It reports
// whether it makes sense to look again.
func Pause(ctx context.Context, wake <-chan struct{}, most time.Duration) bool {
	c := callOf(ctx)
	if c.op == nil {
		return false
	}
	over := time.NewTimer(most)
	defer over.Stop()
	select {
	case <-c.Done():
	case <-c.op.api.kit.stop:
	case <-wake:
		return true
	case <-over.C:
		return true
	}
	return false
}

// Now is the machine's time, by which streams live.
func (st *Stream) Now() time.Time { return st.live.Now() }
