// Package runbook is the built-in agent: it runs the fenced `sh` blocks of a prompt, in order, and needs no model.
//
// It speaks ACP on its standard input and output like any other agent, runs inside the session's sandbox, and knows nothing
// of the server. The rules (issue "a session", section 3):
//
//   - A block is one plain script for /bin/sh: no -e, no -u, standard input empty; its exit status decides. Only blocks whose
//     info string begins with the word sh are run (Parse).
//   - All blocks of a session, also those of follow-ups, begin in the session's working directory and share one /tmp.
//   - The first block that fails ends the turn; the blocks after it are not run.
//   - A block is announced as a pending tool call, and started only after the client's server has acknowledged that
//     (`_gantry/barrier`) and the start is on the disk here. So a block that may have run is never run again: after a restart
//     the next prompt first says which one was interrupted.
//   - Cancel kills the running block's process group at once and always wins.
//   - With an output schema (`_meta.gantry.output_schema`), a turn that went well offers a JSON object: the file named by
//     $GANTRY_STRUCTURED_OUTPUT if this turn wrote it, else the last block's standard output if it is one JSON object.
//
// A turn's outcome is in the prompt response's `_meta.gantry` (acp.GantryMeta). Files that a block leaves in the directory
// named by $GANTRY_ATTACHMENTS are collected by the worker, not here.
package runbook

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"gantry/internal/platform/clock"
	"gantry/internal/worker/acp"
)

// Environment variables that the worker sets.
const (
	EnvStructuredOutput = "GANTRY_STRUCTURED_OUTPUT" // path of the file a block may write its structured output to
	EnvAttachments      = "GANTRY_ATTACHMENTS"       // directory whose files the worker hands over
)

// Main serves one client on stdin and stdout until stdin or ctx ends, and gives the process's exit code. Blocks that still
// run are killed.
func Main(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) int {
	home, err := os.UserHomeDir()
	if err != nil {
		return complain(stderr, fmt.Errorf("runbook: HOME must be set: %w", err))
	}
	a := &agent{home: home, structured: os.Getenv(EnvStructuredOutput), sessions: map[string]*session{}}
	if err := acp.ServeAgent(ctx, stdin, stdout, a.serve()); err != nil && ctx.Err() == nil {
		return complain(stderr, err)
	}
	return 0
}

func complain(stderr io.Writer, err error) int {
	// There is nowhere left to report that standard error is gone.
	_, _ = fmt.Fprintln(stderr, "gantry agent runbook:", err)
	return 1
}

// agent is one process's runbook: its open sessions.
type agent struct {
	home       string
	structured string // path, empty without one
	clock      clock.Clock

	mu       sync.Mutex
	sessions map[string]*session
}

// session is one conversation. Only its one running turn touches it after it was opened.
type session struct {
	id     string
	schema json.RawMessage // null when no structured output is asked for
	state  state
}

func (a *agent) serve() acp.Agent {
	return acp.Agent{
		Info: acp.Implementation{Name: "runbook", Title: "Gantry runbook", Version: "1"},
		Capabilities: acp.AgentCapabilities{
			LoadSession: true, Meta: json.RawMessage(`{"gantry":{"needs_model":false}}`),
		},
		NewSession: a.newSession, LoadSession: a.loadSession, Prompt: a.prompt,
	}
}

func (a *agent) newSession(_ context.Context, p acp.SessionParams) (acp.SessionResult, error) {
	if err := checkCWD(p.CWD); err != nil {
		return acp.SessionResult{}, err
	}
	s := &session{id: newID(), schema: schemaOf(p.Meta), state: state{CWD: p.CWD}}
	if err := s.state.save(a.home, s.id, false); err != nil {
		return acp.SessionResult{}, acp.Errorf(acp.CodeInternal, "the session can't be kept: %v", err)
	}
	a.open(s)
	return acp.SessionResult{SessionID: s.id}, nil
}

// loadSession goes on with a session of an earlier process. There is no conversation to replay: runbook remembers none.
func (a *agent) loadSession(_ context.Context, p acp.SessionParams) error {
	if err := checkCWD(p.CWD); err != nil {
		return err
	}
	st, err := loadState(a.home, p.SessionID)
	if errors.Is(err, errNoSession) {
		return acp.Errorf(acp.CodeNotFound, "sessionId: no such session")
	}
	if err != nil {
		return acp.Errorf(acp.CodeInternal, "%v", err)
	}
	st.CWD = p.CWD
	a.open(&session{id: p.SessionID, schema: schemaOf(p.Meta), state: st})
	return nil
}

func (a *agent) open(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[s.id] = s
}

func (a *agent) prompt(ctx context.Context, peer *acp.Peer, p acp.PromptParams) (acp.PromptResult, error) {
	a.mu.Lock()
	s := a.sessions[p.SessionID]
	a.mu.Unlock()
	if s == nil {
		return acp.PromptResult{}, acp.Errorf(acp.CodeNotFound, "sessionId: no such session")
	}
	schema := s.schema
	if own := schemaOf(p.Meta); own != nil {
		schema = own
	}
	t := &turn{
		a: a, s: s, peer: peer, schema: schema, id: newID(),
		shell: shell{dir: s.state.CWD, scratch: filepath.Join(a.home, ".gantry-runbook", s.id), clock: a.clock},
	}
	if p.Meta != nil && p.Meta.Gantry != nil {
		t.command, t.goesOn = p.Meta.Gantry.Command, p.Meta.Gantry.GoOn
	}
	if t.goesOn {
		return t.run(ctx, rest(s.state, t.command), at{s.state.Block, s.state.Blocks})
	}
	blocks := blocksOf(p.Prompt)
	return t.run(ctx, blocks, at{0, len(blocks)})
}

// rest are the blocks that a message's turn left when it was broken off between two of them.
func rest(st state, command int64) []Block {
	if st.Command != command {
		return nil
	}
	blocks := make([]Block, len(st.Rest))
	for i, script := range st.Rest {
		blocks[i] = Block{Script: script}
	}
	return blocks
}

// blocksOf finds the scripts in a prompt's text. Text that only tells what happened before holds none.
func blocksOf(prompt []acp.ContentBlock) []Block {
	var blocks []Block
	for _, c := range prompt {
		if c.Type != "text" || (c.Meta != nil && c.Meta.Gantry != nil && c.Meta.Gantry.Context) {
			continue
		}
		blocks = append(blocks, Parse(c.Text)...)
	}
	return blocks
}

func checkCWD(path string) error {
	if !filepath.IsAbs(path) {
		return acp.Errorf(acp.CodeInvalidParams, "cwd: must be an absolute path")
	}
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
		return acp.Errorf(acp.CodeInvalidParams, "cwd: is no directory")
	}
	return nil
}

func schemaOf(m *acp.Meta) json.RawMessage {
	if m == nil || m.Gantry == nil || string(m.Gantry.OutputSchema) == "null" {
		return nil
	}
	return m.Gantry.OutputSchema
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "rb-" + hex.EncodeToString(b[:])
}
