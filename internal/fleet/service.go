package fleet

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
)

// Options of New.
type Options struct {
	DB     *db.DB
	Clock  clock.Clock
	Hub    *events.Hub
	Logger *slog.Logger
}

// Service holds the use cases of outposts, machines and the queue's state.
type Service struct {
	Options
	lost   atomic.Int64
	claims atomic.Int64
}

// New makes the service.
func New(o Options) *Service { return &Service{Options: o} }

// CountLost counts a lease that lapsed, for the metrics.
func (v *Service) CountLost() { v.lost.Add(1) }

// CountClaim counts a claim, for the metrics.
func (v *Service) CountClaim() { v.claims.Add(1) }

// Counts gives the claims made and the leases lost by this process.
func (v *Service) Counts() (claims, lost int64) { return v.claims.Load(), v.lost.Load() }

// RequireOutpost refuses unless the subject is a worker whose key is bound to an outpost.
func RequireOutpost(s access.Subject, outpostID string) error {
	if s.Kind == access.Worker && slices.Contains(s.Outposts, outpostID) {
		return nil
	}
	return fault.New(fault.Forbidden, "the worker key is not bound to this outpost")
}

// ServesOrg reports whether a worker's key lets it work for an organization.
func ServesOrg(s access.Subject, orgID string) bool {
	return s.WorkerOrgs == nil || slices.Contains(s.WorkerOrgs, orgID)
}

// Levels of the queue (contract/behaviour.md §10.1).
const (
	elevatedAbove = 10
	highAbove     = 50
)

// QueueState is the queue's length and how full that is: normal, elevated or high.
type QueueState struct {
	Size   int64
	Status string
}

// Queue counts the sessions that are new, claimed or resuming. It needs ViewAccountMetrics.
func (v *Service) Queue(ctx context.Context, who access.Subject) (QueueState, error) {
	if err := access.Require(who, access.ViewAccountMetrics, ""); err != nil {
		return QueueState{}, err
	}
	n, err := db.One(ctx, v.DB.Reader(), db.Int, `SELECT COUNT(*) FROM sessions WHERE status IN ('new', 'claimed', 'resuming')`)
	if err != nil {
		return QueueState{}, err
	}
	q := QueueState{Size: n, Status: "normal"}
	if n > highAbove {
		q.Status = "high"
	} else if n > elevatedAbove {
		q.Status = "elevated"
	}
	return q, nil
}

// Depth gives how many sessions wait and for how many milliseconds the oldest has, for the metrics.
func (v *Service) Depth(ctx context.Context) (pending, oldestMillis int64, err error) {
	pending, err = db.One(ctx, v.DB.Reader(), db.Int, `SELECT COALESCE(SUM(pending), 0) FROM queue_lanes WHERE pending > 0`)
	if err != nil || pending == 0 {
		return pending, 0, err
	}
	since, err := db.One(ctx, v.DB.Reader(), db.Int, `SELECT COALESCE(MIN(enqueued_at), 0) FROM queue WHERE phase = 'pending'`)
	if err != nil || since == 0 {
		return pending, 0, err
	}
	return pending, max(0, v.Clock.Millis()-since), nil
}

// Wake subscribes to notices about an outpost's queue.
func (v *Service) Wake(outpostID string) (<-chan struct{}, func()) {
	return v.Hub.Subscribe(events.Queue, outpostID)
}
