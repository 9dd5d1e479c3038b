package console

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/fault"
	"gantry/internal/session"
)

func TestTextsLoseWhatTerminalsAndReadersAreFooledBy(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\ttext\n":                            "plain\ttext\n",
		"\x1b[1;31mred\x1b[0m":                     "red",
		"\x1b]0;title\x07after":                    "after",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"10%\r50%\r100%\ndone\r\n":                 "100%\ndone\n",
		"user\u202egnp.exe":                        "usergnp.exe",
		"a\x00b\x07c":                              "abc",
		"broken \xff byte":                         "broken  byte",
		"cut \x1b[3":                               "cut ",
		"cut \x1b":                                 "cut ",
	} {
		require.Equal(t, want, clean(in), "%q", in)
	}
	rapid.Check(t, func(t *rapid.T) {
		got := clean(rapid.String().Draw(t, "text"))
		require.Equal(t, got, clean(got), "what is clean stays as it is")
		require.NotContains(t, got, "\x1b")
	})
}

func TestLongNumbersAreReadable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "0": "0", "999": "999", "1234": "1234", "9999.99": "9999.99", "12345": "12\u202f345", "123456 sessions": "123\u202f456 sessions",
		"1234567.89": "1\u202f234\u202f567.89", "1000000000000": "1\u202f000\u202f000\u202f000\u202f000", "< 0.01": "< 0.01",
	} {
		require.Equal(t, want, grouped(in))
	}
}

