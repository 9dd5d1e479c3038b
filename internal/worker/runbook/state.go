package runbook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gantry/internal/platform/pattern"
)

// state is what survives the death of the process: enough to know, when the session is loaded again, which block of which
// turn may have run.
type state struct {
	CWD     string `json:"cwd"`
	Turn    int    `json:"turn"`            // number of the last turn, from 1
	Blocks  int    `json:"blocks"`          // how many that turn has
	Block   int    `json:"block"`           // the last one that was started, from 1
	Title   string `json:"title,omitempty"` // of that block
	Running bool   `json:"running"`         // that block has not ended
	Open    bool   `json:"open"`            // the turn has not ended
	// Rest are the scripts after Block that a turn left when it was broken off between two blocks: they may be run yet.
	// Command is the message whose turn that was: no other turn may run them.
	Rest    []string `json:"rest,omitempty"`
	Command int64    `json:"command,omitempty"`
}

var validID = pattern.Of(`^rb-[0-9a-f]{16}$`)

// errNoSession says that no state is kept under an id.
var errNoSession = errors.New("runbook: no such session")

// statePath gives the file of a session's state. id must be one that newID made.
func statePath(home, id string) string {
	return filepath.Join(home, ".gantry-runbook", id+".json")
}

func loadState(home, id string) (state, error) {
	var st state
	if !validID().MatchString(id) {
		return st, errNoSession
	}
	b, err := os.ReadFile(statePath(home, id))
	if errors.Is(err, fs.ErrNotExist) {
		return st, errNoSession
	}
	if err != nil {
		return st, fmt.Errorf("runbook: read state: %w", err)
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("runbook: state of %s is damaged: %w", id, err)
	}
	return st, nil
}

// save writes the state in one step. With durable it is on the disk when save returns, which is needed before a block starts;
// elsewhere the kernel may write it later, and a machine that dies meanwhile leaves an older state that only says more
// carefully what may have run.
func (st state) save(home, id string, durable bool) error {
	path := statePath(home, id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("runbook: keep state: %w", err)
	}
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("runbook: keep state: %w", err)
	}
	if err := writeFile(path+".new", b, durable); err != nil {
		return fmt.Errorf("runbook: keep state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("runbook: keep state: %w", err)
	}
	if !durable {
		return nil
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("runbook: keep state: %w", err)
	}
	return nil
}

func writeFile(path string, b []byte, durable bool) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if durable {
		return f.Sync()
	}
	return nil
}

func syncDir(path string) (err error) {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
