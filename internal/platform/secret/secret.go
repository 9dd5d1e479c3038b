// Package secret holds the type of values that must not be printed.
package secret

import "log/slog"

const mask = "***"

// String is a value that every printer, logger and encoder shows as ***. Reveal is the only way to it. The value is behind a pointer,
// because fmt doesn't ask the methods of an unexported field: there it prints an address.
type String struct{ v *string }

// New hides v.
func New(v string) String { return String{v: &v} }

// Reveal gives the value. Callers hand it to the one place that needs it and keep no copy.
func (s String) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero reports whether nothing is hidden.
func (s String) IsZero() bool { return s.v == nil || *s.v == "" }

// String prints ***.
func (s String) String() string { return mask }

// GoString prints ***.
func (s String) GoString() string { return mask }

// LogValue logs ***.
func (s String) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText encodes ***.
func (s String) MarshalText() ([]byte, error) { return []byte(mask), nil }

// UnmarshalText takes a value from a flag, an environment variable or a file.
func (s *String) UnmarshalText(b []byte) error {
	*s = New(string(b))
	return nil
}
