package runbook_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/worker/acp"
)

func TestABlockIsReportedFromPendingToItsEnd(t *testing.T) {
	t.Parallel()
	p := open(t)
	res := p.ask(fenced("# say it\necho hello"), nil)
	require.Equal(t, acp.StopEndTurn, res.StopReason)
	outcome, reason := res.Outcome()
	require.Equal(t, acp.OutcomeFinished, outcome)
	require.Equal(t, "Ran 1 of 1 block in "+p.cwd+"; it ended with exit status 0.", reason)
	require.Equal(t, []string{reason}, p.said())

	tools := p.tools()
	require.Equal(t, "pending in_progress completed", p.statuses())
	require.Equal(t, "execute", tools[0].Kind)
	require.Equal(t, "# say it", tools[0].Title)
	require.JSONEq(t, `{"script":"# say it\necho hello\n"}`, string(tools[0].Input))
	require.Equal(t, 0, *tools[2].ExitCode)
	require.Contains(t, string(tools[2].Output), `"duration_ms":`)
	require.Contains(t, string(tools[2].Output), `"output_bytes":6`)
	require.Equal(t, "hello\n", p.output())
	require.Equal(t, tools[0].ID, tools[2].ID)
}

func TestBlocksArePlainShScripts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scripts []string
		outcome string
		output  string
		status  string
	}{
		"in order": {[]string{"echo 1", "echo 2", "echo 3"}, "finished", "1\n2\n3\n", ""},
		"one directory": {
			[]string{"mkdir sub; cd sub; echo x > f", "cat sub/f; basename \"$PWD\" | wc -l"},
			"finished", "x\n1\n", "",
		},
		"no -e":                  {[]string{"false\necho on"}, "finished", "on\n", ""},
		"no -u":                  {[]string{`echo "[$NOT_SET]"`}, "finished", "[]\n", ""},
		"stops at the first":     {[]string{"echo 1", "exit 3", "echo never"}, "failed", "1\n", "with exit status 3"},
		"last command decides":   {[]string{"true; false"}, "failed", "", "with exit status 1"},
		"standard input empty":   {[]string{"cat; read x; echo $?"}, "finished", "1\n", ""},
		"not found":              {[]string{"no-such-program 2>/dev/null"}, "failed", "", "with exit status 127"},
		"killed":                 {[]string{"kill -9 $$"}, "failed", "", "was ended by a signal (killed), exit status 137"},
		"syntax":                 {[]string{"if true; then"}, "failed", "", "with exit status 2"},
		"streams in their order": {[]string{"for i in 1 2 3; do echo o$i; echo e$i >&2; done"}, "finished", "o1\ne1\no2\ne2\no3\ne3\n", ""},
		"sh, not bash":           {[]string{`echo "[${BASH_VERSION}]"`}, "finished", "[]\n", ""},
		"empty block":            {[]string{""}, "finished", "", ""},
		"long script":            {[]string{"x='" + strings.Repeat("y", 200<<10) + "'\necho ${#x}"}, "finished", "204800\n", ""},
		"NUL in the script":      {[]string{"echo a\x00b >/dev/null; echo on"}, "finished", "on\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t)
			require.Equal(t, c.outcome, p.do(c.scripts...), p.said())
			if name != "syntax" {
				require.Equal(t, c.output, p.output())
			}
			require.Contains(t, p.said()[0], c.status)
		})
	}
}

func TestFollowUpsShareTheDirectoryAndTmp(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "finished", p.do("echo a > here; mktemp > name; date > \"$(cat name)\""))
	require.Equal(t, "finished", p.do("cat here; test -s \"$(cat name)\"; rm \"$(cat name)\""))
	require.Equal(t, "a\n", p.output())
}

func TestAFailureSaysWhichBlockHowAndWhere(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "failed", p.do("true", "make_test() { return 2; }; make_test", "true", "true"))
	require.Equal(t, []string{
		"Block 2 of 4 (`make_test() { return 2; }; make_test`) ended with exit status 2, in " + p.cwd + ". Blocks 3 to 4 were not run.",
	}, p.said())
	require.Equal(t, "pending in_progress completed pending in_progress failed", p.statuses())
}

