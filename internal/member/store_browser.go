package member

import (
	"context"

	"gantry/internal/platform/db"
)

func insertBrowser(ctx context.Context, tx *db.Tx, b Browser) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO browser_sessions (token_hash, key_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
		b.token[:], b.key[:], b.begun.UnixMilli(), b.expires.UnixMilli())
	return err
}

const browserQuery = `SELECT key_hash, created_at, expires_at FROM browser_sessions WHERE token_hash = $1`

func readBrowser(ctx context.Context, q db.Querier, token keyHash) (Browser, error) {
	return db.One(ctx, q, func(s db.Scanner) (Browser, error) {
		b := Browser{token: token}
		var key []byte
		var begun, expires int64
		err := s.Scan(&key, &begun, &expires)
		copy(b.key[:], key)
		b.begun, b.expires = db.Time(begun), db.Time(expires)
		return b, err
	}, browserQuery, token[:])
}

func extendBrowser(ctx context.Context, tx *db.Tx, b Browser) error {
	_, err := db.Exec(ctx, tx, `UPDATE browser_sessions SET expires_at = $1 WHERE token_hash = $2`, b.expires.UnixMilli(), b.token[:])
	return err
}

func deleteBrowser(ctx context.Context, tx *db.Tx, token keyHash) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM browser_sessions WHERE token_hash = $1`, token[:])
	return err
}

const sweepBrowsersQuery = `DELETE FROM browser_sessions WHERE expires_at <= $1`

func deleteBrowsers(ctx context.Context, tx *db.Tx, now int64) error {
	_, err := db.Exec(ctx, tx, sweepBrowsersQuery, now)
	return err
}
