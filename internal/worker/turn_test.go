package worker_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
	"gantry/internal/worker"
)

func TestAnApprovalGoesToTheAgentAndTheSlotIsFreeMeanwhile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("ask1", "I want a permission", wire.Spec{Agent: pythonAgent(t)})
	work(t, s, func(o *worker.Options) { o.Capacity = 1 })
	events := one.awaitState(t, wire.StateWaitingForApproval, 1)
	question := pick[wire.PermissionData](events, wire.EventPermission)[0]
	require.Equal(t, "requested", question.Status)
	require.Equal(t, "Remove everything", question.Title)
	require.Len(t, question.Options, 2)

	// With one slot in all, another session runs while this one waits.
	other := s.session("ask2", block("echo other"), wire.Spec{})
	other.awaitState(t, wire.StateFinished, 1)

	one.tell(wire.Command{Kind: wire.CommandApprove, Request: "perm-99", Option: "yes"})
	one.tell(wire.Command{Kind: wire.CommandApprove, Request: question.Request, Option: "maybe"})
	one.tell(wire.Command{Kind: wire.CommandApprove, Request: question.Request, Option: "yes"})
	events = one.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, text(events), `"optionId": "yes"`)
	require.Equal(t, []string{wire.StateWorking, wire.StateWaitingForApproval, wire.StateWorking, wire.StateFinished}, stateNames(events))
	all := pick[wire.PermissionData](events, wire.EventPermission)
	require.Equal(t, "granted", all[len(all)-1].Status)
	require.Len(t, pick[wire.LogData](events, wire.EventLog), 2, "answers that can't be right change nothing")
}

func TestAMessageInsteadOfAnApprovalDeniesAndIsTheNextInput(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("deny1", "I want a permission", wire.Spec{Agent: pythonAgent(t)})
	work(t, s)
	one.awaitState(t, wire.StateWaitingForApproval, 1)
	one.tell(wire.Command{Kind: wire.CommandMessage, Text: "rather do something else"})
	events := one.awaitState(t, wire.StateFinished, 2)
	require.Contains(t, text(events), `"optionId": "no"`)
	require.Contains(t, text(events), "I heard: rather do something else")
	all := pick[wire.PermissionData](events, wire.EventPermission)
	require.Equal(t, "denied", all[len(all)-1].Status)
}

func TestBypassedApprovalsAreGrantedWithoutAQuestion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("bypass1", "I want a permission", wire.Spec{Agent: pythonAgent(t), BypassApproval: true})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, text(events), `"optionId": "yes"`)
	require.Empty(t, pick[wire.PermissionData](events, wire.EventPermission))
}

func TestCancelWinsOverAnAgentAtWorkAndOverAnOpenQuestion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	agent := pythonAgent(t)
	quiet := s.session("cancel1", "be silent", wire.Spec{Agent: agent})
	asking := s.session("cancel2", "I want a permission", wire.Spec{Agent: agent})
	work(t, s)
	quiet.await(t, "a thought", func(e []wire.Event) bool { return len(pick[wire.MessageData](e, wire.EventThought)) > 0 })
	quiet.tell(wire.Command{Kind: wire.CommandCancel})
	events := quiet.awaitState(t, wire.StateWaitingForUser, 1)
	require.Equal(t, "cancelled", pick[wire.TurnData](events, wire.EventTurn)[1].StopReason)

	asking.awaitState(t, wire.StateWaitingForApproval, 1)
	asking.tell(wire.Command{Kind: wire.CommandCancel})
	events = asking.awaitState(t, wire.StateWaitingForUser, 1)
	all := pick[wire.PermissionData](events, wire.EventPermission)
	require.Equal(t, "cancelled", all[len(all)-1].Status)
}

func TestACrashedAgentIsRestartedAndItsConversationLoaded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("crash1", "please crash", wire.Spec{Agent: pythonAgent(t)})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	var said []string
	for _, d := range pick[wire.AgentData](events, wire.EventAgent) {
		said = append(said, d.Status)
	}
	require.Equal(t, []string{"started", "exited", "restarted"}, said)
	require.Contains(t, tell(events), "exit status 3")
	require.Contains(t, text(events), "I heard: Your work was interrupted")
	require.NotContains(t, text(events), "an old message", "what the agent replays isn't reported again")
}

