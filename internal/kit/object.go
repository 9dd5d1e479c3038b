package kit

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
)

// Object is a JSON object kept as it came, or null.
type Object struct{ json.RawMessage }

// Schema says that any members will do.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
}

// MarshalJSON writes the object or null.
func (o Object) MarshalJSON() ([]byte, error) {
	if o.RawMessage == nil {
		return []byte("null"), nil
	}
	return o.RawMessage, nil
}

// UnmarshalJSON keeps the object; null is no object.
func (o *Object) UnmarshalJSON(b []byte) error {
	o.RawMessage = nil
	if string(b) != "null" {
		o.RawMessage = append(o.RawMessage, b...)
	}
	return nil
}
