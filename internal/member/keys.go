package member

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// holdsNoMore refuses when the service user holds a permission that the subject doesn't: a key for it would be a way up
// (contract/behaviour.md §19.3).
func holdsNoMore(sub access.Subject, u ServiceUser) error {
	for _, a := range u.Roles {
		if err := access.RequireGive(sub, a.Role.Permissions, a.OrgID); err != nil {
			return err
		}
	}
	return nil
}

// CreateKey makes another key for a service user.
func (s *Service) CreateKey(ctx context.Context, sub access.Subject, p CreateKeyParams) (NewKey, error) {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return NewKey{}, err
	}
	now := s.db.Clock().Now()
	if err := checkName("name", p.Name); err != nil {
		return NewKey{}, err
	}
	if err := checkFuture("expires_at", p.ExpiresAt, now); err != nil {
		return NewKey{}, err
	}
	key := freshKey(p.ServiceUserID, p.Name, db.Time(now.UnixMilli()))
	key.ExpiresAt = p.ExpiresAt
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		u, err := liveServiceUser(ctx, tx, p.ServiceUserID)
		if err != nil {
			return err
		}
		if err := holdsNoMore(sub, u); err != nil {
			return err
		}
		if !u.active(now) {
			return fault.New(fault.Conflict, "the service user has expired")
		}
		if err := insertKey(ctx, tx, key); err != nil {
			return err
		}
		return recordKeyTx(ctx, tx, sub, now.UnixMilli(), audit.CreateServiceUserAPIKey, u, key.APIKey)
	})
	return key, err
}

// ListKeys gives all keys of a service user that have the status, oldest first.
func (s *Service) ListKeys(ctx context.Context, sub access.Subject, serviceUserID string, status KeyStatus) ([]APIKey, error) {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return nil, err
	}
	switch status {
	case "":
		status = KeysAll
	case KeysActive, KeysRevoked, KeysExpired, KeysAll:
	default:
		return nil, fault.InvalidQuery("status", "must be active, revoked, expired or all")
	}
	u, err := liveServiceUser(ctx, s.db.Reader(), serviceUserID)
	if err != nil {
		return nil, err
	}
	rows, err := listKeys(ctx, s.db.Reader(), serviceUserID)
	if err != nil {
		return nil, err
	}
	now := s.db.Clock().Now()
	out := make([]APIKey, 0, len(rows))
	for _, k := range rows {
		is := keyStatus(k, now.UnixMilli())
		if is == KeysActive && !u.active(now) {
			is = KeysExpired // with its service user
		}
		k.Active = is == KeysActive
		if status == KeysAll || status == is {
			out = append(out, k)
		}
	}
	return out, nil
}

// keyStatus says what a key is now, in Unix milliseconds. A revoked key stays revoked after its expiry.
func keyStatus(k APIKey, now int64) KeyStatus {
	switch {
	case !k.RevokedAt.IsZero():
		return KeysRevoked
	case !k.ExpiresAt.IsZero() && k.ExpiresAt.UnixMilli() <= now:
		return KeysExpired
	}
	return KeysActive
}

// RevokeKey ends a key at once. A key that was revoked before answers 409.
func (s *Service) RevokeKey(ctx context.Context, sub access.Subject, serviceUserID, keyID string) (APIKey, error) {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return APIKey{}, err
	}
	var k APIKey
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		u, old, err := keyOf(ctx, tx, serviceUserID, keyID)
		if err != nil {
			return err
		}
		at := s.db.Clock().Millis()
		k = old
		k.RevokedAt = db.Time(at)
		if err := s.revokeTx(ctx, tx, keyID, at); err != nil {
			return err
		}
		return recordKeyTx(ctx, tx, sub, at, audit.RevokeServiceUserAPIKey, u, k)
	})
	return k, err
}

func (s *Service) revokeTx(ctx context.Context, tx *db.Tx, keyID string, at int64) error {
	n, err := revokeKey(ctx, tx, keyID, at)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.New(fault.Conflict, "the API key is revoked already")
	}
	return s.changedTx(ctx, tx, changeKey, keyID)
}

// keyOf finds a key of a live service user.
func keyOf(ctx context.Context, q db.Querier, serviceUserID, keyID string) (ServiceUser, APIKey, error) {
	u, err := liveServiceUser(ctx, q, serviceUserID)
	if err != nil {
		return u, APIKey{}, err
	}
	k, err := readKey(ctx, q, serviceUserID, keyID)
	if errors.Is(err, db.ErrNone) {
		return u, k, errNoKey
	}
	return u, k, err
}

// RotateKey makes a new key of the same name in place of an active one.
func (s *Service) RotateKey(ctx context.Context, sub access.Subject, p RotateKeyParams) (NewKey, error) {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return NewKey{}, err
	}
	now := s.db.Clock().Now()
	if err := checkFuture("new_key_expires_at", p.NewExpiresAt, now); err != nil {
		return NewKey{}, err
	}
	at := now.UnixMilli()
	key := freshKey(p.ServiceUserID, "", db.Time(at))
	key.ExpiresAt = p.NewExpiresAt
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		u, old, err := keyOf(ctx, tx, p.ServiceUserID, p.KeyID)
		if err != nil {
			return err
		}
		if err := holdsNoMore(sub, u); err != nil {
			return err
		}
		if keyStatus(old, at) != KeysActive || !u.active(now) {
			return fault.New(fault.BadRequest, "the API key is not active; only an active key can be rotated")
		}
		key.Name = old.Name
		if err := insertKey(ctx, tx, key); err != nil {
			return err
		}
		if !p.KeepCurrent {
			if err := s.revokeTx(ctx, tx, old.ID, at); err != nil {
				return err
			}
		}
		return recordKeyTx(ctx, tx, sub, at, audit.RotateServiceUserAPIKey, u, old)
	})
	return key, err
}
