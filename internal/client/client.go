// Package client is the Go client of Gantry's API: what the command line and the tests use.
//
// It speaks v3 and /gantry/v1 as any other program would and knows nothing of the server's inside. Requests that the server did
// not process (429, 503) are sent again after the time it names; creates carry an idempotency key, so they may be as well.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
)

// Options of New. Key may be empty for operations that need none.
type Options struct {
	URL       string
	Key       secret.String
	UserAgent string
	// Transport is http.DefaultTransport when nil.
	Transport http.RoundTripper
	// Waiting is told why a call is made again, once until one has succeeded. It may be nil.
	Waiting func(error)
	// MaxWait bounds how long one call waits between its tries, all tries together; default 30 s.
	MaxWait time.Duration
}

// Client calls one server with one credential. It is safe for concurrent use.
type Client struct {
	base      string
	key       secret.String
	userAgent string
	http      *http.Client
	maxWait   time.Duration
	waiting   func(error)
	told      atomic.Bool
}

// New checks the address; it doesn't dial.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("the server's address %q is not an http or https address", o.URL)
	}
	c := &Client{
		base:      strings.TrimSuffix(o.URL, "/"),
		key:       o.Key,
		userAgent: o.UserAgent,
		maxWait:   o.MaxWait,
		waiting:   o.Waiting,
		// No redirect carries the key on: Go drops it when the host changes, and downloads don't need it.
		http: &http.Client{Transport: o.Transport},
	}
	if c.maxWait == 0 {
		c.maxWait = 30 * time.Second
	}
	if c.userAgent == "" {
		c.userAgent = "gantry"
	}
	return c, nil
}

// URL is the server's address without a trailing slash.
func (c *Client) URL() string { return c.base }

// Request is one call. Body is sent as JSON unless ContentType says otherwise. Create marks a POST that makes something: it gets
// an idempotency key, so it can be sent again.
type Request struct {
	Method      string
	Path        string // from the root, already escaped
	Query       url.Values
	Body        []byte
	ContentType string
	Accept      string
	Header      http.Header
	Create      bool
}

// Do sends a request and decodes a 2xx answer into out, unless out is nil. Any other answer is an *Error.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	res, err := c.Send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was read to its end or is of no more use
	if out == nil || res.StatusCode == http.StatusNoContent {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: the answer is not the JSON that was expected: %w", r.Method, r.Path, err)
	}
	return nil
}

// Send sends a request and gives the 2xx answer with its body unread. Any other answer is an *Error.
func (c *Client) Send(ctx context.Context, r Request) (*http.Response, error) {
	if r.Create {
		r.Header = r.Header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		if r.Header.Get("Idempotency-Key") == "" {
			r.Header.Set("Idempotency-Key", id.UUID())
		}
	}
	var waited time.Duration
	for try := 0; ; try++ {
		res, err := c.once(ctx, r)
		if err == nil {
			c.told.Store(false)
		}
		if err == nil || ctx.Err() != nil {
			return res, err
		}
		wait, again := c.again(r, err, try)
		if !again || waited+wait > c.maxWait {
			return nil, err
		}
		waited += wait
		if c.waiting != nil && !c.told.Swap(true) {
			c.waiting(err)
		}
		if !clock.Sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}

// maxTries bounds the tries whose answer doesn't say when to come again.
const maxTries = 5

// again says whether a failed try may be repeated and after how long. 429 and 503 were not processed (contract/behaviour.md
// §1.4 19); a lost connection is repeated only where doing it twice does no harm.
func (c *Client) again(r Request, err error, try int) (time.Duration, bool) {
	backoff := time.Duration(float64(200*time.Millisecond<<min(try, 6)) * (0.75 + rand.Float64()/2))
	if e, ok := errors.AsType[*Error](err); ok {
		switch {
		case e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable:
			return 0, false
		case e.RetryAfter > 0:
			return e.RetryAfter, true
		}
		return backoff, try < maxTries
	}
	harmless := r.Method == http.MethodGet || r.Create && r.Header.Get("Idempotency-Key") != ""
	return backoff, harmless && try < maxTries
}

func (c *Client) once(ctx context.Context, r Request) (*http.Response, error) {
	u := c.base + r.Path
	if len(r.Query) > 0 {
		u += "?" + r.Query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	maps.Copy(req.Header, r.Header)
	if r.Body != nil {
		req.Header.Set("Content-Type", orElse(r.ContentType, "application/json"))
	}
	return c.send(req, r.Accept)
}

// send adds what every request carries.
func (c *Client) send(req *http.Request, accept string) (*http.Response, error) {
	req.Header.Set("Accept", orElse(accept, "application/json"))
	req.Header.Set("User-Agent", c.userAgent)
	if !c.key.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &ConnectError{URL: c.base, cause: err}
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer func() { _ = res.Body.Close() }() // the answer is an error already
		return nil, errorOf(req, res)
	}
	return res, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return b, nil
}

// Page is one page of a list.
type Page[T any] struct {
	Items       []T     `json:"items"`
	EndCursor   *string `json:"end_cursor"`
	HasNextPage bool    `json:"has_next_page"`
}
