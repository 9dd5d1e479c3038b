package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"gantry/internal/access"
	"gantry/internal/api/gantry"
	v3 "gantry/internal/api/v3"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/id"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

// server is the wired rooms: everything of `gantry serve` but the process around it.
type server struct {
	*ground
	log *slog.Logger
	cfg *config.Serve
	*rooms
	kit      *kit.Kit
	first    *member.Admin
	embedded secret.String
}

// newServer opens the ground, fills a database that was never used, and wires rooms and doors.
func newServer(ctx context.Context, cfg *config.Serve, log *slog.Logger) (*server, error) {
	g, err := openGround(ctx, &cfg.Storage)
	if err != nil {
		return nil, err
	}
	s := &server{ground: g, log: log, cfg: cfg}
	if err := s.wire(ctx); err != nil {
		_ = s.Close() // the first error is the one that counts
		return nil, err
	}
	return s, nil
}

// wire makes the rooms, fills a database that was never used, and opens the doors.
func (s *server) wire(ctx context.Context) error {
	var err error
	members := s.members(s.log)
	if s.first, err = members.Bootstrap(ctx, member.BootstrapOptions{}); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	s.embedded = secret.New(id.NewKey(id.KeyWorker))
	members.Authenticator().AddEmbedded(s.embedded.Reveal(), access.Subject{
		Kind: access.Worker, ID: "embedded", Name: "embedded", Outposts: []string{fleet.DefaultOutpost},
	})
	if s.rooms, err = newRooms(ctx, s.ground, s.cfg, members, s.log); err != nil {
		return err
	}
	public, err := url.Parse(s.cfg.PublicURL)
	if err != nil {
		return fmt.Errorf("public URL: %w", err)
	}
	s.kit = kit.New(kit.Options{
		Authenticator: members.Authenticator(), OrgExists: s.orgs.Exists, Sealer: page.NewSealer(s.keeper.Derive("cursors")), DB: s.db,
		Cipher: s.cipher(), Logger: s.log,
		Limits: kit.Limits{
			Requests: s.cfg.RequestsInFlight, Streams: s.cfg.StreamsInFlight, UnknownKeys: s.cfg.UnknownKeyLimit,
			PerSecond: s.cfg.RateLimit, Burst: s.cfg.RateBurst,
		},
		TrustedProxies: s.cfg.TrustedProxies,
	})
	s.doors(s.kit, s.ground, public)
	s.health()
	return nil
}

// cipher seals stored answers with the organization's key.
func (s *server) cipher() kit.Cipher {
	place := func(aad string) keeper.Place {
		return keeper.Place{Table: "idempotency_keys", Row: aad, Column: "answer"}
	}
	return kit.Cipher{
		Seal: func(ctx context.Context, orgID, aad string, plain []byte) ([]byte, error) {
			return s.keeper.Seal(ctx, orgID, place(aad), plain)
		},
		Open: func(ctx context.Context, orgID, aad string, sealed []byte) ([]byte, error) {
			return s.keeper.Open(ctx, orgID, place(aad), sealed)
		},
	}
}

// First is what the first start of the database made, nil at every later one.
func (s *server) First() *member.Admin { return s.first }

// EmbeddedKey is the embedded worker's credential: made at each start, in memory only.
func (s *server) EmbeddedKey() secret.String { return s.embedded }

// Handler serves the network's door.
func (s *server) Handler() http.Handler { return s.kit.Router() }

// GatewayHandler serves the unix socket's door.
func (s *server) GatewayHandler() http.Handler { return s.kit.Router() }

// Run does what goes on in the background until ctx ends.
func (s *server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.member.Authenticator().Run(ctx) })
	g.Go(func() error { s.sessions.Run(ctx); return nil })
	g.Go(func() error { s.sweep(ctx); return nil })
	if s.db.Engine() == db.Postgres {
		g.Go(func() error { return events.NewBridge(s.hub, s.cfg.Database, s.log).Run(ctx) })
	}
	return g.Wait()
}

// sweepEvery is how often what is old is thrown away.
const sweepEvery = 10 * time.Minute

func (s *server) sweep(ctx context.Context) {
	for clock.Sleep(ctx, sweepEvery) {
		if err := s.kit.Sweep(ctx); err != nil {
			s.log.ErrorContext(ctx, "old idempotency keys not thrown away", "error", err)
		}
	}
}

// Drain ends the streams, so that the doors can close.
func (s *server) Drain() { s.kit.Close() }

// Close gives everything back. Nothing may run any more.
func (s *server) Close() error { return s.close() }

// health mounts what load balancers and Prometheus ask for.
func (s *server) health() {
	r := s.kit.Router()
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	r.Get("/readyz", s.readyz)
	r.Method(http.MethodGet, "/metrics", promhttp.Handler())
}

const readyTime = 2 * time.Second

// readyz refuses while the database is away or below this program's schema version.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	have, want, err := s.db.SchemaVersion(ctx)
	switch {
	case err != nil:
		answer(w, http.StatusServiceUnavailable, "the database doesn't answer")
	case have < want:
		answer(w, http.StatusServiceUnavailable, fmt.Sprintf("schema version %d, needed %d: run `gantry migrate`", have, want))
	default:
		answer(w, http.StatusOK, "ready")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": text}) // the client may be gone
}

// openAPIDocument emits the document of one API version without a server behind it.
func openAPIDocument(which string) ([]byte, error) {
	k := kit.New(kit.Options{})
	switch which {
	case "v3":
		return kit.OpenAPI(v3.New(k, v3.Rooms{}))
	case "gantry":
		return kit.OpenAPI(gantry.New(k, gantry.Rooms{}))
	default:
		return nil, fmt.Errorf("this build has no API version %s", which)
	}
}
