package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/netip"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// BindTx ties a fresh claim's connect token to the addresses from which the key of its worker is good. No ranges are all addresses.
func BindTx(ctx context.Context, tx *db.Tx, sessionID string, ranges []netip.Prefix) error {
	if len(ranges) == 0 {
		return nil
	}
	text, err := json.Marshal(ranges)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `UPDATE queue SET ip_ranges = $1 WHERE session_id = $2`, string(text), sessionID)
	return err
}

// withRanges reads the ranges behind a row's columns.
type withRanges struct {
	db.Scanner
	ranges sql.NullString
}

// Scan takes one column more.
func (s *withRanges) Scan(dest ...any) error { return s.Scanner.Scan(append(dest, &s.ranges)...) }

// ByToken finds the claim that a connect token belongs to: 401 when it is unknown, its claim has ended, or it isn't good from this
// address.
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
	}, `SELECT `+rowColumns+`, ip_ranges FROM queue WHERE token_hash = $1`, id.HashKey(token))
	if errors.Is(err, db.ErrNone) || err == nil && !access.From(ranges, remote) {
		return Row{}, none
	}
	return r, err
}
