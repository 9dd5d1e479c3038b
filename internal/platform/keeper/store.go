package keeper

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"gantry/internal/platform/db"
)

func readSetting(ctx context.Context, d *db.DB, name string) ([]byte, error) {
	text, err := db.One(ctx, d.Reader(), db.Text, `SELECT value FROM settings WHERE name = $1`, name)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("setting %s is not base64: %w", name, err)
	}
	return b, nil
}

// writeSetting keeps the first value that anybody wrote and gives it.
func writeSetting(ctx context.Context, d *db.DB, name string, value []byte) ([]byte, error) {
	err := d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
			name, base64.StdEncoding.EncodeToString(value))
		return err
	})
	if err != nil {
		return nil, err
	}
	return readSetting(ctx, d, name)
}

func scanBytes(s db.Scanner) ([]byte, error) {
	var b []byte
	return b, s.Scan(&b)
}

func readDataKey(ctx context.Context, d *db.DB, orgID string) ([]byte, error) {
	return db.One(ctx, d.Reader(), scanBytes, `SELECT wrapped FROM data_keys WHERE org_id = $1`, orgID)
}

// writeDataKey keeps the first key that any replica wrote and gives it.
func (k *Keeper) writeDataKey(ctx context.Context, orgID string, wrapped []byte) ([]byte, error) {
	d := k.d
	err := d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := k.unusedTx(ctx, tx); err != nil {
			return err
		}
		_, err := db.Exec(ctx, tx, `INSERT INTO data_keys (org_id, wrapped, created_at) VALUES ($1, $2, $3)
			ON CONFLICT (org_id) DO NOTHING`, orgID, wrapped, d.Clock().Millis())
		return err
	})
	if err != nil {
		return nil, err
	}
	return readDataKey(ctx, d, orgID)
}

// Forget takes an organization's data key away: what was sealed with it opens nowhere any more, but in a process that has unwrapped the
// key before, until that one ends.
func (k *Keeper) Forget(ctx context.Context, orgID string) (bool, error) {
	if orgID == "" {
		return false, errOwnKey
	}
	some, err := db.Clear(ctx, k.d, `SELECT 1 FROM data_keys WHERE org_id = $1`, `DELETE FROM data_keys WHERE org_id = $1`, orgID)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, orgID)
	return some, err
}

var errOwnKey = errors.New("keeper: the enterprise's data key stays")
