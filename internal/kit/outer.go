package kit

import (
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"

	"gantry/internal/platform/id"
)

// maxRequestID bounds a client's own x-request-id; longer or stranger ones are replaced.
const maxRequestID = 128

var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
)

// outer is the layer around routing: request id, real address, rewrites, recovery and the access log.
func (k *Kit) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Context: r.Context(), begun: k.o.Clock.Now(), path: r.URL.Path}
		c.w.ResponseWriter = w
		c.id = requestID(r)
		c.remote = k.realAddr(r)
		r = r.WithContext(c)
		c.req = r
		h := w.Header()
		h["X-Request-Id"] = []string{c.id}
		h["Cache-Control"] = noStore
		h["X-Content-Type-Options"] = noSniff
		query := r.URL.RawQuery
		k.rewrite(r)
		defer k.finish(c, query)
		next.ServeHTTP(&c.w, r)
		if c.tail != nil {
			c.tail()
		}
	})
}

// logLevel keeps what machines ask all day, claims, reports and heartbeats that went well, out of a log that people read.
func (c *call) logLevel() slog.Level {
	if c.op != nil && (c.op.decl.Worker || c.op.decl.Connect) && c.w.status < http.StatusBadRequest {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// finish answers a panic with 500 and writes the access log: no bodies, and of the query only what the operation declares. The rest
// may be a credential that somebody put there by mistake, and on a public operation a signature.
func (k *Kit) finish(c *call, query string) {
	p := recover()
	if c.held != nil {
		k.limits.leave(c.held, c.stream)
	}
	if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
		k.log.LogAttrs(c, slog.LevelError, "panic", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		if c.w.status == 0 {
			writeError(&c.w, internalError(k.formOf(c.req.URL.Path), c))
			p = nil
		}
	}
	took := k.o.Clock.Since(c.begun)
	if level := c.logLevel(); k.lines.Enabled(c, level) {
		if query != "" && c.query == "" {
			query = "***"
		} else {
			query = c.query
		}
		k.lines.LogAttrs(c, level, "request",
			slog.String("request_id", c.id), slog.String("method", c.req.Method), slog.String("path", c.path), slog.String("query", query),
			slog.Int("status", c.w.status), slog.Int64("bytes", c.w.size), slog.Int64("took_us", took.Microseconds()),
			slog.String("remote", addrText(c.remote)), slog.String("principal", c.subject.ID), slog.String("org_id", c.org))
	}
	if k.o.OnDone != nil {
		k.o.OnDone(Done{Method: c.req.Method, Route: c.route(), Status: c.w.status, Took: took, Stream: c.stream})
	}
	if p != nil {
		panic(http.ErrAbortHandler) // the answer was begun: only a broken connection tells the client
	}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// requestID takes the client's own id when it is sane: it ends up in logs and audit entries.
func requestID(r *http.Request) string {
	s := r.Header.Get("X-Request-Id")
	if s == "" || len(s) > maxRequestID {
		return id.New(id.Request)
	}
	for i := range len(s) {
		ch := s[i]
		if (ch < 'a' || ch > 'z') && (ch < 'A' || ch > 'Z') && (ch < '0' || ch > '9') && ch != '-' && ch != '_' && ch != '.' {
			return id.New(id.Request)
		}
	}
	return s
}

// realAddr gives the client's address: the peer's, or when the peer is a listed proxy the nearest address in X-Forwarded-For that
// isn't one. What stands before that address is whatever the client wrote, and nobody reads it.
func (k *Kit) realAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap()
	if len(k.o.TrustedProxies) == 0 || !k.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		hop, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			return addr
		}
		if addr = hop.Unmap(); !k.trusted(addr) {
			return addr
		}
	}
	return addr
}

// parseHop reads an address of X-Forwarded-For; some proxies add the port.
func parseHop(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err == nil {
		return a, true
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr(), err == nil
}

func (k *Kit) trusted(a netip.Addr) bool {
	for _, p := range k.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
