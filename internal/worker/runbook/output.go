package runbook

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of one block's output.
const (
	readSize   = 8 << 10  // bytes read at a time
	pieceSize  = 16 << 10 // bytes collected before they are reported without waiting; escaped as JSON they must stay below wire.InlinePayload
	maxOutput  = 8 << 20  // bytes reported; the block runs on, the rest is dropped
	maxCapture = 1 << 20  // bytes of standard output kept to be read as JSON
)

// output collects what a block prints and gives it out as valid UTF-8. Standard output and error have a carry each: when they
// come through pipes of their own, a character split between two reads belongs to one of them.
type output struct {
	emit      func(text string)
	pending   strings.Builder
	carry     [2][]byte
	total     int64 // bytes printed, reported or not
	reported  int
	truncated bool
	capture   []byte // standard output as it is, when keep is set
	keep      bool
	overflow  bool // capture is incomplete
}

// add takes bytes in as they came from one of the two streams.
func (o *output) add(stream int, b []byte) {
	o.total += int64(len(b))
	if o.keep && stream == 0 && !o.overflow {
		o.overflow = len(o.capture)+len(b) > maxCapture
		if !o.overflow {
			o.capture = append(o.capture, b...)
		}
	}
	if o.truncated {
		return
	}
	if len(o.carry[stream]) > 0 {
		b = append(o.carry[stream], b...)
		o.carry[stream] = nil
	}
	cut := wholeRunes(b)
	o.carry[stream] = append([]byte(nil), b[cut:]...)
	o.text(strings.ToValidUTF8(string(b[:cut]), "\uFFFD"))
}

// text reports s as far as the limit allows.
func (o *output) text(s string) {
	if room := maxOutput - o.reported; len(s) > room {
		s = s[:wholeRunes([]byte(s[:room]))]
		o.truncated = true
	}
	o.reported += len(s)
	o.pending.WriteString(s)
	if o.truncated {
		o.note(fmt.Sprintf("output cut: more than %d MiB; the rest isn't shown", maxOutput>>20))
	}
	if o.pending.Len() >= pieceSize {
		o.flush()
	}
}

// note adds a remark of our own on a line of its own.
func (o *output) note(s string) { o.pending.WriteString("\n[" + s + "]\n") }

// flush reports what is pending.
func (o *output) flush() {
	if o.pending.Len() == 0 {
		return
	}
	s := o.pending.String()
	o.pending.Reset()
	o.emit(s)
}

// end reports everything, also half a character at the end of a stream.
func (o *output) end() {
	for stream := range o.carry {
		if b := o.carry[stream]; len(b) > 0 && !o.truncated {
			o.text(strings.ToValidUTF8(string(b), "\uFFFD"))
		}
	}
	o.flush()
}

// wholeRunes gives the length of b without a character at its end of which bytes are still to come.
func wholeRunes(b []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		c := b[len(b)-back]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-back:]) {
				return len(b) - back
			}
			break
		}
	}
	return len(b)
}
