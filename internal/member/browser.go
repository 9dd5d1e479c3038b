package member

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
)

// Rules for browsers:
//   - A browser is signed in with a key: a `cog_` key, or a person's `apk_user_` key, which is good for its organization only. An
//     organization's `apk_` key is for the scripts of the older versions and nobody's own.
//   - The browser gets a token of its own, 256 random bits. The database keeps the hashes of token and key, and nobody keeps the key.
//   - What the browser may do is asked of the key anew with every request, so what ends or narrows the key does so to the browser at once.
//   - A browser is signed out 12 hours after its last request, and 7 days after it signed in.

const (
	browserIdle = 12 * time.Hour
	browserLife = 7 * 24 * time.Hour
	// browserNote is how often at most a browser's use is written down.
	browserNote = 5 * time.Minute
)

// Browser is a browser that is signed in.
type Browser struct {
	token, key keyHash
	begun      time.Time
	expires    time.Time
}

// SignedIn reports whether this is a browser at all: the zero value is none.
func (b Browser) SignedIn() bool { return !b.begun.IsZero() }

var (
	errOrgKey     = fault.New(fault.Unauthenticated, "an organization's apk_ key is for scripts of the older API versions; sign in with a cog_ key or a personal apk_user_ key")
	errSignedOut  = fault.New(fault.Unauthenticated, "the browser is not signed in")
	errNotBrowser = fault.New(fault.Unauthenticated, "a worker's key can't sign in; use a cog_ key or a personal apk_user_ key")
)

// BrowserKey gives the subject of a key that a browser may sign in with.
func (a *Authenticator) BrowserKey(ctx context.Context, key string, remote netip.Addr) (access.Subject, error) {
	switch {
	case id.WellFormed(id.KeyService, key), id.WellFormed(id.KeyPerson, key):
		return a.browsing(ctx, sha256.Sum256([]byte(key)), remote)
	case id.WellFormed(id.KeyOrg, key):
		return access.Subject{}, errOrgKey
	case id.WellFormed(id.KeyWorker, key):
		return access.Subject{}, errNotBrowser
	}
	return access.Subject{}, errRefused
}

// BrowserSubject gives the subject of the key that a browser was signed in with. Like Authenticate it answers from memory.
func (a *Authenticator) BrowserSubject(ctx context.Context, b Browser, remote netip.Addr) (access.Subject, error) {
	return a.browsing(ctx, b.key, remote)
}

func (a *Authenticator) browsing(ctx context.Context, key keyHash, remote netip.Addr) (access.Subject, error) {
	sub, err := a.identifyHash(ctx, key, false, remote)
	if err != nil {
		return access.Subject{}, err
	}
	switch {
	case sub.Kind != access.ServiceUser && sub.Kind != access.Person, sub.KeyForm == access.KeyService:
		return access.Subject{}, errRefused
	case sub.KeyForm != access.KeyPersonal:
		return sub, nil
	case sub.In(sub.KeyOrg) == 0:
		return access.Subject{}, errRefused // it ends with the person's access (contract/behaviour.md §1.1 6)
	}
	return sub.Bound(sub.KeyOrg), nil
}

// SignIn signs a browser in as the subject that BrowserKey gave for the key, and gives the browser's token.
func (s *Service) SignIn(ctx context.Context, sub access.Subject, key string) (secret.String, error) {
	token := id.NewKey("")
	now := s.db.Clock().Now()
	b := Browser{token: sha256.Sum256([]byte(token)), key: sha256.Sum256([]byte(key)), begun: now, expires: now.Add(browserIdle)}
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := insertBrowser(ctx, tx, b); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, now.UnixMilli(), audit.Entry{
			Action: audit.Login, OrgID: sub.OrgID, Data: map[string]any{"api_key_id": sub.KeyID},
		})
	})
	return secret.New(token), err
}

// Browser finds a signed-in browser by its token, and notes that it is used. It says nothing of who it is: see BrowserSubject.
func (s *Service) Browser(ctx context.Context, token string) (Browser, error) {
	if !id.WellFormed("", token) {
		return Browser{}, errSignedOut
	}
	b, err := readBrowser(ctx, s.db.Reader(), sha256.Sum256([]byte(token)))
	if errors.Is(err, db.ErrNone) {
		return b, errSignedOut
	}
	if err != nil {
		return b, err
	}
	now := s.db.Clock().Now()
	if !now.Before(b.expires) {
		return b, errSignedOut
	}
	until := now.Add(browserIdle)
	if last := b.begun.Add(browserLife); until.After(last) {
		until = last
	}
	if until.Sub(b.expires) < browserNote {
		return b, nil
	}
	b.expires = until
	return b, s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error { return extendBrowser(ctx, tx, b) })
}

// SignOut ends a browser's session. One that is over stays so.
func (s *Service) SignOut(ctx context.Context, token string) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		return deleteBrowser(ctx, tx, sha256.Sum256([]byte(token)))
	})
}

// SweepBrowsers forgets the browsers whose time is over.
func (s *Service) SweepBrowsers(ctx context.Context) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error { return deleteBrowsers(ctx, tx, s.db.Clock().Millis()) })
}