func TestOnlyPathsOfThisSiteAreGoneBackTo(t *testing.T) {
	t.Parallel()
	for _, next := range []string{"/", "/sessions/1?before=2", "/orgs/a/keys"} {
		require.Equal(t, next, ownPath(next))
	}
	rapid.Check(t, func(t *rapid.T) {
		got := ownPath(rapid.OneOf(rapid.String(), rapid.StringMatching(`[/\\]{0,3}(https?:)?[/\\]{0,2}evil\.test[/?#]?.*`)).Draw(t, "next"))
		require.True(t, strings.HasPrefix(got, "/") && !strings.HasPrefix(got, "//") && !strings.Contains(got, `\`), got)
	})
}

func TestMarkdownIsRenderedWithoutItsDangers(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"**b** `c`":                       "<strong>b</strong> <code>c</code>",
		"<b>x</b>":                        "&lt;b&gt;x&lt;/b&gt;",
		"<div>\nx\n</div>":                "&lt;div&gt;",
		"[x](https://a.test/?q=\"><b>)":   "<span>",
		"[x](https://a.test/p)":           `<a rel="noopener noreferrer nofollow" target="_blank" href="https://a.test/p">x</a>`,
		"[x](javascript:alert(1))":        "<span>x</span>",
		"[x](JaVaScRiPt:alert(1))":        "<span>x</span>",
		"[x](data:text/html;base64,AAAA)": "<span>x</span>",
		"[x](/logout)":                    "<span>x</span>",
		"[x](//evil.test)":                "<span>x</span>",
		"![p](https://a.test/p.png)":      `href="https://a.test/p.png"`,
		"see https://a.test/x now":        `href="https://a.test/x"`,
		"<https://a.test/x>":              `href="https://a.test/x"`,
		"<me@a.test>":                     `href="mailto:me@a.test"`,
		"a\nb":                            "a<br>",
		"|a|b|\n|-|-|\n|1|2|":             "<table>",
		"```sh\n<script>\n```":            "&lt;script&gt;",
	} {
		var b strings.Builder
		require.NoError(t, rich(in).Render(t.Context(), &b))
		if in == "[x](https://a.test/?q=\"><b>)" {
			require.NotContains(t, b.String(), "<b>", in)
			continue
		}
		require.Contains(t, b.String(), want, in)
		require.NotContains(t, b.String(), "<img", in)
	}
}

func TestMarkdownOfAPageIsBoundedInAll(t *testing.T) {
	t.Parallel()
	entries := []*entry{{kind: toolCall}}
	for range 100 {
		entries = append(entries, &entry{kind: saidByAgent, text: strings.Repeat("[a](", maxMarkdown/4)})
	}
	entries = append(entries, &entry{kind: saidByUser, text: strings.Repeat("x", maxMarkdown+1)}, &entry{kind: saidByAgent, text: "*short*"})
	spend(entries)
	require.False(t, entries[102].plain)
	require.True(t, entries[101].plain, "a long one is shown as it is")
	require.False(t, entries[100].plain)
	require.True(t, entries[1].plain, "the oldest go without first")
	rendered := 0
	for _, n := range entries {
		if n.kind != toolCall && !n.plain {
			rendered += len(n.text)
		}
	}
	require.LessOrEqual(t, rendered, pageMarkdown)
}

func event(seq int64, typ, data string) session.Event {
	return session.Event{Seq: seq, Type: typ, CreatedAt: 1_700_000_000_000 + seq, Data: json.RawMessage(data)}
}

func TestACallKeepsWhatItsEventsDontMention(t *testing.T) {
	t.Parallel()
	teller := newTeller()
	for _, e := range []session.Event{
		event(1, "tool", `{"id":"a","title":"make","kind":"execute","status":"pending","input":{"command":"make -j2","cwd":"/w"}}`),
		event(2, "tool", `{"id":"a","status":"in_progress"}`),
		event(3, "tool_output", `{"id":"a","text":"one\n"}`),
		event(4, "message", `{"text":"meanwhile"}`),
		event(5, "tool_output", `{"id":"a","text":"two\n"}`),
		event(6, "tool", `{"id":"a","status":"completed","exit_code":0}`),
	} {
		teller.tell(e)
	}
	require.Len(t, teller.entries, 2)
	c := teller.entries[0].tool
	require.Equal(t, "make", c.title)
	require.Equal(t, "$ make -j2", c.input)
	require.Equal(t, "one\ntwo", c.printed())
	require.True(t, c.over())
	require.False(t, c.failed())
	require.Equal(t, 5*time.Millisecond, c.ended.Sub(c.begun))
}

func TestWhatIsPrintedForHoursStaysSmall(t *testing.T) {
	t.Parallel()
	teller := newTeller()
	for i := range 5000 {
		teller.tell(event(int64(i+1), "tool_output", fmt.Sprintf(`{"id":"a","text":"line %d of many, and then some more\n"}`, i)))
	}
	c := teller.entries[0].tool
	require.Less(t, len(c.output), 2*maxPrinted+100)
	require.True(t, c.cut)
	require.True(t, strings.HasPrefix(c.output, "line "), "it begins with a whole line")
	require.Contains(t, c.output, "line 4999")
	for i := range 100 {
		teller.tell(event(int64(6000+i), "tool", fmt.Sprintf(`{"id":"t%d","status":"completed"}`, i)))
		teller.take()
	}
	require.LessOrEqual(t, len(teller.tools), keptCalls+1, "a stream forgets what is over")
}

func TestAShortenedPieceOfACallIsMarked(t *testing.T) {
	t.Parallel()
	teller := newTeller()
	for _, e := range []session.Event{
		event(1, "tool", `{"id":"a","title":"make","status":"in_progress"}`),
		event(2, "tool_output", `{"id":"a","text":"one\ntw","truncated":true,"size":81920}`),
		event(3, "tool_output", `{"id":"a","text":"three\n"}`),
		event(4, "tool", `{"id":"a","status":"failed","truncated":true,"size":71680}`),
	} {
		teller.tell(e)
	}
	require.Len(t, teller.entries, 1)
	n := teller.entries[0]
	require.Equal(t, "one\ntw\n[… shortened here: this piece has 80.0 KiB]\nthree", n.tool.printed())
	require.True(t, n.tool.cut)
	require.Equal(t, int64(4), n.tool.seq)
	require.Equal(t, []large{{4, 71680}}, n.whole, "a change of a call too")
}

func TestUnknownAndMisshapenEventsArePassedOver(t *testing.T) {
	t.Parallel()
	types := []string{
		"created", "user_message", "status", "claimed", "lease_lost", "limit", "tags", "context", "archived", "setup", "agent", "turn", "message", "thought",
		"plan", "tool", "tool_output", "usage", "permission", "structured_output", "pull_request", "attachment", "mode", "commands_available", "log", "tomorrow",
	}
	rapid.Check(t, func(t *rapid.T) {
		teller := newTeller()
		for i := range rapid.IntRange(1, 20).Draw(t, "n") {
			typ := rapid.SampledFrom(types).Draw(t, "type")
			data := rapid.SampledFrom([]string{
				`{}`, `[]`, `null`, `"x"`, `{"id":7}`, `{"id":"a"}`, `{"text":[]}`, `{"status":"failed"}`, `{"entries":[{}]}`, `{"phase":"x"}`, `{"tags":null}`,
				`{"request":"r","status":"requested"}`, `{"request":"r","status":"granted","option":"o"}`, `{"id":"a","output":{"diffs":[{}]}}`, `{"url":"::"}`,
			}).Draw(t, "data")
			teller.tell(event(int64(i+1), typ, data))
		}
		p := &sessionView{Session: &session.Session{ID: "s"}, door: &door{}, emails: map[string]string{}, entries: teller.entries}
		var b strings.Builder
		require.NoError(t, entriesView(p).Render(t.Context(), &b))
	})
}

func TestAChangeShowsItsLinesAndFewAround(t *testing.T) {
	t.Parallel()
	old := "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	show := func(d diff) string {
		var b strings.Builder
		for _, l := range d.lines() {
			b.WriteString(l.mark + l.text + " ")
		}
		return b.String()
	}
	require.Equal(t, " 2  3  4 -5 +five  6  7  8 ", show(diff{OldText: &old, NewText: strings.Replace(old, "5", "five", 1)}))
	require.Equal(t, "+new ", show(diff{NewText: "new\n"}))
	require.Equal(t, "-1 -2 -3 -4 -5 -6 -7 -8 -9 ", show(diff{OldText: &old}))
	require.Equal(t, " 7  8  9 +10 ", show(diff{OldText: &old, NewText: old + "10\n"}))
	long := strings.Repeat("x\n", 2000)
	require.Len(t, diff{NewText: long}.lines(), maxLines+1)
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c"}))
		before, after := strings.Join(lines.Draw(t, "old"), "\n"), strings.Join(lines.Draw(t, "new"), "\n")
		var was, is []string
		for _, l := range (diff{OldText: &before, NewText: after}).lines() {
			if l.mark != "+" {
				was = append(was, l.text)
			}
			if l.mark != "-" {
				is = append(is, l.text)
			}
		}
		require.Contains(t, "\n"+before+"\n", "\n"+strings.Join(append(was, ""), "\n"))
		require.Contains(t, "\n"+after+"\n", "\n"+strings.Join(append(is, ""), "\n"))
	})
}

func TestEveryStateHasWords(t *testing.T) {
	t.Parallel()
	for _, s := range []session.Status{session.StatusNew, session.StatusClaimed, session.StatusRunning, session.StatusSuspended, session.StatusResuming, session.StatusExit, session.StatusError} {
		for _, d := range []session.Detail{
			"", session.Working, session.WaitingForUser, session.WaitingForApproval, session.Finished, session.Inactivity, session.UserRequest,
			session.UsageLimitExceeded, session.OrgUsageLimitExceeded, session.UserUsageLimitExceeded, session.TotalSessionLimitExceeded, "new_one",
		} {
			v := stateOf(session.State{Status: s, Detail: d}, "")
			require.NotEmpty(t, v.text)
			if s == session.StatusSuspended || s == session.StatusError || s == session.StatusExit {
				require.NotEmpty(t, v.next, "%s/%s says what one may do", s, d)
			}
		}
	}
}

func TestAFieldIsFoundInARefusal(t *testing.T) {
	t.Parallel()
	require.Equal(t, "prompt", fieldOf(fault.InvalidField("prompt", "must not be empty")))
	require.Equal(t, "tags", fieldOf(fault.InvalidField("tags.3", "x")))
	require.Equal(t, "playbook_id", fieldOf(fault.New(fault.NotFound, "playbook_id: no such playbook")))
	require.Empty(t, fieldOf(fault.New(fault.Conflict, "the limit is reached")))
}

func TestHowLongAgoReadsWell(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		time.Second: "just now", 59 * time.Second: "59 s ago", 90 * time.Second: "1 min ago", 47 * time.Hour: "47 h ago", 49 * time.Hour: "2 days ago",
		-30 * time.Minute: "in 30 min", -90*24*time.Hour + time.Second: "in 90 days",
	} {
		require.Equal(t, want, ago(now, now.Add(-d)))
	}
}
