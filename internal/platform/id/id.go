// Package id makes the identifiers and keys of Gantry.
//
// An id is a prefix and the 32 hex digits of a UUIDv7, so ids of one kind sort by the time they were made. Nothing parses an id
// that comes from outside except to take `devin-` off a session's.
package id

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

// The prefixes of contract/behaviour.md §14.5 and our own.
const (
	Org          = "org-"
	User         = "user-"
	ServiceUser  = "service-user-"
	APIKey       = "api-key-"
	OlderKey     = "apk-"
	Role         = "role-"
	Outpost      = "outpost_env-"
	Hypervisor   = "hypervisor-"
	WorkerKey    = "worker-key-"
	Event        = "event-"
	AuditLog     = "audit-"
	Playbook     = "playbook-"
	Note         = "note-"
	Folder       = "folder-"
	Secret       = "secret-"
	Schedule     = "sched-"
	GitPerm      = "git-permission-"
	GitConn      = "git-connection-"
	Job          = "job-"
	Request      = "req-"
	sessionInput = "devin-"
)

// New makes an id with a prefix.
func New(prefix string) string { return prefix + Session() }

// Session makes a session's bare id: 32 hex digits without a prefix (contract/behaviour.md §3.4 16b).
func Session() string {
	u := uuid.Must(uuid.NewV7())
	return hex.EncodeToString(u[:])
}

// UUID makes a bare UUID with dashes, the form of attachment ids.
func UUID() string { return uuid.Must(uuid.NewV7()).String() }

// BareSession takes every leading `devin-` off, as clients send it once, twice or not at all.
func BareSession(s string) string {
	for strings.HasPrefix(s, sessionInput) {
		s = s[len(sessionInput):]
	}
	return s
}

// Key prefixes.
const (
	KeyService = "cog_" // a service user's key, or a person's token
	KeyOrg     = "apk_" // an organization's key of the older API versions
	KeyPerson  = "apk_user_"
	KeyWorker  = "gwk_" // a worker's key
	KeyConnect = "gct_" // one claim's connect token
)

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewKey makes a key: the prefix and 52 lower-case base32 characters, 32 random bytes (contract/behaviour.md §1.1 3).
func NewKey(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return prefix + lower.EncodeToString(b[:])
}

// HashKey is what the database keeps of a key. The key has 256 random bits, so a plain hash can't be guessed back.
func HashKey(key string) []byte {
	h := sha256.Sum256([]byte(key))
	return h[:]
}

// WellFormed reports whether s looks like a key with this prefix, so that rubbish costs no query.
func WellFormed(prefix, s string) bool {
	if len(s) != len(prefix)+52 || !strings.HasPrefix(s, prefix) {
		return false
	}
	for _, c := range s[len(prefix):] {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
