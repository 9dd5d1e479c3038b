// Package session owns the life of a session: creation, messages, events, states, ACUs and its end.
//
// Every change of state passes Machine in state.go. A worker's reports come in by Apply, a user's wishes by the use cases of
// Service; both are one transaction with the queue's row, the ledger and the audit entry, so they never disagree.
package session

import (
	"encoding/json"
	"time"

	"gantry/internal/rollup"
)

// Session is one session as every door shows it. Empty texts stand for null.
type Session struct {
	ID              string
	OrgID           string
	Title           string
	State           State
	Reason          string // one sentence on why the session is in its state, empty when the state says it all
	CreatedAt       time.Time
	UpdatedAt       time.Time
	UserID          string
	ServiceUserID   string
	PlaybookID      string
	ChildPlaybookID string
	ParentID        string
	ChildIDs        []string
	ScheduleID      string
	AutomationID    string
	Origin          string
	Category        string
	Subcategory     string
	Mode            string
	Platform        string
	Agent           string
	Tags            []string
	Repos           []string
	Links           []string
	PullRequests    []PullRequest
	Archived        bool
	Resumable       bool
	BypassApproval  bool
	Output          json.RawMessage // nil until a valid object was handed in
	OutputSchema    json.RawMessage // nil without a schema
	OutputRequired  bool
	MaxACU          int64 // per run since the last user message; 0 without a limit
	ACUMicros       int64
	RunACUMicros    int64
	UserMessages    int64
	DevinMessages   int64
	MeteredAt       time.Time // metered up to here; zero while nobody works
	IntervalStart   time.Time
	IdleSince       time.Time
	TurnCommand     int64 // the command whose turn is running; 0 between turns
	LastSeq         int64
	LastCommand     int64
	AckedCommand    int64
	OutpostID       string // where its queue row is
	EndedAt         time.Time
	Size            string // xs, s, m, l or xl: see Sizes

	// counted is what the roll-ups count it for, as it was read; isCounted says that they know of it.
	counted   rollup.Measure
	isCounted bool
}

// PullRequest is one pull request the agent opened, or with TakenOver one of somebody else's that it pushed to. State is free text such
// as open, merged or closed, empty for null; At is when it was first reported, in Unix milliseconds, 0 when nobody knows.
type PullRequest struct {
	URL       string `json:"url"`
	State     string `json:"state,omitempty"`
	At        int64  `json:"at,omitempty"`
	TakenOver bool   `json:"taken_over,omitempty"`
}

// ACUs gives what the session has used.
func (s *Session) ACUs() float64 { return float64(s.ACUMicros) / 1_000_000 }

// Origins of contract/behaviour.md §3.15 34.
var Origins = []string{"webapp", "slack", "teams", "api", "linear", "jira", "automation", "cli", "desktop", "code_scan", "other"}

// Modes a session may ask for (contract/behaviour.md §3.4).
var Modes = []string{"normal", "fast", "lite", "ultra", "fusion"}

// Categories that the filter accepts (contract/behaviour.md §3.15 35).
var Categories = []string{
	"bug_fixing", "ci_cd_and_devops", "code_quality_and_security", "code_review", "code_review_and_analysis", "data_and_automation",
	"documentation_and_content", "feature_development", "migrations_and_upgrades", "other", "production_investigation",
	"refactoring_and_optimization", "research_and_exploration", "security", "unit_test_generation",
}

// Limits on what a caller may send.
const (
	MaxTags         = 50        // contract/behaviour.md §3.13
	MaxTag          = 256       // bytes of one tag
	MaxPrompt       = 1 << 20   // bytes of a prompt or a message
	MaxSecretKey    = 256       // characters
	MaxSecretValue  = 65_536    // characters
	MaxSecretBytes  = 120_000   // bytes of a value: the kernel takes 128 KiB for one variable
	MaxSecrets      = 200       // session_secrets of one session
	MaxAllSecrets   = 1 << 20   // bytes of all of them: the kernel takes some 2 MB of environment
	MaxACULimit     = 1e12      // ACUs; in millionths it still fits 63 bits
	MaxListed       = 200       // repos, links, attachments of one request
	MaxAttachment   = 75 << 20  // contract/behaviour.md §3.12
	MaxAttachmentID = 2083      // characters of an attachment's address
	maxOutput       = 256 << 10 // bytes of a structured output
	titleLength     = 80        // characters of a title that is made from the prompt
)
