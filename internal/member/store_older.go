package member

import (
	"context"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

func markOlder(ctx context.Context, tx *db.Tx, keyID string, form access.KeyForm, orgID string) error {
	_, err := db.Exec(ctx, tx, `UPDATE api_keys SET form = $1, org_id = $2 WHERE api_key_id = $3`, string(form), orgID, keyID)
	return err
}

func scanOlder(s db.Scanner) (OlderKey, error) {
	var k OlderKey
	return k, s.Scan(&k.ID, &k.OrgID, &k.OrgName, &k.UserID, &k.Email, db.OrZero(&k.CreatedAt), db.OrZero(&k.LastUsedAt))
}

// listOlder reads the live keys: not revoked, of an organization and, if they are a person's, of a person who are there. The total is
// nil unless it was asked for.
func listOlder(ctx context.Context, q db.Querier, orgID string, r page.Request) ([]OlderKey, *int64, error) {
	var w db.Where
	w.Add("k.form <> '' AND k.revoked_at IS NULL AND o.deleted_at IS NULL AND (k.form = 'service' OR u.deleted_at IS NULL)")
	if orgID != "" {
		w.Add("k.org_id = ?", orgID)
	}
	const from = ` FROM api_keys k JOIN organizations o ON o.org_id = k.org_id
		LEFT JOIN users u ON u.user_id = k.principal_id`
	var total *int64
	if r.Total {
		n, err := db.One(ctx, q, db.Int, `SELECT COUNT(*)`+from+w.SQL(), w.Args()...)
		if err != nil {
			return nil, nil, err
		}
		total = &n
	}
	if r.After != nil {
		w.Add("(k.created_at, k.api_key_id) > (?, ?)", r.After...)
	}
	where := w.SQL()
	limit := w.Limit(r.Limit(), r.Skip)
	rows, err := db.All(ctx, q, scanOlder, `SELECT k.api_key_id, k.org_id, o.name, COALESCE(u.user_id, ''), COALESCE(u.email, ''), k.created_at, k.last_used_at`+
		from+where+` ORDER BY k.created_at, k.api_key_id`+limit, w.Args()...)
	return rows, total, err
}

// endedKey is a key that was just revoked.
type endedKey struct {
	ID, PrincipalID, OrgID string
	Form                   access.KeyForm
}

// endOlder revokes one key of the older versions, or with an empty keyID all, and gives those that were live.
func endOlder(ctx context.Context, tx *db.Tx, keyID string, at int64) ([]endedKey, error) {
	return db.All(ctx, tx, func(s db.Scanner) (endedKey, error) {
		var k endedKey
		return k, s.Scan(&k.ID, &k.PrincipalID, &k.OrgID, &k.Form)
	}, `UPDATE api_keys SET revoked_at = $1 WHERE form <> '' AND revoked_at IS NULL AND ($2 = '' OR api_key_id = $2)
		RETURNING api_key_id, principal_id, org_id, form`, at, keyID)
}
