// Package kit is what all doors share: huma on chi, credentials to subjects, early permission checks, paging, errors per API
// version, limits, idempotency and server-sent events.
//
// It depends on access and platform only. A door makes its API with NewAPI and registers its operations with Register; the use
// cases behind them know no HTTP.
package kit

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

// Authenticator turns a credential into who acts. It refuses with a fault: Unauthenticated for a missing, unknown, expired or
// revoked key and for an address that isn't allowed, Unavailable when it can't tell. remote is the client's real address, invalid
// on a unix socket. Streams ask it again at every wake, so an answer comes from memory whenever it can.
type Authenticator interface {
	Authenticate(ctx context.Context, bearer string, remote netip.Addr) (access.Subject, error)
}

// Cipher encrypts stored answers under an organization's data key; the empty organization is the enterprise. aad binds the text
// to its row.
type Cipher struct {
	Seal func(ctx context.Context, orgID, aad string, plain []byte) ([]byte, error)
	Open func(ctx context.Context, orgID, aad string, sealed []byte) ([]byte, error)
}

// Limits bound what one caller may take; counts are per replica. A zero field takes the default, a negative one means no limit.
type Limits struct {
	Requests    int // requests in flight per principal; default 64
	Streams     int // streams in flight per principal; default 32
	UnknownKeys int // refused keys per address and minute; default 300
	// PerSecond and Burst are the token bucket of each principal. It is off while PerSecond is 0; Burst is 2 seconds' worth unless set.
	PerSecond float64
	Burst     int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Requests, 64)
	def(&l.Streams, 32)
	def(&l.UnknownKeys, 300)
	if l.PerSecond > 0 {
		def(&l.Burst, max(1, int(2*l.PerSecond)))
	}
	return l
}

// Done tells of one answered request, for metrics. Route is the operation's path with its parameters, empty when none matched.
type Done struct {
	Method, Route string
	Status        int
	Took          time.Duration
	Stream        bool
}

// Options of New. The zero value serves to emit OpenAPI documents; a server needs Authenticator, OrgExists, Sealer, and DB with
// Cipher for Idempotency-Key.
type Options struct {
	Authenticator Authenticator
	// OrgExists is asked when an enterprise credential names an organization, in the path or as v1 has it in the query, once per request.
	OrgExists      func(ctx context.Context, orgID string) (bool, error)
	OrgKnown       func(ctx context.Context, orgID string) (bool, error) // is or was
	Sealer         *page.Sealer
	DB             *db.DB
	Cipher         Cipher
	Clock          clock.Clock
	Logger         *slog.Logger // default: discards
	Limits         Limits
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	OnDone         func(Done)
	// KeepAlive is how often a silent stream says something; default 15 s.
	KeepAlive time.Duration
	// EarlyCheckOff leaves permissions to the use cases alone. Only tests set it: every operation must refuse without it too.
	EarlyCheckOff bool
}

// Kit is the shared part of all doors of one server.
type Kit struct {
	o       Options
	log     *slog.Logger
	lines   *slog.Logger // of the access log, which name the request themselves
	mux     *chi.Mux
	limits  *limiter
	unknown *unknownKeys
	idem    *idempotency
	apis    []*API
	// otherwise answers a browser's request for a path that no door has; nil without a door of pages.
	otherwise http.HandlerFunc
	stop      chan struct{}
	once      sync.Once
}

// New makes the kit and its router.
func New(o Options) *Kit {
	o.Limits = o.Limits.withDefaults()
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Sealer == nil {
		o.Sealer = page.NewSealer(nil)
	}
	k := &Kit{
		o: o, log: slog.New(LogHandler(o.Logger.Handler())), lines: slog.New(plain(o.Logger.Handler())), mux: chi.NewMux(), stop: make(chan struct{}),
		limits:  newLimiter(o.Limits, o.Clock),
		unknown: newUnknownKeys(o.Limits.UnknownKeys, o.Clock),
	}
	if o.DB != nil {
		k.idem = &idempotency{db: o.DB, cipher: o.Cipher, clock: o.Clock}
	}
	k.mux.Use(k.outer)
	k.mux.NotFound(k.notFound)
	k.mux.MethodNotAllowed(k.methodNotAllowed)
	return k
}

// Router is where everything is mounted. The outer layer (request id, log, recovery, rewrites) runs before it routes.
func (k *Kit) Router() chi.Router { return k.mux }

// Close ends all streams, so that a server can shut down. Other requests are not touched.
func (k *Kit) Close() { k.once.Do(func() { close(k.stop) }) }

// APIs lists the APIs made with NewAPI.
func (k *Kit) APIs() []*API { return k.apis }

// Sweep deletes stored Idempotency-Key answers that are older than a day.
func (k *Kit) Sweep(ctx context.Context) error {
	if k.idem == nil {
		return nil
	}
	return k.idem.sweep(ctx)
}

func (k *Kit) notFound(w http.ResponseWriter, r *http.Request) {
	if k.forBrowser(r) {
		k.otherwise(w, r)
		return
	}
	k.refuse(w, r, http.StatusNotFound, "there is nothing at this path")
}

func (k *Kit) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	rctx := chi.NewRouteContext()
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rctx.Reset()
		if k.mux.Match(rctx, m, r.URL.Path) {
			w.Header().Add("Allow", m)
		}
	}
	if a := k.apiOf(r.URL.Path); a != nil && !a.deprecated.IsZero() {
		a.deprecate(w.Header())
	}
	k.refuse(w, r, http.StatusMethodNotAllowed, "this path doesn't take "+r.Method)
}

func (k *Kit) refuse(w http.ResponseWriter, r *http.Request, status int, detail string) {
	writeError(w, &Error{form: k.formOf(r.URL.Path), status: status, detail: detail, instance: callOf(r.Context()).path})
}

// formOf says how errors look below a path that no operation answers.
func (k *Kit) formOf(path string) Form {
	if a := k.apiOf(path); a != nil {
		return a.form
	}
	return Problem
}

// apiOf gives the API that paths below a prefix belong to, nil for none.
func (k *Kit) apiOf(path string) *API {
	for _, a := range k.apis {
		for _, p := range a.prefixes {
			if strings.HasPrefix(path, p) {
				return a
			}
		}
	}
	return nil
}
