// Package mask hides secret values in what a session reports.
//
// It is a guard against accidents, not against intent: whoever may start a session can read the secrets it gets
// (design: security). Hidden are a value as it is, URL-escaped, as a JSON string has it, and base64-encoded, also in the
// middle of a longer encoded text. Of a value of several lines, such as a private key, each longer line is hidden by itself too:
// programs number lines, sort them or show the first.
package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// MinLength is the length in bytes below which a value isn't masked: it would turn up by chance.
const MinLength = 6

const (
	// minLine is the length in bytes below which a line isn't masked by itself.
	minLine = 16
	// maxLines bounds the lines that are: each costs its forms in memory and time.
	maxLines = 500
)

// Mark stands where a value was.
const Mark = "***"

// Masker knows the values of one session. It is immutable and safe for concurrent use; nil masks nothing.
type Masker struct {
	byPrefix map[uint32][]string // patterns by their first four bytes, longest first
	first    [256]bool           // whether a pattern begins with the byte
	longest  int
}

// New makes a Masker for values; those shorter than MinLength are left out.
func New(values []string) *Masker {
	m := &Masker{byPrefix: map[uint32][]string{}}
	seen := map[string]bool{}
	for _, v := range withLines(values) {
		if len(v) < MinLength {
			continue
		}
		for _, p := range forms(v) {
			if len(p) < MinLength || seen[p] {
				continue
			}
			seen[p] = true
			m.byPrefix[prefix(p)] = append(m.byPrefix[prefix(p)], p)
			m.first[p[0]] = true
			m.longest = max(m.longest, len(p))
		}
	}
	for _, ps := range m.byPrefix {
		slices.SortFunc(ps, func(a, b string) int { return len(b) - len(a) })
	}
	return m
}

// withLines gives values and, of those with several lines, the lines that tell something: no short ones and no PEM armour.
func withLines(values []string) []string {
	out := slices.Clone(values)
	for _, v := range values {
		if !strings.Contains(v, "\n") {
			continue
		}
		for line := range strings.SplitSeq(v, "\n") {
			line = strings.TrimSpace(line)
			if len(line) < minLine || strings.HasPrefix(line, "-----") {
				continue
			}
			if len(out) >= len(values)+maxLines {
				return out
			}
			out = append(out, line)
		}
	}
	return out
}

// forms gives every spelling of a value that is masked.
func forms(v string) []string {
	out := []string{v, url.QueryEscape(v), url.PathEscape(v), jsonForm(v, true), jsonForm(v, false)}
	for _, p := range []string{url.QueryEscape(v), url.PathEscape(v)} {
		out = append(out, lowerHex(p))
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		out = append(out, enc.EncodeToString([]byte(v)))
	}
	for shift := range 3 {
		out = append(out, inner(base64.RawStdEncoding, v, shift), inner(base64.RawURLEncoding, v, shift))
	}
	return out
}

// inner gives the base64 characters that depend on v alone when shift bytes stand before it in the encoded text.
func inner(enc *base64.Encoding, v string, shift int) string {
	all := enc.EncodeToString(append(make([]byte, shift), v...))
	from := (shift*8 + 5) / 6
	to := (shift + len(v)) * 8 / 6
	return all[from:to]
}

func jsonForm(v string, escapeHTML bool) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(escapeHTML)
	if enc.Encode(v) != nil { // a string always encodes
		return v
	}
	s := strings.TrimSuffix(buf.String(), "\n")
	return s[1 : len(s)-1]
}

