package server

import (
	"context"
	"errors"
	"fmt"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/keeper"
)

// RotateKeeper has the keeper of a URL take the place of the one in the settings, and gives how many data keys it wrapped. It may run
// beside servers, which are to be started again with the new URL afterwards, and be begun again when it was broken off.
func RotateKeeper(ctx context.Context, s *config.Storage, newURL string, c clock.Clock) (n int, err error) {
	d, err := db.Open(ctx, s.Database, db.Options{Clock: c})
	if err != nil {
		return 0, fmt.Errorf("the database %s can't be opened: %w", config.Redact(s.Database), err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Migrate(ctx); err != nil {
		return 0, fmt.Errorf("the database %s can't be brought to this program's schema: %w", config.Redact(s.Database), err)
	}
	old, err := keeper.Of(ctx, d, s.Keeper, s.Data, false)
	if err != nil {
		if next, e := keeper.Of(ctx, d, newURL, s.Data, false); e == nil {
			return 0, errors.Join(fmt.Errorf("%w: start the servers with --keeper %s", keeper.ErrSameKeeper, next.Name()), next.Close())
		}
		return 0, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	next, err := keeper.Open(ctx, newURL, s.Data) // only now: a refused rotation leaves no file
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	return old.Rotate(ctx, next, func(ctx context.Context, tx *db.Tx) error {
		return audit.RecordTx(ctx, tx, access.As("gantry admin rotate-keeper"), d.Clock().Millis(), audit.Entry{
			Action: audit.RotateKeeper, Data: map[string]any{"from": old.Name(), "to": next.Name()},
		})
	})
}
