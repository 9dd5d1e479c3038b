package insight

import (
	"fmt"
	"strings"
	"unicode"
)

// short keeps a text within what an analysis shows.
func short(text string) string { return clip(text, maxText) }

// clip keeps at most n bytes of a text, whole characters, and no NUL.
func clip(text string, n int) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\x00", "")
	if len(text) <= n {
		return strings.ToValidUTF8(text, "")
	}
	return strings.ToValidUTF8(text[:n-len("…")], "") + "…"
}

// oneLine gives a text's first line that says something, at most 160 bytes.
func oneLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "```") {
			return clip(line, 160)
		}
	}
	return ""
}

// plainWords gives a text's words in lower case, each between single spaces.
func plainWords(text string) string {
	return " " + strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ") + " "
}

// times writes a count with its noun.
func times(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
