package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"gantry/internal/agents"
	"gantry/internal/api/gantry"
	"gantry/internal/api/gateway"
	"gantry/internal/api/outposts"
	v1 "gantry/internal/api/v1"
	v2 "gantry/internal/api/v2"
	v3 "gantry/internal/api/v3"
	"gantry/internal/audit"
	"gantry/internal/console"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
	"gantry/internal/member"
	"gantry/internal/metric"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/mail"
	"gantry/internal/platform/page"
	"gantry/internal/platform/safehttp"
	"gantry/internal/playbook"
	"gantry/internal/schedule"
	"gantry/internal/secrets"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// fetchTime bounds the fetch of one file that a caller named by its address.
const fetchTime = time.Minute

// Rooms are the use cases, wired from the ground up.
type Rooms struct {
	Members   *member.Service
	Metrics   *metric.Service
	Insights  *insight.Service
	Orgs      *org.Service
	Audit     *audit.Service
	Agents    *agents.Service
	Forge     *forge.Service
	Fleet     *fleet.Service
	Sessions  *session.Service
	Schedules *schedule.Service
	Secrets   *secrets.Service
	Knowledge *knowledge.Service
	Playbooks *playbook.Service
	Usage     *usage.Service
}

func newRooms(ctx context.Context, g *Ground, cfg *config.Serve, public *url.URL, members *member.Service, providers *http.Client, log *slog.Logger) (*Rooms, error) {
	c := g.DB.Clock()
	r := &Rooms{
		Members: members,
		Metrics: metric.New(g.DB),
		Orgs:    org.New(g.DB, members, org.Options{SessionLimit: limit(cfg.SessionACULimit), RequiredTags: cfg.RequiredTags, PurgeAfter: cfg.PurgeAfter}),
		Audit:   audit.New(g.DB),
		Agents:  agents.New(g.DB, g.Keeper),
		Secrets: secrets.New(g.DB, g.Keeper),
		Forge: forge.New(g.DB, forge.Options{
			FileRoots: cfg.RepoRoot, Keeper: g.Keeper, Guard: safehttp.NewGuard(cfg.AllowNetworks), Client: providers, Logger: log,
		}),
		Fleet: fleet.New(fleet.Options{DB: g.DB, Clock: c, Hub: g.Hub, Logger: log}),
	}
	r.Knowledge, r.Playbooks = knowledge.New(g.DB), playbook.New(g.DB)
	g.Jobs.Handle(forge.JobList, jobs.Policy{Timeout: forge.ListTime, Attempts: 1}, r.Forge.ListJob)
	r.Usage = usage.New(g.DB, usage.Options{
		Rates:      usage.Rates{PerACU: time.Duration(cfg.ACUMinutes * float64(time.Minute)), DayOffset: cfg.DayOffset},
		CycleLimit: limit(cfg.CycleACULimit), Orgs: r.Orgs, Person: members.PersonSubject,
	})
	r.Sessions = session.New(session.Options{
		DB: g.DB, Clock: c, Keeper: g.Keeper, Blobs: g.Blobs, Hub: g.Hub, Fetch: safehttp.NewGuard(cfg.AllowNetworks).Client(fetchTime),
		Orgs: r.Orgs, Agents: r.Agents, Forge: r.Forge, Fleet: r.Fleet, People: members.PersonSubject, OrgSecrets: r.Secrets,
		Knowledge: r.Knowledge, Playbooks: r.Playbooks,
		Usage: r.Usage, MaxACUs: cfg.SessionACUCap,
		Logger: log, OnLag: g.Metrics.EventLag, PublicURL: public, IdleTime: cfg.IdleTimeout, Lease: cfg.Lease,
		Sizes: sizes(cfg),
	})
	model, err := insightModel(cfg)
	if err != nil {
		return nil, err
	}
	r.Insights = insight.New(insight.Options{DB: g.DB, Clock: c, Sessions: r.Sessions, Jobs: g.Jobs, Model: model, Logger: log})
	mailer, err := mail.New(cfg.SMTPURL, cfg.MailFrom, c)
	if err != nil {
		return nil, err
	}
	r.Schedules = schedule.New(schedule.Options{
		DB: g.DB, Clock: c, Orgs: r.Orgs, Sessions: r.Sessions, Playbooks: r.Playbooks, People: members.PersonSubject, Mail: mailer, Logger: log,
	})
	mailer.Handle(g.Jobs)
	r.Schedules.Handle(g.Jobs)
	r.Orgs.Leaves(r.remains(g)...)
	return r, r.Fleet.EnsureDefault(ctx)
}

