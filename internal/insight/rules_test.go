package insight

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/schema"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// told is a tale of the given events.
func told(t testing.TB, events ...session.Event) *tale {
	t.Helper()
	x := &tale{s: &session.Session{Title: "t", UserMessages: 1}, calls: map[string]*call{}, paths: map[string]bool{}}
	for i := range events {
		events[i].Seq = int64(i + 1)
		if events[i].Type == session.EventUserMessage && i > 0 {
			x.s.UserMessages++
		}
		x.take(&events[i])
	}
	return x
}

func event(typ string, data any) session.Event {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return session.Event{Type: typ, Data: b, CreatedAt: 1}
}

func asked(text string, command int64) session.Event {
	return event(session.EventUserMessage, session.UserMessage{Text: text, Command: command})
}

func turnEvent(status string, command int64) session.Event {
	return event(wire.EventTurn, wire.TurnData{Status: status, Command: command, StopReason: map[string]string{"ended": "end_turn"}[status]})
}

func began(id, title string) session.Event {
	return event(wire.EventTool, wire.ToolData{ID: id, Title: title, Kind: "execute", Status: wire.ToolPending})
}

func finished(id string, exit int, paths ...string) session.Event {
	status := wire.ToolCompleted
	if exit != 0 {
		status = wire.ToolFailed
	}
	return event(wire.EventTool, wire.ToolData{ID: id, Status: status, ExitCode: &exit, Paths: paths})
}

func labels(a *Analysis) (out []string) {
	for _, i := range a.Issues {
		out = append(out, i.Label)
	}
	return out
}

func TestFailedCommandsAreIssuesWithWhatToDo(t *testing.T) {
	t.Parallel()
	x := told(t, asked("Make the tests pass", 1), turnEvent("started", 1),
		began("1", "go test ./..."), finished("1", 1, "a/b.go"),
		began("2", "frob --all"), finished("2", 127),
		began("3", "go test ./..."), finished("3", 0, "a/b_test.go"),
		event(wire.EventMessage, wire.MessageData{Text: "All green."}), turnEvent("ended", 1))
	a := byRules(x)
	require.Equal(t, ByRules, a.MadeBy)
	require.Equal(t, []Issue{
		{ID: "issue-1", Label: "test_failure", Issue: "`go test ./...` failed 1 time (exit status 1).", Impact: "A later run succeeded; the time until then was lost."},
		{ID: "issue-2", Label: "missing_tool", Issue: "`frob --all` failed 1 time (exit status 127).", Impact: "It still failed when it was last run."},
	}, a.Issues)
	require.Equal(t, []ActionItem{
		{Type: RepoConfig, IssueID: "issue-1", Text: "Make `go test ./...` pass on the main branch, and say in the repository's notes how to run it."},
		{Type: MachineSetup, IssueID: "issue-2", Text: "Install what `frob --all` needs on the machines that run sessions."},
	}, a.ActionItems)
	require.Equal(t, []TimelineItem{
		{Title: "The task was given", Description: "Make the tests pass", Color: "blue"},
		{Title: "Turn 1", Description: "3 tool calls, 2 of them failed. The agent's last words: All green.", Color: "yellow", IssueID: "issue-1"},
	}, a.Timeline)
	require.Equal(t, []string{"Go"}, a.Classification.Languages)
	require.Equal(t, []string{"Go"}, a.Classification.Tools)
	require.Nil(t, a.NoteUsage, "no notes were given")
	require.Equal(t, "Make the tests pass\n\nMind this:\n- Before you finish, run `go test ./...` and make it pass.", a.SuggestedPrompt.Suggested)
	require.Equal(t, "Make the tests pass", a.SuggestedPrompt.Original)
	require.Equal(t, []Feedback{{
		Summary: "No way to check the work", Details: "The prompt doesn't say which command has to pass at the end.", Excerpt: "go test ./...", IssueID: "issue-1",
	}}, a.SuggestedPrompt.Feedback)
}

func TestTheOutputSaysWhatKindOfFailureItWas(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		"sh: 1: frob: not found": "missing_tool", "ModuleNotFoundError: No module named 'x'": "missing_tool", "open /x: permission denied": "permission",
		"curl: (6) Could not resolve host: example.com": "network", "No space left on device": "resources", "boom": "command_failure",
	} {
		require.Equal(t, want, kindOfFailure(&failure{title: "./run.sh", output: output}).label, output)
	}
	require.Equal(t, "build_failure", kindOfFailure(&failure{title: "make all"}).label)
	require.Equal(t, "resources", kindOfFailure(&failure{title: "x", exit: new(137)}).label)
}

func TestCorrectionsImproveThePromptAndBlameTheNotes(t *testing.T) {
	t.Parallel()
	x := told(t, asked("Write the parser for the new configuration format now", 1), turnEvent("started", 1), turnEvent("ended", 1),
		asked("No, that is not what I meant: use the existing lexer", 2), turnEvent("started", 2), turnEvent("ended", 2),
		asked("Thanks, now open the pull request", 3))
	x.notes = []session.UsedNote{{ID: "note-1", Name: "Style", Reason: "pinned", Command: 1}, {ID: "note-2", Name: "Lexer", Reason: "trigger", Command: 2}}
	a := byRules(x)
	require.Equal(t, []string{"correction"}, labels(a))
	require.Equal(t, PromptImprovement, a.ActionItems[0].Type)
	require.Equal(t, "Write the parser for the new configuration format now\n\nMind this:\n- No, that is not what I meant: use the existing lexer", a.SuggestedPrompt.Suggested)
	require.Equal(t, "issue-1", a.SuggestedPrompt.Feedback[0].IssueID)
	require.Equal(t, &NoteUsage{
		Bad:  []NoteUse{{"note-1", "“Style” came with message 1: it is pinned.", "The work was corrected afterwards: No, that is not what I meant: use the existing lexer"}},
		Good: []NoteUse{{"note-2", "“Lexer” came with message 2: its trigger fits.", "The work that followed needed no correction."}},
	}, a.NoteUsage)

	for text, want := range map[string]bool{
		"You forgot the changelog": true, "It still fails on Windows": true, "Don't touch the vendored code": true, "Actually, make it blue": true,
		"Great, now do the next one": false, "Nothing else": false, "Please add a test": false, "Notes are fine": false,
	} {
		require.Equal(t, want, corrects(text), text)
	}
}

