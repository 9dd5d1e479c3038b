package acp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/wire"
	"gantry/internal/worker/acp"
)

// lines gives events as "type data", for comparing.
func lines(events []wire.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Type+" "+string(e.Data))
	}
	return out
}

func TestEveryKindOfUpdateIsMapped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, raw string
		want      []string
	}{
		"message":  {"agent_message_chunk", `{"content":{"type":"text","text":"<hi>"}}`, []string{`message {"text":"<hi>"}`}},
		"thought":  {"agent_thought_chunk", `{"content":{"type":"text","text":"hm"}}`, []string{`thought {"text":"hm"}`}},
		"link":     {"agent_message_chunk", `{"content":{"type":"resource_link","name":"a.go","uri":"file:///a.go"}}`, []string{`message {"text":"[a.go](file:///a.go)"}`}},
		"embedded": {"agent_message_chunk", `{"content":{"type":"resource","resource":{"uri":"file:///a","text":"body"}}}`, []string{`message {"text":"body"}`}},
		"image":    {"agent_message_chunk", `{"content":{"type":"image","data":"AAAA","mimeType":"image/png"}}`, []string{`message {"text":"[image image/png]"}`}},
		"user":     {"user_message_chunk", `{"content":{"type":"text","text":"hi"}}`, nil},
		"tool call with defaults": {
			"tool_call", `{"toolCallId":"1","title":"Read"}`,
			[]string{`tool {"id":"1","title":"Read","kind":"other","status":"pending"}`},
		},
		"tool call in full": {
			"tool_call", `{"toolCallId":"1","title":"Run","kind":"execute","status":"in_progress","rawInput":{"a":1},"rawOutput":null,
			"locations":[{"path":"/w/a","line":3},{"path":"/w/a"},{"path":"/w/b"}],"content":[{"type":"content","content":{"type":"text","text":"out"}}]}`,
			[]string{`tool {"id":"1","title":"Run","kind":"execute","status":"in_progress","input":{"a":1},"paths":["/w/a","/w/b"]}`, `tool_output {"id":"1","text":"out"}`},
		},
		"output comes before the end": {
			"tool_call_update", `{"toolCallId":"1","status":"failed","rawOutput":{"exit_code":2},"content":[{"type":"content","content":{"type":"text","text":"out"}}]}`,
			[]string{`tool_output {"id":"1","text":"out"}`, `tool {"id":"1","status":"failed","output":{"exit_code":2},"exit_code":2}`},
		},
		"output alone": {"tool_call_update", `{"toolCallId":"1","_meta":{"gantry":{"output_delta":"x\n"}}}`, []string{`tool_output {"id":"1","text":"x\n"}`}},
		"interrupted":  {"tool_call_update", `{"toolCallId":"1","status":"failed","_meta":{"gantry":{"status":"interrupted"}}}`, []string{`tool {"id":"1","status":"interrupted"}`}},
		"foreign meta": {"tool_call_update", `{"toolCallId":"1","status":"completed","_meta":{"other":{"status":7}}}`, []string{`tool {"id":"1","status":"completed"}`}},
		"plan": {
			"plan", `{"entries":[{"content":"a","priority":"low","status":"pending","x":1}]}`,
			[]string{`plan {"entries":[{"content":"a","status":"pending","priority":"low"}]}`},
		},
		"empty plan":           {"plan", `{}`, []string{`plan {"entries":[]}`}},
		"commands":             {"available_commands_update", `{"availableCommands":[{"name":"go"}]}`, []string{`commands_available {"commands":[{"name":"go"}]}`}},
		"mode":                 {"current_mode_update", `{"currentModeId":"code"}`, []string{`mode {"mode":"code"}`}},
		"mode as in the prose": {"current_mode_update", `{"modeId":"ask"}`, []string{`mode {"mode":"ask"}`}},
		"usage": {
			"usage_update", `{"used":53000,"size":200000,"cost":{"amount":0.045,"currency":"USD"}}`,
			[]string{`usage {"context_size":200000,"context_used":53000,"cost":0.045,"currency":"USD"}`},
		},
		"unknown kind":    {"mind_reading", `{"x":1}`, []string{`log {"level":"info","text":"the agent sent an update of the unknown kind \"mind_reading\""}`}},
		"unknown shape":   {"plan", `{"entries":7}`, []string{`log {"level":"info","text":"the agent sent an update \"plan\" of an unknown shape"}`}},
		"call without id": {"tool_call", `{"title":"x"}`, []string{`log {"level":"info","text":"the agent sent an update \"tool_call\" of an unknown shape"}`}},
	} {
		events := new(acp.Mapper).Map(c.kind, json.RawMessage(c.raw))
		require.Equal(t, c.want, lines(events), name)
		for i, e := range events {
			if i == 0 {
				require.Equal(t, c.raw, string(e.Raw), name)
			} else {
				require.Empty(t, e.Raw, name)
			}
		}
	}
}

