package acp

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"gantry/internal/wire"
)

// Mapper turns an agent's updates into events. It remembers, per running tool call, how much of its text content was seen,
// because the protocol repeats the whole content in each update while an event carries only what is new. The zero value is
// ready. It is not safe for concurrent use; Handler.Update is never called concurrently.
type Mapper struct {
	tools     map[string]toolSeen
	terminals map[string]string // terminal id -> tool call id
}

// toolSeen is the text content seen of a tool call: its length and hash.
type toolSeen struct {
	length int
	hash   uint64
}

// maxTracked bounds what a Mapper remembers; an agent with more open tool calls may see output repeated.
const maxTracked = 4096

var hashSeed = maphash.MakeSeed()

// Map turns one update into events. Event.At is left 0 for the caller to stamp. The first event carries the raw update; user
// message chunks give none (the server has what the user said), and an update of a kind or shape that isn't known becomes a
// log event.
func (m *Mapper) Map(kind string, raw json.RawMessage) []wire.Event {
	events, err := m.mapKnown(kind, raw)
	if err != nil {
		events = []wire.Event{logEvent(fmt.Sprintf("the agent sent an update %q of an unknown shape", clip(kind)))}
	}
	if len(events) > 0 {
		events[0].Raw = raw
	}
	return events
}

