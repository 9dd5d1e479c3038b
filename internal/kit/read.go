package kit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// inquiry is what reading one request works with.
type inquiry struct {
	path    *huma.PathBuffer
	found   *huma.ValidateResult
	schemas huma.Registry
	body    bytes.Buffer
}

var inquiries = sync.Pool{New: func() any {
	return &inquiry{path: huma.NewPathBuffer(make([]byte, 0, 128), 0), found: &huma.ValidateResult{}}
}}

// done gives the inquiry back unless it has grown too large to be kept.
func (q *inquiry) done() {
	const most = 64 << 10
	if q.body.Cap() > most || len(q.found.Errors) > 100 {
		return
	}
	q.path.Reset()
	q.found.Reset()
	q.body.Reset()
	q.schemas = nil
	inquiries.Put(q)
}

// read makes the input of a request. Parameters and body are both looked at, so that one answer names every wrong field.
func (o *operation) read(w http.ResponseWriter, r *http.Request) (any, error) {
	in := o.in
	v := reflect.New(in.t)
	if len(in.params) == 0 && in.body == nil && in.raw == nil {
		return v.Interface(), nil
	}
	q := inquiries.Get().(*inquiry)
	defer q.done()
	q.schemas = o.api.schemas()
	for _, p := range in.params {
		p.read(r, v.Elem(), q)
	}
	status := http.StatusUnprocessableEntity
	if in.body != nil || in.raw != nil {
		wrong, err := o.readBody(w, r, v.Elem(), q)
		if err != nil {
			return nil, err
		}
		if wrong != 0 {
			status = wrong
		}
	}
	if len(q.found.Errors) > 0 {
		return nil, translate(status, "validation failed", q.found.Errors)
	}
	return v.Interface(), nil
}

// jsonWait is how long a JSON body may take to arrive.
const jsonWait = 5 * time.Second

// readBody reads Body or RawBody. It gives the status of a JSON body that is none.
func (o *operation) readBody(w http.ResponseWriter, r *http.Request, v reflect.Value, q *inquiry) (int, error) {
	in := o.in
	if in.body != nil {
		o.readWithin(w, jsonWait)
	}
	if err := o.readAll(r.Body, &q.body); err != nil {
		return 0, err
	}
	if in.body != nil {
		_ = huma.SetReadDeadline(w, time.Time{}) // not every connection has deadlines
	}
	if in.raw != nil {
		v.FieldByIndex(in.raw).SetBytes(bytes.Clone(q.body.Bytes()))
	}
	switch {
	case q.body.Len() == 0 && in.needed:
		return 0, translate(http.StatusBadRequest, "request body is required", nil)
	case q.body.Len() == 0 || in.body == nil:
		return 0, nil
	}
	return in.readJSON(r.Header.Get("Content-Type"), v, q), nil
}

// readAll reads a body that is shorter than the operation's bound.
func (o *operation) readAll(body io.ReadCloser, into *bytes.Buffer) error {
	if body == nil {
		return nil
	}
	defer func() { _ = body.Close() }() // what is left of it is the server's to throw away
	n, err := into.ReadFrom(io.LimitReader(body, o.maxBody))
	if n == o.maxBody {
		return translate(http.StatusRequestEntityTooLarge, fmt.Sprintf("request body is too large limit=%d bytes", o.maxBody), nil)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return translate(http.StatusRequestTimeout, "request body read timeout", nil)
	}
	if err != nil {
		return translate(http.StatusInternalServerError, unreadBody, []error{err})
	}
	return nil
}

// readJSON holds the body against its schema and reads it into Body. What a schema can't tell the decoder may still refuse.
func (in *input) readJSON(contentType string, v reflect.Value, q *inquiry) int {
	text := q.body.Bytes()
	if !isJSON(contentType) {
		q.found.Errors = append(q.found.Errors, &huma.ErrorDetail{Location: "body", Message: "unknown content type"})
		return http.StatusUnsupportedMediaType
	}
	parsed, err := parse(text)
	if err != nil {
		q.found.Errors = append(q.found.Errors, &huma.ErrorDetail{Location: "body", Message: err.Error()})
		return http.StatusBadRequest
	}
	changed := dropLookalikes(q.schemas, in.schema, parsed)
	before := len(q.found.Errors)
	q.path.Reset()
	q.path.Push("body")
	huma.Validate(q.schemas, in.schema, q.path, huma.ModeWriteToServer, parsed, q.found)
	if len(q.found.Errors) > before {
		return http.StatusUnprocessableEntity
	}
	if err := decode(text, parsed, changed, v.FieldByIndex(in.body).Addr().Interface()); err != nil {
		q.found.Errors = append(q.found.Errors, &huma.ErrorDetail{Location: "body", Message: err.Error()})
	}
	return 0
}

// isJSON takes a missing content type for JSON: it is all that there is.
func isJSON(contentType string) bool {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	return name == "" || name == "application/json" || name == "json" || strings.HasSuffix(name, "+json")
}
