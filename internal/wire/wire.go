// Package wire holds the types that the gateway and the worker exchange as JSON over HTTP.
//
// It imports nothing of Gantry's, so that a worker can be built, shipped and versioned on its own. Unknown fields and
// unknown enum values are ignored by both sides. Times are Unix milliseconds.
package wire

import (
	"encoding/json"
	"time"
)

// Limits that both sides enforce. The gateway trusts none of the worker's numbers.
const (
	MaxBatchEvents = 512     // events in one batch
	MaxBatchBytes  = 8 << 20 // bytes of one batch's body
	InlinePayload  = 64 << 10
	LeaseSeconds   = 60 // a claim's lease once the worker has reported running, unless an Ack says otherwise
	ClaimSeconds   = 300
	ReportSeconds  = 10 // at most this long between two reports of a worker about itself
)

// ReportEvery is how long at most passes between two reports on a session (batch or heartbeat): 10 s of a lease of 60 s.
func ReportEvery(lease time.Duration) time.Duration { return lease / 6 }

// FreezeAfter is how long a worker may fail to renew a lease before it freezes its agent: 40 s of 60 s.
func FreezeAfter(lease time.Duration) time.Duration { return lease * 2 / 3 }

// ClaimNext is the body of POST /gantry/v1/outposts/{outpost_id}/claim-next.
// WaitSeconds is how long the server may hold the request when nothing is queued (0 to 30).
type ClaimNext struct {
	WorkerID    string `json:"worker_id"`
	WaitSeconds int    `json:"wait_seconds,omitempty"`
}

// Kinds of a claim.
const (
	KindNew    = "new"
	KindResume = "resume"
)

// Claim answers claim-next with 200; 204 means that nothing was queued within the wait.
// ConnectToken is the bearer for every request under GatewayURL and is good for this session and fence only.
type Claim struct {
	SessionID    string `json:"session_id"`
	OrgID        string `json:"org_id"`
	OutpostID    string `json:"outpost_id"`
	Kind         string `json:"kind"`
	Fence        int64  `json:"fence"`
	ConnectToken string `json:"connect_token"`
	GatewayURL   string `json:"gateway_url"`
}

// WorkerReport is the body of POST /gantry/v1/outposts/{outpost_id}/workers, sent at start and every ReportSeconds.
// Sessions are those of which the worker keeps a workspace on its disk and which it isn't working on.
type WorkerReport struct {
	WorkerID string   `json:"worker_id"`
	Instance string   `json:"instance"` // a random name for this process: what an earlier one held is lost
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Platform string   `json:"platform"`
	Capacity int      `json:"capacity"`
	InUse    int      `json:"in_use"`
	Draining bool     `json:"draining,omitempty"`
	Sessions []string `json:"sessions,omitempty"`
	// Working are the sessions whose claim this worker holds. A claim of this worker that isn't listed in two reports in a row
	// never reached it (the answer to claim-next was lost), and may be given out again at once.
	Working []string `json:"working,omitempty"`
}

// WorkerReply answers a WorkerReport. Drain asks the worker to finish what it has and take nothing new.
// Discard lists the reported sessions whose workspace can never be used again.
type WorkerReply struct {
	Drain   bool     `json:"drain"`
	Discard []string `json:"discard,omitempty"`
}

// Spec answers GET {gateway_url}/spec: everything a worker needs to run one session, without its secrets.
type Spec struct {
	SessionID string `json:"session_id"`
	OrgID     string `json:"org_id"`
	Fence     int64  `json:"fence"`
	Kind      string `json:"kind"`
	Title     string `json:"title"`

	Agent        Agent        `json:"agent"`
	Repositories []Repository `json:"repositories"`
	Limits       Limits       `json:"limits"`

	// Playbooks and Notes are what earlier messages brought: an agent that begins a new conversation is told of them with the transcript.
	Playbooks []Text `json:"playbooks,omitempty"`
	Notes     []Text `json:"notes,omitempty"`

	// OutputSchema is the Draft 7 schema of the structured output, null without one.
	OutputSchema   json.RawMessage `json:"output_schema,omitempty"`
	OutputRequired bool            `json:"output_required"`
	// OutputGiven says that the session already has a valid structured output of an earlier turn.
	OutputGiven bool `json:"output_given,omitempty"`

	// BypassApproval answers every permission request of the agent with its first allowing option (contract/behaviour.md §3.4).
	BypassApproval bool `json:"bypass_approval,omitempty"`

	// LastBatch is the number of the last batch the server has of this session under this fence; the next is LastBatch+1.
	LastBatch int64 `json:"last_batch"`
	// LastCommand is the number of the last command that was acknowledged. Commands after it are still to be done and
	// come by GET commands?after=LastCommand.
	LastCommand int64 `json:"last_command"`

	// Interrupted says that an earlier claim ended in the middle of a turn.
	Interrupted bool `json:"interrupted,omitempty"`
	// OpenTools are the tool calls of that turn which never ended; the worker reports each as interrupted.
	OpenTools []string `json:"open_tools,omitempty"`
	// OpenTitles are their titles in the same order, "" for one that has none.
	OpenTitles []string `json:"open_titles,omitempty"`
	// Transcript is the conversation so far, for a worker that has not the agent's own memory of it.
	Transcript []TranscriptEntry `json:"transcript,omitempty"`
}

// Text is a note or a playbook as it was when the session was given it.
type Text struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Body string `json:"body"`
}

// TranscriptEntry is one message of the conversation so far. Source is user or devin.
type TranscriptEntry struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

