// Package acp speaks the Agent Client Protocol, version 1: JSON-RPC 2.0 over a byte stream, one message a line.
//
// Client is the worker's side of a conversation with any agent; ServeAgent is an agent's side, used by runbook. The other end
// is never trusted: frames are capped, junk lines are counted, ids are checked, and everything an agent says is kept raw
// beside what it is mapped to (Mapper).
//
// Gantry's own additions follow the protocol's extension rules: methods begin with `_gantry/`, fields live under
// `_meta.gantry`. An agent that knows none of them works all the same.
package acp

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ProtocolVersion is the only major version spoken here.
const ProtocolVersion = 1

// Methods an agent answers.
const (
	MethodInitialize   = "initialize"
	MethodAuthenticate = "authenticate"
	MethodNewSession   = "session/new"
	MethodLoadSession  = "session/load"
	MethodSetMode      = "session/set_mode"
	MethodPrompt       = "session/prompt"
	MethodCancel       = "session/cancel" // a notification
)

// Methods a client answers.
const (
	MethodUpdate            = "session/update" // a notification
	MethodRequestPermission = "session/request_permission"
	MethodReadTextFile      = "fs/read_text_file"
	MethodWriteTextFile     = "fs/write_text_file"
	MethodCreateTerminal    = "terminal/create"
	MethodTerminalOutput    = "terminal/output"
	MethodWaitTerminal      = "terminal/wait_for_exit"
	MethodKillTerminal      = "terminal/kill"
	MethodReleaseTerminal   = "terminal/release"
)

// Gantry's extension methods, both sent by an agent.
const (
	// MethodBarrier asks the client to answer once everything the agent sent so far is acknowledged by the server.
	MethodBarrier = "_gantry/barrier"
	// MethodStructuredOutput is a notification that offers a JSON value as the session's structured output.
	MethodStructuredOutput = "_gantry/structured_output"
)

// Error codes of JSON-RPC and of the protocol.
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
	CodeAuthRequired   = -32000
	CodeNotFound       = -32002
	CodeCancelled      = -32800
)

