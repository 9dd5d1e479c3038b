// Package playbook owns playbooks: instructions with a title, and for some a macro and the schema of what they produce.
//
// Rules, from contract/behaviour.md §3.10 and contract/v3-rules.md (Playbooks):
//   - A playbook belongs to an organization or to the enterprise. Those of the enterprise are visible to every organization, after its
//     own, and changed under the enterprise's routes, which reach no organization's.
//   - A macro is `!` and letters, digits, _ or -; it is unique per scope, and a double is a 409 whose text says so.
//   - A write needs title and body; macro and structured_output_schema are cleared by null and kept when left out.
package playbook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/pattern"
	"gantry/internal/platform/schema"
)

// Limits on what a caller may send, and on how many playbooks one organization or the enterprise keeps.
const (
	MaxTitle     = 256       // characters of a title
	MaxBody      = 256 << 10 // bytes of a body
	MaxMacro     = 100       // characters of a macro
	MaxPlaybooks = 5000      // playbooks of one scope
)

// pageBytes is how much text one page of a list holds at most; it ends early, before the playbook that would pass it.
const pageBytes = 8 << 20

// Whose a playbook is.
const (
	AccessOrg        = "org"
	AccessEnterprise = "enterprise"
)

// Playbook is one playbook. Empty texts stand for null; OrgID is empty for one of the enterprise.
type Playbook struct {
	ID        string
	OrgID     string
	Title     string
	Body      string
	Macro     string
	Schema    json.RawMessage // nil without one
	CreatedBy string          // a principal's id
	UpdatedBy string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// AccessType says whose the playbook is.
func (p Playbook) AccessType() string { return accessType(p.OrgID) }

func accessType(orgID string) string {
	if orgID == "" {
		return AccessEnterprise
	}
	return AccessOrg
}

// Params are a whole playbook, of an organization or with OrgID "" of the enterprise. PlaybookID is empty for a new one.
type Params struct {
	OrgID      string
	PlaybookID string
	Title      string
	Body       string
	Macro      *string      // nil keeps, "" clears
	Schema     SchemaChange // of structured_output_schema
}

// SchemaChange is a schema that may be given: unset keeps, a nil value clears.
type SchemaChange struct {
	Set   bool
	Value json.RawMessage
}

var macroPattern = pattern.Of(`^![A-Za-z0-9_-]+$`)

func (p *Params) validate() error {
	if n := utf8.RuneCountInString(p.Title); strings.TrimSpace(p.Title) == "" || n > MaxTitle || !db.Storable(p.Title) {
		return fault.InvalidField("title", "must be text of 1 to %d characters", MaxTitle)
	}
	if strings.TrimSpace(p.Body) == "" || len(p.Body) > MaxBody || !db.Storable(p.Body) {
		return fault.InvalidField("body", "must be text of 1 to %d bytes", MaxBody)
	}
	if m := p.Macro; m != nil && *m != "" && (len(*m) > MaxMacro || !macroPattern().MatchString(*m)) {
		return fault.InvalidField("macro", "a macro is ! and letters, digits, _ or -, at most %d characters", MaxMacro)
	}
	return schema.CheckField("structured_output_schema", p.Schema.Value)
}

// require refuses unless the subject manages the playbooks of an organization, or with "" the enterprise's (contract/behaviour.md §2.2).
func require(who access.Subject, orgID string) error {
	if orgID == "" {
		return access.Require(who, access.ManageAccountPlaybooks, "")
	}
	return access.RequireAny(who, orgID, access.ManageOrgPlaybooks, access.ManageAccountPlaybooks)
}

var (
	errNone   = fault.New(fault.NotFound, "no such playbook")
	errShared = fault.New(fault.Forbidden, "the playbook belongs to the enterprise; it is changed under /v3/enterprise/playbooks")
)

func hashOf(body string) string {
	h := sha256.Sum256([]byte(body))
	return hex.EncodeToString(h[:])
}

// Service holds the use cases.
type Service struct{ db *db.DB }

// New makes the service.
func New(d *db.DB) *Service { return &Service{db: d} }
