package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gantry/internal/fleet"
	jsonschema "gantry/internal/platform/schema"
	"gantry/internal/wire"
)

// checkOutput says why an offered object isn't a valid structured output, "" when it is one.
func checkOutput(schema, value json.RawMessage) string {
	if len(value) > maxOutput {
		return fmt.Sprintf("the structured output has more than %d bytes", maxOutput)
	}
	if err := jsonschema.Validate(schema, value); err != nil {
		return plain("the structured output isn't valid: "+strings.TrimSpace(err.Error()), maxOutputError)
	}
	return ""
}

// maxOutputError is how much of a validation's message is kept.
const maxOutputError = 4 << 10

// checkOutputs validates what a batch offers as structured output. It comes before the transaction, because a large schema takes its
// time; a session's schema never changes.
func (v *Service) checkOutputs(ctx context.Context, r fleet.Row, reports []report) error {
	var schema json.RawMessage
	for i := range reports {
		e := &reports[i]
		if e.Type != wire.EventStructuredOutput {
			continue
		}
		if schema == nil {
			s, err := find(ctx, v.DB.Reader(), r.OrgID, r.SessionID)
			if err != nil {
				return err
			}
			if s.OutputSchema == nil {
				return nil
			}
			schema = s.OutputSchema
		}
		e.output.Error = checkOutput(schema, e.output.Value)
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