func TestRepeatedContentIsReportedOnce(t *testing.T) {
	t.Parallel()
	var m acp.Mapper
	say := func(status, text string) []string {
		raw, err := json.Marshal(map[string]any{"toolCallId": "1", "status": status, "content": []any{
			map[string]any{"type": "content", "content": map[string]any{"type": "text", "text": text}},
			map[string]any{"type": "terminal", "terminalId": "t9"},
		}})
		require.NoError(t, err)
		var out []string
		for _, e := range m.Map("tool_call_update", raw) {
			var d wire.ToolOutputData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			if e.Type == wire.EventToolOutput {
				out = append(out, d.Text)
			}
		}
		return out
	}
	require.Equal(t, []string{"one\n"}, say("in_progress", "one\n"))
	require.Equal(t, []string{"two\n"}, say("in_progress", "one\ntwo\n"))
	require.Empty(t, say("in_progress", "one\ntwo\n"))
	require.Equal(t, []string{"replaced"}, say("in_progress", "replaced"))
	require.Equal(t, []string{"!"}, say("completed", "replaced!"))
	id, ok := m.ToolOfTerminal("t9")
	require.True(t, ok)
	require.Equal(t, "1", id)
}

func TestTurnsEndTellsTheTokens(t *testing.T) {
	t.Parallel()
	var r acp.PromptResult
	require.NoError(t, json.Unmarshal([]byte(`{"stopReason":"end_turn","usage":{"inputTokens":5,"outputTokens":7},"_meta":{"gantry":{"outcome":"failed","reason":"no"}}}`), &r))
	require.Equal(t, []string{`usage {"input_tokens":5,"output_tokens":7}`}, lines(r.Events()))
	outcome, reason := r.Outcome()
	require.Equal(t, "failed no", outcome+" "+reason)
	require.Empty(t, acp.PromptResult{}.Events())
}

func chunk(kind, text, messageID string, at int64) wire.Event {
	raw, _ := json.Marshal(map[string]any{"messageId": messageID, "text": text}) // strings always encode
	data, _ := json.Marshal(wire.MessageData{Text: text})
	return wire.Event{Type: kind, At: at, Data: data, Raw: raw}
}

func TestMessagesAreWhole(t *testing.T) {
	t.Parallel()
	var j acp.Joiner
	require.Empty(t, j.Add(chunk(wire.EventMessage, "Hello, ", "", 10)))
	require.Empty(t, j.Add(chunk(wire.EventMessage, "world", "", 20)))
	plan := wire.Event{Type: wire.EventPlan, Data: json.RawMessage(`{}`), At: 30}
	out := j.Add(plan)
	require.Equal(t, []string{`message {"text":"Hello, world"}`, `plan {}`}, lines(out))
	require.Equal(t, int64(10), out[0].At)
	require.JSONEq(t, `[{"messageId":"","text":"Hello, "},{"messageId":"","text":"world"}]`, string(out[0].Raw))

	require.Empty(t, j.Add(chunk(wire.EventThought, "hm", "", 40)))
	require.Equal(t, []string{`thought {"text":"hm"}`}, lines(j.Add(chunk(wire.EventMessage, "a", "m1", 50))), "another kind")
	out = j.Add(chunk(wire.EventMessage, "b", "m2", 60))
	require.Equal(t, []string{`message {"text":"a"}`}, lines(out), "another message")
	require.JSONEq(t, `{"messageId":"m1","text":"a"}`, string(out[0].Raw), "a single raw update stays as it is")
	require.Empty(t, j.Due(1059))
	require.Equal(t, []string{`message {"text":"b"}`}, lines(j.Due(1060)), "a second of quiet")
	require.Empty(t, j.Due(99999))
	require.Empty(t, j.Flush())
}

