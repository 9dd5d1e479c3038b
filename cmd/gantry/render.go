package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gantry/internal/client"
	"gantry/internal/platform/human"
	"gantry/internal/wire"
)

// renderer writes events for a person. What agents, repositories and other people wrote is cleaned before it is shown.
type renderer struct {
	out    io.Writer
	colour bool
	// org and session are whose events they are, for the way to what is too long to be among them.
	org, session string

	open    string // the tool call whose output is being written
	titled  string // the tool call whose title stands above what is written now
	midLine bool
	cleaner cleaner
	tools   map[string]*toolCall
	plan    []wire.PlanEntry
	usage   *wire.UsageData
	first   int64 // Unix milliseconds of the first event seen
	last    int64
}

type toolCall struct {
	title string
	begun int64 // 0 when that wasn't seen
	ended bool
}

// SGR parameters of the few colours used.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (r *renderer) paint(style, text string) string {
	if !r.colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// line writes one line after closing whatever was being written. A reader that is gone ends the process by SIGPIPE.
func (r *renderer) line(format string, args ...any) {
	r.close()
	_, _ = fmt.Fprintf(r.out, format+"\n", args...)
}

// close ends an unfinished line of output.
func (r *renderer) close() {
	if r.midLine {
		_, _ = io.WriteString(r.out, "\n")
	}
	r.midLine, r.open, r.cleaner = false, "", cleaner{}
}

// block writes a text of several lines below a head.
func (r *renderer) block(head, text string) {
	lines := strings.Split(strings.TrimRight(clean(text), "\n"), "\n")
	for i, l := range lines {
		if i > 0 && l != "" {
			lines[i] = "  " + l
		}
	}
	r.line("%s%s", head, strings.Join(lines, "\n"))
}

// show decodes an event's data and hands it on; data of another form than documented is shown as it came.
func show[T any](r *renderer, e client.Event, f func(T)) {
	var d T
	if err := json.Unmarshal(e.Data, &d); err != nil {
		r.line("  %s", r.paint(dim, clean(e.Type+" "+string(e.Data))))
		return
	}
	f(d)
}

// event shows one event. Types it doesn't know are passed over: a newer server may send more.
func (r *renderer) event(e client.Event) {
	if r.first == 0 {
		r.first = e.CreatedAt
	}
	r.last = e.CreatedAt
	r.told(e)
	if size, short := e.Shortened(); short {
		r.line("  %s", r.paint(yellow, fmt.Sprintf("… cut here: this is the beginning of %s; all of it: gantry api GET %s",
			human.Bytes(size), client.PayloadPath(r.org, r.session, e.Seq))))
	}
}

func (r *renderer) told(e client.Event) {
	switch e.Type {
	case "created":
		show(r, e, func(d struct {
			Agent   string   `json:"agent"`
			Ignored []string `json:"ignored"`
		},
		) {
			if len(d.Ignored) > 0 {
				r.line("%s", r.paint(yellow, "! the agent is "+clean(d.Agent)+"; of no effect: "+clean(strings.Join(d.Ignored, ", "))))
			}
		})
	case "user_message":
		show(r, e, r.userMessage)
	case "status":
		show(r, e, r.status)
	case "claimed":
		show(r, e, func(d struct {
			Hypervisor string `json:"hypervisor_id"`
			Fence      int64  `json:"fence"`
		},
		) {
			r.line("  %s", r.paint(dim, "taken by worker "+clean(d.Hypervisor)))
		})
	case "lease_lost":
		r.line("%s", r.paint(yellow, "! the worker was lost; another takes over"))
	case "limit":
		show(r, e, func(d struct {
			Limit float64 `json:"limit"`
			ACUs  float64 `json:"acus"`
		},
		) {
			r.line("%s", r.paint(yellow, fmt.Sprintf("! the limit of %g ACU is reached (%s used)", d.Limit, acus(d.ACUs))))
		})
	default:
		r.workerEvent(e)
	}
}

