package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"gantry/internal/platform/schema"
	"gantry/internal/wire"
	"gantry/internal/worker/acp"
)

const (
	maxOutput     = 64 << 10 // bytes of a structured output (contract/behaviour.md §3.4)
	maxOutputFile = 1 << 20  // bytes that are read, so that the agent can be told how much too long it is
)

// offers keeps the last structured output that the agent offered by ACP. It is safe for concurrent use.
type offers struct {
	mu   sync.Mutex
	last json.RawMessage
}

func (o *offers) put(value json.RawMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = value
}

func (o *offers) take() json.RawMessage {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := o.last
	o.last = nil
	return last
}

// checkOutput looks for the structured output after a turn that went well. It gives the prompt that asks for it again, or the
// problem that the user has to hear, or neither when all is well.
func (t *turn) checkOutput() (again []acp.ContentBlock, problem string) {
	r := t.r
	if r.spec.OutputSchema == nil {
		return nil, ""
	}
	problem = r.offerOutput()
	if problem == "" && r.spec.OutputRequired && !r.mem.OutputGiven {
		problem = "The structured output is missing."
	}
	retries := r.spec.Limits.OutputRetries
	if retries <= 0 {
		retries = defaultRetries
	}
	if problem == "" || len(r.spec.Agent.Command) == 0 || t.retries >= retries {
		return nil, problem
	}
	t.retries++
	r.say.event(wire.EventLog, wire.LogData{Level: "warning", Text: problem + " The agent is asked again."})
	return append(r.handOver(), acp.TextBlock(problem+" Write a corrected JSON object to "+r.outputPath()+".")), ""
}

// offerOutput reports the structured output if the agent handed in a new one that is valid, and says what is wrong with one
// that isn't.
func (r *run) offerOutput() (problem string) {
	if r.spec.OutputSchema == nil {
		return ""
	}
	value, err := r.handedOutput()
	if err != nil {
		return "The structured output can't be read: " + err.Error() + "."
	}
	if value == nil {
		return ""
	}
	sum := sha256.Sum256(value)
	known := r.mem.OutputSum == hex.EncodeToString(sum[:])
	if err := schema.Validate(r.spec.OutputSchema, value); err != nil {
		return "The structured output isn't valid: " + err.Error()
	}
	if known && r.mem.OutputGiven {
		return ""
	}
	r.mem.OutputSum, r.mem.OutputGiven = hex.EncodeToString(sum[:]), true
	r.say.event(wire.EventStructuredOutput, wire.OutputData{Value: value})
	return ""
}

// handedOutput gives what was offered by ACP since the last look, else what is in the file; null when there is nothing.
func (r *run) handedOutput() (json.RawMessage, error) {
	value := r.offers.take()
	if value == nil {
		f, err := r.ws.OpenRegular(r.outputPath(), maxOutputFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		if value, err = io.ReadAll(f); err != nil {
			return nil, err
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if compact.Len() > maxOutput {
		return nil, fmt.Errorf("it has %d bytes, more than %d", compact.Len(), maxOutput)
	}
	return compact.Bytes(), nil
}