func TestASessionWithoutTroubleNeedsNoAdvice(t *testing.T) {
	t.Parallel()
	a := byRules(told(t, asked("Write the parser for the new configuration format, run its tests and open a pull request", 1), turnEvent("started", 1),
		began("1", "go test ./..."), finished("1", 0), event(wire.EventPullRequest, wire.PullRequestData{URL: "https://example.com/1", State: "open"}), turnEvent("ended", 1)))
	require.Empty(t, a.Issues)
	require.Empty(t, a.ActionItems)
	require.Nil(t, a.SuggestedPrompt)
	require.Equal(t, "Pull request open", a.Timeline[1].Title)
	require.Equal(t, "green", a.Timeline[2].Color)
}

func TestTroubleOutsideOfCommandsIsNoted(t *testing.T) {
	t.Parallel()
	a := byRules(told(t, asked("go", 1),
		event(wire.EventSetup, wire.SetupData{Phase: "clone", Status: "failed", Detail: "no such repository"}),
		event(session.EventLimit, session.LimitData{Limit: 1, Scope: "session"}), event(session.EventLeaseLost, session.LeaseLost{}),
		event(wire.EventAgent, wire.AgentData{Status: "exited", Detail: "killed"}), event(wire.EventPermission, wire.PermissionData{Status: "denied", Title: "rm"}),
		event(wire.EventStructuredOutput, wire.OutputData{Error: "missing field"}), event(wire.EventLog, wire.LogData{Level: "error", Text: "bad"}),
		event(session.EventStatus, session.StatusChange{Status: session.StatusError, Reason: "beyond repair"}),
		asked("more", 2), // the prompt was short
	))
	require.Equal(t, []string{"setup", "limit", "worker_lost", "agent", "denied", "structured_output", "error", "failed"}, labels(a))
	require.Len(t, a.SuggestedPrompt.Feedback, 2)
	require.Equal(t, "The prompt is short", a.SuggestedPrompt.Feedback[1].Summary)
}

// follows requires of an analysis what a model's must follow, too, and that every issue it refers to is there.
func follows(t interface{ Fatalf(string, ...any) }, a *Analysis) {
	text, err := json.Marshal(a)
	if err == nil {
		err = schema.Validate([]byte(analysisSchema), text)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	refs := []string{}
	for _, x := range a.ActionItems {
		refs = append(refs, x.IssueID)
	}
	for _, x := range a.Timeline {
		refs = append(refs, x.IssueID)
	}
	if a.SuggestedPrompt != nil {
		for _, x := range a.SuggestedPrompt.Feedback {
			refs = append(refs, x.IssueID)
		}
	}
	for _, r := range refs {
		if r != "" && !slices.ContainsFunc(a.Issues, func(i Issue) bool { return i.ID == r }) {
			t.Fatalf("%s names %q", text, r)
		}
	}
}

func TestWhateverHappenedTheAnalysisIsBoundedAndWhole(t *testing.T) {
	t.Parallel()
	types := []string{
		session.EventUserMessage, wire.EventTurn, wire.EventTool, wire.EventMessage, wire.EventPullRequest, session.EventStatus, session.EventLimit,
		session.EventLeaseLost, wire.EventSetup, wire.EventAgent, wire.EventPermission, wire.EventStructuredOutput, wire.EventLog, wire.EventPlan, "newer",
	}
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.OneOf(rapid.SampledFrom([]string{
			"no, wrong", "started", "ended", "failed", "error", "denied", "exited", "completed", "session", "go test", "\x00", strings.Repeat("é", 3000), "",
		}), rapid.String())
		var events []session.Event
		for range rapid.IntRange(0, 60).Draw(rt, "events") {
			data := map[string]any{}
			for _, k := range []string{"text", "status", "title", "id", "detail", "phase", "error", "url", "reason", "level", "stop_reason", "scope", "state"} {
				data[k] = word.Draw(rt, k)
			}
			data["id"] = fmt.Sprint(rapid.IntRange(0, 80).Draw(rt, "id"))
			if rapid.Bool().Draw(rt, "exit") {
				data["exit_code"] = rapid.IntRange(-1, 200).Draw(rt, "exit code")
			}
			e := event(rapid.SampledFrom(types).Draw(rt, "type"), data)
			if rapid.IntRange(0, 20).Draw(rt, "truncated") == 0 {
				e.Data = []byte(`{"truncated":true,"size":99999}`)
			}
			events = append(events, e)
		}
		x := told(t, events...)
		x.notes = []session.UsedNote{{ID: "note-1", Name: word.Draw(rt, "name"), Reason: "pinned"}}
		follows(rt, byRules(x))
		if n := len(question(x)); n > 6*maxQuestion {
			rt.Fatalf("a question of %d bytes", n)
		}
	})
}
