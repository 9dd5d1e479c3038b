package member

import (
	"context"
	"database/sql"
	"encoding/json"

	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

const keyColumns = `api_key_id, name, principal_id, created_at, expires_at, revoked_at, last_used_at, form`

func scanKey(s db.Scanner) (APIKey, error) {
	var k APIKey
	return k, s.Scan(&k.ID, &k.Name, &k.PrincipalID, db.OrZero(&k.CreatedAt), db.OrZero(&k.ExpiresAt), db.OrZero(&k.RevokedAt),
		db.OrZero(&k.LastUsedAt), &k.Form)
}

func insertKey(ctx context.Context, tx *db.Tx, k NewKey) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		k.ID, k.PrincipalID, k.Name, id.HashKey(k.Token.Reveal()), k.CreatedAt.UnixMilli(), db.NullMillis(k.ExpiresAt))
	return err
}

func readKey(ctx context.Context, q db.Querier, principalID, keyID string) (APIKey, error) {
	return db.One(ctx, q, scanKey, `SELECT `+keyColumns+` FROM api_keys WHERE api_key_id = $1 AND principal_id = $2`, keyID, principalID)
}

func listKeys(ctx context.Context, q db.Querier, principalID string) ([]APIKey, error) {
	return db.All(ctx, q, scanKey, `SELECT `+keyColumns+` FROM api_keys WHERE principal_id = $1 ORDER BY created_at, api_key_id`, principalID)
}

func revokeKey(ctx context.Context, tx *db.Tx, keyID string, at int64) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE api_keys SET revoked_at = $1 WHERE api_key_id = $2 AND revoked_at IS NULL`, at, keyID)
}

func revokeAllKeys(ctx context.Context, tx *db.Tx, principalID string, at int64) error {
	_, err := db.Exec(ctx, tx, `UPDATE api_keys SET revoked_at = $1 WHERE principal_id = $2 AND revoked_at IS NULL`, at, principalID)
	return err
}

const workerKeyColumns = `worker_key_id, name, outposts, orgs, ip_ranges, created_at, expires_at, revoked_at, last_used_at`

func scanWorkerKey(s db.Scanner) (WorkerKey, error) {
	var k WorkerKey
	var outposts string
	var orgs, ranges sql.NullString
	if err := s.Scan(&k.ID, &k.Name, &outposts, &orgs, &ranges, db.OrZero(&k.CreatedAt), db.OrZero(&k.ExpiresAt), db.OrZero(&k.RevokedAt),
		db.OrZero(&k.LastUsedAt)); err != nil {
		return k, err
	}
	if err := json.Unmarshal([]byte(outposts), &k.Outposts); err != nil {
		return k, err
	}
	if orgs.Valid {
		if err := json.Unmarshal([]byte(orgs.String), &k.Orgs); err != nil {
			return k, err
		}
	}
	if ranges.Valid {
		return k, json.Unmarshal([]byte(ranges.String), &k.IPRanges)
	}
	return k, nil
}

func insertWorkerKey(ctx context.Context, tx *db.Tx, k WorkerKey, token secret.String) error {
	outposts, err := json.Marshal(k.Outposts)
	if err != nil {
		return err
	}
	var orgs, ranges sql.NullString
	if k.Orgs != nil {
		text, err := json.Marshal(k.Orgs)
		if err != nil {
			return err
		}
		orgs = db.Null(string(text))
	}
	if k.IPRanges != nil {
		text, err := json.Marshal(k.IPRanges)
		if err != nil {
			return err
		}
		ranges = db.Null(string(text))
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO worker_keys (worker_key_id, name, hash, outposts, orgs, ip_ranges, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		k.ID, k.Name, id.HashKey(token.Reveal()), string(outposts), orgs, ranges, k.CreatedAt.UnixMilli(), db.NullMillis(k.ExpiresAt))
	return err
}

func readWorkerKey(ctx context.Context, q db.Querier, keyID string) (WorkerKey, error) {
	return db.One(ctx, q, scanWorkerKey, `SELECT `+workerKeyColumns+` FROM worker_keys WHERE worker_key_id = $1`, keyID)
}

func listWorkerKeys(ctx context.Context, q db.Querier, r page.Request) ([]WorkerKey, error) {
	var w db.Where
	if r.After != nil {
		w.Add("worker_key_id > ?", r.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", r.Limit())
	return db.All(ctx, q, scanWorkerKey, `SELECT `+workerKeyColumns+` FROM worker_keys`+where+` ORDER BY worker_key_id `+limit, w.Args()...)
}

func revokeWorkerKey(ctx context.Context, tx *db.Tx, keyID string, at int64) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE worker_keys SET revoked_at = $1 WHERE worker_key_id = $2 AND revoked_at IS NULL`, at, keyID)
}
