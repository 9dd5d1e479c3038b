package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"gantry/internal/platform/secret"
)

// maxReply caps an answer's body; a session's specification with its whole transcript is the largest.
const maxReply = 64 << 20

// caller sends requests under one base URL with one bearer.
type caller struct {
	server *Server
	base   *url.URL
	// bearer is a pointer because fmt prints what unexported fields hold without asking their String method.
	bearer *secret.String
}

func bearer(token string) *secret.String {
	s := secret.New(token)
	return &s
}

// exchange sends in as JSON and decodes a successful answer into out; a nil in sends no body, a nil out reads none.
func (c *caller) exchange(ctx context.Context, timeout time.Duration, method, path string, in, out any) (int, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return 0, fmt.Errorf("encode %s: %w", path, err)
		}
	}
	return c.send(ctx, timeout, method, path, body, out)
}

// send is exchange for a body that is JSON already.
func (c *caller) send(ctx context.Context, timeout time.Duration, method, path string, body []byte, out any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	resp, err := c.do(ctx, method, path, nil, reader, "application/json")
	if err != nil {
		return 0, err
	}
	defer drain(resp.Body)
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return resp.StatusCode, nil
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return 0, fmt.Errorf("read answer of %s: %w: %w", path, ErrUnreachable, err)
	case len(data) > maxReply:
		return 0, fmt.Errorf("read answer of %s: larger than %d bytes", path, maxReply)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return 0, fmt.Errorf("decode answer of %s: %w", path, err)
	}
	return resp.StatusCode, nil
}

// do sends one request; anything but a 2xx answer becomes an error and its body is closed.
func (c *caller) do(ctx context.Context, method, path string, query url.Values, body io.Reader, contentType string) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer.Reveal())
	req.Header.Set("User-Agent", c.server.userAgent)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.server.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrUnreachable, withoutURL(err))
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer drain(resp.Body)
		return nil, fmt.Errorf("%s: %w", path, failure(resp))
	}
	return resp, nil
}

// withoutURL drops the address from a transport error: the log names the server once, at start.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// drain reads what is left of a small answer, so that its connection can be used again, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	_ = body.Close()
}
