package worker

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/acp"
	"gantry/internal/worker/mask"
	"gantry/internal/worker/report"
)

// keptTranscript bounds what is remembered of a conversation for an agent that can't load it itself.
const keptTranscript = 256 << 10

// maxOpenTools bounds the tool calls that are remembered as open.
const maxOpenTools = 1024

// narrator turns what an agent says into reported events, in order: updates are mapped, chunks joined into messages, secrets
// masked across the chunks' borders. It also knows which tool calls are open and when the agent was last heard. Its methods are
// safe for concurrent use.
type narrator struct {
	rep    *report.Reporter
	masker *mask.Masker
	clock  clock.Clock
	silent silence
	idle   chan struct{} // has an element when the last running tool call has ended

	mu     sync.Mutex
	mapper acp.Mapper
	joiner acp.Joiner
	stream *mask.Stream // the text that is being masked, nil without secrets
	source wire.Event   // what the stream's text belongs to: type, and data's id
	open   map[string]toolCall
	prints bool // what the joiner holds is a tool's output
	pulls  pulls
	said   []wire.TranscriptEntry
	size   int
}

// toolCall is a tool call that hasn't ended. One that is pending wasn't begun.
type toolCall struct {
	title   string
	running bool
}

func newNarrator(rep *report.Reporter, masker *mask.Masker, c clock.Clock) *narrator {
	n := &narrator{rep: rep, masker: masker, clock: c, open: map[string]toolCall{}, idle: make(chan struct{}, 1), silent: silence{clock: c, heard: c.Now()}}
	if masker != nil {
		n.stream = masker.Stream()
	}
	return n
}

// update takes one session/update in.
func (n *narrator) update(kind string, raw json.RawMessage) {
	n.silent.touch()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.mapper.Map(kind, raw) {
		n.add(e)
	}
}

// output takes a piece of a terminal's output in; it belongs to the tool call that shows the terminal. False means that no call
// shows it yet.
func (n *narrator) output(terminal, text string) bool {
	n.silent.touch()
	n.mu.Lock()
	defer n.mu.Unlock()
	tool, ok := n.mapper.ToolOfTerminal(terminal)
	if ok && text != "" {
		n.add(wire.Event{Type: wire.EventToolOutput, Data: encode(wire.ToolOutputData{ID: tool, Text: text})})
	}
	return ok
}

// event reports something of the worker's own, after everything the agent said before it.
func (n *narrator) event(kind string, data any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushAll()
	n.rep.Event(kind, data)
}

// add stamps, masks, joins and reports an event. The caller holds the lock.
func (n *narrator) add(e wire.Event) {
	e.At = n.clock.Millis()
	n.track(e)
	e, ok := n.hide(e)
	if !ok {
		return
	}
	n.prints = e.Type == wire.EventToolOutput
	n.send(n.joiner.Add(e))
}

// hide masks a chunk as part of the text it belongs to. A chunk at whose border a secret may lie loses its raw frame, which
// would show one half. Whatever is no chunk is masked by the report; it ends the text.
func (n *narrator) hide(e wire.Event) (wire.Event, bool) {
	if n.stream == nil {
		return e, true
	}
	var d wire.ToolOutputData // a message's text under the same name
	switch e.Type {
	case wire.EventMessage, wire.EventThought, wire.EventToolOutput:
		if json.Unmarshal(e.Data, &d) != nil {
			return e, true
		}
	default:
		n.flushStream()
		return e, true
	}
	source := wire.Event{Type: e.Type, Data: json.RawMessage(d.ID)}
	if n.source.Type != source.Type || string(n.source.Data) != string(source.Data) {
		n.flushStream()
		n.source = source
	}
	shown := n.stream.Write(d.Text)
	if shown != n.masker.String(d.Text) {
		e.Raw = nil
	}
	e.Data = textData(source, shown)
	return e, shown != "" || e.Raw != nil
}

// flushStream gives out what the masking held back. The caller holds the lock.
func (n *narrator) flushStream() {
	if n.stream == nil {
		return
	}
	if rest := n.stream.Flush(); rest != "" {
		n.send(n.joiner.Add(wire.Event{Type: n.source.Type, At: n.clock.Millis(), Data: textData(n.source, rest)}))
	}
	n.source = wire.Event{}
}

