package forge

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/safehttp"
	"gantry/internal/platform/secret"
)

// A lister asks a provider for every repository that a connection shows, page by page, and hands each page to keep.
type lister func(ctx context.Context, a *account, keep func([]found) error) error

// found is a repository as a provider tells it. Empty texts and a zero time are what it doesn't say.
type found struct {
	ID, Path, Description, Language string
	UpdatedAt                       time.Time
}

const (
	askTime  = 20 * time.Second // for one page
	maxReply = 16 << 20         // bytes of one page
	maxPages = 2000             // of one listing: a provider that always names a next page must not keep us for ever
	// maxPause is the longest wait a provider can ask for that is believed.
	maxPause = time.Hour
	// shortPause is when to try again after a provider that was away.
	shortPause = 30 * time.Second
)

// account is a connection with its token in clear, for as long as one listing or question takes.
type account struct {
	Connection
	token  secret.String
	client *http.Client
	clock  clock.Clock
	pages  int
}

// newClient gives the client that asks providers: through the guard, and never from a provider to another host, where a token of a
// header that net/http doesn't know would go along.
func newClient(guard *safehttp.Guard) *http.Client {
	c := guard.Client(askTime)
	inner := c.CheckRedirect
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
			return fmt.Errorf("%w: redirect to %s", safehttp.ErrRefused, req.URL.Host)
		}
		return inner(req, via)
	}
	return c
}

// An authoriser puts an account's token into a request, as its provider wants it.
type authoriser = func(*http.Request)

func (a *account) bearer(r *http.Request) {
	r.Header.Set("Authorization", "Bearer "+a.token.Reveal())
}

func (a *account) basic(user string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+a.token.Reveal())))
	}
}

// get asks for one page and decodes it. The answer's header says where the next one is.
func (a *account) get(ctx context.Context, address string, authorise func(*http.Request), into any) (http.Header, error) {
	if a.pages++; a.pages > maxPages {
		return nil, fault.New(fault.Conflict, "the provider names more than %d pages of repositories", maxPages)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "the connection's address can't be asked")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gantry")
	if !a.token.IsZero() {
		authorise(req)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, a.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if err := a.refusal(resp); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, a.unreachable(err)
	}
	if len(body) > maxReply {
		return nil, fault.New(fault.Conflict, "a page of the provider %s is larger than %d bytes", a.Host, maxReply)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "the answer of %s isn't that of a %s provider; check the connection's address", a.Host, a.Provider)
	}
	return resp.Header, nil
}

// unreachable tells an address that may not be asked, which the operator mends, from a network that is away.
func (a *account) unreachable(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the address is not for a log: it may hold a cursor
	}
	if errors.Is(err, safehttp.ErrRefused) {
		return fault.Wrap(err, fault.Conflict, "the provider %s may not be reached: it, or where it sends us, isn't on the public internet; --allow-networks opens private ranges", a.Host)
	}
	return &fault.Error{
		Kind: fault.Unavailable, Message: "the provider " + a.Host + " can't be reached", RetryAfter: shortPause,
	}
}

// refusal makes an error of an answer that isn't one.
func (a *account) refusal(resp *http.Response) error {
	status := resp.StatusCode
	// Azure DevOps answers a token it doesn't know with 203 and a page to sign in.
	if status >= 200 && status < 300 && status != http.StatusNonAuthoritativeInfo {
		return nil
	}
	limited := status == http.StatusTooManyRequests ||
		(status == http.StatusForbidden && (resp.Header.Get("Retry-After") != "" || resp.Header.Get("X-RateLimit-Remaining") == "0"))
	switch {
	case limited:
		return &fault.Error{
			Kind: fault.Unavailable, Message: "the provider " + a.Host + " asks for a pause: too many requests of this token", RetryAfter: a.pause(resp.Header),
		}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNonAuthoritativeInfo:
		return fault.New(fault.Conflict, "the provider %s refuses the connection's token (%d): give the connection another, with the right to read repositories", a.Host, status)
	case status >= 500:
		return &fault.Error{Kind: fault.Unavailable, Message: fmt.Sprintf("the provider %s failed (%d)", a.Host, status), RetryAfter: shortPause}
	}
	return fault.New(fault.Conflict, "the provider %s answers %d; check the connection's address", a.Host, status)
}

// pause reads how long a provider wants to be left alone: seconds, a date, or when its window begins again.
func (a *account) pause(h http.Header) time.Duration {
	now := a.clock.Now()
	wait := shortPause
	if v := h.Get("Retry-After"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 32); err == nil {
			wait = time.Duration(n) * time.Second
		} else if at, err := http.ParseTime(v); err == nil {
			wait = at.Sub(now)
		}
	} else {
		for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
			if n, err := strconv.ParseInt(h.Get(name), 10, 64); err == nil {
				wait = time.Unix(n, 0).Sub(now)
				break
			}
		}
	}
	return min(maxPause, max(time.Second, wait))
}

// following gives the next page that an answer names. It must be where the first one is: the token goes along.
func (a *account) following(current, next string) (string, error) {
	if next == "" {
		return "", nil
	}
	at, err := url.Parse(current)
	if err != nil {
		return "", fault.Wrap(err, fault.Conflict, "the connection's address can't be asked")
	}
	u, err := at.Parse(next)
	if err != nil || u.Scheme != at.Scheme || u.Host != at.Host {
		return "", fault.New(fault.Conflict, "the provider %s names a next page on another host", a.Host)
	}
	return u.String(), nil
}

// linked finds the next page in a Link header (RFC 8288), as GitHub, GitLab and Gitea name it.
func linked(h http.Header) string {
	for _, line := range h.Values("Link") {
		for part := range strings.SplitSeq(line, ",") {
			target, attributes, ok := strings.Cut(part, ";")
			target = strings.TrimSpace(target)
			if !ok || !strings.HasPrefix(target, "<") || !strings.HasSuffix(target, ">") {
				continue
			}
			for a := range strings.SplitSeq(attributes, ";") {
				if a = strings.TrimSpace(a); a == `rel="next"` || a == "rel=next" {
					return target[1 : len(target)-1]
				}
			}
		}
	}
	return ""
}

// byLinks walks a list whose pages are bare arrays, each naming the next in its Link header.
func byLinks[T any](ctx context.Context, a *account, address string, authorise func(*http.Request), read func(T) found, keep func([]found) error) error {
	for address != "" {
		var rows []T
		h, err := a.get(ctx, address, authorise, &rows)
		if err != nil {
			return err
		}
		if err := keep(each(rows, read)); err != nil {
			return err
		}
		if address, err = a.following(address, linked(h)); err != nil {
			return err
		}
	}
	return nil
}

func each[T any](rows []T, read func(T) found) []found {
	out := make([]found, len(rows))
	for i, r := range rows {
		out[i] = read(r)
	}
	return out
}
