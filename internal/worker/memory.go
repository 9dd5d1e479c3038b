package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"gantry/internal/worker/sandbox"
)

// memory is what a worker remembers of a session between its claims, in the workspace's state directory, which the sandbox
// can't reach.
type memory struct {
	// Agent and ACPSession name the agent's own memory of the conversation.
	Agent      string `json:"agent,omitempty"`
	ACPSession string `json:"acp_session,omitempty"`
	// Cloned says that every repository was cloned; from then on the working directory is the agent's.
	Cloned bool `json:"cloned,omitempty"`
	// Prompted says that the first input, with the playbook, reached an agent.
	Prompted bool `json:"prompted,omitempty"`
	// Uploaded are the files that were handed over: name to size and time.
	Uploaded map[string]string `json:"uploaded,omitempty"`
	// OutputGiven says that there was a valid structured output; OutputSum is the hash of the last one that was offered.
	OutputGiven bool   `json:"output_given,omitempty"`
	OutputSum   string `json:"output_sum,omitempty"`
	// Pulls are the pull requests whose addresses the agent wrote, Pushed the branches that it pushed to, by repository.
	Pulls  []sighting          `json:"pulls,omitempty"`
	Pushed map[string][]string `json:"pushed,omitempty"`
	// DiskNext is until when the workspace needn't be measured again, in Unix milliseconds.
	DiskNext int64 `json:"disk_next,omitempty"`

	path string
}

// recall reads what is remembered; a file that can't be read is like none, and the session begins anew.
func recall(ws *sandbox.Workspace) *memory {
	m := &memory{path: filepath.Join(ws.Dir(), "state", "session.json")}
	if b, err := os.ReadFile(m.path); err == nil {
		_ = json.Unmarshal(b, m) // what is damaged stays empty
	}
	if m.Uploaded == nil {
		m.Uploaded = map[string]string{}
	}
	return m
}

// save replaces the file as a whole.
func (m *memory) save() error {
	b, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(m.path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(m.path+".new", m.path)
	}
	if err != nil {
		return fmt.Errorf("remember the session: %w", err)
	}
	return nil
}
