package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/internal/platform/human"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// kind is how an entry of a timeline looks.
type kind int

const (
	saidByUser kind = iota
	saidByAgent
	thinking
	toolCall
	note     // one line of what happened
	question // the agent asks before it does something
)

// tone says how much an entry wants to be seen.
type tone string

const (
	quiet tone = "quiet"
	plain tone = ""
	good  tone = "good"
	warn  tone = "warn"
	bad   tone = "bad"
)

// entry is one thing of a timeline. Its id stays when it changes, so that a page can put the new one in the old one's place.
type entry struct {
	id    string
	at    time.Time
	kind  kind
	tone  tone
	title string // one line
	text  string // a message's markdown, or plain text
	next  string // what one may do about it
	link  string // an https address that the title leads to
	by    string // the id of the person whose message it is
	files []wire.Attachment
	plain bool // the message isn't rendered as markdown
	tool  *tool
	ask   *wire.PermissionData
	// whole are the events whose data is kept whole elsewhere because it was too large, the newest keptWhole of them.
	whole []large
}

// large is the number of an event that is shown shortened, and how many bytes its data has in all.
type large struct{ seq, size int64 }

// keptWhole is how many shortened pieces of one entry a page leads to.
const keptWhole = 20

// shortened tells whether an event has only the beginning of its data.
func shortened(e session.Event) (large, bool) {
	d, ok := read[struct {
		Truncated bool  `json:"truncated"`
		Size      int64 `json:"size"`
	}](e)
	return large{e.Seq, d.Size}, ok && d.Truncated
}

// shorten leads to the whole of an event. To what a call printed leads a way of its own.
func (n *entry) shorten(e session.Event) {
	if l, short := shortened(e); short && e.Type != wire.EventToolOutput {
		n.whole = append(n.whole[max(0, len(n.whole)+1-keptWhole):], l)
	}
}

// tool is a call as its events tell of it.
type tool struct {
	title, kind, status string
	input               string
	output              string // the end of what it printed
	cut                 bool   // there is more of the output than that
	seq                 int64  // the number of the newest event that told of it
	result              string // what it gave back when it printed nothing
	diffs               []diff
	exit                *int
	paths               []string
	begun, ended        time.Time
}

func (t *tool) over() bool {
	return t.status == wire.ToolCompleted || t.status == wire.ToolFailed || t.status == wire.ToolInterrupted
}

func (t *tool) failed() bool { return t.status == wire.ToolFailed || (t.exit != nil && *t.exit != 0) }

// diff is how a file's change appears in a tool's output.
type diff struct {
	Path    string  `json:"path"`
	OldText *string `json:"old_text"` // null for a new file
	NewText string  `json:"new_text"`
}

// teller makes a timeline of events, in their order. One that follows a session forgets what can't change any more.
type teller struct {
	entries []*entry
	changed []*entry
	tools   map[string]*entry
	setups  map[string]*entry
	done    []string // the calls among tools that are over, the oldest first
	asked   *entry
	said    string // what the agent said last
	plan    []wire.PlanEntry
	// touched are the panels beside the timeline that the events are about.
	planTouched, filesTouched bool
}

func newTeller() *teller { return &teller{tools: map[string]*entry{}, setups: map[string]*entry{}} }

// put adds an entry.
func (t *teller) put(e session.Event, n entry) *entry {
	n.id, n.at = "e"+strconv.FormatInt(e.Seq, 10), time.UnixMilli(e.CreatedAt).UTC()
	n.shorten(e)
	t.entries = append(t.entries, &n)
	return t.change(&n)
}

func (t *teller) change(n *entry) *entry {
	if !slices.Contains(t.changed, n) {
		t.changed = append(t.changed, n)
	}
	return n
}

// keptCalls is how many calls that are over are remembered: what one printed may come after its end.
const keptCalls = 8

// take gives what changed since it was last asked, in order, and forgets it.
func (t *teller) take() []*entry {
	out := t.changed
	t.changed, t.entries = nil, nil
	for id, n := range t.tools {
		if n.tool.over() && !slices.Contains(t.done, id) {
			t.done = append(t.done, id)
		}
	}
	for len(t.done) > keptCalls {
		delete(t.tools, t.done[0])
		t.done = t.done[1:]
	}
	return out
}

// read decodes an event's data. What has another form than documented is passed over, like types that nobody knows.
func read[T any](e session.Event) (d T, ok bool) {
	return d, json.Unmarshal(e.Data, &d) == nil
}

