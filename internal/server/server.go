// Package server wires the rooms and doors of `gantry serve`: everything but the process around it. cmd runs it, tests run it in
// process. It knows no flags, listeners or signals.
package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gantry/internal/access"
	"gantry/internal/api/gantry"
	v1 "gantry/internal/api/v1"
	v2 "gantry/internal/api/v2"
	v3 "gantry/internal/api/v3"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/id"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

// Options are what only tests set. The zero value is a server's.
type Options struct {
	Clock clock.Clock
	// EarlyCheckOff leaves permissions to the use cases alone.
	EarlyCheckOff bool
	// Providers asks git's providers instead of the guarded client.
	Providers *http.Client
}

// Server is the wired rooms and doors.
type Server struct {
	*Ground
	*Rooms
	Kit *kit.Kit

	log      *slog.Logger
	cfg      *config.Serve
	first    *member.Admin
	embedded secret.String
	stopping atomic.Bool
}

// New opens the ground, fills a database that was never used, and wires rooms and doors.
func New(ctx context.Context, cfg *config.Serve, log *slog.Logger, o Options) (*Server, error) {
	g, err := OpenGround(ctx, &cfg.Storage, o.Clock)
	if err != nil {
		return nil, err
	}
	g.Jobs = jobs.New(g.DB, log)
	s := &Server{Ground: g, log: log, cfg: cfg}
	s.tellBlobs(ctx)
	if err := s.wire(ctx, o); err != nil {
		_ = s.Close() // the first error is the one that counts
		return nil, err
	}
	return s, nil
}

// wire makes the rooms, fills a database that was never used, and opens the doors.
func (s *Server) wire(ctx context.Context, o Options) error {
	var err error
	members := s.MemberRoom(s.log)
	if s.first, err = members.Bootstrap(ctx, member.BootstrapOptions{MaxSessionACULimit: limit(s.cfg.SessionACULimit)}); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	s.embedded = secret.New(id.NewKey(id.KeyWorker))
	members.Authenticator().AddEmbedded(s.embedded.Reveal(), access.Subject{
		Kind: access.Worker, ID: "embedded", Name: "embedded", Outposts: []string{fleet.DefaultOutpost},
	})
	public, err := url.Parse(s.cfg.PublicURL)
	if err != nil {
		return fmt.Errorf("public URL: %w", err)
	}
	if s.Rooms, err = newRooms(ctx, s.Ground, s.cfg, public, members, o.Providers, s.log); err != nil {
		return err
	}
	sealer := page.NewSealer(s.Keeper.Derive("cursors"))
	s.Kit = kit.New(kit.Options{
		Authenticator: members.Authenticator(), OrgExists: s.Orgs.Exists, OrgKnown: s.Orgs.Known, Sealer: sealer, DB: s.DB,
		Cipher: s.cipher(), Clock: o.Clock, Logger: s.log, EarlyCheckOff: o.EarlyCheckOff,
		Limits: kit.Limits{
			Requests: s.cfg.RequestsInFlight, Streams: s.cfg.StreamsInFlight, UnknownKeys: s.cfg.UnknownKeyLimit,
			PerSecond: s.cfg.RateLimit, Burst: s.cfg.RateBurst,
		},
		TrustedProxies: s.cfg.TrustedProxies,
		OnDone:         func(d kit.Done) { s.Ground.Metrics.Request(d.Method, d.Route, d.Status, d.Took, d.Stream) },
	})
	s.doors(s.Kit, s.cfg, public)
	if !s.cfg.NoConsole {
		s.console(s.Kit, sealer, s.DB.Clock(), public)
	}
	s.health()
	return nil
}

// cipher seals stored answers with the organization's key.
func (s *Server) cipher() kit.Cipher {
	place := func(aad string) keeper.Place {
		return keeper.Place{Table: "idempotency_keys", Row: aad, Column: "answer"}
	}
	return kit.Cipher{
		Seal: func(ctx context.Context, orgID, aad string, plain []byte) ([]byte, error) {
			return s.Keeper.Seal(ctx, orgID, place(aad), plain)
		},
		Open: func(ctx context.Context, orgID, aad string, sealed []byte) ([]byte, error) {
			return s.Keeper.Open(ctx, orgID, place(aad), sealed)
		},
	}
}

// First is what the first start of the database made, nil at every later one.
func (s *Server) First() *member.Admin { return s.first }

// EmbeddedKey is the embedded worker's credential: made at each start, in memory only.
func (s *Server) EmbeddedKey() secret.String { return s.embedded }

// Handler serves the network's door and the unix socket's.
func (s *Server) Handler() http.Handler { return s.Kit.Router() }

// Run does what goes on in the background until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Members.Authenticator().Run(ctx) })
	g.Go(func() error { s.Sessions.Run(ctx); return nil })
	g.Go(func() error { s.Sessions.AskRun(ctx); return nil })
	g.Go(func() error { s.Schedules.Run(ctx); return nil })
	g.Go(func() error { s.Jobs.Run(ctx); return nil })
	g.Go(func() error { s.sweep(ctx); return nil })
	g.Go(func() error { s.probe(ctx); return nil })
	g.Go(func() error { s.Orgs.RunPurge(ctx, s.log); return nil })
	g.Go(func() error { s.Audit.Run(ctx, s.log); return nil })
	if s.DB.Engine() == db.Postgres {
		g.Go(func() error { return events.NewBridge(s.Hub, s.cfg.Database, s.log).Run(ctx) })
	}
	return g.Wait()
}

// sweepEvery is how often what is old is thrown away.
const sweepEvery = 10 * time.Minute

func (s *Server) sweep(ctx context.Context) {
	for clock.Sleep(ctx, sweepEvery) {
		if err := s.Kit.Sweep(ctx); err != nil {
			s.log.ErrorContext(ctx, "old idempotency keys not thrown away", "error", err)
		}
		if err := s.Members.SweepBrowsers(ctx); err != nil {
			s.log.ErrorContext(ctx, "browsers that are signed out not forgotten", "error", err)
		}
	}
}

// Drain ends the streams, so that the doors can close.
func (s *Server) Drain() { s.Kit.Close() }

// Close gives everything back. Nothing may run any more.
func (s *Server) Close() error { return s.Ground.Close() }

// Versions are the API versions whose documents are published.
func Versions() []string { return []string{"v1", "v2", "v3", "gantry"} }

// OpenAPI emits the document of one API version without a server behind it.
func OpenAPI(which string) ([]byte, error) {
	k := kit.New(kit.Options{})
	switch which {
	case "v1":
		return kit.OpenAPI(v1.New(k, v1.Rooms{}))
	case "v2":
		return kit.OpenAPI(v2.New(k, v2.Rooms{}))
	case "v3":
		return kit.OpenAPI(v3.New(k, v3.Rooms{}))
	case "gantry":
		return kit.OpenAPI(gantry.New(k, gantry.Rooms{}))
	default:
		return nil, fmt.Errorf("this build has no API version %s", which)
	}
}
