package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/term"
)

func standard() *stdio {
	return &stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: term.IsTerminal(int(os.Stdout.Fd()))}
}

// printf writes to out. A reader that has gone away ends the process by SIGPIPE; run tells of any other error.
func (s *stdio) printf(format string, args ...any) {
	_, err := fmt.Fprintf(s.out, format, args...)
	s.missed(err)
}

// missed keeps the first error of writing to out.
func (s *stdio) missed(err error) {
	if s.lost == nil {
		s.lost = err
	}
}

// note tells a person something beside the output.
func (s *stdio) note(format string, args ...any) {
	_, _ = fmt.Fprintln(s.err, clean(fmt.Sprintf(format, args...))) // nowhere to say that stderr is gone
}

// aside is a note that may come while a moving line stands on the terminal: it takes the line's place, and the line comes again below.
func (s *stdio) aside(text string) {
	if s.terminal && isTerminal(s.err) {
		_, _ = io.WriteString(s.err, "\r\x1b[K") // as for a note
	}
	s.note("%s", text)
}

// json prints a value for scripts: one line, or indented and cleaned for a person.
func (s *stdio) json(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if s.terminal {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return err
	}
	text := b.String()
	if s.terminal {
		text = clean(text)
	}
	_, err := io.WriteString(s.out, text)
	return err
}

// table prints rows under a head, columns aligned.
func (s *stdio) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, r := range append([][]string{head}, rows...) {
		for i, c := range r {
			r[i] = strings.Join(strings.Fields(clean(c)), " ")
		}
		if _, err := io.WriteString(w, strings.Join(r, "\t")+"\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

// clean takes out what could steer a terminal: control characters other than newline and tab, and the marks that turn the
// direction of text. What agents and other people write reaches terminals only through here.
func clean(s string) string {
	var c cleaner
	return c.text(s)
}

// cleaner is clean for a stream: an escape sequence may lie across two pieces.
type cleaner struct {
	state escape
	cr    bool
}

type escape int

const (
	inText     escape = iota
	afterESC          // after ESC
	inControl         // after ESC [: until a letter
	inString          // after ESC ] and its like: until BEL or ESC \
	inStringST        // ESC inside such a string
)

func (c *cleaner) text(s string) string {
	var b strings.Builder
	for _, r := range s {
		if c.cr && r != '\n' {
			// A lone carriage return begins a line anew; without cursor moves that is a new line.
			b.WriteByte('\n')
		}
		c.cr = r == '\r' && c.state == inText
		if c.keep(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// keep advances over one character and says whether it is shown.
func (c *cleaner) keep(r rune) bool {
	const esc, bel, csi = 0x1b, 0x07, 0x9b
	switch c.state {
	case afterESC:
		c.state = inText
		switch {
		case r == '[':
			c.state = inControl
		case strings.ContainsRune("]PX^_", r):
			c.state = inString
		}
		return false
	case inControl:
		if r >= '@' && r <= '~' {
			c.state = inText
		}
		return false
	case inString, inStringST:
		switch {
		case r == bel || c.state == inStringST && r == '\\':
			c.state = inText
		case r == esc:
			c.state = inStringST
		default:
			c.state = inString
		}
		return false
	case inText:
	}
	switch r {
	case esc:
		c.state = afterESC
	case csi:
		c.state = inControl
	case '\n', '\t':
		return true
	}
	return !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// columns is the terminal's width; 0 when it isn't known.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}