// tell takes an event in.
func (t *teller) tell(e session.Event) {
	switch e.Type {
	case session.EventCreated, session.EventUserMessage, session.EventStatus, session.EventClaimed, session.EventLeaseLost,
		session.EventLimit, session.EventTags, session.EventArchived, session.EventContext:
		t.server(e)
	case wire.EventMessage, wire.EventThought, wire.EventPlan, wire.EventTool, wire.EventToolOutput, wire.EventPermission:
		t.agent(e)
	default:
		t.worker(e)
	}
}

// server tells of what the server adds.
func (t *teller) server(e session.Event) {
	switch e.Type {
	case session.EventCreated:
		if d, ok := read[struct {
			Agent   string   `json:"agent"`
			Repos   []string `json:"repos"`
			Ignored []string `json:"ignored"`
		}](e); ok {
			t.created(e, d.Agent, d.Repos, d.Ignored)
		}
	case session.EventUserMessage:
		if d, ok := read[session.UserMessage](e); ok {
			t.put(e, entry{kind: saidByUser, text: d.Text, by: cmp.Or(d.UserID, d.ServiceUserID), files: d.Attachments})
			t.filesTouched = t.filesTouched || len(d.Attachments) > 0
		}
	case session.EventStatus:
		if d, ok := read[session.StatusChange](e); ok {
			t.status(e, d)
		}
	case session.EventClaimed:
		if d, ok := read[session.ClaimedData](e); ok {
			t.put(e, entry{kind: note, tone: quiet, title: "Taken by the worker " + clean(shortID(d.Hypervisor))})
			clear(t.setups)
		}
	case session.EventLeaseLost:
		t.put(e, entry{kind: note, tone: warn, title: "The worker fell silent", next: "The session is in the queue again; another worker goes on."})
	case session.EventLimit:
		if d, ok := read[session.LimitData](e); ok {
			t.put(e, entry{
				kind: note, tone: bad, title: fmt.Sprintf("The ACU limit of %s is reached: %s of %d used", limitOf(d.Scope), acus(d.ACUs), d.Limit),
				next: limitNext(d.Scope),
			})
		}
	case session.EventTags:
		if d, ok := read[session.TagsData](e); ok {
			t.put(e, entry{kind: note, tone: quiet, title: cmp.Or("Tags: "+clean(strings.Join(d.Tags, ", ")), "Tags taken away")})
		}
	case session.EventArchived:
		if d, ok := read[session.ArchivedData](e); ok {
			t.put(e, entry{kind: note, tone: quiet, title: map[bool]string{true: "Archived", false: "Shown in lists again"}[d.Archived]})
		}
	case session.EventContext:
		if d, ok := read[session.ContextData](e); ok {
			t.context(e, d)
		}
	}
}

func (t *teller) created(e session.Event, agent string, repos, ignored []string) {
	title := "Created for the agent " + clean(agent)
	if len(repos) > 0 {
		title += " with " + clean(strings.Join(repos, ", "))
	}
	n := entry{kind: note, tone: quiet, title: title}
	if len(ignored) > 0 {
		n.text = "Asked for and of no effect here: " + clean(strings.Join(ignored, ", "))
	}
	t.put(e, n)
}

// status tells of the states that matter to who reads along; the others show in the page's head only.
func (t *teller) status(e session.Event, d session.StatusChange) {
	if t.asked != nil && d.Detail != session.WaitingForApproval {
		t.close(t.asked)
	}
	s := stateOf(session.State{Status: d.Status, Detail: d.Detail}, d.Reason)
	if !s.told {
		return
	}
	n := entry{kind: note, tone: s.tone, title: s.text, text: clean(d.Reason), next: s.next}
	if strings.TrimSpace(d.Reason) == t.said {
		n.text = "" // the agent just said it
	}
	t.put(e, n)
}

func (t *teller) context(e session.Event, d session.ContextData) {
	var lines []string
	for _, p := range d.Playbooks {
		lines = append(lines, "Playbook “"+clean(p.Title)+"” ("+reasons(p.Reason)+")")
	}
	for _, n := range d.Notes {
		lines = append(lines, "Note “"+clean(n.Name)+"” ("+reasons(n.Reason)+")")
	}
	tone, title := quiet, "Given to read"
	for _, l := range d.LeftOut {
		tone = warn
		lines = append(lines, "Left out: "+clean(cmp.Or(l.Name, l.NoteID, l.PlaybookID))+" ("+clean(l.Reason)+")")
	}
	if d.MoreLeftOut > 0 {
		lines = append(lines, fmt.Sprintf("and %d more left out", d.MoreLeftOut))
	}
	t.put(e, entry{kind: note, tone: tone, title: title, text: strings.Join(lines, "\n")})
}

