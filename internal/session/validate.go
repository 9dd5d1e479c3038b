package session

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	jsonschema "gantry/internal/platform/schema"
)

// validate checks what a request says by itself; what it names is looked up later.
func (p *CreateParams) validate() error {
	if err := validText("prompt", p.Prompt); err != nil {
		return err
	}
	if !db.Storable(p.Title) || len(p.Title) > 1000 {
		return fault.InvalidField("title", "at most 1000 bytes of text")
	}
	if err := validTags(p.Tags); err != nil {
		return err
	}
	if p.MaxACU != nil && (*p.MaxACU <= 0 || *p.MaxACU > MaxACULimit) {
		return fault.InvalidField("max_acu_limit", "must be a whole number of ACUs from 1 to %d", int64(MaxACULimit))
	}
	if p.Mode != "" && !slices.Contains(Modes, p.Mode) {
		return fault.InvalidField("devin_mode", "must be one of %s", strings.Join(Modes, ", "))
	}
	if p.Origin != "" && !slices.Contains(Origins, p.Origin) {
		return fault.InvalidField("origin", "must be one of %s", strings.Join(Origins, ", "))
	}
	for _, l := range []struct {
		name  string
		items []string
	}{{"repos", p.Repos}, {"attachment_urls", p.AttachmentURLs}, {"session_links", p.Links}} {
		if len(l.items) > MaxListed {
			return fault.InvalidField(l.name, "at most %d entries", MaxListed)
		}
	}
	if err := p.validateSecrets(); err != nil {
		return err
	}
	if err := validKnowledge(p.KnowledgeIDs); err != nil {
		return err
	}
	return jsonschema.CheckField("structured_output_schema", p.OutputSchema)
}

func (p *CreateParams) validateSecrets() error {
	if len(p.Secrets) > MaxSecrets {
		return fault.InvalidField("session_secrets", "at most %d secrets", MaxSecrets)
	}
	all := 0
	for i, s := range p.Secrets {
		at := fmt.Sprintf("session_secrets.%d.", i)
		if n := utf8.RuneCountInString(s.Key); n < 1 || n > MaxSecretKey || strings.ContainsRune(s.Key, 0) {
			return fault.InvalidField(at+"key", "must have 1 to %d characters", MaxSecretKey)
		}
		if utf8.RuneCountInString(s.Value.Reveal()) > MaxSecretValue || strings.ContainsRune(s.Value.Reveal(), 0) {
			return fault.InvalidField(at+"value", "must have at most %d characters and no NUL", MaxSecretValue)
		}
		if len(s.Value.Reveal()) > MaxSecretBytes {
			return fault.InvalidField(at+"value", "must have at most %d bytes", MaxSecretBytes)
		}
		all += len(s.Key) + len(s.Value.Reveal())
	}
	if all > MaxAllSecrets {
		return fault.InvalidField("session_secrets", "must have at most %d bytes together; hand larger things over as attachments", MaxAllSecrets)
	}
	return nil
}

func validText(field, text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return fault.InvalidField(field, "must not be empty")
	case len(text) > MaxPrompt:
		return fault.InvalidField(field, "must have at most %d bytes; hand over more as an attachment", MaxPrompt)
	case !db.Storable(text):
		return fault.InvalidField(field, "must be UTF-8 text without NUL")
	}
	return nil
}

func validTags(tags []string) error {
	if len(tags) > MaxTags {
		return fault.InvalidField("tags", "at most %d tags", MaxTags)
	}
	for i, t := range tags {
		if strings.TrimSpace(t) == "" || len(t) > MaxTag || !db.Storable(t) {
			return fault.InvalidField(fmt.Sprintf("tags.%d", i), "must have 1 to %d bytes of text", MaxTag)
		}
	}
	return nil
}

// tidyTags drops doubles and keeps the order.
func tidyTags(tags []string) []string {
	out := []string{}
	for _, t := range tags {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// titleOf makes a title from the first line of a prompt that isn't a fence.
func titleOf(prompt string) string {
	for line := range strings.Lines(prompt) {
		line = strings.TrimSpace(strings.TrimLeft(line, "# "))
		if line == "" || strings.HasPrefix(line, "```") {
			continue
		}
		if utf8.RuneCountInString(line) > titleLength {
			line = string([]rune(line)[:titleLength-1]) + "…"
		}
		return line
	}
	return "Untitled"
}
