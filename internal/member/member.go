// Package member owns who may act: service users, people, groups of the identity provider, their roles and keys, workers' keys, and the
// step from a credential to an access.Subject. The rules for people stand in people.go, those for groups in idp.go.
//
// Rules, all from contract/behaviour.md §1.3, §2.4, §2.5 and §19.3:
//   - A principal holds at most one direct role in the enterprise and one in each organization.
//   - A caller gives only roles whose permissions they hold (403), and makes keys only for service users who hold no more.
//   - A role of the wrong scope is 422, an unknown one 404.
//   - A service user of an organization never leaves it: it takes no role elsewhere.
//   - The enterprise role goes only with the service user itself.
//   - A token is shown once; the database keeps its hash.
//   - Names are not unique.
package member

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

// Limits of the contract.
const (
	MaxName       = 256
	MaxTTLSeconds = 31_536_000
)

// RoleAssignment is a direct role; OrgID "" is the enterprise.
type RoleAssignment struct {
	Role  access.Role
	OrgID string
}

// ServiceUser is a robot's identity. OrgID is empty for one of enterprise scope. Zero times mean never.
type ServiceUser struct {
	ID        string
	Name      string
	OrgID     string
	CreatedAt time.Time
	ExpiresAt time.Time
	DeletedAt time.Time
	Roles     []RoleAssignment
}

func (u ServiceUser) active(now time.Time) bool {
	return u.DeletedAt.IsZero() && (u.ExpiresAt.IsZero() || now.Before(u.ExpiresAt))
}

// APIKey is a key without its token. Zero times mean never. Active says that it still opens doors.
type APIKey struct {
	ID          string
	Name        string
	PrincipalID string
	CreatedAt   time.Time
	ExpiresAt   time.Time
	RevokedAt   time.Time
	LastUsedAt  time.Time
	Form        access.KeyForm
	Active      bool
}

// NewKey is a key with its token, which nobody can read again.
type NewKey struct {
	APIKey
	Token secret.String
}

// WorkerKey is what a worker signs in with. Orgs nil means every organization, IPRanges nil every address.
type WorkerKey struct {
	ID         string
	Name       string
	Outposts   []string
	Orgs       []string
	IPRanges   []netip.Prefix
	CreatedAt  time.Time
	ExpiresAt  time.Time
	RevokedAt  time.Time
	LastUsedAt time.Time
}

// KeyStatus filters keys.
type KeyStatus string

// The statuses; an empty one is KeysAll.
const (
	KeysActive  KeyStatus = "active"
	KeysRevoked KeyStatus = "revoked"
	KeysExpired KeyStatus = "expired"
	KeysAll     KeyStatus = "all"
)

// Service holds the use cases.
type Service struct {
	db   *db.DB
	hub  *events.Hub
	auth *Authenticator
}

// New makes the service and its Authenticator, which works best while Authenticator.Run does.
func New(d *db.DB, hub *events.Hub, log *slog.Logger, o AuthOptions) *Service {
	return &Service{db: d, hub: hub, auth: newAuthenticator(d, hub, log, o)}
}

// Authenticator gives the part that turns credentials into subjects.
func (s *Service) Authenticator() *Authenticator { return s.auth }

// ProvisionParams make a service user with one key. OrgID is empty for one of enterprise scope.
type ProvisionParams struct {
	OrgID      string
	Name       string
	RoleID     string
	TTLSeconds int64
}

func (p ProvisionParams) validate() error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	if p.RoleID == "" {
		return fault.InvalidField("role_id", "must not be empty")
	}
	if p.TTLSeconds < 1 || p.TTLSeconds > MaxTTLSeconds {
		return fault.InvalidField("ttl_seconds", "must be from 1 to %d", MaxTTLSeconds)
	}
	return nil
}

func checkName(field, name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > MaxName || !utf8.ValidString(name) {
		return fault.InvalidField(field, "must have 1 to %d characters", MaxName)
	}
	if !Shows(name) {
		return fault.InvalidField(field, "must not be blank, nor hold control characters")
	}
	return nil
}

// Shows reports whether a name can be told from others where it is shown: it isn't blank, and holds no line breaks or other control
// characters.
func Shows(name string) bool {
	return strings.TrimSpace(name) != "" && !strings.ContainsFunc(name, unicode.IsControl)
}

// ListParams choose service users: of one organization (its own, and others with a role there) or with OrgID "" all.
// IncludeInactive adds expired and removed ones.
type ListParams struct {
	OrgID           string
	IncludeInactive bool
	Page            page.Request

	own bool // only those that belong to the organization, without what stands behind its key of the older versions
}

// RoleParams name a service user and a role, in an organization or with OrgID "" in the enterprise.
type RoleParams struct {
	OrgID         string
	ServiceUserID string
	RoleID        string
}

// CreateKeyParams make a key. A zero ExpiresAt means that it doesn't expire by itself.
type CreateKeyParams struct {
	ServiceUserID string
	Name          string
	ExpiresAt     time.Time
}

// RotateKeyParams replace a key. KeepCurrent leaves the old one alive as well.
type RotateKeyParams struct {
	ServiceUserID string
	KeyID         string
	NewExpiresAt  time.Time
	KeepCurrent   bool
}

// WorkerKeyParams make a worker's key. The caller has resolved Outposts to ids of outposts that exist. Orgs nil means every
// organization, no IPRanges every address.
type WorkerKeyParams struct {
	Name      string
	Outposts  []string
	Orgs      []string
	IPRanges  []string
	ExpiresAt time.Time
}

func (p WorkerKeyParams) validate(now time.Time) error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	if len(p.Outposts) == 0 {
		return fault.InvalidField("outposts", "must name at least one outpost")
	}
	if p.Orgs != nil && len(p.Orgs) == 0 {
		return fault.InvalidField("orgs", "must be left out or name at least one organization")
	}
	return checkFuture("expires_at", p.ExpiresAt, now)
}

func checkFuture(field string, t, now time.Time) error {
	if t.IsZero() {
		return nil
	}
	if !t.After(now) || t.Year() > 9999 {
		return fault.InvalidField(field, "must be a Unix time in seconds, in the future and before the year 10000")
	}
	return nil
}

var (
	errNoServiceUser = fault.New(fault.NotFound, "the service user doesn't exist")
	errNoKey         = fault.New(fault.NotFound, "the API key doesn't exist")
	errNoWorkerKey   = fault.New(fault.NotFound, "the worker key doesn't exist")
	errNoRole        = fault.New(fault.NotFound, "the role doesn't exist")
	errNoOrg         = fault.New(fault.NotFound, "the organization doesn't exist")
	errNoUser        = fault.New(fault.NotFound, "the user doesn't exist")
)