func textData(source wire.Event, text string) json.RawMessage {
	if source.Type == wire.EventToolOutput {
		return encode(wire.ToolOutputData{ID: string(source.Data), Text: text})
	}
	return encode(wire.MessageData{Text: text})
}

// encode is for the plain structs of wire, which always encode.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

// track keeps the open tool calls with their titles.
func (n *narrator) track(e wire.Event) {
	var d wire.ToolData
	if e.Type != wire.EventTool || json.Unmarshal(e.Data, &d) != nil {
		return
	}
	switch d.Status {
	case wire.ToolCompleted, wire.ToolFailed, wire.ToolInterrupted:
		delete(n.open, d.ID)
		if !n.running() {
			select {
			case n.idle <- struct{}{}:
			default:
			}
		}
		return
	}
	call, known := n.open[d.ID]
	if !known && (d.Status == "" || len(n.open) >= maxOpenTools) {
		return // a late word about a call that has ended
	}
	if d.Title != "" {
		call.title = d.Title
	}
	call.running = call.running || d.Status == wire.ToolInProgress
	n.open[d.ID] = call
}

// running tells whether a tool call is in progress. The caller holds the lock.
func (n *narrator) running() bool {
	for _, call := range n.open {
		if call.running {
			return true
		}
	}
	return false
}

func (n *narrator) send(events []wire.Event) {
	for _, e := range events {
		if e.Type == wire.EventMessage {
			var m wire.MessageData
			if json.Unmarshal(e.Data, &m) == nil {
				n.remember("devin", m.Text)
			}
		}
		n.rep.Add(e)
		n.sight(n.pulls.take(e))
	}
}

// remember keeps the newest part of the conversation.
func (n *narrator) remember(source, text string) {
	n.said = append(n.said, wire.TranscriptEntry{Source: source, Text: text})
	n.size += len(text)
	for n.size > keptTranscript && len(n.said) > 1 {
		n.size -= len(n.said[0].Text)
		n.said = n.said[1:]
	}
}

// told takes note of what the user said.
func (n *narrator) told(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remember("user", text)
}

// transcript is what was said in this claim.
func (n *narrator) transcript() []wire.TranscriptEntry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.said)
}

// due gives out a message that the agent doesn't go on with.
//
// A tool's output doesn't wait: somebody may be watching it.
func (n *narrator) due() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.prints {
		n.send(n.joiner.Flush())
	}
	n.send(n.joiner.Due(n.clock.Millis()))
}

// flush gives out everything that is held back.
func (n *narrator) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushAll()
}

func (n *narrator) flushAll() {
	n.flushStream()
	n.send(n.joiner.Flush())
	n.sight(n.pulls.end())
}

// busy tells whether a tool call is in progress.
func (n *narrator) busy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running()
}

// interrupt reports every open tool call as interrupted and names them in one phrase, empty when there was none.
func (n *narrator) interrupt() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushAll()
	var names []string
	for _, id := range slices.Sorted(maps.Keys(n.open)) {
		title := n.open[id].title
		if title == "" {
			title = id
		}
		names = append(names, title)
		n.rep.Event(wire.EventTool, wire.ToolData{ID: id, Status: wire.ToolInterrupted})
	}
	clear(n.open)
	return strings.Join(names, ", ")
}

// silence tells how long the agent could have said something and didn't. It has a lock of its own, because the lease's clock
// must never wait behind an event that waits for room. Its methods are safe for concurrent use.
type silence struct {
	clock clock.Clock

	mu    sync.Mutex
	heard time.Time
	held  int // while above 0 the silence isn't the agent's
}

// touch says that there was a sound.
func (s *silence) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = s.clock.Now()
}

// lasts is how long it has been silent.
func (s *silence) lasts() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held > 0 {
		return 0
	}
	return s.clock.Since(s.heard)
}

// hold stops the count until release.
func (s *silence) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
}

func (s *silence) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	s.heard = s.clock.Now()
}