// Agent says which ACP agent to start. Command is empty for the built-in runbook.
type Agent struct {
	Name    string            `json:"name"`
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	// Binds are host paths the operator lets this agent read inside the sandbox (its installation, a tool chain).
	Binds []string `json:"binds,omitempty"`
	// ResumesTurns says that after a crash in mid-turn the agent may be asked to go on. The runbook never is: a block
	// that may have run is not run again.
	ResumesTurns bool `json:"resumes_turns"`
}

// Repository is one repository to clone into the workspace. Dir is its folder below the working directory ("." when it is
// the only one). Credential says that POST credentials has to be asked before git may reach it. Refused says why the session may not
// have it any more, and then URL is empty.
type Repository struct {
	Name       string `json:"name"`
	URL        string `json:"url"`
	Dir        string `json:"dir"`
	Branch     string `json:"branch,omitempty"`
	Credential bool   `json:"credential,omitempty"`
	ReadOnly   bool   `json:"read_only,omitempty"`
	Refused    string `json:"refused,omitempty"`
}

// Limits bound one session on the worker. Zero means the worker's own default.
type Limits struct {
	MemoryBytes   int64 `json:"memory_bytes,omitempty"`
	DiskBytes     int64 `json:"disk_bytes,omitempty"`
	Processes     int   `json:"processes,omitempty"`
	CPUMillis     int   `json:"cpu_millis,omitempty"`
	SilentSeconds int   `json:"silent_seconds,omitempty"` // watchdog: an agent silent for this long in a turn is restarted
	OutputRetries int   `json:"output_retries,omitempty"` // how often an invalid structured output goes back
}

// SecretsReply answers POST {gateway_url}/secrets, once per claim: the environment of the session.
type SecretsReply struct {
	Environment []EnvVar `json:"environment"`
}

// EnvVar is one variable. A sensitive value is masked in everything the worker reports.
type EnvVar struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Sensitive bool   `json:"sensitive"`
	// Within are parts of a value that are secrets by themselves, such as what its cookies hold.
	Within []string `json:"within,omitempty"`
}

// Batch is the body of POST {gateway_url}/batches. Numbers start at 1 under each fence and have no gaps. A number the server
// has already answers like the first time; a gap or a stale fence answers 409 and the worker must stop.
type Batch struct {
	Fence  int64 `json:"fence"`
	Number int64 `json:"number"`
	// Command is the number of the last command carried out or taken in hand.
	Command int64   `json:"command"`
	Events  []Event `json:"events"`
}

// Event is one thing that happened. Data is the documented object of its type (docs/events.md). Raw is the agent's own ACP
// frame, kept beside it, null for events the worker made.
type Event struct {
	Type string          `json:"type"`
	At   int64           `json:"at"`
	Data json.RawMessage `json:"data"`
	Raw  json.RawMessage `json:"raw,omitempty"`
}

// Ack answers a batch and a heartbeat. Parked says that the claim has ended because the session waits for somebody: the worker
// keeps the workspace, closes the agent, and frees the slot. Stop says that the session is over or suspended.
type Ack struct {
	Number       int64 `json:"number"`
	LeaseSeconds int   `json:"lease_seconds"`
	Parked       bool  `json:"parked,omitempty"`
	Stop         bool  `json:"stop,omitempty"`
}

// Heartbeat is the body of POST {gateway_url}/heartbeat; it renews the lease when there is nothing to report.
type Heartbeat struct {
	Fence   int64 `json:"fence"`
	Command int64 `json:"command"`
}

// Command kinds.
const (
	CommandMessage   = "message"   // a user's message: the next turn's input
	CommandCancel    = "cancel"    // end the turn, keep the session
	CommandSuspend   = "suspend"   // end the turn, close the agent, keep the workspace
	CommandTerminate = "terminate" // end everything; the workspace goes
	CommandApprove   = "approve"   // answer to a permission request
)

// Command is one SSE event of GET {gateway_url}/commands?after=N: `id` is Number, `data` this object.
type Command struct {
	Number int64  `json:"number"`
	Kind   string `json:"kind"`
	// Text and Attachments belong to message. The first message of a session is its prompt.
	Text        string       `json:"text,omitempty"`
	Attachments []Attachment `json:"attachments,omitempty"`
	// Playbooks come before a message's text as if the user had said them; Notes are what may help with it.
	Playbooks []Text `json:"playbooks,omitempty"`
	Notes     []Text `json:"notes,omitempty"`
	// Request and Option belong to approve: which permission request, and the chosen option's id.
	Request string `json:"request,omitempty"`
	Option  string `json:"option,omitempty"`
	// Reason belongs to suspend and cancel.
	Reason string `json:"reason,omitempty"`
}

// Attachment is a file the user handed over; GET {gateway_url}/attachments/{id} streams it.
type Attachment struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// AttachmentReply answers POST {gateway_url}/attachments?name=NAME whose body is the file.
type AttachmentReply struct {
	ID  string `json:"id"`
	URL string `json:"url"`
}

// Operations of git that a credential is asked for.
const (
	GitClone = "clone"
	GitFetch = "fetch"
	GitPush  = "push"
)

// CredentialRequest is the body of POST {gateway_url}/credentials: one operation on one repository of the session.
type CredentialRequest struct {
	Fence      int64  `json:"fence"`
	Repository string `json:"repository"`
	Operation  string `json:"operation"`
}

// CredentialReply carries what git needs for that one operation. Username and Password are for https, PrivateKey and KnownHosts for
// ssh; all are empty when it is reached without. 403 says that the organization may not do that, and why.
type CredentialReply struct {
	Username   string `json:"username,omitempty"`
	Password   string `json:"password,omitempty"`
	PrivateKey string `json:"private_key,omitempty"`
	KnownHosts string `json:"known_hosts,omitempty"`
}
