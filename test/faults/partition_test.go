package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestAWorkerThatIsCutOffFreezesItsAgentAndLosesItToAnother(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	p := newProxy(t)
	s := newServer(t, "", "--lease", lease.String(), "--acu-minutes", "1", "--public-url", p.url)
	p.target = strings.TrimPrefix(s.url, "http://")
	first := s.workerAt("first", p.url, filepath.Join(t.TempDir(), "worker"))
	mark := marker()
	id := s.run("sleep " + mark + " &\ni=0\nwhile :; do i=$((i+1)); echo tick $i; echo $i >> ticks; sleep 0.1; done")
	s.awaitOutput(id, "tick 25\n")

	p.cutOff(first.cmd.Process.Pid)
	cut := live.Now()
	ticks := func() int { return lines(first.file(id, "ticks")) }
	before := ticks()
	sleep(t, wire.FreezeAfter(lease)/2)
	require.Greater(t, ticks(), before+5, "the agent goes on while the lease is safe")
	second := s.workerAt("second", p.url, filepath.Join(t.TempDir(), "worker"))
	require.Eventually(t, func() bool {
		now := ticks()
		return clock.Sleep(t.Context(), 500*time.Millisecond) && ticks() == now
	}, soon, tick, "the agent is never frozen")
	require.Less(t, live.Since(cut), lease, "it is frozen before the lease lapses")
	frozen := ticks()
	require.NotEmpty(t, running(mark), "frozen isn't killed")

	got := s.await(id, "running/waiting_for_user")
	require.Equal(t, frozen, ticks(), "two workers never work on one session")
	all := s.events(id)
	require.Len(t, all.of(session.EventLeaseLost), 1)
	require.Equal(t, 1, all.interrupted())
	requireMetered(t, got, cut.Sub(all.firstWork(t)), lease)

	p.uncut()
	awaitGone(t, mark, soon)
	require.Equal(t, frozen, ticks(), "a frozen agent whose fence is stale is killed, not thawed")
	require.Eventually(t, func() bool { return strings.Contains(first.said(), "the claim is lost") }, soon, tick)
	s.say(id, runbook("echo again"))
	s.await(id, "running/finished")
	requireTicks(t, s.events(id), before)
	require.True(t, first.alive())
	requireConsistent(t, s.open())

	// The worker that was cut off is as good as new.
	second.kill()
	other := s.run("echo other")
	s.await(other, "running/finished")
	require.DirExists(t, first.file(other, ""))
}

// requireTicks checks that what the server has of the ticks is what was acknowledged: from the first on, none missing, none twice, and
// nothing of the time after the claim was lost.
func requireTicks(t *testing.T, l timeline, atCut int) {
	t.Helper()
	said, rest, found := strings.Cut(l.output(), "again\n")
	require.True(t, found)
	require.Empty(t, rest)
	n := strings.Count(said, "\n")
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "tick %d\n", i+1)
	}
	require.Equal(t, want.String(), said)
	require.InDelta(t, atCut, n, 5, "what was printed before the cut was acknowledged")
}

// lines counts a file's lines; one that can't be read has none.
func lines(path string) int {
	text, _ := os.ReadFile(path)
	return strings.Count(string(text), "\n")
}

func TestAWorkerThatIsCutOffForAWhileThawsItsAgentAndGoesOn(t *testing.T) {
	t.Parallel()
	const lease = 12 * time.Second
	p := newProxy(t)
	s := newServer(t, "", "--lease", lease.String(), "--public-url", p.url)
	p.target = strings.TrimPrefix(s.url, "http://")
	w := s.workerAt("split", p.url, filepath.Join(t.TempDir(), "worker"))
	id := s.run(counted(150))
	s.awaitOutput(id, "line 10\n")
	p.cutOff(w.cmd.Process.Pid)
	sleep(t, wire.FreezeAfter(lease)+time.Second)
	p.uncut()
	s.await(id, "running/finished")
	requireWhole(t, s, id, 150)
}

func TestAnswersThatAreLostOnTheirWayRepeatNoEvent(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	s := newServer(t, "", "--public-url", p.url)
	p.target = strings.TrimPrefix(s.url, "http://")
	w := s.workerAt("split", p.url, filepath.Join(t.TempDir(), "worker"))
	id := s.run(counted(70))
	for _, line := range []int{10, 30, 50} {
		s.awaitOutput(id, fmt.Sprintf("line %d\n", line))
		p.loseAnswers(t, w.cmd.Process.Pid, 700*time.Millisecond)
	}
	s.await(id, "running/finished")
	requireWhole(t, s, id, 70)
}
