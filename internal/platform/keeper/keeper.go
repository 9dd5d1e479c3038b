// Package keeper keeps the secrets of the deployment: it wraps data keys, seals columns and derives keys for signing.
//
// The keeper itself is a local file or a key in a KMS. It never touches data: it wraps one data key per organization (the empty id is the
// enterprise), and the data keys, unwrapped once and held in memory, seal columns with AES-256-GCM. Whoever holds the database
// alone reads nothing; whoever holds database and key file reads everything (design: docs/security.md).
package keeper

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"

	"golang.org/x/sync/singleflight"

	"gantry/internal/platform/db"
)

// keyLen is the length of every key here: AES-256.
const keyLen = 32

// Keeper wraps and seals. Open makes one; Attach has to succeed before it is used for anything but Close.
type Keeper struct {
	name   string // the URL, for messages
	mend   string // what an operator does when this keeper is the wrong one
	wrap   wrapper
	root   []byte // what Derive derives from; nil until Attach for a keeper outside this machine
	remote bool
	canary string // the canary's row as Attach found it: it changes when another keeper takes this one's place

	d      *db.DB
	mu     sync.RWMutex
	keys   map[string]*sealer // by organization
	flight singleflight.Group
}

// Open opens the keeper that a URL names. "" is the file keeper.key below dataDir, file:///path another file, awskms:///KEY a key
// in AWS KMS (openKMSKey says which parameters it takes). A missing file is made with a random key: what has a database asks Of.
func Open(ctx context.Context, rawURL, dataDir string) (*Keeper, error) {
	return openWith(ctx, rawURL, dataDir, readOrMakeKey)
}