func (r *renderer) workerEvent(e client.Event) {
	switch e.Type {
	case wire.EventSetup:
		show(r, e, r.setup)
	case wire.EventMessage:
		show(r, e, func(d wire.MessageData) { r.block(r.paint(green, "● "), d.Text) })
	case wire.EventThought:
		show(r, e, func(d wire.MessageData) { r.block("  ", r.thought(d.Text)) })
	case wire.EventPlan:
		show(r, e, r.plans)
	case wire.EventTool:
		show(r, e, func(d wire.ToolData) { r.tool(e, d) })
	case wire.EventToolOutput:
		show(r, e, r.toolOutput)
	case wire.EventUsage:
		show(r, e, func(d wire.UsageData) { r.usage = &d })
	case wire.EventPermission:
		show(r, e, r.permission)
	case wire.EventStructuredOutput:
		show(r, e, r.structured)
	case wire.EventPullRequest:
		show(r, e, func(d wire.PullRequestData) {
			r.line("pull request %s %s", r.paint(cyan, clean(d.URL)), clean(d.State))
		})
	case wire.EventAttachment:
		show(r, e, func(d wire.AttachmentData) { r.line("file %s (%s)", r.paint(cyan, clean(d.Name)), human.Bytes(d.Size)) })
	case wire.EventAgent:
		show(r, e, r.agent)
	case wire.EventLog:
		show(r, e, func(d wire.LogData) { r.block(r.logHead(d.Level), d.Text) })
	}
}

func (r *renderer) thought(text string) string { return "(" + strings.TrimSpace(text) + ")" }

func (r *renderer) userMessage(d struct {
	Text        string            `json:"text"`
	Attachments []wire.Attachment `json:"attachments"`
},
) {
	r.block(r.paint(bold, "> "), d.Text)
	for _, a := range d.Attachments {
		r.line("  with file %s (%s)", clean(a.Name), human.Bytes(a.Size))
	}
}

func (r *renderer) status(d statusData) {
	style := dim
	switch {
	case d.Status == "error" || d.Status == "exit":
		style = red
	case stopped(d.Status, d.Detail) && d.Detail != wire.StateFinished:
		style = yellow
	}
	text := statusText(d.Status, d.Detail)
	if d.Reason != "" {
		text += ": " + clean(d.Reason)
	}
	r.line("  %s", r.paint(style, text))
}

// setup shows the end of a phase with its time; a start is shown by the live line only.
func (r *renderer) setup(d wire.SetupData) {
	if d.Status == "started" {
		return
	}
	mark := r.paint(green, "✓")
	if d.Status == "failed" {
		mark = r.paint(red, "✗")
	}
	text := fmt.Sprintf("  %s %-12s %8s", mark, clean(d.Phase), human.Span(time.Duration(d.Millis)*time.Millisecond))
	if d.Detail != "" {
		text += "  " + clean(d.Detail)
	}
	r.line("%s", text)
}

func (r *renderer) agent(d wire.AgentData) {
	text := strings.TrimSpace("agent " + d.Name + " " + d.Version)
	if d.Status != "started" {
		text += " " + d.Status
	}
	if d.Detail != "" {
		text += ": " + d.Detail
	}
	style := dim
	if d.Status == "restarted" || d.Status == "silent" {
		style = yellow
	}
	r.line("  %s", r.paint(style, clean(text)))
}

func (r *renderer) plans(d wire.PlanData) {
	if slices.Equal(d.Entries, r.plan) {
		return
	}
	r.plan = d.Entries
	r.line("plan")
	for _, p := range d.Entries {
		mark := map[string]string{"completed": r.paint(green, "✓"), "in_progress": r.paint(cyan, "▸")}[p.Status]
		r.line("  %s %s", orText(mark, "·"), clean(p.Content))
	}
}

// tool shows a call when it begins and when it ends. Of a call whose beginning came before what is followed, the end alone is shown,
// and nothing when it was broken off: that may be reported once more, by whoever takes the session up.
func (r *renderer) tool(e client.Event, d wire.ToolData) {
	if r.tools == nil {
		r.tools = map[string]*toolCall{}
	}
	t := r.tools[d.ID]
	if t == nil && d.Title == "" && over(d.Status) {
		r.tools[d.ID] = &toolCall{title: orText(d.Kind, "a call that began before"), ended: true}
		if d.Status != wire.ToolInterrupted {
			r.toolEnd(e, d, r.tools[d.ID])
		}
		return
	}
	if t == nil {
		t = &toolCall{begun: e.CreatedAt, title: orText(d.Title, orText(d.Kind, "tool"))}
		r.tools[d.ID] = t
		r.titled = d.ID
		r.block(r.paint(cyan, "▶ "), t.title)
	}
	if d.Title != "" {
		t.title = d.Title
	}
	if over(d.Status) && !t.ended {
		t.ended = true
		r.toolEnd(e, d, t)
	}
}

