package faults

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/session"
)

// requireWhole checks that a session of one counted block went through one claim as if nothing had happened.
func requireWhole(t *testing.T, s *server, id string, lines int) {
	t.Helper()
	all := s.events(id)
	require.Empty(t, cmp.Diff(countedOutput(lines), all.output()), "the block's output")
	require.Len(t, all.of(session.EventClaimed), 1, "one claim")
	require.Empty(t, all.of(session.EventLeaseLost))
	require.Len(t, all.tools(), 1)
	require.Zero(t, all.interrupted())
	requireConsistent(t, s.open())
}

func TestAServerThatIsKilledLosesAndRepeatsNoEventOfASplitWorker(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, database string) {
		s := newServer(t, database, "--lease", "15s")
		w := s.newWorker("split")
		id := s.run(counted(80))
		followed := s.follow(id)
		for _, line := range []int{10, 45} {
			s.awaitOutput(id, fmt.Sprintf("line %d\n", line))
			s.kill()
			sleep(t, 1500*time.Millisecond) // the agent goes on meanwhile
			s.start()
		}
		s.await(id, "running/finished")
		requireWhole(t, s, id, 80)
		require.True(t, w.alive())
		all := s.events(id)
		require.Empty(t, cmp.Diff(all, followed(len(all))), "what a reader of the stream saw")
	})
}

func TestASessionSurvivesFiveRestartsOfItsServer(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "--lease", "15s")
	s.newWorker("split")
	id := s.run(counted(120))
	for i := range 5 {
		s.awaitOutput(id, fmt.Sprintf("line %d\n", 5+20*i))
		begun := live.Now()
		require.Zero(t, s.stop(t), "exit code")
		require.Less(t, live.Since(begun), 12*time.Second, "open streams and long polls don't hold up a stop")
		s.start()
	}
	s.await(id, "running/finished")
	requireWhole(t, s, id, 120)
}

func TestSIGTERMDrainsTheEmbeddedWorkerAndTheRunbookGoesOnAtTheNextStart(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	id := s.run("echo one >> ran\n"+counted(25), "echo two >> ran", "cat ran")
	s.awaitOutput(id, "line 5\n")

	require.Zero(t, s.stop(t), "exit code")
	require.Empty(t, running(s.dir), "nothing is left running")

	d := s.open()
	status, err := db.One(t.Context(), d.Reader(), db.Text, `SELECT status FROM sessions WHERE session_id = $1`, id)
	require.NoError(t, err)
	require.Equal(t, "resuming", status)
	requireConsistent(t, d)

	s.start()
	s.await(id, "running/finished")
	all := s.events(id)
	require.Equal(t, countedOutput(25)+"one\ntwo\n", all.output(), "every block ran once, in order, in one workspace")
	require.Empty(t, all.of(session.EventLeaseLost), "the session was handed back, not lost")
	require.Len(t, all.of(session.EventClaimed), 2)
	require.Zero(t, s.stop(t))
}

func TestCreatesInFlightWhenTheServerIsKilledExistOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, database string) {
		s := newServer(t, database, "--requests-in-flight", "1000")
		const creates = 200
		send := func(i int) answer {
			return s.call(http.MethodPost, s.sessionsPath(), fmt.Sprintf(`{"prompt": "nothing", "title": "create-%d"}`, i),
				http.Header{"Idempotency-Key": {fmt.Sprintf("key-%d", i)}})
		}
		first := make([]answer, creates)
		acknowledged := make(chan struct{}, creates)
		var all sync.WaitGroup
		for i := range creates {
			all.Go(func() {
				if first[i] = send(i); first[i].status == http.StatusOK {
					acknowledged <- struct{}{}
				}
			})
		}
		for range creates / 4 {
			<-acknowledged
		}
		s.kill()
		all.Wait()
		cut := countStatus(first, 0)
		require.NotZero(t, cut, "the kill came too late to cut anything off: %s", statuses(first))

		s.start()
		d := s.open()
		requireCreatedOnce(t, d, first)
		again := make([]answer, creates)
		for i := range creates {
			again[i] = send(i)
			require.Contains(t, []int{http.StatusOK, http.StatusConflict}, again[i].status, again[i].body)
			if first[i].status == http.StatusOK && again[i].status == http.StatusOK {
				require.JSONEq(t, first[i].body, again[i].body, "a replay answers like the first")
			}
		}
		requireCreatedOnce(t, d, again)
		requireConsistent(t, d)
		t.Logf("first: %s; the same keys again: %s", statuses(first), statuses(again))
	})
}

// requireCreatedOnce checks that what was acknowledged is there and nothing is there twice.
func requireCreatedOnce(t *testing.T, d *db.DB, answers []answer) {
	t.Helper()
	titles, err := db.All(t.Context(), d.Reader(), db.Text, `SELECT title FROM sessions ORDER BY title`)
	require.NoError(t, err)
	require.Equal(t, slices.Compact(slices.Clone(titles)), titles, "no session twice")
	for i, a := range answers {
		if a.status == http.StatusOK {
			require.Contains(t, titles, fmt.Sprintf("create-%d", i), "an acknowledged session exists")
		}
	}
}

func countStatus(answers []answer, status int) (n int) {
	for _, a := range answers {
		if a.status == status {
			n++
		}
	}
	return n
}

// statuses counts answers by status; 0 is no answer.
func statuses(answers []answer) string {
	return fmt.Sprintf("%d created, %d unknown outcome, %d cut off",
		countStatus(answers, http.StatusOK), countStatus(answers, http.StatusConflict), countStatus(answers, 0))
}

func TestAServerThatStandsStillLongerThanALeaseLosesNone(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	s := newServer(t, "", "--lease", lease.String())
	s.newWorker("split")
	id := s.run(counted(50))
	s.awaitOutput(id, "line 10\n")
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
	sleep(t, lease+2*time.Second)
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
	s.await(id, "running/finished")
	requireWhole(t, s, id, 50)
}

func TestAServerThatIsKilledTakesItsEmbeddedWorkerAlongAndResumesAtTheNextStart(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	mark := marker()
	id := s.run("echo one >> ran; echo begun; sleep "+mark, "echo two >> ran")
	s.awaitOutput(id, "begun\n")
	awaitRunning(t, mark)

	s.kill()
	awaitGone(t, mark, soon)
	awaitGone(t, s.dir, soon)
	s.start()

	s.await(id, "running/waiting_for_user")
	all := s.events(id)
	require.Equal(t, 1, all.interrupted())
	require.Len(t, all.of(session.EventLeaseLost), 1)
	s.say(id, runbook("cat ran"))
	s.await(id, "running/finished")
	require.Equal(t, "begun\none\n", s.events(id).output(), "the same workspace, and no block ran twice")
	require.Zero(t, s.stop(t))
	requireConsistent(t, s.open())
}
