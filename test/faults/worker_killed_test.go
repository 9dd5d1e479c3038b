package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/client"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// interval is how long at most passes between two reports under a lease, with what the ledger rounds and a busy machine adds.
func interval(lease time.Duration) time.Duration { return wire.ReportEvery(lease) + 2*time.Second }

// requireMetered checks the metering formula: never more than was worked, at most one reporting interval less. The server runs with
// --acu-minutes 1.
func requireMetered(t *testing.T, got client.Session, worked, lease time.Duration) {
	t.Helper()
	metered := time.Duration(got.ACUsConsumed * float64(time.Minute))
	const readingError = 150 * time.Millisecond // of the test's own look at when the work ended
	require.LessOrEqual(t, metered, worked+readingError, "more was charged than was worked")
	require.GreaterOrEqual(t, metered, worked-interval(lease), "more than one reporting interval was left out")
}

func TestAWorkerThatIsKilledInMidTurnComesBackAndRepeatsNoBlock(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, database string) {
		const lease = 12 * time.Second
		s := newServer(t, database, "--lease", lease.String(), "--acu-minutes", "1")
		w := s.newWorker("split")
		mark := marker()
		id := s.run("echo one >> ran", "echo two >> ran; echo begun; sleep "+mark, "echo three >> ran")
		s.awaitOutput(id, "begun\n")
		awaitRunning(t, mark)
		sleep(t, 3*time.Second) // some work to meter

		w.kill()
		killed := live.Now()
		awaitGone(t, mark, soon)
		awaitGone(t, w.dir, soon)
		w.start()

		got := s.await(id, "running/waiting_for_user")
		require.Less(t, live.Since(killed), lease, "a worker that comes back doesn't wait for its lease to lapse")
		all := s.events(id)
		require.Equal(t, 1, all.interrupted())
		require.Len(t, all.of(session.EventLeaseLost), 1)
		require.Contains(t, all.reason(), "interrupted")
		requireFile(t, w.file(id, "ran"), "one\ntwo\n")
		requireMetered(t, got, killed.Sub(all.firstWork(t)), lease)

		s.say(id, runbook("cat ran; echo four >> ran"))
		s.await(id, "running/finished")
		require.Equal(t, "begun\none\ntwo\n", s.events(id).output(), "the same workspace")
		requireFile(t, w.file(id, "ran"), "one\ntwo\nfour\n")
		requireConsistent(t, s.open())
	})
}

func requireFile(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(text))
}

func TestAnAgentWithAMemoryLoadsItsConversationAfterItsWorkerWasKilled(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	s.addPython(t)
	w := s.newWorker("split")
	id := s.create(client.CreateSession{Prompt: "be silent"})
	s.awaitMessage(id, "I heard: be silent")

	w.kill()
	awaitGone(t, w.dir, soon)
	w.start()

	s.await(id, "running/finished")
	all := s.events(id)
	require.Len(t, all.of(session.EventClaimed), 2)
	for _, e := range all.of(wire.EventLog) {
		require.NotContains(t, string(e.Data), "can't load its conversation")
	}
	resumed := all.after(session.EventClaimed)
	for _, e := range resumed.of(wire.EventMessage) {
		require.NotContains(t, string(e.Data), "an old message", "a loaded conversation isn't told again")
		require.NotContains(t, string(e.Data), "conversation so far", "an agent with a memory needs no transcript")
	}
	require.Contains(t, resumed.messages(), "Your work was interrupted")
	requireFile(t, w.file(id, "hello.txt"), "hello from the agent\n")

	s.say(id, "and now?")
	s.awaitMessage(id, "I heard: and now?")
	s.await(id, "running/finished")
	require.Equal(t, all.of(wire.EventMessage), s.events(id).of(wire.EventMessage)[:len(all.of(wire.EventMessage))])
}

// addPython makes the test agent, which is written in another language, the default.
func (s *server) addPython(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("/usr/bin/python3 isn't installed")
	}
	text, err := os.ReadFile("../../internal/worker/acp/testdata/agent.py")
	require.NoError(t, err)
	path := filepath.Join(readable(t), "agent.py")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	out := command(t, "admin", "agent", "add", "--data", s.dir, "--database", s.db, "--json", "--default",
		"--bind", path+":/opt/test/agent.py", "python", "--", "/usr/bin/python3", "/opt/test/agent.py")
	require.Contains(t, string(out), "python")
}

func TestAnotherWorkerTakesOverFromOneThatNeverComesBack(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	root, repo := repository(t)
	s := newServer(t, "", "--lease", lease.String(), "--repo-root", root)
	s.admin(nil, "repo", "add", "--repo-root", root, "house/paper", repo)
	first := s.newWorker("first", "--repo-root", root)
	mark := marker()
	id := s.create(client.CreateSession{
		Prompt: runbook("cat paper; touch dirty", "echo begun; sleep "+mark), Repos: []string{"house/paper"},
	})
	s.awaitOutput(id, "begun\n")

	first.kill()
	killed := live.Now()
	second := s.newWorker("second", "--repo-root", root)
	s.await(id, "running/waiting_for_user")
	require.Greater(t, live.Since(killed), lease-wire.ReportEvery(lease)-time.Second, "a lease lapses when it does")
	all := s.events(id)
	require.Equal(t, 1, all.interrupted())
	require.Len(t, all.of(session.EventLeaseLost), 1)
	require.True(t, clones(all.after(session.EventClaimed)), "another machine has no workspace: it clones")
	require.NoFileExists(t, second.file(id, "dirty"))
	require.FileExists(t, second.file(id, "paper"))

	s.say(id, runbook("cat paper; ls"))
	s.await(id, "running/finished")
	require.Equal(t, "words\nbegun\nwords\npaper\n", s.events(id).output())
	requireConsistent(t, s.open())
}

// clones says whether a repository was cloned.
func clones(l timeline) bool {
	for _, e := range l.of(wire.EventSetup) {
		if d := data[wire.SetupData](e); d.Phase == "clone" && d.Status == "done" {
			return true
		}
	}
	return false
}

func TestAWorkerThatStartsBeforeItsServerKeepsItsFirstClaim(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	id := s.run(counted(125)) // longer than the time between two reports of a worker about itself
	s.kill()
	w := s.newWorker("early")
	require.Eventually(t, func() bool { return strings.Contains(w.said(), "can't be reached") }, soon, tick)
	s.start()
	s.await(id, "running/finished")
	requireWhole(t, s, id, 125)
}
