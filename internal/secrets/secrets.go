// Package secrets owns an organization's secrets: what its sessions get as environment variables. It has the plural's name because
// platform/secret is the type of a value that prints as ***.
//
// Rules, from contract/behaviour.md §3.11 and contract/v3-rules.md "Secrets":
//   - A key is unique in its organization, by its exact letters; a double is 409.
//   - A value is never shown again, logged or audited. There is no update and no read of one: delete and create anew.
//   - It is sealed with the organization's data key for its row alone (docs/security.md).
//   - A session gets the secrets that exist when it is created, all of them or those it names, and of these the ones that still exist
//     when a worker claims it: a deleted secret is given to nobody from then on.
//
// What a value is, by type. A session's variable holds exactly this text:
//   - key-value: any text.
//   - cookie: base64 of a JSON array of cookie objects, as sent.
//   - totp: the seed in base32, in capitals and without the blanks, dashes and padding that people write it with. The agent derives the
//     codes.
package secrets

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/secret"
)

// Limits on what a caller may send and an organization may hold. A variable longer than 128 KiB, or an environment of more than
// 2 MiB, starts no program on Linux; so that "all secrets" always works, an organization holds no more than fits.
const (
	MaxKey        = 256    // characters, as of a session's own secrets
	MaxValue      = 65_536 // characters, likewise
	maxValueBytes = 100_000
	MaxNote       = 4096 // characters
	MaxPerOrg     = 500
	maxOrgBytes   = 1 << 20
)

// Type says what a value is.
type Type string

// The types of the contract.
const (
	Cookie   Type = "cookie"
	KeyValue Type = "key-value"
	TOTP     Type = "totp"
)

// Secret is one secret without its value. Note is empty for null.
type Secret struct {
	ID        string
	OrgID     string
	Key       string
	Type      Type
	Note      string
	Sensitive bool
	CreatedBy string // a user's or service user's id
	CreatedAt time.Time
}

// Given is a secret as a session gets it.
type Given struct {
	ID        string
	Key       string
	Value     secret.String
	Sensitive bool
	// Within are parts of the value that are secrets by themselves: what the cookies hold.
	Within []secret.String
}

// CreateParams make a secret.
type CreateParams struct {
	OrgID     string
	Type      Type
	Key       string
	Value     secret.String
	Note      string
	Sensitive bool
}

// validate checks the parameters and gives the value as it is kept.
func (p *CreateParams) validate() (string, error) {
	if n := utf8.RuneCountInString(p.Key); strings.TrimSpace(p.Key) == "" || n > MaxKey || !db.Storable(p.Key) {
		return "", fault.InvalidField("key", "must be text of 1 to %d characters", MaxKey)
	}
	if utf8.RuneCountInString(p.Note) > MaxNote || !db.Storable(p.Note) {
		return "", fault.InvalidField("note", "must be text of at most %d characters", MaxNote)
	}
	v := p.Value.Reveal()
	if utf8.RuneCountInString(v) > MaxValue || len(v) > maxValueBytes || !db.Storable(v) {
		return "", fault.InvalidField("value", "must be text of at most %d characters and %d bytes without NUL", MaxValue, maxValueBytes)
	}
	switch p.Type {
	case KeyValue:
		return v, nil
	case Cookie:
		if _, err := cookies(v); err != nil {
			return "", fault.InvalidField("value", "must be base64 of a JSON array of cookies") // the cause may hold a piece of it
		}
		return v, nil
	case TOTP:
		seed := tidySeed(v)
		if key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(seed); err != nil || len(key) == 0 {
			return "", fault.InvalidField("value", "must be a TOTP seed in base32")
		}
		return seed, nil
	}
	return "", fault.InvalidField("type", "must be cookie, key-value or totp")
}

// tidySeed brings a seed into the one form that programs read.
func tidySeed(v string) string {
	return strings.TrimRight(strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "\t", "", "\n", "", "\r", "").Replace(v)), "=")
}

// cookies reads a cookie secret: base64 in either alphabet, padded or not, of a JSON array of objects.
func cookies(v string) ([]map[string]any, error) {
	text := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "").Replace(v), "=")
	plain, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	var list []map[string]any
	if plain = bytes.TrimSpace(plain); !bytes.HasPrefix(plain, []byte("[")) {
		return nil, errNoArray
	}
	return list, json.Unmarshal(plain, &list)
}

// maxWithin bounds how many cookies of one secret are looked for in what a session says.
const maxWithin = 200

// within gives what the cookies of a secret hold.
func within(t Type, v string) []secret.String {
	if t != Cookie {
		return nil
	}
	list, err := cookies(v)
	if err != nil {
		return nil
	}
	var out []secret.String
	for _, c := range list[:min(len(list), maxWithin)] {
		if value, ok := c["value"].(string); ok {
			out = append(out, secret.New(value))
		}
	}
	return out
}

func place(secretID string) keeper.Place {
	return keeper.Place{Table: "secrets", Row: secretID, Column: "sealed"}
}

// Service holds the use cases.
type Service struct {
	db     *db.DB
	keeper *keeper.Keeper
}

// New makes the service.
func New(d *db.DB, k *keeper.Keeper) *Service { return &Service{db: d, keeper: k} }
