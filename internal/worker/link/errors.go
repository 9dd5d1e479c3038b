package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter caps what a server may ask us to wait: a lease must not be lost to a typing error.
const maxRetryAfter = 30 * time.Second

// StatusError is an answer that is not a success.
type StatusError struct {
	Status int
	// Detail is the server's own sentence, at most a few hundred bytes, empty without one.
	Detail string
	// RetryAfter is how long the server asked us to wait, zero when it didn't.
	RetryAfter time.Duration
}

// Error names the status and what the server said.
func (e *StatusError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("server answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("server answered %d: %s", e.Status, e.Detail)
}

// ErrUnreachable is wrapped when no whole answer came: the connection failed, broke or took too long.
var ErrUnreachable = errors.New("the server can't be reached")

// Status tells an answer's HTTP status, zero when there was no answer.
func Status(err error) int {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status
	}
	return 0
}

// Detail gives the server's own sentence, empty when there was no answer or none in it.
func Detail(err error) string {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Detail
	}
	return ""
}

// Lost says whether the server no longer honours what the request was made with: the token is unknown, the fence stale, or
// the session gone. Nothing under that claim can succeed any more.
func Lost(err error) bool {
	switch Status(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusGone:
		return true
	}
	return false
}

// Refused says whether the server understood the request and will never accept it as it is.
func Refused(err error) bool {
	status := Status(err)
	return status >= 300 && status < 500 && !Lost(err) &&
		status != http.StatusTooManyRequests && status != http.StatusRequestTimeout && status != http.StatusTooEarly
}

// Temporary says whether the same request may succeed later.
func Temporary(err error) bool {
	return errors.Is(err, ErrUnreachable) || Status(err) != 0 && !Lost(err) && !Refused(err)
}

// RetryAfter tells how long the server asked us to wait before the next try, zero when it didn't say.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.RetryAfter
	}
	return 0
}

// failure reads an unsuccessful answer into a StatusError.
func failure(resp *http.Response) error {
	e := &StatusError{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var problem struct {
		Detail string `json:"detail"`
		Title  string `json:"title"`
	}
	if json.Unmarshal(body, &problem) == nil {
		e.Detail = problem.Detail
		if e.Detail == "" {
			e.Detail = problem.Title
		}
	}
	if len(e.Detail) > 400 {
		e.Detail = e.Detail[:400]
	}
	return e
}
