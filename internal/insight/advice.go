package insight

import (
	"fmt"
	"slices"
	"strings"
)

// notes judges the notes that the session was given: well used when the turn after them ended and nobody corrected the work, badly
// when somebody did. A note whose turn never ended says nothing. Nil when the session was given none.
func (r *rules) notes() *NoteUsage {
	if len(r.t.notes) == 0 {
		return nil
	}
	out := &NoteUsage{Good: []NoteUse{}, Bad: []NoteUse{}}
	for _, n := range r.t.notes {
		use := NoteUse{NoteID: n.ID, Message: short(fmt.Sprintf("“%s” came with message %d: %s.", n.Name, n.Command, whyGiven(n.Reason)))}
		wrong := ""
		for _, c := range r.t.corrections {
			if c.command > n.Command {
				wrong = c.text
				break
			}
		}
		switch {
		case wrong != "" && len(out.Bad) < maxItems:
			use.Reason = short("The work was corrected afterwards: " + oneLine(wrong))
			out.Bad = append(out.Bad, use)
		case wrong == "" && r.t.ended > 0 && len(out.Good) < maxItems:
			use.Reason = "The work that followed needed no correction."
			out.Good = append(out.Good, use)
		}
	}
	return out
}

// whyGiven says in words for which reason a session was given a note.
func whyGiven(reason string) string {
	switch reason {
	case "chosen":
		return "it was asked for"
	case "pinned":
		return "it is pinned"
	case "trigger":
		return "its trigger fits"
	case "macro":
		return "its macro was called"
	default:
		return reason
	}
}

// vagueWords is how short a prompt is that says little.
const vagueWords = 8

// prompt proposes a better one when something shows what the prompt lacked; nil when nothing does.
func (r *rules) prompt() *SuggestedPrompt {
	p := &SuggestedPrompt{Original: clip(r.t.prompt, maxPrompt), Feedback: []Feedback{}}
	var add []string
	for i, c := range r.t.corrections {
		p.feedback("Said too late", fmt.Sprintf("Message %d corrects the work. What it says belongs into the prompt.", c.command), c.text,
			r.corrections[i])
		if line := oneLine(c.text); !slices.Contains(add, line) {
			add = append(add, line)
		}
	}
	for _, f := range r.order {
		if f.label == "test_failure" || f.label == "build_failure" {
			p.feedback("No way to check the work", "The prompt doesn't say which command has to pass at the end.", f.title, f.issueID)
			if !strings.Contains(r.t.prompt, f.title) {
				add = append(add, fmt.Sprintf("Before you finish, run `%s` and make it pass.", f.title))
			}
		}
	}
	for _, i := range r.Issues {
		if i.Label == "structured_output" {
			p.feedback("The result's form was unclear", "The structured output was refused at first. Describe its fields in the prompt.", i.Issue, i.ID)
			add = append(add, "Check your structured output against the schema before you hand it in.")
			break
		}
	}
	words := len(strings.Fields(r.t.prompt))
	if words < vagueWords && r.t.s.UserMessages > 1 {
		p.feedback("The prompt is short", fmt.Sprintf("It has %s, and %s had to follow. Name the goal, the place and how to check the result.",
			times(words, "word"), times(int(r.t.s.UserMessages-1), "message")), r.t.prompt, "")
	}
	if len(p.Feedback) == 0 || p.Original == "" {
		return nil
	}
	p.Suggested = p.Original
	if len(add) > 0 {
		p.Suggested = clip(p.Original+"\n\nMind this:\n- "+strings.Join(add, "\n- "), 2*maxPrompt)
	}
	return p
}

func (p *SuggestedPrompt) feedback(summary, details, excerpt, issueID string) {
	if len(p.Feedback) < maxItems {
		p.Feedback = append(p.Feedback, Feedback{Summary: summary, Details: details, Excerpt: clip(excerpt, 500), IssueID: issueID})
	}
}