func TestAPromptWithoutBlocksSaysSo(t *testing.T) {
	t.Parallel()
	p := open(t)
	res := p.ask("Please fix it.\n```bash\nfalse\n```", nil)
	outcome, reason := res.Outcome()
	require.Equal(t, acp.OutcomeNothingToRun, outcome)
	require.Equal(t, "no `sh` block found; runbook runs fenced sh blocks and has no model", reason)
	require.Equal(t, []string{reason}, p.said())
	require.Equal(t, acp.StopEndTurn, res.StopReason)
}

func TestTextThatTellsThePastIsNotRun(t *testing.T) {
	t.Parallel()
	p := open(t)
	res, err := p.Prompt(t.Context(), p.session, []acp.ContentBlock{
		acp.ContextBlock(fenced("echo past")), acp.TextBlock(fenced("echo playbook")), {Type: "resource_link", Name: "a", URI: "file:///a"}, acp.TextBlock(fenced("echo now")),
	}, nil)
	require.NoError(t, err)
	outcome, _ := res.Outcome()
	require.Equal(t, acp.OutcomeFinished, outcome)
	require.Equal(t, "playbook\nnow\n", p.output())
}

func TestABlockWhoseDirectoryIsGoneCanNotStart(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "failed", p.do(`rmdir "$PWD"`, "true"))
	require.Contains(t, p.said()[0], "Block 2 of 2 (`true`) could not be started: ")
	require.NotContains(t, p.said()[0], "Blocks")
}

func TestOutputIsWholeAndValid(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "finished", p.do(`printf '\303'; sleep 0.3; printf '\274|\360\237'; sleep 0.3; printf '\230\200|\377|\303'`))
	require.Equal(t, "ü|😀|\uFFFD|\uFFFD", p.output())
}

func TestOutputArrivesWhileTheBlockRuns(t *testing.T) {
	t.Parallel()
	p := open(t)
	done := make(chan string, 1)
	go func() { done <- p.do("echo first; while ! test -e go; do sleep 0.01; done; echo second") }()
	p.awaitOutput("first")
	require.NoError(t, os.WriteFile(filepath.Join(p.cwd, "go"), nil, 0o600))
	require.Equal(t, "finished", <-done)
	require.Equal(t, "first\nsecond\n", p.output())
}

func TestVeryMuchOutputIsCutAndTheBlockRunsOn(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "finished", p.do("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end; touch done"))
	out := p.output()
	require.Greater(t, len(out), 8<<20-10)
	require.Less(t, len(out), 8<<20+100)
	require.True(t, strings.HasSuffix(out, "\n[output cut: more than 8 MiB; the rest isn't shown]\n"))
	require.FileExists(t, filepath.Join(p.cwd, "done"))
	tools := p.tools()
	require.Contains(t, string(tools[len(tools)-1].Output), `"truncated":true`)
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Less(t, len(p.events), 1000, "pieces are collected")
}

func TestAProcessLeftBehindDoesNotHangItsBlock(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "finished", p.do("sleep 300 & echo $! > pid; echo started"))
	require.Contains(t, p.output(), "started\n\n[a process left in the background held the output open and was ended]\n")
	requireDead(t, filepath.Join(p.cwd, "pid"))
}

func TestAQuietProcessLeftBehindLivesOnForTheNextBlock(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "finished", p.do("sleep 300 >/dev/null 2>&1 & echo $! > pid", "kill -0 $(cat pid) && kill $(cat pid)"))
	require.Empty(t, p.output())
}

func TestAProcessThatLeftTheGroupDoesNotHangItsBlock(t *testing.T) {
	t.Parallel()
	p := open(t)
	require.Equal(t, "finished", p.do("setsid sleep 20 & echo $! > pid"))
	require.Equal(t, "finished", p.do("kill $(cat pid)"))
}

