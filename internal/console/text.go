package console

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean takes out of a text what could make it look like another: escape sequences of terminals, control characters, and those that
// turn the direction of writing. A line that a program wrote over (a progress bar) keeps what it showed last.
func clean(s string) string {
	if !needsCleaning(s) {
		return s
	}
	s = strings.ReplaceAll(unescape(s), "\r\n", "\n")
	if strings.ContainsRune(s, '\r') {
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			l = strings.TrimRight(l, "\r")
			lines[i] = l[strings.LastIndexByte(l, '\r')+1:]
		}
		s = strings.Join(lines, "\n")
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unwanted(r) {
			return r
		}
		return -1
	}, s)
}

func unwanted(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
}

func needsCleaning(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && unwanted(r) })
}

// unescape takes out the escape sequences of terminals: colours, movements, titles.
func unescape(s string) string {
	var b strings.Builder
	for {
		at := strings.IndexByte(s, 0x1b)
		if at < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:at])
		s = s[at+1:]
		s = s[sequence(s):]
	}
}

// sequence is how many bytes of s belong to the escape sequence that began just before it.
func sequence(s string) int {
	if s == "" {
		return 0
	}
	switch s[0] {
	case '[': // CSI: parameters, then one letter
		for i := 1; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', '^', '_': // a string that BEL or ESC \ ends
		for i := 1; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b {
				return min(i+2, len(s))
			}
		}
		return len(s)
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// oneLine is a text's first line, at most n characters of it.
func oneLine(s string, n int) string {
	s, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	if more {
		return s + " …"
	}
	return s
}

// acus shows an amount as people read it.
func acus(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 0.01:
		return "< 0.01"
	}
	return fmt.Sprintf("%.2f", n)
}

// grouped sets the thousands of a long number apart, at whose beginning it stands.
func grouped(number string) string {
	n := len(number) - len(strings.TrimLeft(number, "0123456789"))
	if n < 5 {
		return number
	}
	for n > 3 {
		n -= 3
		number = number[:n] + "\u202f" + number[n:]
	}
	return number
}

// ago shows how long a time is past, or how far it is to come, in its largest unit.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + largest(rounded(-d))
	}
	if d < 5*time.Second {
		return "just now"
	}
	return largest(d) + " ago"
}

// rounded has what is still to come read as people say it: 90 days, not 89 and some hours.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < time.Hour:
		return d + 30*time.Second
	case d < 48*time.Hour:
		return d + 30*time.Minute
	}
	return d + 12*time.Hour
}

func largest(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d/day))
}

// moment shows a time for those whose browser runs no script: the script makes it local.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func hour(t time.Time) string { return t.UTC().Format("15:04:05") }

// sentence makes a message of a use case read as one.
func sentence(s string) string {
	if s == "" {
		return s
	}
	r, n := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(r)) + s[n:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?:") && !strings.HasSuffix(s, "…") {
		s += "."
	}
	return s
}
