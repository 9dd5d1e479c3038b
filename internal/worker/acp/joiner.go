package acp

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"gantry/internal/wire"
)

// Bounds of one joined message.
const (
	// joinData is in bytes of the event's data as JSON. It is half of what the server keeps with an event, because the rest of a
	// larger one is kept aside: what is joined must be there to be read, also when the way there writes it a little longer.
	joinData   = wire.InlinePayload / 2
	joinRaw    = 512 << 10 // bytes of raw updates: an agent that sends token by token has far more frame than text
	quietAfter = 1000      // milliseconds without a further chunk after which Due gives the message out
)

// Joiner merges the chunks of a message, or of a thought, into one event, so that what is reported are whole messages. The
// message goes out when something else comes, when the agent names another message (`messageId`), before it is longer than 32 KB of JSON,
// when the agent has been quiet for a second (Due), or at the end of the turn (Flush). Pieces of one tool call's output that follow each
// other are merged in the same way. A chunk that is longer by itself stays as it is.
//
// Events must be stamped (Event.At) before they are added; a joined event carries the time of its first chunk. Its Raw is the
// one raw update, or the JSON array of all of them. The zero value is ready; it is not safe for concurrent use.
type Joiner struct {
	kind    string // of the open event; empty when there is none
	key     string // message id, or tool call id
	at      int64
	last    int64
	text    strings.Builder
	size    int // of the event's data as JSON, at most
	raws    []json.RawMessage
	rawSize int
}

// Add takes an event in and gives the events that are now complete, in order.
func (j *Joiner) Add(e wire.Event) []wire.Event {
	text, key, ok := joinable(e)
	if !ok {
		return append(j.Flush(), e)
	}
	var out []wire.Event
	size := encodedSize(text)
	if j.kind != e.Type || j.key != key || j.size+size > joinData {
		out = j.Flush()
	}
	if j.kind == "" {
		j.kind, j.key, j.at, j.size = e.Type, key, e.At, len(`{"id":"","text":""}`)+encodedSize(key)
	}
	j.size += size
	j.last = e.At
	j.text.WriteString(text)
	if len(e.Raw) > 0 {
		j.raws = append(j.raws, e.Raw)
		j.rawSize += len(e.Raw)
	}
	if j.size >= joinData || j.rawSize >= joinRaw {
		out = append(out, j.Flush()...)
	}
	return out
}

// Due gives the open event if nothing was added to it for a second before now (Unix milliseconds). The caller asks a few
// times a second.
func (j *Joiner) Due(now int64) []wire.Event {
	if j.kind == "" || now-j.last < quietAfter {
		return nil
	}
	return j.Flush()
}

// Flush gives the open event, if there is one.
func (j *Joiner) Flush() []wire.Event {
	if j.kind == "" {
		return nil
	}
	var data any = wire.MessageData{Text: j.text.String()}
	if j.kind == wire.EventToolOutput {
		data = wire.ToolOutputData{ID: j.key, Text: j.text.String()}
	}
	e := event(j.kind, data)
	e.At, e.Raw = j.at, joinedRaw(j.raws)
	*j = Joiner{}
	return []wire.Event{e}
}

func joinedRaw(raws []json.RawMessage) json.RawMessage {
	switch len(raws) {
	case 0:
		return nil
	case 1:
		return raws[0]
	}
	b, err := encodeParams(raws)
	if err != nil {
		return raws[0] // never: each was read from valid JSON
	}
	return b
}

// joinable gives the text of an event that may be merged, and what it may be merged with.
func joinable(e wire.Event) (text, key string, ok bool) {
	switch e.Type {
	case wire.EventMessage, wire.EventThought:
		var d wire.MessageData
		if json.Unmarshal(e.Data, &d) != nil {
			return "", "", false
		}
		var raw struct {
			MessageID string `json:"messageId"`
		}
		if len(e.Raw) > 0 && json.Unmarshal(e.Raw, &raw) != nil {
			return "", "", false
		}
		return d.Text, raw.MessageID, true
	case wire.EventToolOutput:
		var d wire.ToolOutputData
		if json.Unmarshal(e.Data, &d) != nil {
			return "", "", false
		}
		return d.Text, d.ID, true
	}
	return "", "", false
}

// encodedSize is how many bytes a text has within JSON, at most: encoders may write <, > and & as escapes of six bytes.
func encodedSize(s string) int {
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '"' || r == '\\':
			n += 2
		case r < ' ' || r == 0x7f || r == '<' || r == '>' || r == '&' || r == '\u2028' || r == '\u2029' || r == utf8.RuneError:
			n += 6
		default:
			n += size
		}
	}
	return n
}
