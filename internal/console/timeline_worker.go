package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"gantry/internal/platform/human"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// worker tells of what a worker reports besides what its agent says and does.
func (t *teller) worker(e session.Event) {
	switch e.Type {
	case wire.EventSetup:
		if d, ok := read[wire.SetupData](e); ok {
			t.setup(e, d)
		}
	case wire.EventAgent:
		if d, ok := read[wire.AgentData](e); ok {
			t.agentState(e, d)
		}
	case wire.EventTurn:
		if d, ok := read[wire.TurnData](e); ok && d.Status == "ended" {
			t.turnEnd(e, d)
		}
	case wire.EventStructuredOutput:
		if d, ok := read[wire.OutputData](e); ok {
			t.offered(e, d)
		}
	case wire.EventPullRequest:
		if d, ok := read[wire.PullRequestData](e); ok {
			title := "Pull request"
			if d.TakenOver {
				title = "Pushed to somebody else's pull request"
			}
			n := entry{kind: note, tone: good, title: title + " " + clean(d.URL), text: clean(d.State)}
			if safeLink(d.URL) {
				n.link = d.URL
			}
			t.put(e, n)
		}
	case wire.EventAttachment:
		if d, ok := read[wire.AttachmentData](e); ok {
			t.put(e, entry{kind: note, title: "Handed over a file", files: []wire.Attachment{{ID: d.ID, Name: d.Name, Size: d.Size}}})
			t.filesTouched = true
		}
	case wire.EventLog:
		if d, ok := read[wire.LogData](e); ok {
			tone := map[string]tone{"error": bad, "warning": warn}[d.Level]
			t.put(e, entry{kind: note, tone: cmp.Or(tone, quiet), title: clean(d.Text)})
		}
	}
}

// setup shows each phase once: begun, then how it ended.
func (t *teller) setup(e session.Event, d wire.SetupData) {
	n := t.setups[d.Phase]
	if n == nil {
		n = t.put(e, entry{kind: note})
		t.setups[d.Phase] = n
	}
	t.change(n)
	name := phaseName(d.Phase)
	n.text = clean(d.Detail)
	switch d.Status {
	case "started":
		n.tone, n.title = quiet, name+" …"
	case "failed":
		n.tone, n.title = bad, name+" failed"
		n.next = "Nothing of the agent ran yet. Mend what the reason names, then start the session again."
	default:
		n.tone, n.title = quiet, name+" · "+human.Span(time.Duration(d.Millis)*time.Millisecond)
	}
}

func phaseName(phase string) string {
	if name, ok := map[string]string{
		"workspace": "Workspace", "clone": "Clone", "attachments": "Files", "sandbox": "Sandbox", "agent": "Agent's start",
	}[phase]; ok {
		return name
	}
	return clean(phase)
}

func (t *teller) agentState(e session.Event, d wire.AgentData) {
	n := entry{kind: note, tone: quiet, text: clean(d.Detail)}
	name := clean(strings.TrimSpace(d.Name + " " + d.Version))
	switch d.Status {
	case "started":
		n.title = strings.TrimSpace("Agent started " + name)
	case "restarted":
		n.tone, n.title = warn, strings.TrimSpace("Agent started again "+name)
	case "silent":
		n.tone, n.title, n.next = warn, "The agent says nothing", "It may still work. End the session if it doesn't come back."
	case "exited":
		n.title = "Agent ended"
	default:
		n.title = "Agent " + clean(d.Status)
	}
	t.put(e, n)
}

// turnEnd tells of the ends that somebody may have to act on.
func (t *teller) turnEnd(e session.Event, d wire.TurnData) {
	title, ok := map[string]string{
		"max_tokens":        "The agent stopped: its answer grew longer than its model allows",
		"max_turn_requests": "The agent stopped: it asked its model as often as it may in one turn",
		"refusal":           "The agent's model refused to go on",
	}[d.StopReason]
	if ok {
		t.put(e, entry{kind: note, tone: warn, title: title, next: "Send a message to have it go on."})
	}
}

func (t *teller) offered(e session.Event, d wire.OutputData) {
	if d.Error != "" {
		t.put(e, entry{
			kind: note, tone: warn, title: "The result doesn't fit its schema", text: clean(d.Error),
			next: "The agent may offer another; what fitted last stays the result.",
		})
		return
	}
	t.put(e, entry{kind: note, tone: good, title: "Handed over a result", text: pretty(d.Value)})
}

// safeLink takes addresses that a page may lead to.
func safeLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

// inputText shows what a call was given: a command alone when that is all there is.
func inputText(raw json.RawMessage) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) == nil {
		for _, name := range []string{"command", "cmd", "script"} {
			var text string
			var argv []string
			switch {
			case len(members) > 2 || members[name] == nil:
			case json.Unmarshal(members[name], &text) == nil:
				return "$ " + clean(text)
			case json.Unmarshal(members[name], &argv) == nil:
				return "$ " + clean(strings.Join(argv, " "))
			}
		}
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return clean(text)
	}
	return pretty(raw)
}

