package wire

import "encoding/json"

// Event types a worker may send. docs/events.md documents each with an example; the server adds its own (see session.Event).
const (
	EventState             = "state"              // StateData: the session's state as the worker sees it
	EventSetup             = "setup"              // SetupData: progress before the agent runs (clone, sandbox)
	EventTurn              = "turn"               // TurnData: a turn began or ended
	EventMessage           = "message"            // MessageData: the agent speaks to the user
	EventThought           = "thought"            // MessageData: the agent's reasoning
	EventPlan              = "plan"               // PlanData
	EventTool              = "tool"               // ToolData: a tool call began, changed or ended
	EventToolOutput        = "tool_output"        // ToolOutputData: a piece of a tool call's output, in order
	EventUsage             = "usage"              // UsageData: tokens and cost as the agent counts them; never the ledger
	EventPermission        = "permission"         // PermissionData: the agent asks before it does something
	EventStructuredOutput  = "structured_output"  // OutputData: an offered object; the server validates it again
	EventPullRequest       = "pull_request"       // PullRequestData: https only
	EventAttachment        = "attachment"         // AttachmentData: a file the agent handed over, already uploaded
	EventAgent             = "agent"              // AgentData: the agent process started, restarted or ended
	EventLog               = "log"                // LogData: something the operator or user should know
	EventMode              = "mode"               // ModeData: the agent's mode changed
	EventCommandsAvailable = "commands_available" // raw list of the agent's slash commands
)

// States a worker may report. Working starts the meter, every other one stops it.
const (
	StateWorking            = "working"
	StateWaitingForUser     = "waiting_for_user"
	StateWaitingForApproval = "waiting_for_approval"
	StateFinished           = "finished"
	StateSuspended          = "suspended" // the worker closed the agent after a suspend command or a drain
	StateExited             = "exited"    // the worker ended everything after a terminate command
	StateError              = "error"     // beyond repair
)

// StateData belongs to EventState. Reason says in one sentence why, empty when the state says it all.
type StateData struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// SetupData belongs to EventSetup. Phase is workspace, clone, attachments, sandbox or agent; Status started, done or failed.
type SetupData struct {
	Phase  string `json:"phase"`
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
	Millis int64  `json:"millis,omitempty"`
}

// TurnData belongs to EventTurn. Status is started or ended; Command is the message's number; StopReason is ACP's.
type TurnData struct {
	Status     string `json:"status"`
	Command    int64  `json:"command"`
	StopReason string `json:"stop_reason,omitempty"`
}

// MessageData belongs to EventMessage and EventThought. Chunks of one message are joined by the worker before they are sent.
type MessageData struct {
	Text string `json:"text"`
}

// PlanData belongs to EventPlan: the whole plan each time.
type PlanData struct {
	Entries []PlanEntry `json:"entries"`
}

// PlanEntry is one step. Status is pending, in_progress or completed; Priority high, medium or low.
type PlanEntry struct {
	Content  string `json:"content"`
	Status   string `json:"status"`
	Priority string `json:"priority,omitempty"`
}

// Tool call statuses: ACP's four and interrupted, of a call whose turn was broken off.
const (
	ToolPending     = "pending"
	ToolInProgress  = "in_progress"
	ToolCompleted   = "completed"
	ToolFailed      = "failed"
	ToolInterrupted = "interrupted"
)

// ToolData belongs to EventTool. Absent fields of an update keep their value.
type ToolData struct {
	ID       string          `json:"id"`
	Title    string          `json:"title,omitempty"`
	Kind     string          `json:"kind,omitempty"`
	Status   string          `json:"status,omitempty"`
	Input    json.RawMessage `json:"input,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	ExitCode *int            `json:"exit_code,omitempty"`
	Paths    []string        `json:"paths,omitempty"`
}

// ToolOutputData belongs to EventToolOutput.
type ToolOutputData struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// UsageData belongs to EventUsage; null where the agent doesn't say.
type UsageData struct {
	InputTokens  *int64   `json:"input_tokens,omitempty"`
	OutputTokens *int64   `json:"output_tokens,omitempty"`
	ContextSize  *int64   `json:"context_size,omitempty"`
	ContextUsed  *int64   `json:"context_used,omitempty"`
	Cost         *float64 `json:"cost,omitempty"`
	Currency     string   `json:"currency,omitempty"`
}

// PermissionData belongs to EventPermission. Status is requested, granted, denied or cancelled.
type PermissionData struct {
	Request string             `json:"request"`
	Status  string             `json:"status"`
	Title   string             `json:"title,omitempty"`
	Tool    string             `json:"tool,omitempty"`
	Options []PermissionOption `json:"options,omitempty"`
	Option  string             `json:"option,omitempty"`
}

// PermissionOption is one answer the agent offers. Kind is allow_once, allow_always, reject_once or reject_always.
type PermissionOption struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// OutputData belongs to EventStructuredOutput. Error is set by the server when the object didn't pass the schema.
type OutputData struct {
	Value json.RawMessage `json:"value"`
	Error string          `json:"error,omitempty"`
}

// PullRequestData belongs to EventPullRequest. A worker that notices an address in what the agent writes reports it without a state, and again
// when it has pushed another branch of the repository.
type PullRequestData struct {
	URL   string `json:"url"`
	State string `json:"state,omitempty"`
	// TakenOver says that somebody else opened it and the agent pushed to it.
	TakenOver bool `json:"taken_over,omitempty"`
	// Pushed are the branches of its repository that the session has pushed to, from the worker only: they are no part of the event that is kept.
	Pushed []string `json:"pushed,omitempty"`
}

// AttachmentData belongs to EventAttachment.
type AttachmentData struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// AgentData belongs to EventAgent. Status is started, restarted, exited or silent.
type AgentData struct {
	Status  string `json:"status"`
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// LogData belongs to EventLog. Level is info, warning or error.
type LogData struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}

// ModeData belongs to EventMode.
type ModeData struct {
	Mode string `json:"mode"`
}
