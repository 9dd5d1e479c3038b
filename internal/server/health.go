package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/telemetry"
)

// health mounts what load balancers and Prometheus ask for.
func (s *Server) health() {
	r := s.Kit.Router()
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	r.Get("/readyz", s.readyz)
	r.Method(http.MethodGet, "/metrics", s.Ground.Metrics.Handler())
	s.Ground.Metrics.Watch(s.queue)
}

// queue reads what a scrape wants to know of the queue.
func (s *Server) queue(ctx context.Context) (telemetry.Queue, error) {
	var q telemetry.Queue
	var err error
	if q.Pending, q.OldestMillis, err = s.Fleet.Depth(ctx); err != nil {
		return q, err
	}
	q.Claims, q.Lost = s.Fleet.Counts()
	orphans, err := s.Sessions.Orphans(ctx)
	if err != nil {
		return q, err
	}
	waiting, err := s.Jobs.Waiting(ctx)
	q.Backlog = orphans + waiting
	return q, err
}

const readyTime = 2 * time.Second

// Stopping has balancers send nothing more: the server is no longer ready, and answers all the same until its worker has drained.
func (s *Server) Stopping() { s.stopping.Store(true) }

// readyz refuses while the server stops, or the database is away, takes no writes (its disk may be full), or is of another schema version
// than this program's: below it, or beyond it since a newer release has migrated under a running server.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	have, want, err := s.DB.SchemaVersion(ctx)
	switch {
	case s.stopping.Load():
		answer(w, http.StatusServiceUnavailable, "stopping")
	case err != nil:
		answer(w, http.StatusServiceUnavailable, "the database doesn't answer")
	case s.DB.Refusing():
		answer(w, http.StatusServiceUnavailable, "the database takes no writes")
	case have < want:
		answer(w, http.StatusServiceUnavailable, fmt.Sprintf("schema version %d, needed %d: run `gantry migrate`", have, want))
	case have > want:
		answer(w, http.StatusServiceUnavailable, db.Newer(have, want).Error())
	default:
		answer(w, http.StatusOK, "ready")
	}
}

// probeEvery is how often a database that refused a write is tried.
const probeEvery = time.Second

// probe tries the database while it takes no writes: a server that isn't ready gets no requests, so nobody else may find out that it does
// again.
func (s *Server) probe(ctx context.Context) {
	for told := false; clock.Sleep(ctx, probeEvery); {
		if !s.DB.Refusing() {
			continue
		}
		err := s.DB.TryWrite(ctx)
		switch {
		case err != nil && !told && ctx.Err() == nil:
			s.log.ErrorContext(ctx, "the database takes no writes; this server isn't ready until it does", "error", err)
			told = true
		case err == nil && told:
			s.log.InfoContext(ctx, "the database takes writes again")
			told = false
		}
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": text}) // the client may be gone
}
