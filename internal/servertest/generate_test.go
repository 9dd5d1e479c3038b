package servertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/fleet"
	"gantry/internal/servertest"
)

// object is a part of a document.
type object = map[string]any

// param is a declared parameter.
type param struct {
	name, in string
	required bool
	schema   object
}

func list[T any](v any) []T {
	var out []T
	for _, e := range asList(v) {
		if t, ok := e.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

func params(o *servertest.Operation, in string) []param {
	var out []param
	for _, p := range list[object](o.Spec["parameters"]) {
		if p["in"] == in {
			required, _ := p["required"].(bool)
			out = append(out, param{p["name"].(string), in, required, resolve(o, p["schema"].(object))})
		}
	}
	return out
}

// resolve follows references within the document.
func resolve(o *servertest.Operation, s object) object {
	for {
		ref, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		at := any(o.Doc)
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			at = at.(object)[part]
		}
		s = at.(object)
	}
}

// types of a schema, without null.
func types(s object) []string {
	var out []string
	if t, ok := s["type"].(string); ok {
		out = []string{t}
	}
	for _, t := range list[string](s["type"]) {
		if t != "null" {
			out = append(out, t)
		}
	}
	return out
}

// bodyOf gives the content type and schema of an operation's body; empty without one.
func bodyOf(o *servertest.Operation) (string, object) {
	body, _ := o.Spec["requestBody"].(object)
	content, _ := body["content"].(object)
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		schema, _ := content[kind].(object)["schema"].(object)
		return kind, resolve(o, schema)
	}
	return "", nil
}

// hints are values of members whose schema doesn't say what the server asks of them.
var hints = object{
	"value": "W10=", "frequency": "0 9 * * *", "scheduled_at": "2099-01-01T00:00:00Z",
	"start_date": "2026-01-01", "end_date": "2026-02-01",
	"ip_ranges": []any{"0.0.0.0/0", "::/0"},
	"emails":    []any{"new@example.com"}, "enterprise_role_id": "account_member",
	"provider": "git", "repository": "some/text",
	"url": "https://git.example.com/a/b.git", "macro": "!some-text", "expires_at": 4102444800, "new_key_expires_at": 4102444800,
}

// value makes a value that fits a schema: required members only, unless every one is asked for.
func value(o *servertest.Operation, s object, every bool) any {
	s = resolve(o, s)
	if c, ok := s["const"]; ok {
		return c
	}
	if e := asList(s["enum"]); len(e) > 0 {
		return e[0]
	}
	kinds := types(s)
	if len(kinds) == 0 {
		return "x"
	}
	switch kinds[0] {
	case "object":
		out := object{}
		required := list[string](s["required"])
		members, _ := s["properties"].(object)
		for name, m := range members {
			if every || slices.Contains(required, name) {
				out[name] = value(o, m.(object), every)
			}
			if hint, ok := hints[name]; ok && out[name] != nil {
				out[name] = hint
			}
		}
		if _, scoped := members["group_prefix"]; scoped { // a git permission takes exactly one of three scopes
			delete(out, "group_prefix")
			delete(out, "prefix_path")
			out["repo_path"] = value(o, members["repo_path"].(object), every)
		}
		return out
	case "array":
		items, _ := s["items"].(object)
		return []any{value(o, items, every)}
	case "integer", "number":
		if n, ok := s["minimum"].(json.Number); ok {
			return n
		}
		return 0
	case "boolean":
		return false
	default:
		return "some-text"
	}
}

// call is one request to an operation.
type call struct {
	op          *servertest.Operation
	path        map[string]string
	query       url.Values
	rawQuery    string // instead of query
	body        []byte
	contentType string
	header      map[string]string
}

// valid makes a call that the document takes. org is the organization wherever one is named; other ids are of things that don't exist.
func valid(t testing.TB, o *servertest.Operation, org string) *call {
	t.Helper()
	c := &call{op: o, path: map[string]string{}, query: url.Values{}, header: map[string]string{}}
	for _, p := range params(o, "path") {
		switch p.name {
		case "org_id":
			c.path[p.name] = org
		case "outpost_id":
			c.path[p.name] = fleet.DefaultOutpost
		default:
			c.path[p.name] = fmt.Sprint(value(o, p.schema, false))
		}
	}
	for _, p := range params(o, "query") {
		if p.required {
			c.query.Set(p.name, fmt.Sprint(value(o, p.schema, false)))
		}
		if hint, ok := hints[p.name]; ok && p.required {
			c.query.Set(p.name, fmt.Sprint(hint))
		}
		if p.name == "outpost" {
			c.query.Set(p.name, fleet.DefaultOutpost)
		}
	}
	kind, schema := bodyOf(o)
	switch kind {
	case "":
	case "multipart/form-data":
		c.body, c.contentType = form(t)
	case "application/json":
		c.setBody(t, value(o, schema, false))
	default:
		c.body, c.contentType = []byte("{}"), kind
	}
	return c
}

// spare gives the organization to call an operation with: one of its own when the operation may change or end it.
func spare(t testing.TB, s *servertest.Server, o *servertest.Operation, org string) string {
	t.Helper()
	if o.Method != http.MethodGet && strings.Contains(o.Path, "/enterprise/") && strings.Contains(o.Path, "/organizations/{org_id}") {
		return s.NewOrg(t, "doomed")
	}
	return org
}

func (c *call) setBody(t testing.TB, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	c.body, c.contentType = text, "application/json"
}

// form is a body with one small file.
func form(t testing.TB) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", "notes.txt")
	require.NoError(t, err)
	_, err = part.Write([]byte("text"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes(), w.FormDataContentType()
}

// target is the request's address. Values are escaped unless they begin with raw:, which is for what no escaping makes.
func (c *call) target() string {
	out := c.op.Path
	for name, v := range c.path {
		if raw, ok := strings.CutPrefix(v, "raw:"); ok {
			v = raw
		} else {
			v = url.PathEscape(v)
		}
		out = strings.ReplaceAll(out, "{"+name+"}", v)
	}
	query := c.rawQuery
	if query == "" {
		query = c.query.Encode()
	}
	if query != "" {
		out += "?" + query
	}
	return out
}

// streams says that an operation may answer with a stream, which ends only with its reader.
func streams(o *servertest.Operation) bool {
	ok, _ := o.Spec["responses"].(object)["200"].(object)
	content, _ := ok["content"].(object)
	return content["text/event-stream"] != nil
}

// request makes a call a request with a key. The reader of one that may stream leaves soon.
func (c *call) request(t testing.TB, key string) *http.Request {
	t.Helper()
	u, err := url.ParseRequestURI(c.target())
	require.NoError(t, err)
	ctx := t.Context()
	if streams(c.op) {
		var leave context.CancelFunc
		ctx, leave = context.WithCancel(ctx)
		timer := time.AfterFunc(100*time.Millisecond, leave)
		t.Cleanup(func() { timer.Stop(); leave() })
	}
	r := httptest.NewRequestWithContext(ctx, c.op.Method, "/", bytes.NewReader(c.body))
	r.URL, r.RequestURI = u, c.target()
	if c.body == nil {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if c.contentType != "" {
		r.Header.Set("Content-Type", c.contentType)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for name, v := range c.header {
		r.Header.Set(name, v)
	}
	return r
}
