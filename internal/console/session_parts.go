package console

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"gantry/internal/platform/human"
	"gantry/internal/wire"
)

// liveFrom tells the script where to follow the session from. A page that shows the past follows nothing.
func liveFrom(p *sessionView) templ.Attributes {
	if p.past || (p.State.Over() && p.last >= p.LastSeq) {
		return nil
	}
	return templ.Attributes{
		"data-live": p.door.base + sessionPath(p.ID) + "/live", "data-after": strconv.FormatInt(p.last, 10),
		"data-login": p.door.base + "/login?ended=1&next=" + url.QueryEscape(sessionPath(p.ID)),
	}
}

// do is where a button of the page posts to.
func (p *sessionView) do(action string) string { return p.door.base + sessionPath(p.ID) + "/" + action }

func (p *sessionView) file(attachmentID string) string {
	return p.door.base + sessionPath(p.ID) + "/files/" + url.PathEscape(attachmentID)
}

func (p *sessionView) payload(l large) string {
	return p.door.base + sessionPath(p.ID) + "/events/" + strconv.FormatInt(l.seq, 10)
}

// printed is where all that a call printed is read.
func (p *sessionView) printed(t *tool) string {
	return p.door.base + sessionPath(p.ID) + "/events/" + strconv.FormatInt(t.seq, 10) + "/output"
}

// wholeOf names what is behind a link to a shortened event.
func wholeOf(n *entry, l large) string {
	if len(n.whole) > 1 {
		return "the whole of an event (" + human.Bytes(l.size) + ")"
	}
	return "the whole of it (" + human.Bytes(l.size) + ")"
}

// before is the address of what came before the page.
func (p *sessionView) before() string {
	return p.door.base + sessionPath(p.ID) + "?before=" + strconv.FormatInt(p.earlier, 10)
}

// entryID is an entry's id in the page. A call that an earlier page shows only the beginning of has its end further down, under its own.
func (p *sessionView) entryID(n *entry) string {
	if p.past {
		return "past-" + n.id
	}
	return n.id
}

func entryClass(n *entry) string {
	name := map[kind]string{
		saidByUser: "user", saidByAgent: "agent", thinking: "thought", toolCall: "tool", note: "told", question: "question",
	}[n.kind]
	tone := n.tone
	if n.tool != nil && n.tool.failed() {
		tone = bad
	}
	return strings.TrimSpace(name + " " + string(tone))
}

// name is what a call is called: its title, else what it was given, else its kind.
func (t *tool) name() string { return cmp.Or(t.title, t.input, t.kind, "A call") }

// shownInput is what a call was given, unless its title says the same.
func (t *tool) shownInput() string {
	if strings.TrimPrefix(t.input, "$ ") == strings.TrimPrefix(t.name(), "$ ") {
		return ""
	}
	return t.input
}

// printed is what a call printed, or gave back when it printed nothing.
func (t *tool) printed() string { return strings.TrimRight(cmp.Or(clean(t.output), t.result), "\n ") }

// outcome says how a call stands.
func (t *tool) outcome() string {
	var parts []string
	switch t.status {
	case wire.ToolFailed:
		parts = append(parts, "failed")
	case wire.ToolInterrupted:
		parts = append(parts, "interrupted")
	case wire.ToolPending:
		parts = append(parts, "waits")
	case wire.ToolInProgress:
		parts = append(parts, "running")
	}
	if t.exit != nil && *t.exit != 0 {
		parts = append(parts, fmt.Sprintf("exit status %d", *t.exit))
	}
	if !t.ended.IsZero() {
		parts = append(parts, human.Span(t.ended.Sub(t.begun)))
	}
	return strings.Join(parts, " · ")
}

func toolMark(t *tool) string {
	switch {
	case t.failed():
		return "failed"
	case t.status == wire.ToolInterrupted:
		return "interrupted"
	case t.over():
		return "done"
	}
	return "running"
}

func diffClass(l line) string {
	switch l.mark {
	case "+":
		return " add"
	case "-":
		return " del"
	}
	return ""
}

func optionClass(o wire.PermissionOption) string {
	if strings.HasPrefix(o.Kind, "allow") {
		return "primary"
	}
	return "plain"
}

func planClass(e wire.PlanEntry) string {
	switch e.Status {
	case "completed":
		return "done"
	case "in_progress":
		return "now"
	}
	return ""
}

func composerClass(c composer) string {
	switch {
	case c.off != "":
		return "dim off"
	case c.asks:
		return "label asks"
	}
	return "label"
}

func sourceText(source string) string {
	if source == "devin" {
		return "from the agent"
	}
	return "handed in"
}

// long reports whether a text is better folded.
func long(s string) bool { return len(s) > 300 || strings.Count(s, "\n") > 4 }

func join(list []string) string { return strings.Join(list, ", ") }

// pullName is a pull request's address as people write it: its last two parts.
func pullName(address string) string {
	parts := strings.Split(strings.Trim(address, "/"), "/")
	if len(parts) < 2 {
		return clean(address)
	}
	return "PR " + clean(parts[len(parts)-1])
}

func asked(n *entry) string {
	if n.ask == nil {
		return "The agent asked"
	}
	return "May the agent do this?"
}