// reasons says why a note or playbook came along.
func reasons(r string) string {
	if text, ok := map[string]string{
		"chosen": "chosen for this session", "macro": "named by its macro", "parent": "from the parent session",
		"pinned": "pinned to the repository", "trigger": "its trigger fits",
	}[r]; ok {
		return text
	}
	return clean(r)
}

// agent tells of what the agent says and does.
func (t *teller) agent(e session.Event) {
	switch e.Type {
	case wire.EventMessage:
		if d, ok := read[wire.MessageData](e); ok && strings.TrimSpace(d.Text) != "" {
			t.put(e, entry{kind: saidByAgent, text: d.Text})
			t.said = strings.TrimSpace(d.Text)
		}
	case wire.EventThought:
		if d, ok := read[wire.MessageData](e); ok && strings.TrimSpace(d.Text) != "" {
			t.put(e, entry{kind: thinking, text: clean(d.Text)})
		}
	case wire.EventPlan:
		if d, ok := read[wire.PlanData](e); ok {
			t.plan, t.planTouched = d.Entries, true
		}
	case wire.EventTool:
		if d, ok := read[wire.ToolData](e); ok {
			t.tool(e, d)
		}
	case wire.EventToolOutput:
		if d, ok := read[wire.ToolOutputData](e); ok {
			n := t.call(e, d.ID)
			n.tool.print(d.Text)
			if l, short := shortened(e); short {
				n.tool.print(fmt.Sprintf("\n[… shortened here: this piece has %s]\n", human.Bytes(l.size)))
				n.tool.cut = true
			}
		}
	case wire.EventPermission:
		if d, ok := read[wire.PermissionData](e); ok {
			t.permission(e, d)
		}
	}
}

// call finds a tool's call, or begins it.
func (t *teller) call(e session.Event, id string) *entry {
	n := t.tools[id]
	if n == nil {
		n = t.put(e, entry{kind: toolCall, tool: &tool{status: wire.ToolInProgress, begun: time.UnixMilli(e.CreatedAt)}})
		n.id = callID(id)
		t.tools[id] = n
	} else {
		n.shorten(e)
	}
	n.tool.seq = e.Seq
	return t.change(n)
}

// callID names a call's entry by the agent's own id, so that a page that began in the middle of a call finds it again.
func callID(id string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return "t" + strconv.FormatUint(h.Sum64(), 36)
}

func (t *teller) tool(e session.Event, d wire.ToolData) {
	n := t.call(e, d.ID)
	c := n.tool
	c.title, c.kind, c.status = cmp.Or(clean(d.Title), c.title), cmp.Or(clean(d.Kind), c.kind), cmp.Or(d.Status, c.status)
	if len(d.Input) > 0 {
		c.input = inputText(d.Input)
	}
	if len(d.Output) > 0 {
		c.result, c.diffs = resultText(d.Output)
	}
	if d.ExitCode != nil {
		c.exit = d.ExitCode
	}
	if len(d.Paths) > 0 {
		c.paths = d.Paths
	}
	if c.over() && c.ended.IsZero() {
		c.ended = time.UnixMilli(e.CreatedAt)
	}
}

// maxPrinted is how much of a call's output a page shows, in bytes.
const maxPrinted = 24 << 10

// print adds to what a call printed and keeps the end of it.
func (t *tool) print(text string) {
	t.output += text
	if len(t.output) <= 2*maxPrinted {
		return
	}
	t.output = strings.ToValidUTF8(t.output[len(t.output)-maxPrinted:], "")
	if _, rest, ok := strings.Cut(t.output, "\n"); ok && rest != "" {
		t.output = rest
	}
	t.cut = true
}

func (t *teller) permission(e session.Event, d wire.PermissionData) {
	if d.Status == "requested" {
		t.asked = t.put(e, entry{kind: question, tone: warn, title: cmp.Or(clean(d.Title), "The agent asks for permission"), ask: &d})
		return
	}
	text := map[string]string{"granted": "Allowed", "denied": "Refused", "cancelled": "The question was taken back"}[d.Status]
	if n := t.asked; n != nil && n.ask != nil && n.ask.Request == d.Request {
		for _, o := range n.ask.Options {
			if o.ID == d.Option {
				text = cmp.Or(text, "Answered") + ": " + clean(o.Name)
			}
		}
		t.close(n)
	}
	t.put(e, entry{kind: note, tone: quiet, title: cmp.Or(text, "Answered")})
}

// close takes the buttons off a question that is answered.
func (t *teller) close(n *entry) {
	n.ask, n.tone = nil, plain
	t.asked = nil
	t.change(n)
}