func (m *Mapper) mapKnown(kind string, raw json.RawMessage) ([]wire.Event, error) {
	switch kind {
	case UpdateUserMessage:
		return nil, nil
	case UpdateAgentMessage:
		return mapMessage(wire.EventMessage, raw)
	case UpdateAgentThought:
		return mapMessage(wire.EventThought, raw)
	case UpdateToolCall, UpdateToolChange:
		return m.mapTool(kind, raw)
	case UpdatePlan:
		return mapPlan(raw)
	case UpdateCommands:
		return mapCommands(raw)
	case UpdateMode:
		return mapMode(raw)
	case UpdateUsage:
		return mapUsage(raw)
	}
	return []wire.Event{logEvent(fmt.Sprintf("the agent sent an update of the unknown kind %q", clip(kind)))}, nil
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// event makes an event; data is one of wire's plain structs, which always encode.
func event(kind string, data any) wire.Event {
	b, err := encodeParams(data)
	if err != nil {
		return logEvent("an update could not be encoded")
	}
	return wire.Event{Type: kind, Data: b}
}

func logEvent(text string) wire.Event {
	return event(wire.EventLog, wire.LogData{Level: "info", Text: text})
}

func mapMessage(kind string, raw json.RawMessage) ([]wire.Event, error) {
	var u struct {
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	text, err := contentText(u.Content)
	if err != nil {
		return nil, err
	}
	return []wire.Event{event(kind, wire.MessageData{Text: text})}, nil
}

// contentText gives a content block as text: what can't be shown as text is named in brackets.
func contentText(raw json.RawMessage) (string, error) {
	var b ContentBlock
	if err := json.Unmarshal(raw, &b); err != nil {
		return "", err
	}
	switch b.Type {
	case "text":
		return b.Text, nil
	case "resource_link":
		return fmt.Sprintf("[%s](%s)", b.Name, b.URI), nil
	case "resource":
		var r struct {
			URI  string  `json:"uri"`
			Text *string `json:"text"`
		}
		if err := json.Unmarshal(b.Resource, &r); err != nil {
			return "", err
		}
		if r.Text != nil {
			return *r.Text, nil
		}
		return fmt.Sprintf("[resource %s]", r.URI), nil
	}
	return fmt.Sprintf("[%s %s]", clip(b.Type), clip(b.MimeType)), nil
}

// toolUpdate is a tool_call or tool_call_update; in the latter every field but the id may be absent.
type toolUpdate struct {
	ToolCallID string        `json:"toolCallId"`
	Title      string        `json:"title"`
	Kind       string        `json:"kind"`
	Status     string        `json:"status"`
	Content    []toolContent `json:"content"`
	Locations  []struct {
		Path string `json:"path"`
	} `json:"locations"`
	RawInput  json.RawMessage `json:"rawInput"`
	RawOutput json.RawMessage `json:"rawOutput"`
	Meta      *Meta           `json:"_meta"`
}

// toolContent is one piece of a tool call's content: type content, diff or terminal.
type toolContent struct {
	Type       string          `json:"type"`
	Content    json.RawMessage `json:"content"`
	Path       string          `json:"path"`
	OldText    *string         `json:"oldText"`
	NewText    string          `json:"newText"`
	TerminalID string          `json:"terminalId"`
}

// diff is how a file change appears in ToolData.Output.
type diff struct {
	Path    string  `json:"path"`
	OldText *string `json:"old_text"` // null for a new file
	NewText string  `json:"new_text"`
}

func (m *Mapper) mapTool(kind string, raw json.RawMessage) ([]wire.Event, error) {
	var u toolUpdate
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	if u.ToolCallID == "" {
		return nil, fmt.Errorf("acp: a tool call without an id")
	}
	data := wire.ToolData{
		ID: u.ToolCallID, Title: u.Title, Kind: u.Kind, Status: u.Status, Input: notNull(u.RawInput), Output: notNull(u.RawOutput),
		ExitCode: exitCode(u.RawOutput),
	}
	if kind == UpdateToolCall {
		// The defaults of the protocol.
		data.Kind, data.Status = orElse(data.Kind, "other"), orElse(data.Status, wire.ToolPending)
	}
	text, diffs, err := m.toolContents(u, &data)
	if err != nil {
		return nil, err
	}
	if data.Output == nil && len(diffs) > 0 {
		if data.Output, err = encodeParams(map[string][]diff{"diffs": diffs}); err != nil {
			return nil, err
		}
	}
	text = m.fresh(u.ToolCallID, text)
	if g := metaOf(u.Meta); g != nil {
		text += g.OutputDelta
		if g.Status == wire.ToolInterrupted {
			data.Status = wire.ToolInterrupted
		}
	}
	if ended(data.Status) {
		m.forget(u.ToolCallID)
	}
	return toolEvents(kind, data, text), nil
}

// toolEvents leaves out a tool event that says nothing, and puts output before the event that ends the call.
func toolEvents(kind string, data wire.ToolData, text string) []wire.Event {
	var events []wire.Event
	empty := data.Title == "" && data.Kind == "" && data.Status == "" && data.Input == nil && data.Output == nil && len(data.Paths) == 0
	if kind == UpdateToolCall || !empty || text == "" {
		events = append(events, event(wire.EventTool, data))
	}
	if text != "" {
		out := event(wire.EventToolOutput, wire.ToolOutputData{ID: data.ID, Text: text})
		if kind != UpdateToolCall && ended(data.Status) {
			return slices.Insert(events, 0, out)
		}
		events = append(events, out)
	}
	return events
}

func (m *Mapper) toolContents(u toolUpdate, data *wire.ToolData) (text string, diffs []diff, err error) {
	for _, l := range u.Locations {
		data.Paths = appendPath(data.Paths, l.Path)
	}
	var sb strings.Builder
	for _, c := range u.Content {
		switch c.Type {
		case "content":
			t, err := contentText(c.Content)
			if err != nil {
				return "", nil, err
			}
			if sb.Len() > 0 && t != "" {
				sb.WriteByte('\n')
			}
			sb.WriteString(t)
		case "diff":
			diffs = append(diffs, diff{c.Path, c.OldText, c.NewText})
			data.Paths = appendPath(data.Paths, c.Path)
		case "terminal":
			m.bindTerminal(c.TerminalID, u.ToolCallID)
		}
	}
	return sb.String(), diffs, nil
}

func appendPath(paths []string, path string) []string {
	if path == "" || slices.Contains(paths, path) {
		return paths
	}
	return append(paths, path)
}

// fresh gives the part of a call's text content that wasn't seen yet: what follows the text seen before, or all of it when it
// was replaced.
func (m *Mapper) fresh(id, text string) string {
	if text == "" {
		return ""
	}
	seen, ok := m.tools[id]
	if !ok && len(m.tools) >= maxTracked {
		clear(m.tools)
	}
	if m.tools == nil {
		m.tools = map[string]toolSeen{}
	}
	m.tools[id] = toolSeen{len(text), maphash.String(hashSeed, text)}
	if ok && len(text) >= seen.length && maphash.String(hashSeed, text[:seen.length]) == seen.hash {
		return text[seen.length:]
	}
	return text
}

func (m *Mapper) bindTerminal(terminalID, toolID string) {
	if terminalID == "" {
		return
	}
	if m.terminals == nil || len(m.terminals) >= maxTracked {
		m.terminals = map[string]string{}
	}
	m.terminals[terminalID] = toolID
}

// ToolOfTerminal names the tool call that shows a terminal, for reporting the terminal's output as the call's.
func (m *Mapper) ToolOfTerminal(terminalID string) (toolID string, ok bool) {
	toolID, ok = m.terminals[terminalID]
	return toolID, ok
}

// forget drops the memory of an ended call, so that a long session doesn't grow it. Agents that report an ended call once
// more repeat its output then.
func (m *Mapper) forget(id string) { delete(m.tools, id) }

func ended(status string) bool {
	return status == wire.ToolCompleted || status == wire.ToolFailed || status == wire.ToolInterrupted
}

func metaOf(m *Meta) *GantryMeta {
	if m == nil {
		return nil
	}
	return m.Gantry
}

func notNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// exitCode looks for a command's exit code where agents commonly put it in rawOutput.
func exitCode(raw json.RawMessage) *int {
	var out struct {
		ExitCode *int `json:"exit_code"`
		Camel    *int `json:"exitCode"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &out) != nil {
		return nil
	}
	if out.ExitCode != nil {
		return out.ExitCode
	}
	return out.Camel
}

func mapPlan(raw json.RawMessage) ([]wire.Event, error) {
	var u wire.PlanData
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	if u.Entries == nil {
		u.Entries = []wire.PlanEntry{}
	}
	return []wire.Event{event(wire.EventPlan, u)}, nil
}

func mapCommands(raw json.RawMessage) ([]wire.Event, error) {
	var u struct {
		Commands json.RawMessage `json:"availableCommands"`
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	if notNull(u.Commands) == nil {
		u.Commands = json.RawMessage("[]")
	}
	return []wire.Event{event(wire.EventCommandsAvailable, map[string]json.RawMessage{"commands": u.Commands})}, nil
}

func mapMode(raw json.RawMessage) ([]wire.Event, error) {
	var u struct {
		CurrentModeID string `json:"currentModeId"`
		ModeID        string `json:"modeId"` // as the protocol's prose has it; the schema has the other
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	return []wire.Event{event(wire.EventMode, wire.ModeData{Mode: orElse(u.CurrentModeID, u.ModeID)})}, nil
}

func mapUsage(raw json.RawMessage) ([]wire.Event, error) {
	var u struct {
		Used *int64 `json:"used"`
		Size *int64 `json:"size"`
		Cost *struct {
			Amount   *float64 `json:"amount"`
			Currency string   `json:"currency"`
		} `json:"cost"`
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	data := wire.UsageData{ContextUsed: u.Used, ContextSize: u.Size}
	if u.Cost != nil {
		data.Cost, data.Currency = u.Cost.Amount, u.Cost.Currency
	}
	return []wire.Event{event(wire.EventUsage, data)}, nil
}

// Events gives what a turn's end says beyond its stop reason: the tokens, for agents that count them.
func (r PromptResult) Events() []wire.Event {
	if r.Usage == nil {
		return nil
	}
	return []wire.Event{event(wire.EventUsage, wire.UsageData{InputTokens: r.Usage.InputTokens, OutputTokens: r.Usage.OutputTokens})}
}

// Data gives a permission question as an event's data, under the number the worker gave it.
func (p PermissionParams) Data(request, status string) wire.PermissionData {
	var call toolUpdate
	// The question stands even if the call it is about has an unknown shape: title and tool are then empty.
	_ = json.Unmarshal(p.ToolCall, &call)
	d := wire.PermissionData{Request: request, Status: status, Title: call.Title, Tool: call.ToolCallID}
	for _, o := range p.Options {
		d.Options = append(d.Options, wire.PermissionOption{ID: o.ID, Name: o.Name, Kind: o.Kind})
	}
	return d
}
