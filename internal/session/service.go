package session

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/knowledge"
	"gantry/internal/org"
	"gantry/internal/platform/blob"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/keeper"
	"gantry/internal/playbook"
	"gantry/internal/secrets"
	"gantry/internal/usage"
)

// Options of New. Every part is needed; People answers who a member is for impersonation.
type Options struct {
	DB     *db.DB
	Clock  clock.Clock
	Keeper *keeper.Keeper
	Blobs  *blob.Store
	Hub    *events.Hub
	Fetch  *http.Client // guarded: see platform/safehttp
	Orgs   *org.Service
	Agents *agents.Service
	Forge  *forge.Service
	// Knowledge and Playbooks give sessions what their agents read.
	Knowledge *knowledge.Service
	Playbooks *playbook.Service
	Fleet     *fleet.Service
	People    func(ctx context.Context, userID string) (access.Subject, error)
	Usage     *usage.Service
	// OrgSecrets are the organizations' secrets; nil is none.
	OrgSecrets *secrets.Service
	Logger     *slog.Logger
	// OnLag hears how old the last event of a committed batch was, by the worker's clock; nil is nobody.
	OnLag func(time.Duration)
	// PublicURL builds the addresses of sessions, downloads and the gateway; it never comes from a request.
	PublicURL *url.URL
	// IdleTime is how long a session may wait for somebody before it is suspended.
	IdleTime time.Duration
	// Sizes are the bounds of the size classes; DefaultSizes when zero.
	Sizes Sizes
	// MaxACUs is the most that one session may use in all, in whole ACUs, until somebody acknowledges it; 0 is no limit.
	MaxACUs int64
	// Lease is how long a claim lives after each report, in whole seconds; fleet.LeaseTime when zero.
	Lease time.Duration
}

// Service holds the use cases of sessions.
type Service struct {
	Options
	// lapseAfter is when leases may lapse: one full lease after this server began and after the database was last away.
	lapseAfter time.Time
	downloads  []byte
	pages      string // the address of the console's pages of sessions
	followers  followers
}

// New makes the service.
func New(o Options) *Service {
	if o.Lease == 0 {
		o.Lease = fleet.LeaseTime
	}
	if o.Sizes == (Sizes{}) {
		o.Sizes = DefaultSizes()
	}
	return &Service{
		Options: o, lapseAfter: o.Clock.Now().Add(o.Lease), downloads: o.Keeper.Derive("attachment-download"),
		pages: o.PublicURL.JoinPath("sessions").String() + "/",
	}
}

// now is the current time as the database keeps it: whole milliseconds, so that what is read back is what was reckoned with.
func (v *Service) now() time.Time { return v.Clock.Now().UTC().Truncate(time.Millisecond) }

// leaseSeconds is the lease as a worker is told of it.
func (v *Service) leaseSeconds() int { return int(v.Lease / time.Second) }

// URL gives the page of a session in the console.
func (v *Service) URL(sessionID string) string {
	return v.pages + sessionID
}

// notify wakes the readers of a session after the transaction is durable.
func (v *Service) notify(tx *db.Tx, sessionID string) {
	tx.AfterCommit(func() { v.Hub.Publish(events.Session, sessionID) })
}

// notifyQueue wakes the workers of an outpost.
func (v *Service) notifyQueue(tx *db.Tx, outpostID string) {
	tx.AfterCommit(func() { v.Hub.Publish(events.Queue, outpostID) })
}

// notifyCommand wakes the worker of a session.
func (v *Service) notifyCommand(tx *db.Tx, sessionID string) {
	tx.AfterCommit(func() { v.Hub.Publish(events.Command, sessionID) })
}

// require refuses unless the subject may do p to a session: by the organization's permission, or on the enterprise's routes
// (orgID empty) by its twin. A session of an organization that the subject can't see answers like a missing one.
func require(s access.Subject, orgID string, enterprise, inOrg access.Permission) error {
	if orgID == "" {
		return access.Require(s, enterprise, "")
	}
	return access.Require(s, inOrg, orgID)
}
