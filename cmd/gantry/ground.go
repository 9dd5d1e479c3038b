package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"gantry/internal/member"
	"gantry/internal/platform/blob"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/keeper"
)

// ground is what every room stands on, opened and brought up to date. The server and `gantry admin` open it alike, at the same
// time if need be: `gantry admin` is another process on the same database.
type ground struct {
	db     *db.DB
	keeper *keeper.Keeper
	blobs  *blob.Store
	hub    *events.Hub
}

// openGround opens database, keeper and blobs, migrates, and refuses a keeper that isn't the database's.
func openGround(ctx context.Context, s *config.Storage) (*ground, error) {
	g := &ground{hub: events.New()}
	err := g.open(ctx, s)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *ground) open(ctx context.Context, s *config.Storage) error {
	var err error
	if g.db, err = db.Open(ctx, s.Database, db.Options{}); err != nil {
		return fmt.Errorf("the database %s can't be opened: %w", config.Redact(s.Database), err)
	}
	if err = g.db.Migrate(ctx); err != nil {
		return fmt.Errorf("the database %s can't be brought up to date: %w", config.Redact(s.Database), err)
	}
	if g.keeper, err = keeper.Open(ctx, s.Keeper, s.Data); err != nil {
		return err
	}
	if err = g.keeper.Attach(ctx, g.db); err != nil {
		return err
	}
	g.blobs, err = blob.Open(ctx, s.Blobs, s.Data)
	return err
}

// members is the room that both need: it makes and checks keys.
func (g *ground) members(log *slog.Logger) *member.Service {
	return member.New(g.db, g.hub, log, member.AuthOptions{})
}

// close gives back what was opened.
func (g *ground) close() error {
	var err error
	if g.blobs != nil {
		err = g.blobs.Close()
	}
	if g.keeper != nil {
		err = errors.Join(err, g.keeper.Close())
	}
	if g.db != nil {
		err = errors.Join(err, g.db.Close())
	}
	return err
}
