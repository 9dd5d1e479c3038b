package keeper

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Place says where a sealed value is kept. A value opens only at the place, and in the organization, where it was sealed: a row
// moved by a thief of the database stays shut. Row is the row's primary key, its parts joined by "/".
type Place struct {
	Table  string
	Row    string
	Column string
}

// sealedV1 is the first byte of a sealed value, so that another cipher may come later.
const sealedV1 = 1

// ErrSealed says that a sealed value can't be opened here: it was changed, moved, or sealed with another key.
var ErrSealed = errors.New("sealed value can't be opened")

type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead}, nil
}

// additional binds a value to its organization and place. Every part carries its length, so that no two places look alike.
func additional(orgID string, p Place) []byte {
	var b []byte
	for _, s := range []string{orgID, p.Table, p.Row, p.Column} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// Seal encrypts a value for one place. Inside a transaction the organization's key has to be prepared.
func (k *Keeper) Seal(ctx context.Context, orgID string, at Place, plain []byte) ([]byte, error) {
	s, err := k.sealer(ctx, orgID)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1, 1+len(plain)+s.aead.Overhead())
	out[0] = sealedV1
	return s.aead.Seal(out, nil, plain, additional(orgID, at)), nil //nolint:gosec // the AEAD draws the nonce itself
}

// Open decrypts a value that was sealed for this place.
func (k *Keeper) Open(ctx context.Context, orgID string, at Place, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealedV1 {
		return nil, fmt.Errorf("%w: unknown form", ErrSealed)
	}
	s, err := k.sealer(ctx, orgID)
	if err != nil {
		return nil, err
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], additional(orgID, at))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return plain, nil
}

// Prepare makes and unwraps the organization's data key, so that Seal and Open work inside a transaction: the keeper may be a
// KMS, and no network belongs there.
func (k *Keeper) Prepare(ctx context.Context, orgID string) error {
	_, err := k.sealer(ctx, orgID)
	return err
}

func (k *Keeper) sealer(ctx context.Context, orgID string) (*sealer, error) {
	k.mu.RLock()
	s := k.keys[orgID]
	k.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	if db.InWrite(ctx) {
		return nil, fmt.Errorf("keeper: data key of %q is not prepared; call Prepare before the transaction", orgID)
	}
	// One caller's end must not fail the others that wait with it.
	v, err, _ := k.flight.Do(orgID, func() (any, error) { return k.load(context.WithoutCancel(ctx), orgID) })
	if err != nil {
		return nil, err
	}
	return v.(*sealer), nil
}

func (k *Keeper) load(ctx context.Context, orgID string) (*sealer, error) {
	wrapped, err := readDataKey(ctx, k.d, orgID)
	if errors.Is(err, db.ErrNone) {
		wrapped, err = k.makeDataKey(ctx, orgID)
	}
	if err != nil {
		return nil, err
	}
	key, err := k.wrap.Decrypt(ctx, wrapped)
	if err != nil {
		return nil, fault.Away(err, "the keeper")
	}
	s, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[orgID] = s
	return s, nil
}

func (k *Keeper) makeDataKey(ctx context.Context, orgID string) ([]byte, error) {
	key, err := randomKey()
	if err != nil {
		return nil, err
	}
	wrapped, err := k.wrap.Encrypt(ctx, key)
	if err != nil {
		return nil, fault.Away(err, "the keeper")
	}
	wrapped, err = k.writeDataKey(ctx, orgID, wrapped)
	if errors.Is(err, ErrUnused) {
		return nil, fault.Away(err, "the keeper")
	}
	return wrapped, err
}
