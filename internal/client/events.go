package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gantry/internal/platform/clock"
)

// Event is one numbered event of a session. CreatedAt is in Unix milliseconds as the events door gives it.
type Event struct {
	Seq       int64           `json:"seq"`
	Type      string          `json:"type"`
	CreatedAt int64           `json:"created_at"`
	Data      json.RawMessage `json:"data"`
}

func eventsPath(org, session string) string {
	return "/gantry/v1/organizations/" + url.PathEscape(org) + "/sessions/" + url.PathEscape(session) + "/events"
}

// Shortened says whether the event's data was too large to be kept with it, and how many bytes it has in all: Data is then its
// beginning, and PayloadPath leads to the whole (docs/events.md).
func (e Event) Shortened() (size int64, shortened bool) {
	var d struct {
		Truncated bool  `json:"truncated"`
		Size      int64 `json:"size"`
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return 0, false
	}
	return d.Size, d.Truncated
}

// PayloadPath is where the whole data of a shortened event is read.
func PayloadPath(org, session string, seq int64) string {
	return eventsPath(org, session) + "/" + strconv.FormatInt(seq, 10) + "/payload"
}

// ListEvents gives one page of events after a cursor, oldest first. A cursor is an earlier page's or empty.
func (c *Client) ListEvents(ctx context.Context, org, session, after string) (Page[Event], error) {
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	var p Page[Event]
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: eventsPath(org, session), Query: q}, &p)
	return p, err
}

// Follow gives every event after seq once and in order, as it comes, until the session's stream has ended. A broken connection is
// taken up again after the last event that was seen; an error ends the sequence, the context's own included.
func (c *Client) Follow(ctx context.Context, org, session string, seq int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := &follower{c: c, path: eventsPath(org, session), last: seq}
		for try := 0; ; try++ {
			before := f.last
			ended, stopped, err := f.stream(ctx, yield)
			switch {
			case stopped || ended:
				return
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case err != nil && !broken(err):
				yield(Event{}, err)
				return
			}
			if f.last > before {
				try = 0
			}
			if try >= maxReconnects {
				yield(Event{}, fmt.Errorf("the event stream can't be taken up again: %w", err))
				return
			}
			if !clock.Sleep(ctx, reconnectAfter(try)) {
				yield(Event{}, ctx.Err())
				return
			}
		}
	}
}

const (
	maxReconnects = 60 // in a row without an event in between; with what Send tries by itself about eight minutes
	// silence ends a connection on which not even a keep-alive came; the server sends one every 15 s.
	silence = 45 * time.Second
)

// errSilent is why a stream's context ends when nothing came.
var errSilent = fmt.Errorf("nothing came for %s", silence)

func reconnectAfter(try int) time.Duration {
	return min(2*time.Second, 50*time.Millisecond<<min(try, 6))
}

// broken says whether an error is one of the way and not an answer.
func broken(err error) bool {
	s := StatusOf(err)
	return s == 0 || s == http.StatusBadGateway || s == http.StatusGatewayTimeout || s == http.StatusServiceUnavailable
}

type follower struct {
	c    *Client
	path string
	last int64
}

// stream reads one connection. ended says that the session's stream is over, stopped that the reader wants no more; with neither,
// err says why the connection broke, nil for a plain end.
func (f *follower) stream(ctx context.Context, yield func(Event, error) bool) (ended, stopped bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer quiet.Stop()
	r := Request{Method: http.MethodGet, Path: f.path, Accept: "text/event-stream", Header: http.Header{}}
	if f.last > 0 {
		r.Header.Set("Last-Event-ID", strconv.FormatInt(f.last, 10))
	}
	res, err := f.c.Send(ctx, r)
	if err != nil {
		return false, false, err
	}
	defer func() { _ = res.Body.Close() }() // the stream is of no more use
	err = readSSE(res.Body, func() { quiet.Reset(silence) }, func(name, eventID string, data []byte) bool {
		if name == "end" {
			ended = true
			return false
		}
		e, ok := f.event(eventID, data)
		if !ok {
			return true
		}
		stopped = !yield(e, nil)
		// The reader may take its time; only the server's silence counts.
		quiet.Reset(silence)
		return !stopped
	})
	return ended, stopped, err
}

// event decodes one event and drops those seen already.
func (f *follower) event(eventID string, data []byte) (Event, bool) {
	var e Event
	if json.Unmarshal(data, &e) != nil {
		return e, false
	}
	if n, err := strconv.ParseInt(eventID, 10, 64); err == nil {
		e.Seq = n
	}
	if e.Seq <= f.last {
		return e, false
	}
	f.last = e.Seq
	return e, true
}
