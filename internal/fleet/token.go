package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// BindTx ties a fresh claim to the key that it was made with, a worker's or an API key: it ends with the key, and its connect token is good
// only from the addresses from which a worker's key is. Who claims without a key, as the embedded worker does, is tied to nothing. A key
// that has ended claims nothing: 401.
func BindTx(ctx context.Context, tx *db.Tx, sessionID string, who access.Subject, now time.Time) error {
	var ranges sql.NullString
	if len(who.IPRanges) > 0 {
		text, err := json.Marshal(who.IPRanges)
		if err != nil {
			return err
		}
		ranges = db.Null(string(text))
	}
	if who.KeyID == "" && !ranges.Valid {
		return nil
	}
	if _, err := db.Exec(ctx, tx, `UPDATE queue SET ip_ranges = $1, claim_key = $2 WHERE session_id = $3`,
		ranges, db.Null(who.KeyID), sessionID); err != nil {
		return err
	}
	_, err := db.One(ctx, tx, db.Int, `SELECT 1 FROM queue WHERE `+keyEnded+` AND session_id = $2`, now.UnixMilli(), sessionID)
	if errors.Is(err, db.ErrNone) {
		return nil
	}
	if err == nil { // a request that was held open, or a replica that hasn't heard of it yet
		err = fault.New(fault.Unauthenticated, "the key is expired or revoked, or not good for this session")
	}
	return err
}

// keyEnded is true of a claim whose key is good no more for what it claimed: a worker's that is revoked, over, or not for this outpost or
// organization; an API key that is revoked or over, or whose owner is gone or holds UseOutpostsMachine no more, by no role of their own or
// of a group. $1 is the time in Unix milliseconds. Ids and names of permissions need no escaping in JSON, so a list has one when it has its
// quoted form; a role's list has what its permissions imply, too.
const keyEnded = `claim_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM worker_keys k WHERE k.worker_key_id = queue.claim_key
	AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $1)
	AND REPLACE(k.outposts, '"' || queue.outpost_id || '"', '') <> k.outposts
	AND (k.orgs IS NULL OR REPLACE(k.orgs, '"' || queue.org_id || '"', '') <> k.orgs))
	AND NOT EXISTS (SELECT 1 FROM api_keys k WHERE k.api_key_id = queue.claim_key
	AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $1)
	AND (EXISTS (SELECT 1 FROM service_users s WHERE s.service_user_id = k.principal_id
			AND s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $1))
		OR EXISTS (SELECT 1 FROM users u WHERE u.user_id = k.principal_id AND u.deleted_at IS NULL))
	AND EXISTS (SELECT 1 FROM roles r WHERE REPLACE(r.permissions, '"UseOutpostsMachine"', '') <> r.permissions
		AND (r.role_id IN (SELECT a.role_id FROM role_assignments a WHERE a.principal_id = k.principal_id AND a.org_id = '')
		OR r.role_id IN (SELECT g.role_id FROM idp_group_members m JOIN idp_group_roles g ON g.idp_group_name = m.idp_group_name
			WHERE m.user_id = k.principal_id AND g.org_id = ''))))`

// Disowned lists claims whose key has ended, at most n.
func Disowned(ctx context.Context, q db.Querier, now time.Time, n int) ([]Row, error) {
	return db.All(ctx, q, scanRow, disownedQuery, now.UnixMilli(), n)
}

const disownedQuery = `SELECT ` + rowColumns + ` FROM queue WHERE phase = 'claimed' AND ` + keyEnded + ` LIMIT $2`

// withRanges reads the ranges behind a row's columns.
type withRanges struct {
	db.Scanner
	ranges sql.NullString
}

// Scan takes one column more.
func (s *withRanges) Scan(dest ...any) error { return s.Scanner.Scan(append(dest, &s.ranges)...) }

// ByToken finds the claim that a connect token belongs to: 401 when it is unknown, its claim or the key that made it has ended, or it
// isn't good from this address.
func (v *Service) ByToken(ctx context.Context, token string, remote netip.Addr) (Row, error) {
	none := fault.New(fault.Unauthenticated, "the connect token is unknown or its claim has ended")
	if !id.WellFormed(id.KeyConnect, token) {
		return Row{}, none
	}
	var ranges []netip.Prefix
	r, err := db.One(ctx, v.DB.Reader(), func(s db.Scanner) (Row, error) {
		with := &withRanges{Scanner: s}
		r, err := scanRow(with)
		if err == nil && with.ranges.Valid {
			err = json.Unmarshal([]byte(with.ranges.String), &ranges)
		}
		return r, err
	}, `SELECT `+rowColumns+`, ip_ranges FROM queue WHERE NOT (`+keyEnded+`) AND token_hash = $2`, v.Clock.Millis(), id.HashKey(token))
	if errors.Is(err, db.ErrNone) || err == nil && !access.From(ranges, remote) {
		return Row{}, none
	}
	return r, err
}
