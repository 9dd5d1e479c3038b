package kit

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// guard stands before an operation's input: 401, 429, 403, then what makes the request readable (contract/behaviour.md §19.1).
func (o *operation) guard(c *call, w http.ResponseWriter, r *http.Request, next func()) {
	c.op = o
	if !o.api.deprecated.IsZero() {
		o.deprecate(r, w.Header())
	}
	k := o.api.kit
	if !o.public {
		if err := o.authenticate(c, r); err != nil {
			o.refuse(c, w, err)
			return
		}
		c.stream = o.decl.Stream || (o.either && wantsStream(r))
		p, err := k.limits.enter(&c.subject, c.stream, w.Header())
		if err != nil {
			o.refuse(c, w, err)
			return
		}
		c.held = p // until finish
	}
	if err := o.findOrg(c, r); err != nil {
		o.refuse(c, w, err)
		return
	}
	if err := o.check(c); err != nil {
		o.refuse(c, w, err)
		return
	}
	if err := o.prepare(c, r, w); err != nil {
		o.refuse(c, w, err)
		return
	}
	if o.decl.Creates && k.idem != nil && r.Header.Get(idempotencyHeader) != "" {
		if err := k.idem.run(c, r, next); err != nil {
			o.refuse(c, w, err)
		}
		return
	}
	next()
}

func (o *operation) refuse(c *call, w http.ResponseWriter, err error) {
	writeError(w, o.api.kit.toError(c, o.api.form, err))
}

// authenticate turns the bearer into the call's subject. Refused keys count against their address, missing ones don't: they guess nothing.
func (o *operation) authenticate(c *call, r *http.Request) error {
	c.bearer = bearer(r.Header["Authorization"])
	if c.bearer == "" || o.api.auth == nil {
		return fault.New(fault.Unauthenticated, "the request has no bearer credential")
	}
	s, err := o.api.auth.Authenticate(c, c.bearer, c.remote)
	if err != nil {
		if fault.Is(err, fault.Unauthenticated) {
			if wait := o.api.kit.unknown.count(c.remote); wait > 0 {
				return &fault.Error{Kind: fault.RateLimited, Message: "too many unknown keys from this address", RetryAfter: wait}
			}
		}
		return err
	}
	if o.decl.Enterprise && s.Kind == access.Person {
		s = s.Bound("") // v1 binds a person's key to an organization; here it counts for what its person may in the enterprise
	}
	s.RequestID = c.id
	c.subject = s
	return nil
}

func bearer(values []string) string {
	if len(values) == 0 {
		return ""
	}
	const scheme = "bearer "
	v := values[0]
	if len(v) <= len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(v[len(scheme):])
}

// findOrg finds the organization the operation is on and resolves `~`.
func (o *operation) findOrg(c *call, r *http.Request) error {
	switch o.org {
	case orgPath:
		c.org = r.PathValue("org_id")
		if r.URL.RawPath != "" { // the router matched the escaped form
			if plain, err := url.PathUnescape(c.org); err == nil {
				c.org = plain
			}
		}
		if c.org != ownOrg {
			return nil
		}
		if c.subject.OrgID == "" {
			return &fault.Error{
				Kind: fault.Invalid, Message: "org_id: name the organization in the path; this credential belongs to none",
				Fields: []fault.Field{{Loc: []string{"path", "org_id"}, Message: "Field required", Type: "missing"}},
			}
		}
		c.org = c.subject.OrgID
		r.SetPathValue("org_id", c.org)
		r.URL.Path = strings.Replace(r.URL.Path, "/"+ownOrg, "/"+c.org, 1)
	case OrgQuery:
		c.org = o.queryOrg(r)
	case OrgCredential:
		if c.org = c.subject.OrgID; c.org == "" {
			c.org = o.queryOrg(r)
		}
		if c.org == "" && c.subject.Kind != access.Nobody {
			return forbidden("the credential belongs to no organization; use an organization's key, or name one by the query parameter org_id")
		}
	default:
	}
	return nil
}

// queryOrg gives the org_id that the handler is going to see. A query that can't be read is refused later, with 422.
func (o *operation) queryOrg(r *http.Request) string {
	query := r.URL.RawQuery
	if _, declared := o.query["org_id"]; declared {
		query, _ = o.query.normalise(query)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	return values.Get("org_id")
}

func (o *operation) check(c *call) error {
	if o.public || (o.api.kit.o.EarlyCheckOff && !o.decl.Admin) { // what is the door's own law is no early check
		return nil
	}
	if err := o.allow(c); err != nil {
		return err
	}
	if o.decl.ForbidUnknownOrg && c.subject.OrgID == "" {
		return o.mustExist(c, fault.Forbidden)
	}
	return nil
}

// prepare makes path, query and body readable for huma: lenient forms become the declared ones, and what no engine can store is refused.
func (o *operation) prepare(c *call, r *http.Request, w http.ResponseWriter) error {
	if !db.Storable(r.URL.Path) {
		return &fault.Error{
			Kind: fault.Invalid, Message: "path: not valid text",
			Fields: []fault.Field{{Loc: []string{"path"}, Message: "not valid UTF-8 text", Type: "value_error"}},
		}
	}
	if r.URL.RawQuery != "" {
		q, err := o.query.normalise(r.URL.RawQuery)
		if err != nil {
			return err
		}
		r.URL.RawQuery = q
		if !o.public {
			c.query = q
		}
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return &Error{status: http.StatusUnsupportedMediaType, detail: "content-encoding: a compressed request body is not taken"}
	}
	if r.ContentLength > o.maxBody {
		return fault.New(fault.TooLarge, "the request body is larger than %s bytes", strconv.FormatInt(o.maxBody, 10))
	}
	if o.multi { // huma bounds the other bodies itself
		r.Body = http.MaxBytesReader(w, r.Body, o.maxBody)
		o.readWithin(w, uploadWait)
	}
	return nil
}

// uploadWait is how long a file may take to arrive, bodyWait any other body that kit reads.
const (
	uploadWait = 15 * time.Minute
	bodyWait   = 10 * time.Second
)

// readWithin bounds how long the body may take. Not every connection can: a test's recorder has no deadlines.
func (o *operation) readWithin(w http.ResponseWriter, d time.Duration) {
	_ = huma.SetReadDeadline(w, clock.Clock{}.Now().Add(d))
}

func wantsStream(r *http.Request) bool {
	for _, v := range r.Header["Accept"] {
		if strings.Contains(v, eventStream) {
			return true
		}
	}
	return false
}
