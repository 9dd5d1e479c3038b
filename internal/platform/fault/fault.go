// Package fault is the one error type that crosses rooms: a kind, a message that is safe to show, and a cause that never
// leaves the process.
//
// A kind says what the caller can do about it; each API version turns kinds into its own status and body. An error that is not
// a fault is Internal.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong from the caller's point of view.
type Kind int

// The kinds, with the HTTP status every API version gives them.
const (
	Internal        Kind = iota // 500: our mistake; the message is replaced before it leaves
	BadRequest                  // 400: well-formed but refused for its meaning
	Unauthenticated             // 401: no, unknown, expired or revoked credential
	Forbidden                   // 403: known, but not allowed
	NotFound                    // 404: missing, or not to be seen
	Conflict                    // 409: the state doesn't allow it
	TooLarge                    // 413: body over its limit
	Invalid                     // 422: a named field is wrong
	RateLimited                 // 429: not processed; RetryAfter says when
	Unavailable                 // 503: a part we need is away; RetryAfter says when
)

// Field is one wrong input. Loc is the path to it: "body", "title" or "query", "first" or "path", "devin_id".
type Field struct {
	Loc     []string
	Message string
	Type    string // a short machine name such as missing, type_error, value_error
}

// Error is a fault. Message is shown to callers as it is.
type Error struct {
	Kind       Kind
	Message    string
	Fields     []Field
	RetryAfter time.Duration
	cause      error
}

// Error gives kind, message and cause for logs; callers are shown Message only.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault without a cause.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault around a cause. A nil cause gives a fault all the same.
func Wrap(cause error, k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), cause: cause}
}

// InvalidField is the 422 that names one field of the body. Path is dotted: "session_secrets.0.key".
func InvalidField(path, format string, args ...any) *Error {
	return invalidAt("body", path, format, args...)
}

// InvalidQuery is the 422 that names one query parameter.
func InvalidQuery(name, format string, args ...any) *Error {
	return invalidAt("query", name, format, args...)
}

func invalidAt(place, path, format string, args ...any) *Error {
	msg := fmt.Sprintf(format, args...)
	loc := append([]string{place}, splitPath(path)...)
	return &Error{Kind: Invalid, Message: path + ": " + msg, Fields: []Field{{Loc: loc, Message: msg, Type: "value_error"}}}
}

func splitPath(path string) []string {
	var out []string
	start := 0
	for i := 0; i <= len(path); i++ {
		if i == len(path) || path[i] == '.' {
			out = append(out, path[start:i])
			start = i + 1
		}
	}
	return out
}

// Away is the 503 of a part that is not there for now.
func Away(cause error, what string) *Error {
	return &Error{Kind: Unavailable, Message: what + " is not available; try again shortly", RetryAfter: 2 * time.Second, cause: cause}
}

// KindOf gives the kind of the outermost fault in err, Internal when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is a fault of this kind.
func Is(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

// As gives the fault in err. An error without one becomes Internal with err as its cause.
func As(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Wrap(err, Internal, "internal error")
}
