package member

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// OwnKey is one of the keys of the person who asks. OrgID is the organization of a personal key of the older versions, empty for a
// `cog_` key.
type OwnKey struct {
	APIKey
	OrgID string
}

var errNotPerson = fault.New(fault.Forbidden, "only people have keys of their own; a service user's are managed with the service user")

// OwnKeys lists the live keys of the person who asks, oldest first.
func (s *Service) OwnKeys(ctx context.Context, sub access.Subject) ([]OwnKey, error) {
	if sub.Kind != access.Person {
		return nil, errNotPerson
	}
	rows, err := listOwnKeys(ctx, s.db.Reader(), sub.ID)
	if err != nil {
		return nil, err
	}
	now := s.db.Clock().Millis()
	out := rows[:0]
	for _, k := range rows {
		if k.Active = keyStatus(k.APIKey, now) == KeysActive; k.Active {
			out = append(out, k)
		}
	}
	return out, nil
}

// RevokeOwnKey ends one of the keys of the person who asks at once; another's answers like a missing one, one that is revoked 409.
func (s *Service) RevokeOwnKey(ctx context.Context, sub access.Subject, keyID string) error {
	if sub.Kind != access.Person {
		return errNotPerson
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := readKey(ctx, tx, sub.ID, keyID); err != nil {
			if errors.Is(err, db.ErrNone) {
				return errNoKey
			}
			return err
		}
		at := s.db.Clock().Millis()
		if err := s.revokeTx(ctx, tx, keyID, at); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.RevokeAPIKey, Data: map[string]any{"api_key_id": keyID}})
	})
}

// beside scans what a statement selects after the columns of another scan.
type beside struct {
	db.Scanner
	more []any
}

func (b beside) Scan(dest ...any) error { return b.Scanner.Scan(append(dest, b.more...)...) }

const ownKeysQuery = `SELECT ` + keyColumns + `, org_id FROM api_keys WHERE principal_id = $1 AND revoked_at IS NULL ORDER BY created_at, api_key_id`

func listOwnKeys(ctx context.Context, q db.Querier, userID string) ([]OwnKey, error) {
	return db.All(ctx, q, func(s db.Scanner) (OwnKey, error) {
		var k OwnKey
		var err error
		k.APIKey, err = scanKey(beside{s, []any{db.OrEmpty(&k.OrgID)}})
		return k, err
	}, ownKeysQuery, userID)
}
