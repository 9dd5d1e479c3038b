package worker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

func TestTheRunbookRunsAPlaybooksBlocksBeforeThePromptsAndNeverANotes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("read1", block("echo prompt"), wire.Spec{})
	one.bring([]wire.Text{{Body: "First:\n\n" + block("echo playbook one")}, {Body: block("echo playbook two")}},
		[]wire.Text{{Name: "Danger", Body: block("echo note")}})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	require.Equal(t, "playbook one\nplaybook two\nprompt\n", output(events))

	// A follow-up brings its own; what came with the prompt doesn't run again.
	one.tell(wire.Command{Kind: wire.CommandMessage, Text: "!again", Playbooks: []wire.Text{{Body: block("echo again")}}})
	one.enqueue(wire.KindResume)
	events = one.awaitState(t, wire.StateFinished, 2)
	require.Equal(t, "playbook one\nplaybook two\nprompt\nagain\n", output(events))
}

func TestAnAgentReadsTheNotesAndPlaybooksBeforeTheMessage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("read2", "do it", wire.Spec{Agent: pythonAgent(t)})
	one.bring([]wire.Text{{Name: "Manners", Body: "Be kind"}}, []wire.Text{{Name: "Greeting", Body: "Say hi"}, {Name: "Colour", Body: "Use blue"}})
	work(t, s)
	said := text(one.awaitState(t, wire.StateFinished, 1))
	require.Contains(t, said, "# Greeting\n\nSay hi\n\n# Colour\n\nUse blue Be kind do it")
}