func TestCancelKillsTheBlockAtOnce(t *testing.T) {
	t.Parallel()
	p := open(t)
	done := make(chan acp.PromptResult, 1)
	go func() {
		done <- p.ask(fenced("trap '' TERM INT; echo $$ > pid; echo up; sleep 300; sleep 300", "echo never"), nil)
	}()
	p.awaitOutput("up")
	require.NoError(t, p.Cancel(t.Context(), p.session))
	res := <-done
	require.Equal(t, acp.StopCancelled, res.StopReason)
	outcome, reason := res.Outcome()
	require.Equal(t, acp.OutcomeCancelled, outcome)
	require.Contains(t, reason, "Block 1 of 2 (`trap '' TERM INT; echo $$ > pid; echo up; sleep 300; sleep 300`) was cancelled")
	require.Equal(t, "pending in_progress failed", p.statuses())
	requireDead(t, filepath.Join(p.cwd, "pid"))
	require.Equal(t, "finished", p.do("echo next"))
}

func TestCancelWinsOverABarrierThatNeverComes(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{})
	p := open(t, behind(func(ctx context.Context) error {
		close(waiting)
		<-ctx.Done()
		return ctx.Err()
	}))
	done := make(chan acp.PromptResult, 1)
	go func() { done <- p.ask(fenced("touch ran"), nil) }()
	<-waiting
	require.NoError(t, p.Cancel(t.Context(), p.session))
	res := <-done
	require.Equal(t, acp.StopCancelled, res.StopReason)
	require.NoFileExists(t, filepath.Join(p.cwd, "ran"))
	require.Equal(t, "pending failed", p.statuses())
}

func TestABlockStartsOnlyAfterTheBarrier(t *testing.T) {
	t.Parallel()
	var p *process
	var mu sync.Mutex
	var seen []string
	p = open(t, behind(func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, p.statuses())
		if _, err := os.Stat(filepath.Join(p.cwd, "ran"+strconv.Itoa(len(seen)))); err == nil {
			seen = append(seen, "ran too early")
		}
		return nil
	}))
	require.Equal(t, "finished", p.do("touch ran1", "touch ran2"))
	require.Equal(t, []string{"pending", "pending in_progress completed pending"}, seen)
}

func TestABlockWhoseStartIsNotAcknowledgedIsNotRun(t *testing.T) {
	t.Parallel()
	p := open(t, behind(func(context.Context) error { return errors.New("fenced off") }))
	require.Equal(t, "failed", p.do("touch ran"))
	require.NoFileExists(t, filepath.Join(p.cwd, "ran"))
	require.Contains(t, p.said()[0], "its start was not acknowledged")
}

func TestAnInterruptedBlockIsReportedAndNeverRunAgain(t *testing.T) {
	t.Parallel()
	p := open(t)
	go func() {
		// It ends with the process, which the test below waits for.
		_, _ = p.Prompt(context.Background(), p.session, []acp.ContentBlock{acp.TextBlock(fenced("echo one", "echo x >> count; echo two; sleep 300", "echo three"))}, nil)
	}()
	p.awaitOutput("two")
	tool := p.tools()[3].ID
	p.kill()

	q := start(t, at(p.home, p.cwd))
	_, err := q.LoadSession(t.Context(), acp.SessionParams{SessionID: p.session, CWD: p.cwd})
	require.NoError(t, err)
	q.session = p.session
	require.Equal(t, "finished", q.do("cat count"))
	require.Equal(t, "x\n", q.output(), "it ran once")
	require.Equal(t, "The previous turn was interrupted in block 2 of 3 (`echo x >> count; echo two; sleep 300`): it may have run in part, and it is not run again. Block 3 was not run.", q.said()[0])
	require.Equal(t, "pending in_progress completed", q.statuses(), "its call is no part of this turn: the worker has reported how it ended")
	require.NotEqual(t, tool, q.tools()[0].ID)

	require.Equal(t, "finished", q.do("true"))
	require.Len(t, q.said(), 3, "it is said once")
}

func TestATurnInterruptedBetweenBlocksIsReported(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	n := 0
	p := open(t, behind(func(ctx context.Context) error {
		if n++; n == 2 {
			close(reached)
			<-ctx.Done()
		}
		return nil
	}))
	go func() {
		// It ends with the process, which the test below waits for.
		_, _ = p.Prompt(context.Background(), p.session, []acp.ContentBlock{acp.TextBlock(fenced("echo one", "echo two"))}, nil)
	}()
	<-reached
	p.kill()
	q := start(t, at(p.home, p.cwd))
	_, err := q.LoadSession(t.Context(), acp.SessionParams{SessionID: p.session, CWD: p.cwd})
	require.NoError(t, err)
	q.session = p.session
	outcome, _ := q.ask("go on", nil).Outcome()
	require.Equal(t, acp.OutcomeNothingToRun, outcome)
	require.Equal(t, "The previous turn was interrupted after block 1 of 2 (`echo one`) had ended. Block 2 was not run.", q.said()[0])
	require.True(t, strings.HasPrefix(q.said()[1], "\n\nno `sh` block found"), "both are shown as one message")
}