// Error is a JSON-RPC error object. A handler that returns one has it sent as it is; any other error is answered as a bare
// internal error, so that no path or cause reaches the agent.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Error gives the message with its code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// Errorf makes an Error whose message the other side may see.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// IsCode reports whether err is, or wraps, an Error with that code.
func IsCode(err error, code int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

// Stop reasons of a turn.
const (
	StopEndTurn         = "end_turn"
	StopMaxTokens       = "max_tokens"
	StopMaxTurnRequests = "max_turn_requests"
	StopRefusal         = "refusal"
	StopCancelled       = "cancelled"
)

// Kinds of session/update.
const (
	UpdateUserMessage  = "user_message_chunk"
	UpdateAgentMessage = "agent_message_chunk"
	UpdateAgentThought = "agent_thought_chunk"
	UpdateToolCall     = "tool_call"
	UpdateToolChange   = "tool_call_update"
	UpdatePlan         = "plan"
	UpdateCommands     = "available_commands_update"
	UpdateMode         = "current_mode_update"
	UpdateUsage        = "usage_update"
)

// Implementation names a program that speaks the protocol.
type Implementation struct {
	Name    string `json:"name"`
	Title   string `json:"title,omitempty"`
	Version string `json:"version"`
}

// FileCapability says which file methods the client answers.
type FileCapability struct {
	ReadTextFile  bool `json:"readTextFile"`
	WriteTextFile bool `json:"writeTextFile"`
}

// ClientCapabilities says what the client offers the agent.
type ClientCapabilities struct {
	FS       FileCapability  `json:"fs"`
	Terminal bool            `json:"terminal"`
	Meta     json.RawMessage `json:"_meta,omitempty"`
}

// InitializeParams is the first request of a connection.
type InitializeParams struct {
	ProtocolVersion    int                `json:"protocolVersion"`
	ClientCapabilities ClientCapabilities `json:"clientCapabilities"`
	ClientInfo         *Implementation    `json:"clientInfo,omitempty"`
}

// PromptCapabilities says which content blocks beyond text and resource links a prompt may hold.
type PromptCapabilities struct {
	Image           bool `json:"image"`
	Audio           bool `json:"audio"`
	EmbeddedContext bool `json:"embeddedContext"`
}

// AgentCapabilities says what the agent can do.
type AgentCapabilities struct {
	LoadSession        bool               `json:"loadSession"`
	PromptCapabilities PromptCapabilities `json:"promptCapabilities"`
	Meta               json.RawMessage    `json:"_meta,omitempty"`
}

// AuthMethod is one way to authenticate that the agent offers.
type AuthMethod struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// InitializeResult answers initialize.
type InitializeResult struct {
	ProtocolVersion   int               `json:"protocolVersion"`
	AgentCapabilities AgentCapabilities `json:"agentCapabilities"`
	AgentInfo         *Implementation   `json:"agentInfo,omitempty"`
	AuthMethods       []AuthMethod      `json:"authMethods"`
}

// SessionParams is the body of session/new and, with SessionID, of session/load. CWD is absolute. MCPServers is sent as an
// empty list when nil. Meta may carry SessionMeta under "gantry".
type SessionParams struct {
	SessionID  string            `json:"sessionId,omitempty"`
	CWD        string            `json:"cwd"`
	MCPServers []json.RawMessage `json:"mcpServers"`
	Meta       *Meta             `json:"_meta,omitempty"`
}

// Meta is the `_meta` object as far as Gantry reads it: only its own key.
type Meta struct {
	Gantry *GantryMeta `json:"gantry,omitempty"`
}

// GantryMeta is what Gantry's two sides tell each other under `_meta.gantry`; every field is optional.
type GantryMeta struct {
	// OutputSchema, in session/new, session/load and session/prompt, asks for a structured output.
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
	// Context, in a content block of a prompt, marks text that tells what happened before. Runbook never runs its blocks.
	Context bool `json:"context,omitempty"`
	// Outcome and Reason, in a prompt's response, say how the turn ended (OutcomeFinished and its like).
	Outcome string `json:"outcome,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// OutputDelta, in a tool_call_update, is the next piece of the call's output.
	OutputDelta string `json:"output_delta,omitempty"`
	// Status, in a tool_call_update, is a status that the protocol lacks: interrupted.
	Status string `json:"status,omitempty"`
	// Command, in a prompt, names the message that the turn answers.
	Command int64 `json:"command,omitempty"`
	// GoOn, in a prompt, has runbook run the blocks that the turn of the same Command left when it was broken off between two blocks.
	// Without any the outcome is OutcomeNothingToRun.
	GoOn bool `json:"go_on,omitempty"`
	// Barrier, in the client's capabilities, says that MethodBarrier is answered.
	Barrier bool `json:"barrier,omitempty"`
}

// Outcomes of a turn as runbook reports them in `_meta.gantry.outcome`.
const (
	OutcomeFinished     = "finished"
	OutcomeFailed       = "failed"
	OutcomeNothingToRun = "nothing_to_run"
	OutcomeCancelled    = "cancelled"
)

// SessionMode is one mode the agent can work in.
type SessionMode struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// SessionModes are the agent's modes and the current one.
type SessionModes struct {
	CurrentModeID  string        `json:"currentModeId"`
	AvailableModes []SessionMode `json:"availableModes"`
}

// SessionResult answers session/new and session/load (where SessionID is the one that was asked for). Modes is null for an
// agent without modes.
type SessionResult struct {
	SessionID string        `json:"sessionId"`
	Modes     *SessionModes `json:"modes,omitempty"`
}

// ContentBlock is a piece of a prompt or of a message. Type is text, image, audio, resource_link or resource; the other
// fields belong to their types.
type ContentBlock struct {
	Type     string          `json:"type"`
	Text     string          `json:"text,omitempty"`
	Data     string          `json:"data,omitempty"`
	MimeType string          `json:"mimeType,omitempty"`
	URI      string          `json:"uri,omitempty"`
	Name     string          `json:"name,omitempty"`
	Resource json.RawMessage `json:"resource,omitempty"`
	Meta     *Meta           `json:"_meta,omitempty"`
}

// MarshalJSON keeps an empty text: the protocol requires the field in a text block.
func (b ContentBlock) MarshalJSON() ([]byte, error) {
	type plain ContentBlock
	if b.Type != "text" {
		return json.Marshal(plain(b))
	}
	return json.Marshal(struct {
		Type string `json:"type"`
		Text string `json:"text"`
		Meta *Meta  `json:"_meta,omitempty"`
	}{b.Type, b.Text, b.Meta})
}

// TextBlock makes a text block.
func TextBlock(text string) ContentBlock { return ContentBlock{Type: "text", Text: text} }

// ContextBlock makes a text block that only tells what happened before, for example a transcript: an agent with a model reads
// it, runbook runs nothing in it.
func ContextBlock(text string) ContentBlock {
	return ContentBlock{Type: "text", Text: text, Meta: &Meta{Gantry: &GantryMeta{Context: true}}}
}

// PromptParams is the body of session/prompt.
type PromptParams struct {
	SessionID string         `json:"sessionId"`
	Prompt    []ContentBlock `json:"prompt"`
	Meta      *Meta          `json:"_meta,omitempty"`
}

// TokenUsage is a turn's tokens as some agents put them into a prompt's response; null where they don't say.
type TokenUsage struct {
	InputTokens  *int64 `json:"inputTokens,omitempty"`
	OutputTokens *int64 `json:"outputTokens,omitempty"`
}

// PromptResult answers session/prompt.
type PromptResult struct {
	StopReason string      `json:"stopReason"`
	Usage      *TokenUsage `json:"usage,omitempty"`
	Meta       *Meta       `json:"_meta,omitempty"`
}

// Outcome gives runbook's verdict on the turn; both are empty for an agent that gives none.
func (r PromptResult) Outcome() (outcome, reason string) {
	if r.Meta == nil || r.Meta.Gantry == nil {
		return "", ""
	}
	return r.Meta.Gantry.Outcome, r.Meta.Gantry.Reason
}

// PermissionOption is one answer the agent offers. Kind is allow_once, allow_always, reject_once or reject_always.
type PermissionOption struct {
	ID   string `json:"optionId"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// PermissionParams is the body of session/request_permission. ToolCall is the raw tool call the question is about.
type PermissionParams struct {
	SessionID string             `json:"sessionId"`
	ToolCall  json.RawMessage    `json:"toolCall"`
	Options   []PermissionOption `json:"options"`
}

// PermissionOutcome is the answer: an option's id, or cancelled when OptionID is empty.
type PermissionOutcome struct{ OptionID string }

// MarshalJSON writes the protocol's nested form.
func (o PermissionOutcome) MarshalJSON() ([]byte, error) {
	inner := map[string]string{"outcome": "cancelled"}
	if o.OptionID != "" {
		inner = map[string]string{"outcome": "selected", "optionId": o.OptionID}
	}
	return json.Marshal(map[string]any{"outcome": inner})
}

// UnmarshalJSON reads the protocol's nested form.
func (o *PermissionOutcome) UnmarshalJSON(b []byte) error {
	var v struct {
		Outcome struct {
			OptionID string `json:"optionId"`
		} `json:"outcome"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	o.OptionID = v.Outcome.OptionID
	return nil
}

// ReadTextFileParams is the body of fs/read_text_file. Line is 1-based; both numbers are null for the whole file.
type ReadTextFileParams struct {
	SessionID string `json:"sessionId"`
	Path      string `json:"path"`
	Line      *int   `json:"line,omitempty"`
	Limit     *int   `json:"limit,omitempty"`
}

// WriteTextFileParams is the body of fs/write_text_file.
type WriteTextFileParams struct {
	SessionID string `json:"sessionId"`
	Path      string `json:"path"`
	Content   string `json:"content"`
}

// EnvVariable is one variable of a terminal's environment.
type EnvVariable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CreateTerminalParams is the body of terminal/create. OutputByteLimit is null when the agent sets none.
type CreateTerminalParams struct {
	SessionID       string        `json:"sessionId"`
	Command         string        `json:"command"`
	Args            []string      `json:"args"`
	Env             []EnvVariable `json:"env"`
	CWD             string        `json:"cwd"`
	OutputByteLimit *int64        `json:"outputByteLimit"`
}

// TerminalParams names a terminal in every other terminal method.
type TerminalParams struct {
	SessionID  string `json:"sessionId"`
	TerminalID string `json:"terminalId"`
}

// TerminalExit is how a terminal's command ended: an exit code or a signal's name, the other one null.
type TerminalExit struct {
	ExitCode *int    `json:"exitCode"`
	Signal   *string `json:"signal"`
}

// TerminalOutput answers terminal/output. Exit is null while the command runs.
type TerminalOutput struct {
	Output    string        `json:"output"`
	Truncated bool          `json:"truncated"`
	Exit      *TerminalExit `json:"exitStatus,omitempty"`
}

// updateParams is the body of session/update.
type updateParams struct {
	SessionID string          `json:"sessionId"`
	Update    json.RawMessage `json:"update"`
}

// StructuredOutputParams is the body of MethodStructuredOutput.
type StructuredOutputParams struct {
	SessionID string          `json:"sessionId"`
	Value     json.RawMessage `json:"value"`
}

// sessionOnly is the body of the methods that name just a session.
type sessionOnly struct {
	SessionID string `json:"sessionId"`
}