func TestACrashedRunbookBlockIsNeverRunAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	// The block ends the agent above it, as the kernel might at a memory limit.
	one := s.session("crash2", block("echo ran >> marks", "kill -9 $PPID; sleep 5"), wire.Spec{})
	work(t, s)
	events := one.awaitState(t, wire.StateWaitingForUser, 1)
	require.Contains(t, states(events, wire.StateWaitingForUser)[0].Reason, "echo ran")
	tools := pick[wire.ToolData](events, wire.EventTool)
	require.Equal(t, wire.ToolInterrupted, tools[len(tools)-1].Status)

	one.tell(wire.Command{Kind: wire.CommandMessage, Text: block("wc -l < marks")})
	one.enqueue(wire.KindResume)
	events = one.awaitState(t, wire.StateFinished, 1)
	require.Equal(t, "1", strings.TrimSpace(output(events)))
}

func TestAnAgentThatCrashesAgainAndAgainIsAnError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("crash3", "x", wire.Spec{Agent: wire.Agent{Name: "broken", Command: []string{"/bin/sh", "-c", "echo no model >&2; exit 7"}}})
	work(t, s)
	reason := states(one.awaitState(t, wire.StateError, 1), wire.StateError)[0].Reason
	require.Contains(t, reason, "exit status 7")
	require.Contains(t, reason, "no model")
}

func TestASilentAgentIsCancelledRestartedAndAtLastGivenUp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	// An agent that can't take up its turn waits for the user instead.
	agent := pythonAgent(t)
	agent.ResumesTurns = false
	limits := wire.Limits{SilentSeconds: 1}
	waits := s.session("silent1", "be silent", wire.Spec{Agent: agent, Limits: limits})
	goesOn := s.session("silent2", "be silent", wire.Spec{Agent: pythonAgent(t), Limits: limits})
	work(t, s)
	events := waits.awaitState(t, wire.StateWaitingForUser, 1)
	require.Contains(t, tell(events), `"status":"silent"`)
	events = goesOn.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, text(events), "I heard: Your work was interrupted")
	require.Contains(t, tell(events), `"status":"silent"`)
}

func TestOutputOfABlockIsSound(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("sound1", block("for i in 1 2 3 4 5 6; do echo $i; sleep 0.4; done"), wire.Spec{Limits: wire.Limits{SilentSeconds: 1}})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	require.NotContains(t, tell(events), `"status":"silent"`)
}

const schema = `{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`

func TestAnInvalidStructuredOutputGoesBackToTheAgentUpToALimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	agent := scriptAgent(t, filepath.Join("testdata", "outputs.py"))
	spec := wire.Spec{Agent: agent, OutputSchema: json.RawMessage(schema), OutputRequired: true, Limits: wire.Limits{OutputRetries: 2}}
	mends := s.session("out1", `[{"n":"one"},{"n":1}]`, spec)
	never := s.session("out2", `[{},[],{}]`, spec)
	missing := s.session("out3", `[]`, spec)
	spec.OutputRequired = false
	optional := s.session("out4", `[]`, spec)
	work(t, s)

	events := mends.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, text(events), "prompted with: Files that you put", "the agent was asked again")
	require.Contains(t, text(events), "isn't valid")
	outputs := pick[wire.OutputData](events, wire.EventStructuredOutput)
	require.Len(t, outputs, 1)
	require.JSONEq(t, `{"n":1}`, string(outputs[0].Value))

	events = never.awaitState(t, wire.StateWaitingForUser, 1)
	require.Contains(t, states(events, wire.StateWaitingForUser)[0].Reason, "isn't valid")
	require.Equal(t, 3, strings.Count(text(events), "prompted with"))
	require.Empty(t, pick[wire.OutputData](events, wire.EventStructuredOutput))

	events = missing.awaitState(t, wire.StateWaitingForUser, 1)
	require.Contains(t, states(events, wire.StateWaitingForUser)[0].Reason, "missing")
	optional.awaitState(t, wire.StateFinished, 1)
}

func TestARunbookHandsInItsOutputAndIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	spec := wire.Spec{OutputSchema: json.RawMessage(schema), OutputRequired: true}
	good := s.session("rbout1", block(`echo '{"n": 5}'`), spec)
	bad := s.session("rbout2", block(`echo '{"n": "x"}'`), spec)
	work(t, s)
	outputs := pick[wire.OutputData](good.awaitState(t, wire.StateFinished, 1), wire.EventStructuredOutput)
	require.Len(t, outputs, 1)
	require.JSONEq(t, `{"n":5}`, string(outputs[0].Value))
	events := bad.awaitState(t, wire.StateWaitingForUser, 1)
	require.Contains(t, states(events, wire.StateWaitingForUser)[0].Reason, "isn't valid")
	require.Len(t, pick[wire.TurnData](events, wire.EventTurn), 2)
}

func TestAttachmentsComeInAndGoOutOnceEach(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	script := block(
		"cat $HOME/attachments-in/*/in.txt",
		"echo result > $GANTRY_ATTACHMENTS/out.txt", "mkfifo $GANTRY_ATTACHMENTS/pipe", "ln -s /etc/passwd $GANTRY_ATTACHMENTS/link",
	)
	one := s.session("att1", "", wire.Spec{})
	s.mu.Lock()
	one.given["a-1"] = "what the user sent\n"
	one.commands[0].Text = script
	one.commands[0].Attachments = []wire.Attachment{{ID: "a-1", Name: "../in.txt", Size: 19}}
	s.mu.Unlock()
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	require.Contains(t, output(events), "what the user sent")
	want := []wire.AttachmentData{{ID: "att-out.txt", Name: "out.txt", Size: 7}}
	require.Equal(t, want, pick[wire.AttachmentData](events, wire.EventAttachment))

	one.tell(wire.Command{Kind: wire.CommandMessage, Text: block("true")})
	one.enqueue(wire.KindResume)
	events = one.awaitState(t, wire.StateFinished, 2)
	require.Equal(t, want, pick[wire.AttachmentData](events, wire.EventAttachment), "once each, also over claims")
	require.Equal(t, map[string]string{"out.txt": "result\n"}, one.files)
}

func TestTheAgentsOwnKeysAreMaskedAndItsSettingsAreNot(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("mask2", block(`echo "$MODEL_KEY"; echo "$STAGE $TOOLS $BASE"`), wire.Spec{Agent: wire.Agent{Env: map[string]string{
		"MODEL_KEY": "sk-0123456789abcdef", "STAGE": "production", "TOOLS": "/opt/agent/tools/bin", "BASE": "https://model.example.com",
	}}})
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	all, err := json.Marshal(events)
	require.NoError(t, err)
	require.NotContains(t, string(all), "sk-0123456789abcdef")
	require.Contains(t, output(events), "production /opt/agent/tools/bin https://model.example.com")
}

func TestSecretsReachTheAgentAndAreMaskedEverywhere(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := s.session("mask1", block(`echo x > "$GANTRY_ATTACHMENTS/$API_KEY.txt"; echo "$API_KEY and $PUBLIC"; printf %s "${API_KEY%?????}"; sleep 0.3; printf '%s\n' "${API_KEY#?????}"`), wire.Spec{})
	s.mu.Lock()
	one.env = []wire.EnvVar{{Name: "API_KEY", Value: "hunter22hu", Sensitive: true}, {Name: "PUBLIC", Value: "plainvalue"}}
	s.mu.Unlock()
	work(t, s)
	events := one.awaitState(t, wire.StateFinished, 1)
	all, err := json.Marshal(events)
	require.NoError(t, err)
	require.NotContains(t, string(all), "hunter22hu")
	require.Contains(t, output(events), "*** and plainvalue")
	require.NotContains(t, string(all), "hunte", "not even in two pieces, nor half of it in a raw frame")
}
