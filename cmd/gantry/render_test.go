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

func shown(events ...string) string {
	var b bytes.Buffer
	r := &renderer{out: &b, org: "org-1", session: "0199aa"}
	for i, e := range events {
		kind, data, _ := strings.Cut(e, " ")
		r.event(client.Event{Seq: int64(i + 1), Type: kind, CreatedAt: int64(1000 * (i + 1)), Data: json.RawMessage(data)})
	}
	r.close()
	return b.String()
}

func TestWhatIsShortenedSaysSoAndHowToGetTheWhole(t *testing.T) {
	t.Parallel()
	require.Equal(t, `▶ make test
  │ ok
  │ FA
  … cut here: this is the beginning of 80.0 KiB; all of it: gantry api GET /gantry/v1/organizations/org-1/sessions/0199aa/events/2/payload
  │ ok again
✗ make test · exit status 1 · 3.0 s
● Long
  … cut here: this is the beginning of 70.0 KiB; all of it: gantry api GET /gantry/v1/organizations/org-1/sessions/0199aa/events/5/payload
`, shown(
		`tool {"id":"a","title":"make test","status":"in_progress"}`,
		`tool_output {"id":"a","text":"ok\nFA","truncated":true,"size":81920}`,
		`tool_output {"id":"a","text":"ok again\n"}`,
		`tool {"id":"a","status":"failed","exit_code":1}`,
		`message {"text":"Long","truncated":true,"size":71680}`,
	))
}

func TestACallThatBeganBeforeIsShownByItsEndAlone(t *testing.T) {
	t.Parallel()
	require.Equal(t, `✗ a call that began before · exit status 1
▶ true
✓ true · 1.0 s
`, shown(
		`tool {"id":"a","status":"interrupted"}`,
		`tool {"id":"b","status":"failed","exit_code":1}`,
		`tool {"id":"c","title":"true","status":"in_progress"}`,
		`tool {"id":"c","status":"completed","exit_code":0}`,
		`tool {"id":"b","status":"failed","exit_code":1}`,
	))
}
