// Package knowledge owns notes and their folders: what an agent should know, and when.
//
// Rules, from contract/behaviour.md §3.9 and contract/v3-rules.md (Notes, Knowledge):
//   - A note belongs to an organization or to the enterprise. An organization's lists show its own notes, then the enterprise's, which
//     it can read and not change. The enterprise's routes reach every note, as they reach every session.
//   - A write gives the whole note: what is left out or null is cleared, and is_enabled is true again. A macro is kept unless it is given.
//   - Names are not unique, a macro is unique per scope (§19.13).
//   - Folders are per scope. A folder that is switched off switches off the notes in it and in the folders below; a note's own switch
//     stays as it was set.
//   - Notes reach a session when they are enabled and pinned to one of its repositories or to all, or when their trigger matches the
//     task (choose.go, match.go).
package knowledge

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/pattern"
)

// Limits on what a caller may send, and on how much one organization or the enterprise keeps: a search reads its notes one by one.
const (
	MaxName    = 256       // characters of a name
	MaxTrigger = 4 << 10   // bytes of a trigger
	MaxBody    = 256 << 10 // bytes of a body
	MaxRepo    = 300       // characters of pinned_repo
	MaxMacro   = 100       // characters of a macro
	MaxNotes   = 5000      // notes of one scope
	MaxFolders = 1000      // folders of one scope
)

// pageBytes is how much text one page of a list holds at most; it ends early, before the note that would pass it.
const pageBytes = 8 << 20

// AllRepos is the pinned_repo of a note that every session gets.
const AllRepos = "all"

// Whose a note is.
const (
	AccessOrg        = "org"
	AccessEnterprise = "enterprise"
)

// Note is one note. Empty texts stand for null; OrgID is empty for a note of the enterprise.
type Note struct {
	ID         string
	OrgID      string
	FolderID   string
	FolderPath string // "/" outside every folder
	Name       string
	Body       string
	Trigger    string
	PinnedRepo string
	Macro      string
	Enabled    bool // its own switch; a folder may switch it off all the same
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// AccessType says whose the note is.
func (n Note) AccessType() string { return accessType(n.OrgID) }

func accessType(orgID string) string {
	if orgID == "" {
		return AccessEnterprise
	}
	return AccessOrg
}

// NoteParams are a whole note, of an organization or with OrgID "" by the enterprise's routes. NoteID is empty for a new one.
type NoteParams struct {
	OrgID      string
	NoteID     string
	Name       string
	Body       string
	Trigger    string
	FolderID   string
	PinnedRepo string
	Enabled    *bool   // nil is true
	Macro      *string // nil keeps, "" clears
}

var macroPattern = pattern.Of(`^![A-Za-z0-9_-]+$`)

func (p *NoteParams) validate() error {
	if n := utf8.RuneCountInString(p.Name); strings.TrimSpace(p.Name) == "" || n > MaxName || !db.Storable(p.Name) {
		return fault.InvalidField("name", "must be text of 1 to %d characters", MaxName)
	}
	if strings.TrimSpace(p.Body) == "" || len(p.Body) > MaxBody || !db.Storable(p.Body) {
		return fault.InvalidField("body", "must be text of 1 to %d bytes", MaxBody)
	}
	if strings.TrimSpace(p.Trigger) == "" || len(p.Trigger) > MaxTrigger || !db.Storable(p.Trigger) {
		return fault.InvalidField("trigger", "must be text of 1 to %d bytes", MaxTrigger)
	}
	if utf8.RuneCountInString(p.PinnedRepo) > MaxRepo || !db.Storable(p.PinnedRepo) {
		return fault.InvalidField("pinned_repo", "must be text of at most %d characters", MaxRepo)
	}
	if m := p.Macro; m != nil && *m != "" && (len(*m) > MaxMacro || !macroPattern().MatchString(*m)) {
		return fault.InvalidField("macro", "a macro is ! and letters, digits, _ or -, at most %d characters", MaxMacro)
	}
	if p.OrgID == "" && p.FolderID != "" {
		return fault.New(fault.BadRequest, "folder_id: a note of the enterprise takes no folder here; leave it out")
	}
	return nil
}

// require refuses unless the subject manages the notes of an organization, or with "" the enterprise's (contract/behaviour.md §2.2).
func require(who access.Subject, orgID string) error {
	if orgID == "" {
		return access.Require(who, access.ManageAccountKnowledge, "")
	}
	return access.RequireAny(who, orgID, access.ManageOrgKnowledge, access.ManageAccountKnowledge)
}

var (
	errNone   = fault.New(fault.NotFound, "no such note")
	errFolder = fault.New(fault.NotFound, "folder_id: no such folder")
	errShared = fault.New(fault.Forbidden, "the note belongs to the enterprise; it is changed under /v3/enterprise/knowledge")
)

func hashOf(body string) string {
	h := sha256.Sum256([]byte(body))
	return hex.EncodeToString(h[:])
}

func folded(n Note) string { return strings.ToLower(n.Name + "\n" + n.Trigger + "\n" + n.Body) }

// Service holds the use cases.
type Service struct{ db *db.DB }

// New makes the service.
func New(d *db.DB) *Service { return &Service{db: d} }
