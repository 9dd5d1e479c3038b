package kit

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
)

// Form is how an API version writes its errors.
type Form uint8

// The forms (contract/behaviour.md §1.4): RFC 9457 for v3 and gantry; `{"detail": text or list}` for v1 and v2; a one-field
// `{"detail": text}` for the worker queue and the gateway.
const (
	Problem Form = iota
	FastAPI
	Detail
)

// contentType of an error's body.
func (f Form) contentType() string {
	if f == Problem {
		return "application/problem+json"
	}
	return "application/json"
}

// Error is an error as it leaves: every word in it is safe to show.
type Error struct {
	form       Form
	status     int
	detail     string
	fields     []fault.Field
	instance   string
	retryAfter time.Duration
}

// Error gives the text for people.
func (e *Error) Error() string { return e.detail }

// GetStatus gives the HTTP status.
func (e *Error) GetStatus() int { return e.status }

// ContentType gives the form's own content type whatever was negotiated.
func (e *Error) ContentType(string) string { return e.form.contentType() }

// GetHeaders gives the headers that go with the status.
func (e *Error) GetHeaders() http.Header {
	h := http.Header{}
	e.setHeaders(h)
	return h
}

func (e *Error) setHeaders(h http.Header) {
	switch e.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.FormatInt(max(1, int64((e.retryAfter+time.Second-1)/time.Second)), 10))
	}
}

// ProblemDetail is the error body of v3 and gantry. Errors is null except on 422; Detail stays a text there.
type ProblemDetail struct {
	Type     string            `json:"type" doc:"URI of the kind of problem."`
	Title    string            `json:"title" doc:"The status in words."`
	Status   int               `json:"status" doc:"The HTTP status."`
	Detail   *string           `json:"detail" doc:"What went wrong, for people."`
	Instance *string           `json:"instance" doc:"The path of the request."`
	Errors   []ValidationError `json:"errors" nullable:"true" doc:"The wrong fields, on 422 only."`
}

// ValidationError is one wrong field. Loc is the path to it: names, and numbers for places in a list.
type ValidationError struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

// HTTPValidationError is the 422 body of v1 and v2.
type HTTPValidationError struct {
	Detail []ValidationError `json:"detail"`
}

// ErrorDetail is the error body of v1 and v2, the worker queue and the gateway.
type ErrorDetail struct {
	Detail string `json:"detail"`
}

// MarshalJSON writes the body in the version's form.
func (e *Error) MarshalJSON() ([]byte, error) {
	switch {
	case e.form == Problem:
		p := ProblemDetail{Type: "about:blank", Title: http.StatusText(e.status), Status: e.status, Detail: &e.detail}
		if p.Title == "" {
			p.Title = "Error"
		}
		if e.instance != "" {
			reference := (&url.URL{Path: e.instance}).EscapedPath() // RFC 9457 has a URI reference here
			p.Instance = &reference
		}
		if e.status == http.StatusUnprocessableEntity {
			p.Errors = validationErrors(e)
		}
		return json.Marshal(p)
	case e.form == FastAPI && e.status == http.StatusUnprocessableEntity:
		return json.Marshal(HTTPValidationError{Detail: validationErrors(e)})
	default:
		return json.Marshal(ErrorDetail{Detail: e.detail})
	}
}

func validationErrors(e *Error) []ValidationError {
	out := make([]ValidationError, 0, len(e.fields))
	for _, f := range e.fields {
		loc := make([]any, len(f.Loc))
		for i, s := range f.Loc {
			loc[i] = s
			if n, err := strconv.Atoi(s); err == nil && (i > 1 || (i == 1 && f.Loc[0] == "body")) { // a name in the query may be a number
				loc[i] = n
			}
		}
		out = append(out, ValidationError{Loc: loc, Msg: f.Message, Type: f.Type})
	}
	if len(out) == 0 {
		out = append(out, ValidationError{Loc: []any{"body"}, Msg: e.detail, Type: "value_error"})
	}
	return out
}

// writeError answers with e. It is for what is refused before or beside huma.
func writeError(w http.ResponseWriter, e *Error) {
	body, err := json.Marshal(e)
	if err != nil { // every member is a plain value
		body = []byte(`{"detail":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", e.form.contentType())
	e.setHeaders(h)
	w.WriteHeader(e.status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone doesn't mind
}

// statusClientGone is what the log says of a request whose client left before the answer.
const statusClientGone = 499

var statusOf = map[fault.Kind]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.BadRequest:      http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Invalid:         http.StatusUnprocessableEntity,
	fault.RateLimited:     http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
}

// toError turns what a use case returned into what leaves. Causes go to the log.
func (k *Kit) toError(c *call, form Form, err error) *Error {
	if done, ok := errors.AsType[*Error](err); ok {
		e := *done
		e.form, e.instance = form, c.path
		return &e
	}
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Error{
			form: form, status: http.StatusRequestEntityTooLarge, instance: c.path,
			detail: "the request body is larger than " + strconv.FormatInt(big.Limit, 10) + " bytes",
		}
	}
	if c.Err() != nil && errors.Is(err, context.Canceled) {
		return &Error{form: form, status: statusClientGone, detail: "the client closed the request", instance: c.path}
	}
	f := fault.As(err)
	switch f.Kind {
	case fault.Internal:
		k.log.LogAttrs(c, slog.LevelError, "request failed",
			slog.String("operation", operationID(c)), slog.Any("error", err))
		return internalError(form, c)
	case fault.Unavailable:
		k.log.LogAttrs(c, slog.LevelWarn, "request refused for now",
			slog.String("operation", operationID(c)), slog.Any("error", err))
	default:
	}
	return &Error{form: form, status: statusOf[f.Kind], detail: f.Message, fields: f.Fields, retryAfter: f.RetryAfter, instance: c.path}
}

func operationID(c *call) string {
	if c.op == nil {
		return ""
	}
	return c.op.id
}

func internalError(form Form, c *call) *Error {
	return &Error{form: form, status: http.StatusInternalServerError, detail: "internal error; request id " + c.id, instance: c.path}
}

// forbidden says that no role could help: the credential is of the wrong kind or scope.
func forbidden(text string) error { return fault.New(fault.Forbidden, "%s", text) }

func permissionNames(ps []access.Permission) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.String()
	}
	return out
}

// summary is the one line that stands for a 422 with several fields.
func summary(fields []fault.Field) string {
	if len(fields) == 0 {
		return "the request is not valid"
	}
	loc := fields[0].Loc
	if len(loc) > 1 {
		loc = loc[1:]
	}
	s := strings.Join(loc, ".") + ": " + fields[0].Message
	if n := len(fields) - 1; n > 0 {
		s += " (and " + strconv.Itoa(n) + " more)"
	}
	return s
}