func TestABlockThatIsCancelledWasCutOff(t *testing.T) {
	t.Parallel()
	for range 5 { // the process dies before or after it has closed the turn
		p := open(t)
		go func() {
			// It ends with the process, which the test below waits for.
			_, _ = p.Prompt(context.Background(), p.session, []acp.ContentBlock{acp.TextBlock(fenced("echo up; sleep 300"))}, nil)
		}()
		p.awaitOutput("up")
		require.NoError(t, p.Cancel(t.Context(), p.session))
		p.kill()
		q := start(t, at(p.home, p.cwd))
		_, err := q.LoadSession(t.Context(), acp.SessionParams{SessionID: p.session, CWD: p.cwd})
		require.NoError(t, err)
		q.session = p.session
		require.Equal(t, "finished", q.do("true"))
		require.NotContains(t, q.said()[0], "had ended")
	}
}

func TestABlockKilledBecauseTheClientWentAwayWasInterrupted(t *testing.T) {
	t.Parallel()
	p := open(t)
	go func() {
		// It ends with the process, which the test below waits for.
		_, _ = p.Prompt(context.Background(), p.session, []acp.ContentBlock{acp.TextBlock(fenced("echo up; sleep 300"))}, nil)
	}()
	p.awaitOutput("up")
	require.NoError(t, p.stdin.Close())
	<-p.Done()
	q := start(t, at(p.home, p.cwd))
	_, err := q.LoadSession(t.Context(), acp.SessionParams{SessionID: p.session, CWD: p.cwd})
	require.NoError(t, err)
	q.session = p.session
	require.Equal(t, "finished", q.do("true"))
	require.Equal(t, "The previous turn was interrupted in block 1 of 1 (`echo up; sleep 300`): it may have run in part, and it is not run again.", q.said()[0])
}

func TestOnlyKnownSessionsAreLoaded(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, id := range []string{"rb-0123456789abcdef", "../../etc/passwd", "", "rb-zzz"} {
		_, err := p.LoadSession(t.Context(), acp.SessionParams{SessionID: id, CWD: p.cwd})
		require.True(t, acp.IsCode(err, acp.CodeNotFound), "%q: %v", id, err)
	}
	for _, cwd := range []string{"", "relative", filepath.Join(p.cwd, "missing")} {
		_, err := p.NewSession(t.Context(), acp.SessionParams{CWD: cwd})
		require.True(t, acp.IsCode(err, acp.CodeInvalidParams), "%q: %v", cwd, err)
	}
}

func TestTheBlocksDieWithTheAgentAndItsClient(t *testing.T) {
	t.Parallel()
	for _, end := range map[string]func(*process){
		"killed":      func(p *process) { require.NoError(t, p.cmd.Process.Kill()) },
		"client gone": func(p *process) { require.NoError(t, p.stdin.Close()) },
	} {
		p := open(t)
		go func() {
			// It ends with the process, which the cleanup waits for.
			_, _ = p.Prompt(context.Background(), p.session, []acp.ContentBlock{acp.TextBlock(fenced("echo $$ > pid; echo up; while :; do sleep 0.1; done"))}, nil)
		}()
		p.awaitOutput("up")
		end(p)
		requireDead(t, filepath.Join(p.cwd, "pid"))
	}
}

func requireDead(t *testing.T, pidFile string) {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		if syscall.Kill(pid, 0) != nil {
			return true
		}
		// An orphan may stay as a zombie where nobody reaps.
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 10*time.Second, 10*time.Millisecond)
}