// Of opens the keeper of a migrated database and attaches it. Only for a database that has none yet, and only with first, a missing file
// is made: another key in the place of one that went away, or was misspelt, opens nothing and would be in the next backup.
func Of(ctx context.Context, d *db.DB, rawURL, dataDir string, first bool) (*Keeper, error) {
	kept, err := Kept(ctx, d)
	switch {
	case err != nil:
		return nil, err
	case !kept && !first:
		return nil, errNone
	}
	key := readOrMakeKey
	if kept {
		key = readKept
	}
	k, err := openWith(ctx, rawURL, dataDir, key)
	if err != nil {
		return nil, err
	}
	if err := k.Attach(ctx, d); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Kept reports whether a migrated database has its keeper already: the first Attach gives it one.
func Kept(ctx context.Context, d *db.DB) (bool, error) {
	_, err := readSetting(ctx, d, canaryRow)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

var errNone = errors.New("keeper: this database has none yet: `gantry serve` or `gantry admin key` makes it")

// orRotated ends every advice to bring a keeper back.
const orRotated = "; if `gantry admin rotate-keeper` was run since, name the keeper that it was given with --keeper"

func openWith(ctx context.Context, rawURL, dataDir string, key func(path string) ([]byte, error)) (*Keeper, error) {
	if rawURL == "" {
		rawURL = (&url.URL{Scheme: "file", Path: filepath.Join(dataDir, "keeper.key")}).String()
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("keeper: %q is not a URL; give file:///path or awskms:///KEY", rawURL)
	}
	switch u.Scheme {
	case "file":
		return openFile(u, key)
	case "awskms":
		return openKMS(ctx, u)
	}
	return nil, fmt.Errorf("keeper: the scheme of %q is not known; give file:///path or awskms:///KEY", u.Redacted())
}

func openFile(u *url.URL, read func(path string) ([]byte, error)) (*Keeper, error) {
	if u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("keeper: %q names no absolute path; write it with three slashes, file:///path/keeper.key", u)
	}
	key, err := read(u.Path)
	if err != nil {
		return nil, err
	}
	wrapKey, err := derive(key, "keeper wrap")
	if err != nil {
		return nil, err
	}
	local := localKey(wrapKey)
	return &Keeper{
		name: u.String(),
		mend: "put the file that belongs to this database back (it is part of every backup of the data directory)" + orRotated,
		wrap: &local,
		root: key,
		keys: map[string]*sealer{},
	}, nil
}

// openKMS is the only place that touches the AWS SDK, so that its configuration is read when a KMS is named and never else.
func openKMS(ctx context.Context, u *url.URL) (*Keeper, error) {
	k, err := openKMSKey(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("keeper: %s can't be opened: %w", u.Redacted(), err)
	}
	return &Keeper{
		name:   u.Redacted(),
		mend:   "name the KMS key that belongs to this database with --keeper, and see that it can be reached and that these credentials may use it" + orRotated,
		wrap:   k,
		remote: true,
		keys:   map[string]*sealer{},
	}, nil
}

// Close is for whoever opened the keeper: nothing is held open between calls.
func (k *Keeper) Close() error { return nil }

// Derive gives a key of 32 bytes for one purpose, the same on every replica and after every start. Keys of different purposes
// tell nothing about one another.
func (k *Keeper) Derive(purpose string) []byte {
	if k.root == nil {
		panic("keeper: Derive before Attach")
	}
	key, err := derive(k.root, "derive "+purpose)
	if err != nil {
		panic("keeper: " + err.Error()) // only a length beyond HKDF's, and ours is a constant
	}
	return key
}

func derive(root []byte, info string) ([]byte, error) {
	return hkdf.Key(sha256.New, root, nil, "gantry "+info, keyLen)
}

// Names of the rows in settings.
const (
	canaryRow = "keeper_canary"
	rootRow   = "keeper_root"
)

const canaryText = "gantry keeper canary"

// ErrWrongKeeper says that the database was written with another keeper.
var ErrWrongKeeper = errors.New("the keeper can't open this database's secrets")

// Attach ties the keeper to a migrated database, and gives the database the key to sign with. It refuses one whose secrets were wrapped
// by another keeper.
func (k *Keeper) Attach(ctx context.Context, d *db.DB) error {
	k.d = d
	text, stored, err := k.setting(ctx, canaryRow, func() ([]byte, error) { return []byte(canaryText), nil })
	if err != nil {
		return err
	}
	if string(text) != canaryText {
		return k.refuse(errors.New("the canary holds another text"))
	}
	k.canary = encoded(stored)
	if err := k.takeRoot(ctx); err != nil {
		return err
	}
	d.SignWith(k.Derive("signed rows"))
	return nil
}

// takeRoot finds what Derive derives from. A KMS gives no key material away, so there it is a random root that the KMS wraps; a key file
// is its own root, unless it took another keeper's place and was handed that one's (see Rotate).
func (k *Keeper) takeRoot(ctx context.Context) error {
	if !k.remote {
		if _, err := readSetting(ctx, k.d, rootRow); errors.Is(err, db.ErrNone) {
			return nil
		}
	}
	root, _, err := k.setting(ctx, rootRow, randomKey)
	if err != nil {
		return err
	}
	if len(root) != keyLen {
		return k.refuse(errors.New("the root has a wrong length"))
	}
	k.root = root
	return nil
}

func (k *Keeper) refuse(cause error) error {
	return fmt.Errorf("%w: setting %s can't be opened with %s: %w; %s", ErrWrongKeeper, canaryRow, k.name, cause, k.mend)
}

// setting reads and unwraps a row of settings. A missing row is made first.
func (k *Keeper) setting(ctx context.Context, name string, fresh func() ([]byte, error)) (plain, stored []byte, err error) {
	stored, err = readSetting(ctx, k.d, name)
	if errors.Is(err, db.ErrNone) {
		if stored, err = k.makeSetting(ctx, name, fresh); err != nil {
			return nil, nil, err
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("keeper: read setting %s: %w", name, err)
	}
	if plain, err = k.wrap.Decrypt(ctx, stored); err != nil {
		return nil, nil, k.refuse(err)
	}
	return plain, stored, nil
}

func (k *Keeper) makeSetting(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	plain, err := fresh()
	if err != nil {
		return nil, err
	}
	wrapped, err := k.wrap.Encrypt(ctx, plain)
	if err != nil {
		return nil, fmt.Errorf("keeper: %s can't wrap a key: %w", k.name, err)
	}
	return writeSetting(ctx, k.d, name, wrapped)
}

// Name is the keeper's URL without credentials.
func (k *Keeper) Name() string { return k.name }
