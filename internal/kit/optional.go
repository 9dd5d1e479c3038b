package kit

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// Optional is an input member or query parameter that may be absent, null or a value: in a PATCH absent keeps and null clears.
// Tag a member `json:"name,omitempty"`; the document then says that it may be null. It takes huma's constraints, but no default tag:
// use Or. As an output it writes null unless it holds a value.
type Optional[T any] struct {
	Set   bool // the member was there
	Null  bool // and it was null
	Value T
}

// Some gives an Optional that holds v.
func Some[T any](v T) Optional[T] { return Optional[T]{Set: true, Value: v} }

// Has reports whether there is a value.
func (o Optional[T]) Has() bool { return o.Set && !o.Null }

// Or gives the value, or def when there is none.
func (o Optional[T]) Or(def T) T {
	if o.Has() {
		return o.Value
	}
	return def
}

// Ptr gives the value's address, nil when there is none.
func (o Optional[T]) Ptr() *T {
	if o.Has() {
		return &o.Value
	}
	return nil
}

// UnmarshalJSON notes that the member was there.
func (o *Optional[T]) UnmarshalJSON(b []byte) error {
	o.Set = true
	if bytes.Equal(b, []byte("null")) {
		o.Null = true
		return nil
	}
	return json.Unmarshal(b, &o.Value)
}

// MarshalJSON writes the value or null.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if !o.Has() {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}

// Schema is T's, or null.
func (o Optional[T]) Schema(r huma.Registry) *huma.Schema { return nullable(r, reflect.TypeFor[T]()) }

// Receiver is where huma puts a query parameter.
func (o *Optional[T]) Receiver() reflect.Value { return reflect.ValueOf(o).Elem().Field(2) }

// OnParamSet notes that a query parameter was there.
func (o *Optional[T]) OnParamSet(isSet bool, _ any) { o.Set = isSet }

// An output member that is always there and may be null is a pointer: to a plain value, or to a struct whose first field is
// _ struct{} `nullable:"true"`, which is how huma's schemas learn of it.

// NullText gives nil for "", the output form of a text that may be null.
func NullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// List gives the items, never null.
func List[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// maxExact is the largest integer that a JSON number keeps exactly everywhere, 2^53. Beyond it huma could only say that the body is wrong,
// without naming the field.
const maxExact = float64(1 << 53)

// nullable gives a copy of a type's schema that takes null. An object's schema is copied inline: huma can't mark a reference as nullable.
func nullable(r huma.Registry, t reflect.Type) *huma.Schema {
	s := r.Schema(t, true, "")
	for s.Ref != "" {
		s = r.SchemaFromRef(s.Ref)
	}
	c := *s
	if c.Type != "" {
		c.Nullable = true
	}
	if c.Type == huma.TypeInteger {
		if c.Minimum == nil {
			c.Minimum = new(-maxExact)
		}
		if c.Maximum == nil {
			c.Maximum = new(maxExact)
		}
	}
	return &c
}