func TestStructuredOutput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "out.json")
	schema := &acp.GantryMeta{OutputSchema: json.RawMessage(`{"type":"object"}`)}
	for _, c := range []struct {
		name    string
		scripts []string
		want    []string
		said    string
	}{
		{"the last block's standard output", []string{`echo '{"a":0}'`, `echo noise >&2; echo '{"a": 1}'`}, []string{`{"a":1}`}, ""},
		{"not an object", []string{"echo '[1]'"}, nil, "No structured output: the last block's standard output is not one JSON object."},
		{"two objects", []string{"echo '{}{}'"}, nil, "No structured output"},
		{"nothing", []string{"true"}, nil, "No structured output"},
		{"the file comes first", []string{`echo '{"b":2}' > "$GANTRY_STRUCTURED_OUTPUT"; echo '{"a":1}'`}, []string{`{"b":2}`}, ""},
		{"a file of an earlier turn doesn't count", []string{`echo '{"c":3}'`}, []string{`{"c":3}`}, ""},
		{"a broken file", []string{`echo '{"b' > "$GANTRY_STRUCTURED_OUTPUT"; echo '{"a":1}'`}, nil, "is not one JSON object"},
		{"a file that is none", []string{`rm -f "$GANTRY_STRUCTURED_OUTPUT"; mkfifo "$GANTRY_STRUCTURED_OUTPUT"`}, nil, "is no regular file"},
		{"a failed turn offers none", []string{`echo '{"a":1}'; exit 1`}, nil, "exit status 1"},
	} {
		p := open(t, env("GANTRY_STRUCTURED_OUTPUT="+file))
		_, reason := p.ask(fenced(c.scripts...), schema).Outcome()
		require.Equal(t, c.want, p.offered, c.name)
		require.Contains(t, reason, c.said, c.name)
		require.Equal(t, len(c.want) == 1, strings.HasSuffix(reason, "exit status 0."), "%s: %s", c.name, reason)
	}

	p := open(t)
	require.Equal(t, "finished", p.do(`echo '{"a":1}'`))
	require.Empty(t, p.offered, "nobody asked for one")
}

func TestASchemaGivenWithTheSessionHoldsForEveryTurn(t *testing.T) {
	t.Parallel()
	p := start(t)
	s, err := p.NewSession(t.Context(), acp.SessionParams{
		CWD: p.cwd, Meta: &acp.Meta{Gantry: &acp.GantryMeta{OutputSchema: json.RawMessage(`{"type":"object"}`)}},
	})
	require.NoError(t, err)
	p.session = s.SessionID
	require.Equal(t, "finished", p.do(`echo '{"a":1}'`))
	require.Equal(t, "finished", p.do(`echo '{"a":2}'`))
	require.Equal(t, []string{`{"a":1}`, `{"a":2}`}, p.offered)
}

func TestATurnBrokenOffBetweenTwoBlocksGoesOnForItsOwnMessageOnly(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{})
	var barriers atomic.Int64
	p := open(t, behind(func(ctx context.Context) error {
		if barriers.Add(1) != 2 {
			return nil
		}
		close(waiting)
		<-ctx.Done()
		return ctx.Err()
	}))
	done := make(chan acp.PromptResult, 1)
	go func() {
		done <- p.ask(fenced("echo one >> ran", "echo two >> ran", "echo three >> ran"), &acp.GantryMeta{Command: 7})
	}()
	<-waiting
	require.NoError(t, p.Cancel(t.Context(), p.session))
	<-done
	ran := func() string {
		b, err := os.ReadFile(filepath.Join(p.cwd, "ran"))
		require.NoError(t, err)
		return string(b)
	}

	outcome, _ := p.ask("", &acp.GantryMeta{Command: 8, GoOn: true}).Outcome()
	require.Equal(t, acp.OutcomeNothingToRun, outcome)
	require.Equal(t, "one\n", ran())

	outcome, reason := p.ask("", &acp.GantryMeta{Command: 7, GoOn: true}).Outcome()
	require.Equal(t, acp.OutcomeFinished, outcome)
	require.Contains(t, reason, "Ran 3 of 3 blocks")
	require.Equal(t, "one\ntwo\nthree\n", ran())

	outcome, _ = p.ask("", &acp.GantryMeta{Command: 7, GoOn: true}).Outcome()
	require.Equal(t, acp.OutcomeNothingToRun, outcome, "what has run is not left")
}
