package insight

import (
	"encoding/json"
	"fmt"

	"gantry/internal/session"
	"gantry/internal/wire"
)

// shown is a session as a model sees it. Values of secrets are *** in it, as in the events that it is made of.
type shown struct {
	Title   string      `json:"title"`
	Status  string      `json:"status"`
	ACUs    float64     `json:"acus"`
	Size    string      `json:"size"`
	Repos   []string    `json:"repos"`
	Prompt  string      `json:"prompt"`
	Notes   []shownNote `json:"notes"`
	Steps   []shownStep `json:"steps"`
	Omitted int         `json:"steps_left_out,omitempty"`
}

type shownNote struct {
	ID     string `json:"note_id"`
	Name   string `json:"name"`
	Reason string `json:"given_because"`
}

type shownStep struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// question shows a tale to a model: all that matters, and when that is too much, its beginning and its end.
func question(t *tale) string {
	out := shown{
		Title: t.s.Title, Status: string(t.s.State.Status), ACUs: t.s.ACUs(), Size: t.s.Size, Repos: t.s.Repos,
		Prompt: clip(t.prompt, maxPrompt), Notes: []shownNote{}, Steps: []shownStep{},
	}
	for _, n := range t.notes {
		out.Notes = append(out.Notes, shownNote{n.ID, n.Name, n.Reason})
	}
	var steps []shownStep
	for i := range t.steps {
		if text, ok := t.steps[i].shown(); ok {
			steps = append(steps, shownStep{t.steps[i].typ, text})
		}
	}
	budget := maxQuestion / 2 // at most 6 bytes for one in JSON, hardly ever more than 2
	size := 0
	from, to := 0, len(steps)
	for from < to && size < budget {
		size += len(steps[from].Text) + 40
		from++
		if from < to && size < budget {
			to--
			size += len(steps[to].Text) + 40
		}
	}
	out.Omitted = to - from
	out.Steps = append(append(out.Steps, steps[:from]...), steps[to:]...)
	text, err := json.Marshal(out)
	if err != nil {
		panic("insight: unencodable question: " + err.Error())
	}
	return string(text)
}

// shown gives a step in words; false for one that says nothing.
func (s *step) shown() (string, bool) {
	switch s.typ {
	case wire.EventTool:
		c := s.call
		text := c.kind + ": " + c.title + ": " + c.status
		if c.exit != nil {
			text += fmt.Sprintf(", exit status %d", *c.exit)
		}
		if c.output != "" {
			text += "\n" + c.output
		}
		return text, true
	case session.EventUserMessage, wire.EventMessage:
		return clip(s.text, 4000), true
	case wire.EventTurn:
		return fmt.Sprintf("message %d %s %s", s.command, s.status, s.text), true
	case wire.EventSetup:
		return s.url + " " + s.status + " " + clip(s.text, 500), s.status == "failed"
	default:
		return clip(s.status+" "+s.url+" "+s.text, 1000), true
	}
}

// analysisSchema is what a model's answer must follow: the contract's analysis with bounds.
const analysisSchema = `{
"$schema": "http://json-schema.org/draft-07/schema#",
"type": "object",
"required": ["action_items", "classification", "issues", "timeline", "note_usage", "suggested_prompt"],
"properties": {
 "action_items": {"type": "array", "maxItems": 50, "items": {"type": "object", "required": ["action_item", "type"], "properties": {
  "action_item": {"type": "string", "minLength": 1, "maxLength": 2000},
  "type": {"enum": ["machine_setup", "repo_config", "knowledge", "prompt_improvement", "other"]},
  "issue_id": {"type": ["string", "null"], "maxLength": 100}}}},
 "classification": {"type": "object", "required": ["category", "confidence", "programming_languages", "tools_and_frameworks"], "properties": {
  "category": {"enum": ["bug_fixing", "ci_cd_and_devops", "code_quality_and_security", "code_review_and_analysis", "data_and_automation", "documentation_and_content", "feature_development", "migrations_and_upgrades", "refactoring_and_optimization", "research_and_exploration", "unit_test_generation", "other"]},
  "confidence": {"type": "number", "minimum": 0, "maximum": 1},
  "programming_languages": {"type": "array", "maxItems": 50, "items": {"type": "string", "maxLength": 100}},
  "tools_and_frameworks": {"type": "array", "maxItems": 50, "items": {"type": "string", "maxLength": 100}}}},
 "issues": {"type": "array", "maxItems": 50, "items": {"type": "object", "required": ["id", "issue", "impact", "label"], "properties": {
  "id": {"type": "string", "maxLength": 100},
  "issue": {"type": "string", "minLength": 1, "maxLength": 2000},
  "impact": {"type": "string", "maxLength": 2000},
  "label": {"type": "string", "minLength": 1, "maxLength": 100}}}},
 "note_usage": {"type": ["object", "null"], "required": ["good_usages", "bad_usages"], "properties": {
  "good_usages": {"$ref": "#/definitions/uses"}, "bad_usages": {"$ref": "#/definitions/uses"}}},
 "suggested_prompt": {"type": ["object", "null"], "required": ["suggested_prompt", "feedback_items"], "properties": {
  "suggested_prompt": {"type": "string", "minLength": 1, "maxLength": 32000},
  "feedback_items": {"type": "array", "maxItems": 50, "items": {"type": "object", "required": ["summary", "details", "excerpt"], "properties": {
   "summary": {"type": "string", "maxLength": 2000}, "details": {"type": "string", "maxLength": 2000}, "excerpt": {"type": "string", "maxLength": 2000},
   "issue_id": {"type": ["string", "null"], "maxLength": 100}}}}}},
 "timeline": {"type": "array", "maxItems": 100, "items": {"type": "object", "required": ["title", "description", "color"], "properties": {
  "title": {"type": "string", "minLength": 1, "maxLength": 2000}, "description": {"type": "string", "maxLength": 2000},
  "color": {"enum": ["green", "blue", "yellow", "red", "gray"]},
  "issue_id": {"type": ["string", "null"], "maxLength": 100}}}}
},
"definitions": {"uses": {"type": "array", "maxItems": 50, "items": {"type": "object", "required": ["note_id", "message", "reason"], "properties": {
 "note_id": {"type": "string", "maxLength": 200}, "message": {"type": "string", "maxLength": 2000}, "reason": {"type": "string", "maxLength": 2000}}}}}
}`
