package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"gantry/internal/agents"
	"gantry/internal/api/gantry"
	"gantry/internal/api/gateway"
	"gantry/internal/api/outposts"
	v3 "gantry/internal/api/v3"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/config"
	"gantry/internal/platform/safehttp"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// fetchTime bounds the fetch of one file that a caller named by its address.
const fetchTime = time.Minute

// rooms are the use cases, wired from the ground up.
type rooms struct {
	member   *member.Service
	orgs     *org.Service
	audit    *audit.Service
	agents   *agents.Service
	forge    *forge.Service
	fleet    *fleet.Service
	sessions *session.Service
}

func newRooms(ctx context.Context, g *ground, cfg *config.Serve, members *member.Service, log *slog.Logger) (*rooms, error) {
	public, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public URL: %w", err)
	}
	r := &rooms{
		member: members,
		orgs:   org.New(g.db, members, org.Options{}),
		audit:  audit.New(g.db),
		agents: agents.New(g.db, g.keeper),
		forge:  forge.New(g.db, forge.Options{FileRoots: cfg.RepoRoot}),
		fleet:  fleet.New(fleet.Options{DB: g.db, Hub: g.hub, Logger: log}),
	}
	r.sessions = session.New(session.Options{
		DB: g.db, Keeper: g.keeper, Blobs: g.blobs, Hub: g.hub, Fetch: safehttp.NewGuard(cfg.AllowNetworks).Client(fetchTime),
		Orgs: r.orgs, Agents: r.agents, Forge: r.forge, Fleet: r.fleet, People: members.PersonSubject,
		Rates:  usage.Rates{PerACU: time.Duration(cfg.ACUMinutes * float64(time.Minute)), DayOffset: cfg.DayOffset},
		Logger: log, PublicURL: public, IdleTime: cfg.IdleTimeout,
	})
	return r, r.fleet.EnsureDefault(ctx)
}

// doors registers every API on the kit's router.
func (r *rooms) doors(k *kit.Kit, g *ground, public *url.URL) {
	v3.New(k, v3.Rooms{Audit: r.audit, Members: r.member, Orgs: r.orgs, Sessions: r.sessions, Fleet: r.fleet})
	gantry.New(k, gantry.Rooms{Sessions: r.sessions, Fleet: r.fleet, Forge: r.forge, PublicURL: public})
	outposts.New(k, outposts.Rooms{Sessions: r.sessions, Fleet: r.fleet, PublicURL: public})
	gateway.New(k, gateway.Rooms{DB: g.db, Sessions: r.sessions})
}
