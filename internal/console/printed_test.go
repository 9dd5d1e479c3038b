package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/servertest"
	"gantry/internal/session"
)

func TestAllThatACallPrintedIsThereToBeRead(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
	w := claim(t, s, s.Org)
	var whole strings.Builder
	w.report("turn", `{"status":"started","command":1}`, "tool_output", `{"id":"a","text":"of an earlier turn"}`, "turn", `{"status":"ended","command":1}`)
	events := []string{"turn", `{"status":"started","command":1}`, "tool", `{"id":"a","title":"make test","status":"in_progress"}`}
	add := func(text string) {
		whole.WriteString(text)
		events = append(events, "tool_output", `{"id":"a","text":`+quote(text)+`}`)
	}
	add(strings.Repeat("=== RUN\n", 3000) + "--- FAIL: TestInTheMiddle <b>\n")
	for range 200 {
		add(strings.Repeat("ok of another\n", 20))
		events = append(events, "tool_output", `{"id":"b","text":"of another call"}`)
	}
	add(strings.Repeat("too long to be kept with its event\n", 3000))
	w.report(append(events, "tool", `{"id":"a","status":"failed","exit_code":1}`)...)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	p := b.get("/sessions/" + made.ID)
	hides(t, p.body, "TestInTheMiddle")
	shows(t, p.body, "[… shortened here: this piece has")
	w.report("turn", `{"status":"ended","command":1}`, "turn", `{"status":"started","command":1}`, "tool_output", `{"id":"a","text":"of a later turn"}`)
	got := b.get(between(t, p.body, `Not all that it printed is shown here: <a href="`, `"`))
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, whole.String(), got.body)
	require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
	require.Contains(t, got.header.Get("Content-Security-Policy"), "sandbox")
	for _, no := range []string{"1/output", "0/output", "x/output", "99999/output"} {
		require.Equal(t, http.StatusNotFound, b.get("/sessions/"+made.ID+"/events/"+no).status, no)
	}
}

func TestACallThatWasBrokenOffDoesNotBlameItsWorker(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
	claim(t, s, s.Org).report("turn", `{"status":"started","command":1}`, "tool", `{"id":"a","title":"sleep 300","status":"in_progress"}`)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	b.post("/sessions/"+made.ID+"/stop", nil)
	p := b.get("/sessions/" + made.ID)
	shows(t, p.body, "It was broken off before it ended.")
	hides(t, p.body, "worker was lost")
}
