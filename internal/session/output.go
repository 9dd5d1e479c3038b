package session

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gantry/internal/fleet"
	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// CheckSchema refuses a structured_output_schema that isn't an object of JSON Schema Draft 7, at most 64 KB, without outside
// references (contract/behaviour.md §3.4). Nil is no schema.
func CheckSchema(schema json.RawMessage) error {
	if schema == nil {
		return nil
	}
	if len(schema) > MaxSchema {
		return fault.InvalidField("structured_output_schema", "must have at most %d bytes", MaxSchema)
	}
	if _, err := compile(schema); err != nil {
		return fault.InvalidField("structured_output_schema", "%s", firstLine(err))
	}
	return nil
}

// refuseLoader keeps a schema from reaching anything outside itself.
type refuseLoader struct{}

func (refuseLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("outside reference %q is not allowed", url)
}

func compile(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, fmt.Errorf("must be a JSON object")
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.UseLoader(refuseLoader{})
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("schema.json")
}

// checkOutput says why an offered object isn't a valid structured output, "" when it is one.
func checkOutput(schema, value json.RawMessage) string {
	if len(value) > maxOutput {
		return fmt.Sprintf("the structured output has more than %d bytes", maxOutput)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return "the structured output is not JSON: " + firstLine(err)
	}
	if _, ok := doc.(map[string]any); !ok {
		return "the structured output must be a JSON object"
	}
	compiled, err := compile(schema)
	if err != nil {
		return "the schema can't be compiled: " + firstLine(err)
	}
	if err := compiled.Validate(doc); err != nil {
		return plain(strings.TrimSpace(strings.ReplaceAll(err.Error(), "file:///", "")), maxOutputError)
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
