package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/client"
)

// wholeStory reads testdata/events.jsonl: one session with every type of event.
func wholeStory(t *testing.T) []client.Event {
	t.Helper()
	text, err := os.ReadFile("testdata/events.jsonl")
	require.NoError(t, err)
	var out []client.Event
	for line := range strings.Lines(string(text)) {
		var e client.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		e.Seq = int64(len(out) + 1)
		out = append(out, e)
	}
	return out
}

func render(t *testing.T, colour bool) string {
	t.Helper()
	var b bytes.Buffer
	r := &renderer{out: &b, colour: colour}
	for _, e := range wholeStory(t) {
		r.event(e)
	}
	r.summary(ending{session: client.Session{
		SessionID: "0199aa", URL: "http://127.0.0.1:8080/sessions/0199aa", Status: "running", StatusDetail: "finished", ACUsConsumed: 0.01234567,
	}}, "http://127.0.0.1:8080")
	return b.String()
}

func TestASessionIsShownLikeThis(t *testing.T) {
	t.Parallel()
	golden(t, "follow.txt", render(t, false))
}

func TestColoursAreOnlyForTerminals(t *testing.T) {
	t.Parallel()
	require.NotContains(t, render(t, false), "\x1b")
	require.Contains(t, render(t, true), "\x1b[32m")
}

func TestWhatAgentsWriteCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\n\ttext":                 "plain\n\ttext",
		"\x1b[31mred\x1b[0m":            "red",
		"\x1b]0;title\x07x":             "x",
		"\x1b]8;;http://evil\x1b\\link": "link",
		"\x1bPdcs\x1b\\x":               "x",
		"\x1bcx":                        "x",
		"a\u009b31mb":                   "ab",
		"10%\r20%\r\ndone":              "10%\n20%\ndone",
		"a\x08\x7f\x00b":                "ab",
		"abc\u202edef\u2066":            "abcdef",
		"grüße ☃":                       "grüße ☃",
	} {
		require.Equal(t, want, clean(in), "%q", in)
	}
}

func TestCleaningInPiecesIsCleaningTheWhole(t *testing.T) {
	t.Parallel()
	alphabet := []rune("ab\x1b[]mP\\\x07\r\n;3\u009b\u202e")
	rapid.Check(t, func(rt *rapid.T) {
		pieces := rapid.SliceOf(rapid.StringOf(rapid.SampledFrom(alphabet))).Draw(rt, "pieces")
		var c cleaner
		var got strings.Builder
		for _, p := range pieces {
			got.WriteString(c.text(p))
		}
		require.Equal(rt, clean(strings.Join(pieces, "")), got.String())
		require.NotContains(rt, got.String(), "\x1b")
	})
}

func TestDataOfAnUnknownFormIsShownAndUnknownTypesArePassedOver(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := &renderer{out: &b}
	r.event(client.Event{Seq: 1, Type: "tool", Data: json.RawMessage(`"surprise\u001b[2J"`)})
	r.event(client.Event{Seq: 2, Type: "of_a_newer_server", Data: json.RawMessage(`{}`)})
	require.Equal(t, "  tool \"surprise\\u001b[2J\"\n", b.String())
}