// lowerHex writes %2F as %2f.
func lowerHex(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

func prefix(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func (m *Masker) empty() bool { return m == nil || m.longest == 0 }

// String masks a whole text.
func (m *Masker) String(s string) string {
	if m.empty() {
		return s
	}
	st := m.Stream()
	return st.Write(s) + st.Flush()
}

// match gives the length of the longest pattern that s begins with, 0 without one.
func (m *Masker) match(s string) int {
	if len(s) < MinLength || !m.first[s[0]] {
		return 0
	}
	for _, p := range m.byPrefix[prefix(s)] {
		if strings.HasPrefix(s, p) {
			return len(p)
		}
	}
	return 0
}

// open reports whether s, at the end of what has come so far, may still become a (longer) pattern.
func (m *Masker) open(s string) bool {
	if len(s) >= m.longest || !m.first[s[0]] {
		return false
	}
	if len(s) >= 4 {
		return anyOpen(m.byPrefix[prefix(s)], s)
	}
	for _, ps := range m.byPrefix {
		if anyOpen(ps, s) {
			return true
		}
	}
	return false
}

func anyOpen(patterns []string, s string) bool {
	for _, p := range patterns {
		if len(p) <= len(s) {
			return false // longest first
		}
		if strings.HasPrefix(p, s) {
			return true
		}
	}
	return false
}

// Stream masks a text that comes in pieces, whatever their borders. It is not safe for concurrent use.
type Stream struct {
	m       *Masker
	held    string
	covered int // bytes at the start of held that belong to a value already replaced by a Mark
}

// Stream begins a new text.
func (m *Masker) Stream() *Stream { return &Stream{m: m} }

// Write takes the next piece in and gives what can be shown. It holds back only an end that may be the beginning of a value.
func (s *Stream) Write(piece string) string {
	if s.m.empty() {
		return piece
	}
	s.held += piece
	return s.advance(false)
}

// Flush gives the rest; the stream is then at its start again.
func (s *Stream) Flush() string {
	if s.m.empty() {
		return ""
	}
	out := s.advance(true)
	s.held, s.covered = "", 0
	return out
}

// advance walks over held. Values that overlap are replaced by one Mark together.
func (s *Stream) advance(final bool) string {
	var out strings.Builder
	text, plain, i := s.held, s.covered, 0 // text[plain:i] is to be shown as it is
	for ; i < len(text); i++ {
		if !s.m.first[text[i]] {
			continue
		}
		rest := text[i:]
		if !final && s.m.open(rest) {
			break
		}
		n := s.m.match(rest)
		if n == 0 || i+n <= plain {
			continue
		}
		if i >= plain {
			out.WriteString(text[plain:i])
			out.WriteString(Mark)
		}
		plain = i + n
	}
	if i > plain {
		out.WriteString(text[plain:i])
		plain = i
	}
	s.held, s.covered = text[i:], plain-i
	return out.String()
}

// JSON masks the strings, keys and numbers of a JSON document and leaves everything else as it is, byte for byte. What isn't
// JSON comes back as a JSON string of its masked text.
func (m *Masker) JSON(raw json.RawMessage) json.RawMessage {
	if m.empty() || len(raw) == 0 {
		return raw
	}
	if !json.Valid(raw) {
		return quote(m.String(string(raw)))
	}
	var out []byte
	done := 0
	for i := 0; i < len(raw); {
		end := tokenEnd(raw, i)
		if masked, changed := m.token(raw[i:end]); changed {
			out = append(append(out, raw[done:i]...), masked...)
			done = end
		}
		i = end
	}
	if done == 0 {
		return raw
	}
	return append(out, raw[done:]...)
}

// token masks one string or number of a document.
func (m *Masker) token(tok []byte) (masked []byte, changed bool) {
	if len(tok) < MinLength {
		return nil, false
	}
	text := string(tok)
	if tok[0] == '"' && json.Unmarshal(tok, &text) != nil {
		return nil, false // never: the document is valid
	}
	hidden := m.String(text)
	if hidden == text {
		return nil, false
	}
	return quote(hidden), true
}

// tokenEnd gives the end of the token of a valid document that begins at i: a string, a number or word, or one other byte.
func tokenEnd(raw []byte, i int) int {
	if raw[i] == '"' {
		for j := i + 1; j < len(raw); j++ {
			switch raw[j] {
			case '\\':
				j++
			case '"':
				return j + 1
			}
		}
		return len(raw)
	}
	j := i
	for j < len(raw) && strings.IndexByte(" \t\r\n,:[]{}\"", raw[j]) < 0 {
		j++
	}
	return max(j, i+1)
}

func quote(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil { // a string always encodes
		return []byte(`"` + Mark + `"`)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
