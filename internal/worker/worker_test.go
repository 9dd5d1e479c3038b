package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

func TestATurnOfAnAgentInAnotherLanguageIsReported(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("turn1", "Say hello", wire.Spec{Agent: pythonAgent(t)})
	one.bring([]wire.Text{{ID: "playbook-1", Name: "Manners", Body: "Be kind"}}, nil)
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)

	require.Equal(t, []string{wire.StateWorking, wire.StateFinished}, stateNames(events))
	require.Contains(t, text(events), "I heard: Be kind Say hello")
	require.Equal(t, []wire.TurnData{{Status: "started", Command: 1}, {Status: "ended", Command: 1, StopReason: "end_turn"}},
		pick[wire.TurnData](events, wire.EventTurn))
	var phases []string
	for _, d := range pick[wire.SetupData](events, wire.EventSetup) {
		phases = append(phases, d.Phase+" "+d.Status)
	}
	require.Equal(t, []string{"workspace started", "workspace done", "agent started", "agent done"}, phases)
	tools := pick[wire.ToolData](events, wire.EventTool)
	require.Equal(t, wire.ToolCompleted, tools[len(tools)-1].Status)
	require.Len(t, pick[wire.PlanData](events, wire.EventPlan), 1)
}

func TestAParkedSessionGoesOnInItsWorkspaceWithTheNextMessage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("park1", block("echo kept > note; echo $GANTRY_SESSION_ID"), wire.Spec{})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, output(events), "park1")

	one.tell(wire.Command{Kind: wire.CommandMessage, Text: block("cat note")})
	one.enqueue(wire.KindResume)
	events = one.awaitState(t, wire.StateFinished, 2)
	require.Contains(t, output(events), "kept")
}

func TestAMessageDuringATurnIsTheNextTurnOfTheSameClaim(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("next1", block("while [ ! -e go ]; do sleep 0.02; done; echo first"), wire.Spec{})
	work(t, s)
	one.awaitState(t, wire.StateWorking, 1)
	one.tell(wire.Command{Kind: wire.CommandMessage, Text: block("echo second")})
	time.Sleep(50 * time.Millisecond)
	one.tell(wire.Command{Kind: wire.CommandCancel})
	events := one.awaitState(t, wire.StateWaitingForUser, 1)
	require.NotContains(t, output(events), "second", "a cancel ends everything that was asked for before it")

	one.tell(wire.Command{Kind: wire.CommandMessage, Text: block("echo third")})
	one.enqueue(wire.KindResume)
	events = one.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, output(events), "third")
}

func TestAFailedBlockWaitsForTheUserWithTheReason(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("fail1", block("exit 3"), wire.Spec{})
	two := s.session("fail2", "no block at all", wire.Spec{})
	work(t, s)
	require.Contains(t, states(one.awaitState(t, wire.StateWaitingForUser, 1), wire.StateWaitingForUser)[0].Reason, "3")
	require.Contains(t, states(two.awaitState(t, wire.StateWaitingForUser, 1), wire.StateWaitingForUser)[0].Reason, "no `sh` block")
}

func stateNames(events []wire.Event) []string {
	var out []string
	for _, s := range states(events, "") {
		out = append(out, s.State)
	}
	return out
}

// output joins the tools' output.
func output(events []wire.Event) string {
	var all string
	for _, d := range pick[wire.ToolOutputData](events, wire.EventToolOutput) {
		all += d.Text
	}
	return all
}
