package kit

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"gantry/internal/access"
)

// call is one request's state. It is the request's context itself, so that finding it allocates nothing.
type call struct {
	context.Context
	w       writer
	req     *http.Request
	id      string
	path    string // as the client sent it, before rewrites
	query   string // what may be logged of it
	begun   time.Time
	remote  netip.Addr
	bearer  string
	subject access.Subject
	org     string
	op      *operation
	scope   string // of the list's cursors, once OpenPage has made it
	stream  bool
	page    bool // a page's, which has no op
	// again says who asks now for a page's stream.
	again func() (access.Subject, error)
	held  *principal // whose place among the requests in flight this one takes
	// tail is what an open stream does: outside of everything that led to it, because a goroutine's stack is as large as it is deep.
	tail func()
}

type callKey struct{}

// Value gives the call for its own key.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

var noCall = &call{Context: context.Background()} //nolint:forbidigo // there is no caller

// callOf finds the call of a request. Outside of one it gives an empty call that nobody may change.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return noCall
}

// RequestID is the id of the request that ctx belongs to, empty outside of one.
func RequestID(ctx context.Context) string { return callOf(ctx).id }

// Request gives the HTTP request behind an operation, for those that read the body themselves.
func Request(ctx context.Context) *http.Request { return callOf(ctx).req }

// Path is the path of the request as the client sent it, before rewrites.
func Path(ctx context.Context) string { return callOf(ctx).path }

// Org is the organization the operation is on, as its declaration finds it: `~` is resolved. Empty for the enterprise.
func Org(ctx context.Context) string { return callOf(ctx).org }

// RemoteAddr is the client's real address, invalid on a unix socket.
func RemoteAddr(ctx context.Context) netip.Addr { return callOf(ctx).remote }

// LogHandler adds the request id of the context to what h logs, once however often it is put around h. Every kit's own lines have
// it; whoever gives the same logger to the rooms puts it around before.
func LogHandler(h slog.Handler) slog.Handler {
	if _, done := h.(logHandler); done {
		return h
	}
	return logHandler{h}
}

type logHandler struct{ slog.Handler }

// plain takes LogHandler's part away again.
func plain(h slog.Handler) slog.Handler {
	if l, ok := h.(logHandler); ok {
		return l.Handler
	}
	return h
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }

// writer notes what was answered, and keeps a copy while an Idempotency-Key's first request runs.
type writer struct {
	http.ResponseWriter
	status  int
	size    int64
	capture *bytes.Buffer
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.capture != nil {
		w.capture.Write(p)
	}
	n, err := w.ResponseWriter.Write(p)
	w.size += int64(n)
	return n, err
}

// Flush sends what is buffered.
func (w *writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }
