package worker_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/secret"
	"gantry/internal/wire"
	"gantry/internal/worker"
)

// waiting is a script that says it runs, and runs until its file is there.
const waiting = "echo up; while [ ! -e go ]; do sleep 0.02; done; echo over"

// awaitOutput waits until a tool has said something.
func awaitOutput(t *testing.T, one *session, said string) []wire.Event {
	t.Helper()
	return one.await(t, "output "+said, func(e []wire.Event) bool { return strings.Contains(output(e), said) })
}

func TestADrainHandsTheSessionBackAndTheTurnStaysOpen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("drain1", "be silent", wire.Spec{Agent: pythonAgent(t)})
	w := work(t, s)
	one.await(t, "a thought", func(e []wire.Event) bool { return len(pick[wire.MessageData](e, wire.EventThought)) > 0 })
	require.NoError(t, w.stop())
	events := one.all()
	require.Equal(t, []wire.StateData{{State: wire.StateSuspended, Reason: "The worker was drained."}}, states(events, wire.StateSuspended))
	require.Len(t, pick[wire.TurnData](events, wire.EventTurn), 1, "started, not ended")

	// Another process on the same machine takes the turn up with the conversation loaded.
	s.mu.Lock()
	one.spec.Interrupted = true
	s.mu.Unlock()
	one.enqueue(wire.KindResume)
	work(t, s, func(o *worker.Options) { o.DataDir = w.options.DataDir })
	events = one.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, text(events), "I heard: Your work was interrupted")
	require.NotContains(t, text(events), "conversation so far")
}

func TestADrainWaitsForAToolBoundary(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("drain2", block("echo up; sleep 1.5; echo over")+block("echo never"), wire.Spec{})
	w := work(t, s)
	awaitOutput(t, one, "up")
	require.NoError(t, w.stop())
	events := one.all()
	require.Contains(t, output(events), "over", "the block under way ends by itself")
	require.NotContains(t, output(events), "never", "and the next one isn't begun")
	require.Len(t, states(events, wire.StateSuspended), 1)
}

func TestSuspendEndsTheTurnAndKeepsTheWorkspace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("susp1", block("echo mine > note", waiting), wire.Spec{})
	w := work(t, s)
	awaitOutput(t, one, "up")
	one.tell(wire.Command{Kind: wire.CommandSuspend, Reason: "The limit was reached."})
	events := one.awaitState(t, wire.StateSuspended, 1)
	require.Equal(t, "The limit was reached.", states(events, wire.StateSuspended)[0].Reason)
	require.NotContains(t, output(events), "over")
	note, err := os.ReadFile(filepath.Join(w.options.DataDir, "sessions", "susp1", "work", "note"))
	require.NoError(t, err)
	require.Equal(t, "mine\n", string(note))
	s.mu.Lock()
	defer s.mu.Unlock()
	require.EqualValues(t, 2, one.taken, "the suspend is acknowledged")
}

func TestTerminateKillsAtOnceAndRemovesTheWorkspace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("term1", block("trap '' TERM INT HUP", waiting), wire.Spec{})
	w := work(t, s)
	awaitOutput(t, one, "up")
	began := time.Now()
	one.tell(wire.Command{Kind: wire.CommandTerminate})
	one.awaitState(t, wire.StateExited, 1)
	require.Less(t, time.Since(began), 3*time.Second)
	dir := filepath.Join(w.options.DataDir, "sessions", "term1")
	require.Eventually(t, func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) }, 10*time.Second, 10*time.Millisecond)
}

func TestALostFenceKillsTheAgentAndReportsNothingMore(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("lost1", block("echo up; while :; do echo tick; sleep 0.1; done"), wire.Spec{})
	w := work(t, s)
	awaitOutput(t, one, "tick")
	dir := filepath.Join(w.options.DataDir, "sessions", "lost1")
	require.True(t, processIn(dir))
	s.mu.Lock()
	one.fence++ // somebody else has it now
	s.mu.Unlock()
	require.Eventually(t, func() bool { return !processIn(dir) }, 10*time.Second, 20*time.Millisecond)
	before := len(one.all())
	time.Sleep(300 * time.Millisecond)
	require.Len(t, one.all(), before)
	_, err := os.Stat(dir)
	require.NoError(t, err, "the workspace stays until the server says that it can go")

	// The same machine may claim it again under the new fence.
	one.tell(wire.Command{Kind: wire.CommandMessage, Text: block("echo again")})
	one.enqueue(wire.KindResume)
	awaitOutput(t, one, "again")
}

// processIn tells whether a sandbox of that workspace runs.
func processIn(dir string) bool {
	out, _ := exec.Command("pgrep", "-f", "--", "/opt/gantry/gantry").Output()
	for pid := range strings.FieldsSeq(string(out)) {
		mounts, _ := os.ReadFile("/proc/" + pid + "/mountinfo")
		if strings.Contains(string(mounts), dir+"/") {
			return true
		}
	}
	return false
}

func TestAnOutageOfTheServerLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("outage1", block("i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.03; done"), wire.Spec{})
	work(t, s)
	awaitOutput(t, one, "line 5")
	for range 3 {
		s.setDown(true)
		time.Sleep(200 * time.Millisecond)
		s.setDown(false)
		time.Sleep(200 * time.Millisecond)
	}
	events := one.awaitState(t, wire.StateFinished, 1)
	lines := strings.Split(strings.TrimSpace(output(events)), "\n")
	require.Len(t, lines, 60)
	for i, l := range lines {
		require.Equal(t, fmt.Sprint("line ", i), l)
	}
}

func TestAPartitionedWorkerFreezesItsAgentUntilTheLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("freeze1", block("i=0; while [ $i -lt 60 ]; do echo line $i; echo $i > count; i=$((i+1)); sleep 0.05; done"), wire.Spec{})
	s.mu.Lock()
	one.lease = 1 // frozen after two thirds of a second
	s.mu.Unlock()
	w := work(t, s)
	awaitOutput(t, one, "line 5")
	s.setDown(true)
	count := func() string {
		b, _ := os.ReadFile(filepath.Join(w.options.DataDir, "sessions", "freeze1", "work", "count"))
		return string(b)
	}
	time.Sleep(time.Second)
	frozen := count()
	require.NotEmpty(t, frozen)
	time.Sleep(500 * time.Millisecond)
	require.Equal(t, frozen, count())
	s.setDown(false)
	events := one.awaitState(t, wire.StateFinished, 1)
	require.Equal(t, 60, strings.Count(output(events), "line"))
}

func TestAFullDiskIsAClearSessionError(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small filesystem")
	}
	data := filepath.Join(t.TempDir(), "data")
	sessions := filepath.Join(data, "sessions")
	require.NoError(t, os.MkdirAll(sessions, 0o700))
	if err := syscall.Mount("tmpfs", sessions, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("can't mount: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(sessions, 0)) })
	s := newServer(t)
	one := s.session("full1", block("dd if=/dev/zero of=big bs=1M count=8"), wire.Spec{})
	w := work(t, s, func(o *worker.Options) { o.DataDir = data })
	require.Equal(t, "The workspace's disk is full.", states(one.awaitState(t, wire.StateError, 1), wire.StateError)[0].Reason)
	require.NoError(t, w.stop())
}

func TestASessionThatWritesMoreThanItMayIsEnded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("quota1", block("dd if=/dev/zero of=big bs=1M count=3 2>&1", waiting), wire.Spec{Limits: wire.Limits{DiskBytes: 1 << 20}})
	work(t, s)
	require.Contains(t, states(one.awaitState(t, wire.StateError, 1), wire.StateError)[0].Reason, "its limit is 1 MiB")
}

