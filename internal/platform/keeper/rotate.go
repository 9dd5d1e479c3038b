package keeper

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"gantry/internal/platform/db"
)

// nextRow is the canary of the keeper that is to follow, while a rotation is under way.
const nextRow = "keeper_canary_next"

// ErrSameKeeper says that a rotation names the keeper that the database has already.
var ErrSameKeeper = errors.New("the database's secrets are wrapped by this keeper already")

// ErrUnused says that the keeper was followed by another while this process ran: what it wrapped now, nobody could open later.
var ErrUnused = errors.New("the keeper was rotated; start again with the new one's URL")

// rewrapBatch is how many data keys are wrapped anew between two writes.
const rewrapBatch = 100

// Rotate has another keeper take this one's place and gives the number of data keys that it wrapped. This one is attached, the other
// is only open. Sealed values aren't touched: they are sealed with data keys, and only what wraps those changes. Derived keys stay
// what they are, because their root is handed on.
//
// It may be broken off anywhere and begun again. Until the last step the new wraps lie beside the old ones and this keeper is the
// database's; the last step is one transaction, after which the other is. A server that goes on with this keeper works with the data
// keys it has in memory, can open no other, and makes none (see ErrUnused): it is to be started again with the new URL.
//
// alsoTx joins the last transaction: the caller's record of it.
func (k *Keeper) Rotate(ctx context.Context, to *Keeper, alsoTx func(ctx context.Context, tx *db.Tx) error) (int, error) {
	if k.name == to.name {
		return 0, ErrSameKeeper
	}
	if err := k.announce(ctx, to); err != nil {
		return 0, err
	}
	canary, err := to.wrapped(ctx, []byte(canaryText))
	if err != nil {
		return 0, err
	}
	root, err := to.wrapped(ctx, k.root)
	if err != nil {
		return 0, err
	}
	total := 0
	for {
		n, err := k.rewrap(ctx, to)
		total += n
		if err != nil {
			return total, err
		}
		done, err := k.give(ctx, canary, root, alsoTx) // not if a replica made a data key meanwhile
		if done || err != nil {
			return total, err
		}
	}
}

// announce writes down which keeper is to follow. Wraps that an earlier rotation to a third one left are thrown away.
func (k *Keeper) announce(ctx context.Context, to *Keeper) error {
	text := canaryText + " for " + to.name
	stored, err := readSetting(ctx, k.d, nextRow)
	if err == nil {
		if plain, err := to.wrap.Decrypt(ctx, stored); err == nil && string(plain) == text {
			return nil // a rotation to the same keeper was broken off: go on with it
		}
	} else if !errors.Is(err, db.ErrNone) {
		return err
	}
	wrapped, err := to.wrapped(ctx, []byte(text))
	if err != nil {
		return err
	}
	return k.d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `UPDATE data_keys SET rewrapped = NULL WHERE rewrapped IS NOT NULL`); err != nil {
			return err
		}
		return putSettingTx(ctx, tx, nextRow, wrapped)
	})
}

func (k *Keeper) wrapped(ctx context.Context, plain []byte) ([]byte, error) {
	b, err := k.wrap.Encrypt(ctx, plain)
	if err != nil {
		return nil, fmt.Errorf("keeper: %s can't wrap a key: %w", k.name, err)
	}
	return b, nil
}

type dataKey struct {
	orgID   string
	wrapped []byte
}

// rewrap puts the new wrap beside each old one that has none yet.
func (k *Keeper) rewrap(ctx context.Context, to *Keeper) (int, error) {
	for total := 0; ; {
		keys, err := db.All(ctx, k.d.Reader(), func(s db.Scanner) (dataKey, error) {
			var d dataKey
			return d, s.Scan(&d.orgID, &d.wrapped)
		}, `SELECT org_id, wrapped FROM data_keys WHERE rewrapped IS NULL ORDER BY org_id LIMIT $1`, rewrapBatch)
		if err != nil || len(keys) == 0 {
			return total, err
		}
		for i, d := range keys {
			plain, err := k.wrap.Decrypt(ctx, d.wrapped)
			if err != nil {
				return total, fmt.Errorf("keeper: the data key of %q can't be opened with %s: %w", d.orgID, k.name, err)
			}
			if keys[i].wrapped, err = to.wrapped(ctx, plain); err != nil {
				return total, err
			}
		}
		err = k.d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			for _, d := range keys {
				if _, err := db.Exec(ctx, tx, `UPDATE data_keys SET rewrapped = $1 WHERE org_id = $2 AND rewrapped IS NULL`,
					d.wrapped, d.orgID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += len(keys)
	}
}

// give makes the new wraps the ones that count, unless a data key without one came meanwhile. The canary's row is held first: a replica
// that makes a data key holds it too (see unusedTx), so that none is made in between.
func (k *Keeper) give(ctx context.Context, canary, root []byte, alsoTx func(ctx context.Context, tx *db.Tx) error) (done bool, err error) {
	err = k.d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		done = false
		n, err := db.Exec(ctx, tx, `UPDATE settings SET value = $1 WHERE name = $2 AND value = $3`, encoded(canary), canaryRow, k.canary)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrUnused
		}
		left, err := db.One(ctx, tx, db.Int, `SELECT COUNT(*) FROM data_keys WHERE rewrapped IS NULL`)
		if err != nil {
			return err
		}
		if left > 0 {
			return errLeft
		}
		if err := putSettingTx(ctx, tx, rootRow, root); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, tx, `DELETE FROM settings WHERE name = $1`, nextRow); err != nil {
			return err
		}
		done = true
		if _, err = db.Exec(ctx, tx, `UPDATE data_keys SET wrapped = rewrapped, rewrapped = NULL`); err != nil {
			return err
		}
		return alsoTx(ctx, tx)
	})
	if errors.Is(err, errLeft) {
		return false, nil
	}
	return done && err == nil, err
}

// errLeft rolls give back.
var errLeft = errors.New("a data key has no new wrap yet")

// unusedTx refuses once another keeper has taken this one's place, and keeps that from happening until the transaction ends.
func (k *Keeper) unusedTx(ctx context.Context, tx *db.Tx) error {
	n, err := db.Exec(ctx, tx, `UPDATE settings SET value = value WHERE name = $1 AND value = $2`, canaryRow, k.canary)
	if err == nil && n == 0 {
		return ErrUnused
	}
	return err
}

func putSettingTx(ctx context.Context, tx *db.Tx, name string, value []byte) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, encoded(value))
	return err
}

func encoded(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