// limit gives a limit of the settings, where 0 is none.
func limit(acus int64) *int64 {
	if acus == 0 {
		return nil
	}
	return &acus
}

// sizes gives the bounds of the size classes.
func sizes(cfg *config.Serve) session.Sizes {
	z := session.Sizes{ACUs: cfg.SizeACUs}
	for i, n := range cfg.SizeMessages {
		z.Messages[i] = int64(n)
	}
	return z
}

// insightModel gives the model that analyses sessions, nil without one.
func insightModel(cfg *config.Serve) (*insight.Model, error) {
	if cfg.InsightsModelURL == "" {
		return nil, nil
	}
	return insight.NewModel(cfg.InsightsModelURL, cfg.InsightsModel, cfg.InsightsModelKey)
}

// doors registers every API on the kit's router.
func (r *Rooms) doors(k *kit.Kit, cfg *config.Serve, public *url.URL) {
	v1.New(k, v1.Rooms{
		Authenticator: r.Members.Authenticator().OlderV1(cfg.StrictOlderKeys), Audit: r.Audit, Members: r.Members, Secrets: r.Secrets, Sessions: r.Sessions, Usage: r.Usage,
		Knowledge: r.Knowledge, Playbooks: r.Playbooks,
	})
	v2.New(k, v2.Rooms{
		Authenticator: r.Members.Authenticator().OlderV2(cfg.StrictOlderKeys), Audit: r.Audit, Fleet: r.Fleet, Members: r.Members, Orgs: r.Orgs,
		Forge: r.Forge, Insights: r.Insights, Metrics: r.Metrics, Playbooks: r.Playbooks, Sessions: r.Sessions, Usage: r.Usage, Options: v2.Options{ReferenceOnly: cfg.V2Examples == "off", CyclesArray: cfg.V2Cycles == "array"},
	})
	v3.New(k, v3.Rooms{
		Audit: r.Audit, Metrics: r.Metrics, Insights: r.Insights, Usage: r.Usage, Members: r.Members, Orgs: r.Orgs, Sessions: r.Sessions, Fleet: r.Fleet, Secrets: r.Secrets, Schedules: r.Schedules, Forge: r.Forge,
		Knowledge: r.Knowledge, Playbooks: r.Playbooks,
	})
	gantry.New(k, gantry.Rooms{Sessions: r.Sessions, Fleet: r.Fleet, Forge: r.Forge, Members: r.Members, Knowledge: r.Knowledge, PublicURL: public})
	outposts.New(k, outposts.Rooms{Sessions: r.Sessions, Fleet: r.Fleet, PublicURL: public})
	gateway.New(k, gateway.Rooms{Fleet: r.Fleet, Sessions: r.Sessions})
}

// console opens the door for people.
func (r *Rooms) console(k *kit.Kit, sealer *page.Sealer, c clock.Clock, public *url.URL) {
	console.New(k, console.Rooms{
		Fleet: r.Fleet, Forge: r.Forge, Members: r.Members, Metrics: r.Metrics, Orgs: r.Orgs, Playbooks: r.Playbooks, Sessions: r.Sessions, Usage: r.Usage,
		Sealer: sealer, Clock: c, PublicURL: public,
	})
}