func TestAShortTurnIsHeldToTheDiskLimitToo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	limits := wire.Limits{DiskBytes: 1 << 20}
	one := s.session("quota2", block("dd if=/dev/zero of=big bs=1M count=3 2>&1"), wire.Spec{Limits: limits})
	two := s.session("quota3", block("echo small > note"), wire.Spec{Limits: limits})
	w := work(t, s)
	events := one.awaitState(t, wire.StateError, 1)
	require.Equal(t, "The session has written 3 MiB; its limit is 1 MiB.", states(events, wire.StateError)[0].Reason)
	require.Empty(t, states(events, wire.StateFinished))
	ended := pick[wire.TurnData](events, wire.EventTurn)
	require.Equal(t, wire.TurnData{Status: "ended", Command: 1, StopReason: "end_turn"}, ended[len(ended)-1])

	// What grew while nobody looked counts before the next turn begins.
	two.awaitState(t, wire.StateFinished, 1)
	big := filepath.Join(w.options.DataDir, "sessions", "quota3", "work", "big")
	require.NoError(t, os.WriteFile(big, make([]byte, 3<<20), 0o600))
	two.tell(wire.Command{Kind: wire.CommandMessage, Text: block("rm big; echo ran")})
	two.enqueue(wire.KindResume)
	events = two.awaitState(t, wire.StateError, 1)
	require.Contains(t, states(events, wire.StateError)[0].Reason, "its limit is 1 MiB")
	require.NotContains(t, output(events), "ran")
}

func TestAnInterruptedTurnOfARunbookWaitsForItsUser(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("int1", block("echo must not run again"), wire.Spec{Interrupted: true, OpenTools: []string{"rb-1-2", "rb-1-3"}, OpenTitles: []string{"make test", ""}})
	s.mu.Lock()
	one.taken = 1 // the first claim took it in hand
	one.spec.Kind = wire.KindResume
	s.mu.Unlock()
	work(t, s)
	events := one.awaitState(t, wire.StateWaitingForUser, 1)
	require.Equal(t, "The turn was interrupted in: make test, rb-1-3. It may have run in part and is not repeated.",
		states(events, wire.StateWaitingForUser)[0].Reason)
	require.Equal(t, []wire.ToolData{{ID: "rb-1-2", Status: wire.ToolInterrupted}, {ID: "rb-1-3", Status: wire.ToolInterrupted}}, pick[wire.ToolData](events, wire.EventTool))
	require.Empty(t, output(events))
}

func TestOnAnotherMachineTheAgentGetsTheTranscript(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("move1", "first", wire.Spec{
		Agent: pythonAgent(t), Playbooks: []wire.Text{{Name: "Manners", Body: "Be kind"}}, Notes: []wire.Text{{Name: "Greeting", Body: "Say hi"}},
	})
	one.tell(wire.Command{Kind: wire.CommandMessage, Text: "second"})
	s.mu.Lock()
	one.taken, one.spec.Kind = 1, wire.KindResume
	one.spec.Transcript = []wire.TranscriptEntry{{Source: "user", Text: "first"}, {Source: "devin", Text: "I did it"}}
	s.mu.Unlock()
	work(t, s)
	said := text(one.awaitState(t, wire.StateFinished, 1))
	require.Contains(t, said, "[devin]\nI did it")
	require.Contains(t, said, "# Manners\n\nBe kind")
	require.Contains(t, said, "# Greeting\n\nSay hi")
	require.Contains(t, said, " second")
}

func TestTheServerDrainsAWorkerThatThenEndsByItself(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.reply = wire.WorkerReply{Drain: true}
	w := work(t, s)
	select {
	case err := <-w.ended:
		require.NoError(t, err)
		w.ended <- err
	case <-time.After(20 * time.Second):
		t.Fatal("the worker goes on")
	}
}

func TestARefusedKeyStopsTheWorkerWithAClearError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := work(t, s, func(o *worker.Options) { o.Key = secret.New("gwk_wrong") })
	err := <-w.ended
	w.ended <- err
	require.ErrorIs(t, err, worker.ErrUnauthorized)
	require.NotContains(t, err.Error(), "gwk_wrong")
}

