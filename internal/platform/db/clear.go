package db

import (
	"context"
	"errors"
)

// Clear takes away a bounded part of what there is too much of for one transaction: look finds out whether there is any, and only then
// remove runs, with the same arguments and a LIMIT of its own. It gives whether there was any; called until there is none, it is done,
// whoever else calls it at the same time.
func Clear(ctx context.Context, d *DB, look, remove string, args ...any) (bool, error) {
	if _, err := One(ctx, d.Reader(), Int, look, args...); errors.Is(err, ErrNone) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, d.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := Exec(ctx, tx, remove, args...)
		return err
	})
}

// ClearFirst is Clear for the first of several things of which there is any left. A pair is what Clear looks with and removes with.
func ClearFirst(ctx context.Context, d *DB, pairs [][2]string, args ...any) (bool, error) {
	for _, p := range pairs {
		if some, err := Clear(ctx, d, p[0], p[1], args...); err != nil || some {
			return some, err
		}
	}
	return false, nil
}
