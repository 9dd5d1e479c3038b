// Package insight says what can be learned from a session: what went wrong, when, and how to ask better (contract/behaviour.md §7).
//
// An analysis is made on demand and in the background: by the model that the operator names, or by rules from the recorded events when
// none is named or its answer can't be used. It says which made it. What a session did is hostile text: it is shown to a model as data,
// and a model's answer counts only as far as it follows the schema.
package insight

import (
	"strconv"

	"gantry/internal/session"
)

// State is how far the analysis of a session is.
type State string

// The states. While a second analysis runs, and when it failed, the first one is still there.
const (
	None    State = "none"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// Who makes an analysis.
const (
	ByRules = "rules"
	ByModel = "model"
)

// Kinds of action items (contract/behaviour.md §7.2).
const (
	MachineSetup      = "machine_setup"
	RepoConfig        = "repo_config"
	Knowledge         = "knowledge"
	PromptImprovement = "prompt_improvement"
	OtherItem         = "other"
)

// Analysis is what was found. Its lists are bounded; every issue id that an item names is one of Issues.
type Analysis struct {
	MadeBy string `json:"made_by"`
	// Fallback says why rules made it although a model is named.
	Fallback        string           `json:"fallback_reason,omitempty"`
	ActionItems     []ActionItem     `json:"action_items"`
	Classification  *Classification  `json:"classification"`
	Issues          []Issue          `json:"issues"`
	NoteUsage       *NoteUsage       `json:"note_usage"`
	SuggestedPrompt *SuggestedPrompt `json:"suggested_prompt"`
	Timeline        []TimelineItem   `json:"timeline"`
}

// ActionItem is something to do so that the next session goes better.
type ActionItem struct {
	Text    string `json:"action_item"`
	Type    string `json:"type"`
	IssueID string `json:"issue_id,omitempty"`
}

// Classification is the kind of work.
type Classification struct {
	Category   string   `json:"category"`
	Confidence float64  `json:"confidence"`
	Languages  []string `json:"programming_languages"`
	Tools      []string `json:"tools_and_frameworks"`
}

// Issue is a problem. Label is its kind, Impact a sentence on what it did.
type Issue struct {
	ID     string `json:"id"`
	Issue  string `json:"issue"`
	Impact string `json:"impact"`
	Label  string `json:"label"`
}

// NoteUsage says which of the notes that the session was given served it.
type NoteUsage struct {
	Good []NoteUse `json:"good_usages"`
	Bad  []NoteUse `json:"bad_usages"`
}

// NoteUse is how one note was used.
type NoteUse struct {
	NoteID  string `json:"note_id"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
}

// SuggestedPrompt is how the session could have been asked for.
type SuggestedPrompt struct {
	Original  string     `json:"original_prompt"`
	Suggested string     `json:"suggested_prompt"`
	Feedback  []Feedback `json:"feedback_items"`
}

// Feedback is one thing about the prompt. Excerpt is what it is seen by.
type Feedback struct {
	Summary string `json:"summary"`
	Details string `json:"details"`
	Excerpt string `json:"excerpt"`
	IssueID string `json:"issue_id,omitempty"`
}

// TimelineItem is one thing that happened. Color is green, blue, yellow, red or gray.
type TimelineItem struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Color       string `json:"color"`
	IssueID     string `json:"issue_id,omitempty"`
}

// Insights are a session with its analysis, nil until one was made.
type Insights struct {
	Session  *session.Session
	State    State
	Analysis *Analysis
}

// Bounds on an analysis, whoever makes it.
const (
	maxItems    = 50  // of each list but the timeline
	maxTimeline = 100 // entries
	maxText     = 2000
	maxPrompt   = 16 << 10 // bytes of a prompt that is shown or suggested
)

// issue notes a problem and gives its id, empty when there are too many already. The same problem again is the same issue.
func (a *Analysis) issue(label, text, impact string) string {
	text = short(text)
	for _, i := range a.Issues {
		if i.Label == label && i.Issue == text {
			return i.ID
		}
	}
	if len(a.Issues) >= maxItems {
		return ""
	}
	id := "issue-" + strconv.Itoa(len(a.Issues)+1)
	a.Issues = append(a.Issues, Issue{ID: id, Issue: text, Impact: short(impact), Label: label})
	return id
}

func (a *Analysis) advise(kind, text, issueID string) {
	for _, i := range a.ActionItems {
		if i.Text == text {
			return
		}
	}
	if len(a.ActionItems) < maxItems {
		a.ActionItems = append(a.ActionItems, ActionItem{Text: short(text), Type: kind, IssueID: issueID})
	}
}

func (a *Analysis) happened(color, title, description, issueID string) {
	if len(a.Timeline) < maxTimeline {
		a.Timeline = append(a.Timeline, TimelineItem{Title: short(title), Description: short(description), Color: color, IssueID: issueID})
	}
}
