package session_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/session"
)

var (
	fresh     = session.State{Status: session.StatusNew}
	claimed   = session.State{Status: session.StatusClaimed}
	resuming  = session.State{Status: session.StatusResuming}
	exited    = session.State{Status: session.StatusExit}
	failed    = session.State{Status: session.StatusError}
	working   = session.State{Status: session.StatusRunning, Detail: session.Working}
	waiting   = session.State{Status: session.StatusRunning, Detail: session.WaitingForUser}
	asking    = session.State{Status: session.StatusRunning, Detail: session.WaitingForApproval}
	finished  = session.State{Status: session.StatusRunning, Detail: session.Finished}
	idle      = session.State{Status: session.StatusSuspended, Detail: session.Inactivity}
	asleep    = session.State{Status: session.StatusSuspended, Detail: session.UserRequest}
	limited   = session.State{Status: session.StatusSuspended, Detail: session.UsageLimitExceeded}
	orgLimit  = session.State{Status: session.StatusSuspended, Detail: session.OrgUsageLimitExceeded}
	userLimit = session.State{Status: session.StatusSuspended, Detail: session.UserUsageLimitExceeded}
	total     = session.State{Status: session.StatusSuspended, Detail: session.TotalSessionLimitExceeded}
	allStates = []session.State{
		fresh, claimed, resuming, exited, failed, working, waiting, asking, finished, idle, asleep, limited, orgLimit, userLimit, total,
	}
	allCauses = []session.Cause{
		session.Claim, session.Lapse, session.ByWorking, session.ByWaiting, session.ByAsking, session.ByFinishing, session.ByDraining,
		session.ByFailing, session.Message, session.Idle, session.Sleep, session.LimitReached, session.OrgLimitReached,
		session.UserLimitReached, session.TotalLimitReached, session.Terminate,
	}
	byWorker = []session.Cause{
		session.ByWorking, session.ByWaiting, session.ByAsking, session.ByFinishing, session.ByDraining, session.ByFailing,
	}
)

// table is the whole machine for a session that can be resumed: what is not listed changes nothing.
var table = map[session.State]map[session.Cause]session.State{
	fresh: {
		session.Claim: claimed, session.Sleep: asleep, session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	claimed: {
		session.Claim: claimed, session.Lapse: fresh, session.ByWorking: working, session.ByWaiting: waiting, session.ByAsking: asking,
		session.ByFinishing: finished, session.ByDraining: fresh, session.ByFailing: failed, session.Sleep: asleep,
		session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	resuming: {
		session.Claim: resuming, session.Lapse: resuming, session.ByWorking: working, session.ByWaiting: waiting, session.ByAsking: asking,
		session.ByFinishing: finished, session.ByDraining: resuming, session.ByFailing: failed, session.Sleep: asleep,
		session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	working: {
		session.Lapse: resuming, session.ByWorking: working, session.ByWaiting: waiting, session.ByAsking: asking,
		session.ByFinishing: finished, session.ByDraining: resuming, session.ByFailing: failed, session.Sleep: asleep,
		session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	asking: {
		session.Lapse: resuming, session.ByWorking: working, session.ByWaiting: waiting, session.ByAsking: asking,
		session.ByFinishing: finished, session.ByDraining: resuming, session.ByFailing: failed, session.Idle: idle, session.Sleep: asleep,
		session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	waiting: {
		session.ByWorking: working, session.ByWaiting: waiting, session.ByAsking: asking, session.ByFinishing: finished,
		session.ByFailing: failed, session.Message: resuming, session.Idle: idle, session.Sleep: asleep,
		session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	finished: {
		session.ByWorking: working, session.ByWaiting: waiting, session.ByAsking: asking, session.ByFinishing: finished,
		session.ByFailing: failed, session.Message: resuming, session.Idle: idle, session.Sleep: asleep,
		session.LimitReached: limited, session.OrgLimitReached: orgLimit,
		session.UserLimitReached: userLimit, session.TotalLimitReached: total, session.Terminate: exited,
	},
	idle:      {session.Message: resuming, session.Terminate: exited},
	asleep:    {session.Message: resuming, session.Terminate: exited},
	limited:   {session.Message: resuming, session.Terminate: exited},
	orgLimit:  {session.Message: resuming, session.Terminate: exited},
	userLimit: {session.Message: resuming, session.Terminate: exited},
	total:     {session.Message: resuming, session.Terminate: exited},
	exited:    {},
	failed:    {},
}

func TestEveryStateAndCauseIsAsTheTableSays(t *testing.T) {
	t.Parallel()
	for _, from := range allStates {
		for _, c := range allCauses {
			want, may := table[from][c]
			got, ok := from.Next(c, true)
			require.Equal(t, may, ok, "%v by %d", from, c)
			if may {
				require.Equal(t, want, got, "%v by %d", from, c)
			}
			// A session that can't be resumed differs only where it would sleep because nobody needs it: it ends.
			if may && (c == session.Idle || c == session.Sleep) {
				want = exited
			}
			got, ok = from.Next(c, false)
			require.Equal(t, may, ok, "not resumable: %v by %d", from, c)
			if may {
				require.Equal(t, want, got, "not resumable: %v by %d", from, c)
			}
		}
	}
}

func TestAnyHistoryKeepsTheRulesOfTheStates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		resumable := rapid.Bool().Draw(t, "resumable")
		s := fresh
		for _, c := range rapid.SliceOfN(rapid.SampledFrom(allCauses), 0, 60).Draw(t, "causes") {
			next, ok := s.Next(c, resumable)
			if s.Over() && (ok || next != s) {
				t.Fatalf("%v is final but %d led to %v", s, c, next)
			}
			if !ok {
				continue
			}
			if !slices.Contains(allStates, next) {
				t.Fatalf("%v by %d gave %v, which is no state", s, c, next)
			}
			if (next.Detail != "") != (next.Status == session.StatusRunning || next.Status == session.StatusSuspended) {
				t.Fatalf("%v: a detail belongs to running and suspended, and to nothing else", next)
			}
			if slices.Contains(byWorker, c) && (next.Status == session.StatusSuspended || next.Status == session.StatusExit) {
				t.Fatalf("a worker put %v to %v", s, next)
			}
			if next.Status == session.StatusExit && c != session.Terminate && (resumable || (c != session.Idle && c != session.Sleep)) {
				t.Fatalf("%d ended %v", c, s)
			}
			s = next
		}
		if (s.Parked() || s.Status == session.StatusSuspended) != func() bool { _, ok := s.Next(session.Message, resumable); return ok }() {
			t.Fatalf("%v: a message wakes what sleeps or waits, and nothing else", s)
		}
	})
}
