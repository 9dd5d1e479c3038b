package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
)

// statusText is how people read a status and its detail.
func statusText(status, detail string) string {
	if detail == "" {
		return status
	}
	return status + " / " + strings.ReplaceAll(detail, "_", " ")
}

// acus shows ACUs as people read them; --json has every digit.
func acus(n float64) string { return fmt.Sprintf("%.4f", n) }

// age shows how long ago a Unix second was, in its largest unit.
func age(now time.Time, sec int64) string {
	d := max(0, now.Sub(time.Unix(sec, 0)))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// pretty indents JSON; empty for null and nothing.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || string(raw) == "null" || json.Indent(&b, raw, "", "  ") != nil {
		return ""
	}
	return clean(b.String())
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(text, "\n", "\n"+by)
}

func baseName(path string) string { return filepath.Base(path) }

// readText gives an argument, or standard input for - and for nothing when a pipe is there.
func readText(s *stdio, arg string) (string, error) {
	if arg != "" && arg != "-" {
		return arg, nil
	}
	if f, ok := s.in.(*os.File); ok && arg == "" && term.IsTerminal(int(f.Fd())) {
		return "", errors.New("no text was given: write it as an argument, or pipe it in")
	}
	text, err := io.ReadAll(s.in)
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", errors.New("no text was given: write it as an argument, or pipe it in")
	}
	return string(text), nil
}