func TestALongMessageGoesOutInParts(t *testing.T) {
	t.Parallel()
	var j acp.Joiner
	require.Empty(t, j.Add(chunk(wire.EventMessage, strings.Repeat("a", 30<<10), "", 1)))
	require.Len(t, j.Add(chunk(wire.EventMessage, strings.Repeat("b", 5<<10), "", 2)), 1)
	require.Equal(t, []string{`message {"text":"` + strings.Repeat("b", 5<<10) + `"}`}, lines(j.Flush()))
	alone := strings.Repeat("c", wire.InlinePayload)
	require.Equal(t, []string{`message {"text":"` + alone + `"}`}, lines(j.Add(chunk(wire.EventMessage, alone, "", 3))), "a chunk is not cut")
	require.Empty(t, j.Flush())
}

// What is larger than wire.InlinePayload is kept aside by the server, and a reader sees its beginning only.
func TestNoJoinedEventIsTooLargeToBeKeptWithItsEvent(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"a log":         "2026-01-01T00:00:00Z INFO \"request\" path=/a/b status=200\n",
		"HTML":          "<p class=\"a\">&amp;</p>\n",
		"colours":       "\x1b[32mok\x1b[0m\tpkg\r\n",
		"other letters": "grüße \u2028 ☃ 日本\n",
		"no text":       "\x00\x01\x7f\ufffd",
	} {
		for _, kind := range []string{wire.EventToolOutput, wire.EventMessage} {
			var j acp.Joiner
			var out []wire.Event
			piece := strings.Repeat(line, 1+(2<<10)/len(line))
			var whole strings.Builder
			for i := range 200 {
				data, err := json.Marshal(wire.ToolOutputData{ID: "rb-1", Text: piece})
				require.NoError(t, err)
				out = append(out, j.Add(wire.Event{Type: kind, At: int64(i), Data: data})...)
				whole.WriteString(piece)
			}
			out = append(out, j.Flush()...)
			var got strings.Builder
			for _, e := range out {
				var d wire.MessageData
				require.NoError(t, json.Unmarshal(e.Data, &d))
				got.WriteString(d.Text)
				html, err := json.Marshal(wire.ToolOutputData{ID: "rb-1", Text: d.Text})
				require.NoError(t, err)
				require.LessOrEqual(t, max(len(e.Data), len(html)), wire.InlinePayload/2, "%s as %s", name, kind)
			}
			require.Equal(t, whole.String(), got.String(), name)
			require.Less(t, len(out), 200, "%s as %s is joined", name, kind)
		}
	}
}

func TestJoiningLosesNothingAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var j acp.Joiner
		var in, out []wire.Event
		for i := range rapid.IntRange(0, 40).Draw(t, "n") {
			kind := rapid.SampledFrom([]string{wire.EventMessage, wire.EventThought, wire.EventPlan, wire.EventToolOutput}).Draw(t, "kind")
			e := chunk(kind, rapid.String().Draw(t, "text"), rapid.SampledFrom([]string{"", "x"}).Draw(t, "id"), int64(i))
			in = append(in, e)
			out = append(out, j.Add(e)...)
			if rapid.IntRange(0, 9).Draw(t, "flush") == 0 {
				out = append(out, j.Flush()...)
			}
		}
		out = append(out, j.Flush()...)
		require.Equal(t, spoken(t, in), spoken(t, out))
		require.LessOrEqual(t, len(out), len(in))
	})
}

// spoken writes down who said what, without the borders between chunks.
func spoken(t *rapid.T, events []wire.Event) string {
	var sb strings.Builder
	last := ""
	for _, e := range events {
		var d wire.MessageData
		require.NoError(t, json.Unmarshal(e.Data, &d))
		if e.Type != last {
			sb.WriteString("\n" + e.Type + ": ")
			last = e.Type
		}
		sb.WriteString(d.Text)
	}
	return sb.String()
}