// resultText shows what a call gave back: a text, changes of files, or an object.
func resultText(raw json.RawMessage) (string, []diff) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return clean(tail(text)), nil
	}
	var changes struct {
		Diffs []diff `json:"diffs"`
	}
	if json.Unmarshal(raw, &changes) == nil && len(changes.Diffs) > 0 {
		return "", changes.Diffs
	}
	return tail(pretty(raw)), nil
}

func tail(s string) string {
	if len(s) <= maxPrinted {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-maxPrinted:], "")
}

// pretty indents JSON; empty for null and nothing.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || string(raw) == "null" || json.Indent(&b, raw, "", "  ") != nil {
		return ""
	}
	return clean(b.String())
}

// line is one line of a shown change: mark is +, - or a blank.
type line struct{ mark, text string }

// around is how many lines are shown before and after a change.
const around = 3

// maxLines is how many lines of one change a page shows.
const maxLines = 400

// lines shows a change as one piece: what both have at the beginning and the end is left out but for a few lines.
func (d diff) lines() []line {
	var before []string
	if d.OldText != nil {
		before = splitLines(*d.OldText)
	}
	after := splitLines(d.NewText)
	head := 0
	for head < len(before) && head < len(after) && before[head] == after[head] {
		head++
	}
	foot := 0
	for foot < len(before)-head && foot < len(after)-head && before[len(before)-1-foot] == after[len(after)-1-foot] {
		foot++
	}
	var out []line
	add := func(mark string, texts []string) {
		for _, t := range texts {
			if len(out) < maxLines {
				out = append(out, line{mark, t})
			}
		}
	}
	add(" ", before[max(0, head-around):head])
	add("-", before[head:len(before)-foot])
	add("+", after[head:len(after)-foot])
	add(" ", after[len(after)-foot:min(len(after), len(after)-foot+around)])
	if len(out) == maxLines {
		out = append(out, line{" ", "… the rest of this change isn't shown"})
	}
	return out
}

func splitLines(s string) []string {
	s = strings.TrimSuffix(clean(s), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// limitOf says whose limit it is.
func limitOf(scope string) string {
	if text, ok := map[string]string{
		"session": "this run", "session_total": "one session", "user": "its user", "organization": "the organization",
		"group": "the organization's group", "enterprise": "the enterprise",
	}[scope]; ok {
		return text
	}
	return clean(scope)
}

func limitNext(scope string) string {
	switch scope {
	case "session":
		return "Send a message to grant it another run."
	case "session_total":
		return "An administrator can acknowledge it; then a message wakes it."
	}
	return "An administrator can raise the limit, or it goes on in the next billing cycle; then a message wakes it."
}

// stateView is how a session's state reads.
type stateView struct {
	tone tone
	text string
	next string // what one may do
	busy bool   // something is going on
	told bool   // the timeline tells of it
}

// stateOf puts a state into words.
func stateOf(s session.State, reason string) stateView {
	switch s.Status {
	case session.StatusNew:
		return stateView{text: "Queued", busy: true, next: "It waits for a worker that has room."}
	case session.StatusClaimed:
		return stateView{text: "Starting", busy: true}
	case session.StatusResuming:
		return stateView{text: "Waking up", busy: true}
	case session.StatusExit:
		return stateView{tone: quiet, text: "Ended", told: true, next: "It can't be woken. Start it again as a new session."}
	case session.StatusError:
		return stateView{tone: bad, text: "Failed", told: true, next: "Mend what the reason names, then start it again as a new session."}
	case session.StatusSuspended:
		return suspended(s.Detail)
	}
	switch s.Detail {
	case session.WaitingForUser:
		return stateView{tone: warn, text: "Waits for you", told: true, next: "Answer it below."}
	case session.WaitingForApproval:
		return stateView{tone: warn, text: "Asks for permission", next: "Allow or refuse what it asks."}
	case session.Finished:
		return stateView{tone: good, text: "Finished", told: true}
	}
	return stateView{tone: plain, text: "Working", busy: true}
}

func suspended(d session.Detail) stateView {
	v := stateView{tone: warn, told: true}
	switch d {
	case session.Inactivity:
		v.tone, v.text, v.next = quiet, "Asleep", "Nobody wrote for a while. A message wakes it."
	case session.UserRequest:
		v.tone, v.text, v.next = quiet, "Asleep", "Somebody put it to sleep. A message wakes it."
	case session.UsageLimitExceeded:
		v.text, v.next = "Stopped at the run's ACU limit", limitNext("session")
	case session.TotalSessionLimitExceeded:
		v.text, v.next = "Stopped at the session's ACU limit", limitNext("session_total")
	case session.OrgUsageLimitExceeded:
		v.text, v.next = "Stopped at the organization's ACU limit", limitNext("organization")
	case session.UserUsageLimitExceeded:
		v.text, v.next = "Stopped at its user's ACU limit", limitNext("user")
	default:
		v.text, v.next = "Asleep: "+strings.ReplaceAll(clean(string(d)), "_", " "), "A message wakes it."
	}
	return v
}
