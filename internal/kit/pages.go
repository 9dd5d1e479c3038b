package kit

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/go-chi/chi/v5"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
)

// What a door of pages shares with the APIs: who asks, what they may have in flight, how a refusal is put and logged, streams. Its
// pages are no operations: no document has them, and each asks by itself who may see it.

// Entry is how somebody comes to a page.
type Entry struct {
	// Who says who asks, from their real address.
	Who func(ctx context.Context, remote netip.Addr) (access.Subject, error)
	// Guess says that a secret is offered: a refused one counts against its address, as everywhere.
	Guess bool
	// Stream counts the request as a stream.
	Stream bool
}

// Enter finds out who asks for a page and takes a place among what they have in flight, until the request is answered.
func (k *Kit) Enter(w http.ResponseWriter, r *http.Request, e Entry) (access.Subject, error) {
	c := callOf(r.Context())
	s, err := e.Who(c, c.remote)
	if err != nil {
		if e.Guess && fault.Is(err, fault.Unauthenticated) {
			if wait := k.unknown.count(c.remote); wait > 0 {
				return s, &fault.Error{Kind: fault.RateLimited, Message: "too many unknown keys from this address", RetryAfter: wait}
			}
		}
		return s, err
	}
	s.RequestID = c.id
	c.subject, c.stream = s, e.Stream
	p, err := k.limits.enter(&c.subject, e.Stream, w.Header())
	if err != nil {
		return s, err
	}
	c.held = p // until finish
	return s, nil
}

// OnOrg notes which organization a page is on, for the log.
func OnOrg(ctx context.Context, orgID string) { callOf(ctx).org = orgID }

// Refusal turns what a use case returned into what a page may show of it. Causes go to the log.
func (k *Kit) Refusal(r *http.Request, err error) *Error {
	return k.toError(callOf(r.Context()), Problem, err)
}

// Follow answers a page's request with server-sent events. again says at each wake and each second who asks now, and refuses when they
// may not any more; it answers from memory whenever it can.
func (k *Kit) Follow(r *http.Request, again func() (access.Subject, error), f StreamFunc) {
	c := callOf(r.Context())
	c.again = again
	beginStream(k, c, f)
}

// Otherwise answers a browser that asks for a path which no door has.
func (k *Kit) Otherwise(h http.HandlerFunc) { k.otherwise = h }

// forBrowser reports whether a path that nobody answers is a page's rather than an API's.
func (k *Kit) forBrowser(r *http.Request) bool {
	return k.otherwise != nil && k.apiOf(r.URL.Path) == nil && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// Pages is where a door mounts its pages.
func (k *Kit) Pages() chi.Router {
	return k.mux.With(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			callOf(r.Context()).page = true
			next.ServeHTTP(w, r)
		})
	})
}

// route is what metrics call a request: the path of its operation or page with its parameters, empty when none matched.
func (c *call) route() string {
	switch {
	case c.op != nil:
		return c.op.path
	case c.page:
		return chi.RouteContext(c).RoutePattern()
	}
	return ""
}
