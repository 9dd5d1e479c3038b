package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Error is an answer that is not 2xx, from any of the API's versions.
type Error struct {
	Status     int
	Method     string
	Path       string
	Detail     string
	Fields     []FieldError
	RequestID  string
	RetryAfter time.Duration
	Header     http.Header
	// Body is the answer as it came.
	Body []byte
}

// FieldError is one wrong input.
type FieldError struct {
	Loc  []string
	Msg  string
	Type string
}

// Error says what the server said, with each wrong field.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d)", orElse(e.Detail, http.StatusText(e.Status)), e.Status)
	for _, f := range e.Fields {
		line := strings.Join(f.Loc, ".") + ": " + f.Msg
		// The summary of a single field already says it.
		if len(e.Fields) > 1 || !strings.Contains(e.Detail, f.Msg) {
			b.WriteString("\n  " + line)
		}
	}
	if e.Status >= http.StatusInternalServerError && e.RequestID != "" {
		b.WriteString("\n  request id " + e.RequestID)
	}
	return b.String()
}

// ConnectError means that no answer came.
type ConnectError struct {
	URL   string
	cause error
}

// Error says where nobody answered. What net/http adds is the whole address once more.
func (e *ConnectError) Error() string {
	cause := e.cause
	if u, ok := errors.AsType[*url.Error](cause); ok {
		cause = u.Err
	}
	return "no answer from " + e.URL + ": " + cause.Error()
}

// Unwrap gives the cause.
func (e *ConnectError) Unwrap() error { return e.cause }

// StatusOf gives the status of an *Error, 0 for any other error.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// maxErrorBody bounds what is read of an error's body.
const maxErrorBody = 1 << 20

func errorOf(req *http.Request, res *http.Response) *Error {
	e := &Error{
		Status: res.StatusCode, Method: req.Method, Path: req.URL.Path,
		RequestID: res.Header.Get("X-Request-Id"), RetryAfter: retryAfter(res), Header: res.Header,
	}
	e.Body, _ = io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // what was read until it broke is shown
	e.read()
	return e
}

// read understands problem+json (v3: detail a text, errors a list) and the FastAPI form (v1, v2: detail a text or the list).
func (e *Error) read() {
	var body struct {
		Title  string          `json:"title"`
		Detail json.RawMessage `json:"detail"`
		Errors json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(e.Body, &body) != nil {
		e.Detail = firstLine(e.Body)
		return
	}
	if json.Unmarshal(body.Detail, &e.Detail) != nil || e.Detail == "" {
		e.Detail = body.Title
		e.Fields = fields(body.Detail)
	}
	e.Fields = append(e.Fields, fields(body.Errors)...)
}

func fields(raw json.RawMessage) []FieldError {
	var in []struct {
		Loc  []any  `json:"loc"`
		Msg  string `json:"msg"`
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &in) != nil {
		return nil
	}
	var out []FieldError
	for _, f := range in {
		loc := make([]string, len(f.Loc))
		for i, l := range f.Loc {
			loc[i] = fmt.Sprint(l)
		}
		out = append(out, FieldError{Loc: loc, Msg: f.Msg, Type: f.Type})
	}
	return out
}

// firstLine makes something readable of a body that isn't ours, a proxy's page for example.
func firstLine(body []byte) string {
	const most = 200
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if len(line) > most {
		line = line[:most] + "…"
	}
	return strings.ToValidUTF8(line, "")
}

// retryAfter reads the seconds of Retry-After; the date form is treated as absent.
func retryAfter(res *http.Response) time.Duration {
	s, err := strconv.ParseFloat(res.Header.Get("Retry-After"), 64)
	if err != nil || s <= 0 || s > 3600 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
