package secrets

import (
	"context"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const columns = `secret_id, org_id, name, secret_type, note, is_sensitive, created_by, created_at`

func scan(r db.Scanner) (Secret, error) {
	var x Secret
	return x, r.Scan(&x.ID, &x.OrgID, &x.Key, &x.Type, db.OrEmpty(&x.Note), &x.Sensitive, &x.CreatedBy, db.OrZero(&x.CreatedAt))
}

func insert(ctx context.Context, tx *db.Tx, x Secret, sealed []byte) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO secrets (secret_id, org_id, name, secret_type, note, is_sensitive, sealed, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		x.ID, x.OrgID, x.Key, string(x.Type), db.Null(x.Note), db.Bool(x.Sensitive), sealed, x.CreatedBy, x.CreatedAt.UnixMilli())
	return err
}

// held counts an organization's secrets and the bytes of their sealed values.
func held(ctx context.Context, q db.Querier, orgID string) (count, size int64, err error) {
	_, err = db.One(ctx, q, func(r db.Scanner) (struct{}, error) { return struct{}{}, r.Scan(&count, &size) },
		`SELECT COUNT(*), COALESCE(SUM(LENGTH(sealed)), 0) FROM secrets WHERE org_id = $1`, orgID)
	return count, size, err
}

func list(ctx context.Context, q db.Querier, orgID string, r page.Request) ([]Secret, error) {
	query, args := listQuery(orgID, r)
	return db.All(ctx, q, scan, query, args...)
}

func listQuery(orgID string, r page.Request) (string, []any) {
	var w db.Where
	w.Add("org_id = ?", orgID)
	if r.After != nil {
		w.Add("(created_at, secret_id) > (?, ?)", r.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", r.Limit())
	return `SELECT ` + columns + ` FROM secrets` + where + ` ORDER BY created_at, secret_id ` + limit, w.Args()
}

func remove(ctx context.Context, tx *db.Tx, orgID, secretID string) (Secret, error) {
	return db.One(ctx, tx, scan, `DELETE FROM secrets WHERE secret_id = $1 AND org_id = $2 RETURNING `+columns, secretID, orgID)
}

func idsOf(ctx context.Context, q db.Querier, orgID string) ([]string, error) {
	return db.All(ctx, q, db.Text, `SELECT secret_id FROM secrets WHERE org_id = $1 ORDER BY created_at, secret_id`, orgID)
}

type sealedRow struct {
	id, key   string
	typ       Type
	sensitive bool
	sealed    []byte
}

func readSealed(ctx context.Context, q db.Querier, orgID string, ids []string) (map[string]sealedRow, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var w db.Where
	w.Add("org_id = ?", orgID)
	w.In("secret_id", ids)
	rows, err := db.All(ctx, q, func(r db.Scanner) (sealedRow, error) {
		var x sealedRow
		return x, r.Scan(&x.id, &x.key, &x.typ, &x.sensitive, &x.sealed)
	}, `SELECT secret_id, name, secret_type, is_sensitive, sealed FROM secrets`+w.SQL(), w.Args()...)
	out := map[string]sealedRow{}
	for _, r := range rows {
		out[r.id] = r
	}
	return out, err
}

// An organization holds at most MaxPerOrg of them.
const (
	someOfOrg   = `SELECT 1 FROM secrets WHERE org_id = $1 LIMIT 1`
	removeOfOrg = `DELETE FROM secrets WHERE org_id = $1`
)
