package member

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// AuthOptions of New. The zero value is good.
type AuthOptions struct {
	// CacheSize bounds the subjects held in memory; default 10,000.
	CacheSize int
}

type keyHash = [sha256.Size]byte

// cached is one credential's answer. used is when last_used_at was last written or marked for writing, in Unix milliseconds.
type cached struct {
	subject access.Subject
	worker  bool
	used    atomic.Int64
}

// Authenticator turns credentials into subjects. A known one costs no query: subjects are held in memory and forgotten when
// access_changes says so, within two seconds of a change anywhere and at once in the process that made it.
type Authenticator struct {
	db  *db.DB
	hub *events.Hub
	log *slog.Logger

	size     int
	mu       sync.RWMutex
	cache    map[keyHash]*cached
	embedded map[keyHash]access.Subject
	// generation counts what was forgotten, so that a lookup which began before a change is not kept after it.
	generation uint64
	// list is the IP access list, nil until it is read again. mu guards its being kept.
	list atomic.Pointer[[]netip.Prefix]

	used  sync.Map // keyUse -> Unix milliseconds, waiting to be written
	watch watch
}

func newAuthenticator(d *db.DB, hub *events.Hub, log *slog.Logger, o AuthOptions) *Authenticator {
	a := &Authenticator{
		db: d, hub: hub, log: log, size: o.CacheSize,
		cache: map[keyHash]*cached{}, embedded: map[keyHash]access.Subject{},
	}
	if a.size == 0 {
		a.size = 10_000
	}
	return a
}

// errRefused is one message for every way in which a credential may be bad, so that it tells nothing.
var errRefused = fault.New(fault.Unauthenticated, "the credential is missing, unknown, expired or revoked")

// Authenticate gives the subject of a bearer credential: a service user's or a person's cog_ key, or a worker's gwk_ key.
// A cog_ key is good from an address of the IP access list, which is looked at before the key; a worker's from those of its own.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string, remote netip.Addr) (access.Subject, error) {
	if !id.WellFormed(id.KeyService, bearer) && !id.WellFormed(id.KeyWorker, bearer) {
		return access.Subject{}, errRefused
	}
	return a.identify(ctx, bearer, remote)
}

// identify gives the subject of a well-formed key of any sort.
func (a *Authenticator) identify(ctx context.Context, bearer string, remote netip.Addr) (access.Subject, error) {
	return a.identifyHash(ctx, sha256.Sum256([]byte(bearer)), strings.HasPrefix(bearer, id.KeyWorker), remote)
}

// identifyHash is identify for a key of which only the hash is known.
func (a *Authenticator) identifyHash(ctx context.Context, hash keyHash, worker bool, remote netip.Addr) (access.Subject, error) {
	if err := a.fresh(ctx); err != nil {
		return access.Subject{}, err
	}
	if !worker {
		if err := a.AllowAddress(ctx, remote); err != nil {
			return access.Subject{}, err
		}
	}
	a.mu.RLock()
	c, sub, inside := a.cache[hash], a.embedded[hash], false
	if c == nil {
		_, inside = a.embedded[hash]
	}
	a.mu.RUnlock()
	if inside {
		return sub, nil
	}
	if c == nil {
		var err error
		if c, err = a.lookup(ctx, hash, worker); errors.Is(err, db.ErrNone) {
			return access.Subject{}, errRefused
		} else if err != nil {
			return access.Subject{}, err
		}
	}
	now := a.db.Clock().Now()
	if !c.subject.Expires.IsZero() && !now.Before(c.subject.Expires) {
		return access.Subject{}, errRefused
	}
	if worker && !access.From(c.subject.IPRanges, remote) {
		return access.Subject{}, errRefused
	}
	a.touch(c, now.UnixMilli())
	return c.subject, nil
}

// lookup reads a credential and keeps its answer. db.ErrNone stands for unknown, revoked and deleted alike; none is kept.
func (a *Authenticator) lookup(ctx context.Context, hash keyHash, worker bool) (*cached, error) {
	a.mu.RLock()
	generation := a.generation
	a.mu.RUnlock()
	read := readCredential
	if worker {
		read = readWorkerCredential
	}
	sub, used, err := read(ctx, a.db.Reader(), hash[:])
	if err != nil {
		return nil, err
	}
	c := &cached{subject: sub, worker: worker}
	c.used.Store(used)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.generation == generation {
		for old := range a.cache {
			if len(a.cache) < a.size {
				break
			}
			delete(a.cache, old)
		}
		a.cache[hash] = c
	}
	return c, nil
}

// forget drops what a change makes untrue.
func (a *Authenticator) forget(kind, subjectID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.generation++
	switch kind {
	case changeAll:
		clear(a.cache)
		a.list.Store(nil)
		return
	case changeIPList:
		a.list.Store(nil)
		return
	}
	for h, c := range a.cache {
		if (kind == changeKey && c.subject.KeyID == subjectID) || (kind == changePrincipal && c.subject.ID == subjectID) {
			delete(a.cache, h)
		}
	}
}

// AddEmbedded makes a credential known that exists in memory only: the embedded worker's.
func (a *Authenticator) AddEmbedded(key string, sub access.Subject) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.embedded[sha256.Sum256([]byte(key))] = sub
}

// keyUse names a key whose use is to be written down.
type keyUse struct {
	keyID  string
	worker bool
}

// usedEvery is how often at most last_used_at of one key is written.
const usedEvery = int64(60_000)

func (a *Authenticator) touch(c *cached, now int64) {
	last := c.used.Load()
	if now-last < usedEvery || !c.used.CompareAndSwap(last, now) {
		return
	}
	a.used.Store(keyUse{keyID: c.subject.KeyID, worker: c.worker}, now)
}

// PersonSubject gives a person as a subject, with the roles they hold directly and through groups.
func (a *Authenticator) PersonSubject(ctx context.Context, userID string) (access.Subject, error) {
	sub, err := readPerson(ctx, a.db.Reader(), userID)
	if errors.Is(err, db.ErrNone) {
		return access.Subject{}, errNoUser
	}
	return sub, err
}

// PersonSubject gives a person as a subject, with the roles they hold directly and through groups.
func (s *Service) PersonSubject(ctx context.Context, userID string) (access.Subject, error) {
	return s.auth.PersonSubject(ctx, userID)
}