func TestTheWorkerKeepsItsIDAndDiscardsWhatTheServerNames(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("disc1", block("true"), wire.Spec{})
	two := s.session("disc2", block("true"), wire.Spec{})
	w := work(t, s)
	one.awaitState(t, wire.StateFinished, 1)
	two.awaitState(t, wire.StateFinished, 1)
	require.NoError(t, w.stop())

	s.mu.Lock()
	s.reply = wire.WorkerReply{Discard: []string{"disc1", "../data", "unknown"}}
	s.mu.Unlock()
	again := work(t, s, func(o *worker.Options) { o.DataDir = w.options.DataDir })
	sessions := filepath.Join(w.options.DataDir, "sessions")
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(sessions, "disc1"))
		return os.IsNotExist(err)
	}, 20*time.Second, 10*time.Millisecond)
	_, err := os.Stat(filepath.Join(sessions, "disc2"))
	require.NoError(t, err)
	require.NoError(t, again.stop())
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := s.reports[0], s.reports[len(s.reports)-1]
	require.Equal(t, first.WorkerID, last.WorkerID)
	require.Equal(t, []string{"disc1", "disc2"}, last.Sessions)
	require.Equal(t, 2, first.Capacity)
}

func TestRepositoriesAreClonedAndAFailedCloneIsAClearError(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	repo := filepath.Join(root, "repo")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", repo}, {"-C", repo, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "first"},
	} {
		out, err := exec.Command("git", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	s := newServer(t)
	good := s.session("clone1", block("git log --oneline"), wire.Spec{Repositories: []wire.Repository{{Name: "r", URL: repo, Dir: "."}}})
	bad := s.session("clone2", block("true"), wire.Spec{Repositories: []wire.Repository{{Name: "gone", URL: filepath.Join(root, "none"), Dir: "."}}})
	work(t, s, func(o *worker.Options) { o.Sandbox.FileRoots = []string{root} })
	require.Contains(t, output(good.awaitState(t, wire.StateFinished, 1)), "first")
	require.Contains(t, states(bad.awaitState(t, wire.StateError, 1), wire.StateError)[0].Reason, "The repository gone can't be cloned")
}

func TestFilesAndTerminalsOfAnAgentStayInItsSandbox(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("tools1", "go", wire.Spec{Agent: scriptAgent(t, filepath.Join("testdata", "tools.py"))})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	said := text(events)
	require.Contains(t, said, "write: {}\nread: {'content': 'two\\n'}\n")
	require.Contains(t, said, "outside: {'code': -32602")
	require.Contains(t, said, `exit: {"exitCode": 4, "signal": null}`)
	require.Contains(t, said, `"hello\nzw\u00f6lf\n"`)
	require.Contains(t, said, `released: {"code"`)
	require.Equal(t, "hello\nzwölf\n", output(events))
}

func TestRunOneWorksOnTheSessionItIsGiven(t *testing.T) {
	s := newServer(t)
	one := s.session("one1", block("echo once"), wire.Spec{})
	s.mu.Lock()
	s.queue, one.claimed = nil, true
	s.mu.Unlock()
	t.Setenv(worker.EnvSessionToken, one.token())
	t.Setenv(worker.EnvGatewayURL, s.url+"/gw/one1")
	err := worker.RunOne(context.Background(), worker.OneOptions{
		SessionID: "one1", Options: worker.Options{DataDir: filepath.Join(t.TempDir(), "data"), Logger: quiet()},
	})
	require.NoError(t, err)
	require.Contains(t, output(one.all()), "once")
	err = worker.RunOne(context.Background(), worker.OneOptions{Options: worker.Options{DataDir: t.TempDir()}})
	require.ErrorContains(t, err, worker.EnvSessionToken+")")
}
