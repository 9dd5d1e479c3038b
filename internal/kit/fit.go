package kit

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// decode reads a body that was held against its schema: the text as it came, unless something was taken from what was parsed. For an
// integer encoding/json refuses 1e2, which is one.
func decode(text []byte, parsed any, changed bool, into any) error {
	if changed {
		return rewritten(parsed, into)
	}
	err := json.Unmarshal(text, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && strings.HasPrefix(wrong.Value, "number") {
		return rewritten(parsed, into)
	}
	return err
}

// rewritten reads what was parsed: its numbers are written plainly.
func rewritten(parsed, into any) error {
	text, err := json.Marshal(parsed)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// dropLookalikes takes members away that differ from a declared one by letter case only, and reports whether there were any. Unknown
// members are ignored (contract/behaviour.md §3, 16d), while encoding/json takes Name for name.
func dropLookalikes(schemas huma.Registry, s *huma.Schema, v any) bool {
	if s != nil && s.Ref != "" {
		s = schemas.SchemaFromRef(s.Ref)
	}
	if s == nil {
		return false
	}
	found := false
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			found = dropLookalikes(schemas, s.Items, item) || found
		}
	case map[string]any:
		rest, _ := s.AdditionalProperties.(*huma.Schema)
		for name, member := range v {
			declared, ok := s.Properties[name]
			switch {
			case ok:
				found = dropLookalikes(schemas, declared, member) || found
			case looksDeclared(s, name):
				delete(v, name)
				found = true
			default:
				found = dropLookalikes(schemas, rest, member) || found
			}
		}
	}
	return found
}

func looksDeclared(s *huma.Schema, name string) bool {
	for declared := range s.Properties {
		if strings.EqualFold(declared, name) {
			return true
		}
	}
	return false
}