func over(status string) bool {
	return status == wire.ToolCompleted || status == wire.ToolFailed || status == wire.ToolInterrupted
}

func (r *renderer) toolEnd(e client.Event, d wire.ToolData, t *toolCall) {
	head := r.paint(green, "✓")
	switch d.Status {
	case wire.ToolFailed:
		head = r.paint(red, "✗")
	case wire.ToolInterrupted:
		head = r.paint(yellow, "‖")
	}
	text := toolTitle(t)
	if d.ExitCode != nil && *d.ExitCode != 0 {
		text += fmt.Sprintf(" · exit status %d", *d.ExitCode)
	}
	if d.Status == wire.ToolInterrupted {
		text += " · interrupted"
	}
	if t.begun > 0 {
		text += " · " + human.Span(time.Duration(e.CreatedAt-t.begun)*time.Millisecond)
	}
	r.line("%s %s", head, r.paint(dim, text))
}

// toolTitle is a call's title in one line.
func toolTitle(t *toolCall) string {
	title, _, more := strings.Cut(strings.TrimSpace(t.title), "\n")
	if more {
		title += " …"
	}
	return shorten(clean(title), 60)
}

// toolOutput writes a piece of output, each line below its call's title. Pieces may end anywhere.
func (r *renderer) toolOutput(d wire.ToolOutputData) {
	const margin = "  │ "
	if r.open != d.ID {
		r.close()
		if t := r.tools[d.ID]; t != nil && r.titled != d.ID {
			r.line("%s", r.paint(dim, "▷ "+toolTitle(t)))
		}
		r.open, r.titled = d.ID, d.ID
	}
	text := r.cleaner.text(d.Text)
	var b strings.Builder
	for _, l := range strings.SplitAfter(text, "\n") {
		if l == "" {
			continue
		}
		if !r.midLine {
			b.WriteString(r.paint(dim, margin))
		}
		b.WriteString(l)
		r.midLine = !strings.HasSuffix(l, "\n")
	}
	_, _ = io.WriteString(r.out, b.String())
}

func (r *renderer) permission(d wire.PermissionData) {
	if d.Status != "requested" {
		r.line("  %s", r.paint(dim, clean("permission "+d.Status)))
		return
	}
	r.block(r.paint(yellow, "? may I: "), d.Title)
	for _, o := range d.Options {
		r.line("    %s", clean(o.Name))
	}
}

func (r *renderer) structured(d wire.OutputData) {
	if d.Error != "" {
		r.block(r.paint(yellow, "! structured output refused: "), d.Error)
		return
	}
	r.line("structured output")
	r.line("%s", indent(orText(pretty(d.Value), "null"), "  "))
}

func (r *renderer) logHead(level string) string {
	switch level {
	case "error":
		return r.paint(red, "! ")
	case "warning":
		return r.paint(yellow, "! ")
	}
	return r.paint(dim, "· ")
}

// unclaimed says why nothing happens.
func (r *renderer) unclaimed() {
	r.line("  %s", r.paint(yellow, "still queued: no worker has room for it. `gantry api GET /v3/enterprise/hypervisors` lists the workers"))
}

// summary says how it ended, what it cost and where to look next.
func (r *renderer) summary(e ending, server string) {
	s := e.session
	parts := []string{statusText(s.Status, s.StatusDetail), acus(s.ACUsConsumed) + " ACU"}
	if r.last > r.first {
		parts = append(parts, human.Span(time.Duration(r.last-r.first)*time.Millisecond))
	}
	if u := r.usage; u != nil && u.InputTokens != nil && u.OutputTokens != nil {
		parts = append(parts, fmt.Sprintf("%d tokens in, %d out", *u.InputTokens, *u.OutputTokens))
	}
	style := map[int]string{exitOK: green, exitWaiting: yellow, exitLimit: yellow}[e.code()]
	r.line("\n%s", r.paint(orText(style, red), strings.Join(parts, " · ")))
	for _, p := range s.PullRequests {
		r.line("  %s", clean(p.URL))
	}
	r.line("  gantry session show %s", s.SessionID)
	switch e.code() {
	case exitOK, exitWaiting, exitLimit:
		r.line("  gantry session message %s \"…\" --follow", s.SessionID)
	}
	r.line("  %s", clean(orText(s.URL, server)))
}

func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
