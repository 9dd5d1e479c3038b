package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"gantry/internal/member"
	"gantry/internal/platform/blob"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/telemetry"
)

// Ground is what every room stands on, opened and brought up to date. The server and `gantry admin` open it alike, at the same
// time if need be: `gantry admin` is another process on the same database.
type Ground struct {
	DB     *db.DB
	Keeper *keeper.Keeper
	Blobs  *blob.Store
	Hub    *events.Hub
	// Metrics is what this process measures of itself.
	Metrics *telemetry.Metrics
	// Jobs is where rooms name who does their background work. `gantry admin` only inserts: it runs none.
	Jobs *jobs.Runner
}

// OpenGround opens database, keeper and blobs, migrates, and refuses a keeper that isn't the database's. A database that has no keeper yet
// is given one.
func OpenGround(ctx context.Context, s *config.Storage, c clock.Clock) (*Ground, error) {
	return openGround(ctx, s, c, true)
}

// OpenUsed is OpenGround for what only makes sense after a first start: it makes no keeper.
func OpenUsed(ctx context.Context, s *config.Storage, c clock.Clock) (*Ground, error) {
	return openGround(ctx, s, c, false)
}

func openGround(ctx context.Context, s *config.Storage, c clock.Clock, first bool) (*Ground, error) {
	g := &Ground{Hub: events.New(), Metrics: telemetry.New()}
	err := g.open(ctx, s, c, first)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Ground) open(ctx context.Context, s *config.Storage, c clock.Clock, first bool) error {
	var err error
	if g.DB, err = db.Open(ctx, s.Database, db.Options{Clock: c, OnWait: g.Metrics.WriteWait}); err != nil {
		return fmt.Errorf("the database %s can't be opened: %w", config.Redact(s.Database), err)
	}
	if err = g.DB.Migrate(ctx); err != nil {
		return fmt.Errorf("the database %s can't be brought to this program's schema: %w", config.Redact(s.Database), err)
	}
	if g.Keeper, err = keeper.Of(ctx, g.DB, s.Keeper, s.Data, first); err != nil {
		return err
	}
	g.Blobs, err = blob.Open(ctx, s.Blobs, s.Data)
	return err
}

// MemberRoom is the room that the server and `gantry admin` both need: it makes and checks keys.
func (g *Ground) MemberRoom(log *slog.Logger) *member.Service {
	return member.New(g.DB, g.Hub, log, member.AuthOptions{})
}

// Close gives back what was opened.
func (g *Ground) Close() error {
	var err error
	if g.Blobs != nil {
		err = g.Blobs.Close()
	}
	if g.Keeper != nil {
		err = errors.Join(err, g.Keeper.Close())
	}
	if g.DB != nil {
		err = errors.Join(err, g.DB.Close())
	}
	return err
}
