package servertest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
)

// Checker holds answers to the emitted documents: the status is one that the operation may answer with, the content type is
// listed, and the body fits its schema.
type Checker struct {
	Operations []*Operation
	compiler   *jsonschema.Compiler
	mu         sync.Mutex
	schemas    map[string]*jsonschema.Schema
}

// Operation is one operation of an emitted document.
type Operation struct {
	Method, Path string
	// Doc is the whole document that Spec, the operation's own object, is part of.
	Doc  map[string]any
	Spec map[string]any
	// where is the operation's JSON pointer.
	where string
}

// newChecker reads the documents of every API on the kit.
func newChecker(t testing.TB, k *kit.Kit) *Checker {
	t.Helper()
	c := &Checker{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	for i, a := range k.APIs() {
		text, err := kit.OpenAPI(a)
		require.NoError(t, err)
		c.add(t, "mem://"+strconv.Itoa(i), text)
	}
	return c
}

func (c *Checker) add(t testing.TB, name string, text []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, c.compiler.AddResource(name, doc))
	root := doc.(map[string]any)
	for path, item := range root["paths"].(map[string]any) {
		for method, spec := range item.(map[string]any) {
			c.Operations = append(c.Operations, &Operation{
				Method: strings.ToUpper(method), Path: path, Doc: root, Spec: spec.(map[string]any),
				where: name + "#/paths/" + pointer(path) + "/" + method,
			})
		}
	}
}

func pointer(s string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
}

// Find gives the operation that a request reaches, nil when it reaches none.
func (c *Checker) Find(method, target string) *Operation {
	path, _, _ := strings.Cut(target, "?")
	var best *Operation
	literal := -1
	for _, p := range longForms(path) {
		for _, o := range c.Operations {
			if n := fits(o.Path, p); o.Method == method && n > literal {
				best, literal = o, n
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// longForms are the paths that a short form may stand for, the path itself first.
func longForms(path string) []string {
	out := []string{path}
	for _, prefix := range []string{"/v3/organizations/", "/v3beta1/organizations/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			out = append(out, prefix+"~/"+rest)
		}
	}
	for _, p := range out {
		if rest, ok := strings.CutPrefix(p, "/v3beta1/"); ok {
			out = append(out, "/v3/"+rest)
		}
	}
	return out
}

// fits gives how many segments of a template are literally those of the path, -1 when it doesn't fit.
func fits(template, path string) int {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return -1
	}
	n := 0
	for i := range want {
		switch {
		case strings.HasPrefix(want[i], "{"):
			if got[i] == "" {
				return -1
			}
		case want[i] != got[i]:
			return -1
		default:
			n++
		}
	}
	return n
}

// Answer fails the test unless the answer is one that the document promises. Paths that no operation has answer 404 or 405.
func (c *Checker) Answer(t testing.TB, method, target string, a kittest.Answer) {
	t.Helper()
	o := c.Find(method, target)
	if o == nil {
		return
	}
	status := strconv.Itoa(a.Status)
	responses := o.Spec["responses"].(map[string]any)
	response, ok := responses[status].(map[string]any)
	if !ok {
		require.GreaterOrEqual(t, a.Status, 400, "%s %s answers %d, which its document doesn't list", method, o.Path, a.Status)
		status = "default"
		response, ok = responses[status].(map[string]any)
		require.True(t, ok, "%s %s lists no default answer", method, o.Path)
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		require.Empty(t, a.Body, "%s %s answers %d with a body that its document doesn't list", method, o.Path, a.Status)
		return
	}
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	require.NoError(t, err, "%s %s answers %d without a content type", method, o.Path, a.Status)
	if content["*/*"] != nil {
		return // whatever it is, it was stored so
	}
	require.Contains(t, content, kind, "%s %s answers %d", method, o.Path, a.Status)
	if !strings.HasSuffix(kind, "json") {
		return
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(a.Body))
	require.NoError(t, err, "%s %s answers %d with %q", method, o.Path, a.Status, a.Body)
	err = c.schema(t, o.where+"/responses/"+status+"/content/"+pointer(kind)+"/schema").Validate(v)
	require.NoError(t, err, "%s %s answers %d with %s", method, target, a.Status, a.Body)
}

func (c *Checker) schema(t testing.TB, where string) *jsonschema.Schema {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.schemas[where]; s != nil {
		return s
	}
	s, err := c.compiler.Compile(where)
	require.NoError(t, err)
	c.schemas[where] = s
	return s
}

// Checker gives the server's, for tests that make requests of their own.
func (s *Server) Checker() *Checker { return s.check }

// checking is a transport that checks every JSON answer.
type checking struct {
	check *Checker
	t     testing.TB
	next  http.RoundTripper
}

// RoundTrip reads JSON answers to their end; streams and files pass.
func (c checking) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(r)
	if err != nil || !strings.Contains(res.Header.Get("Content-Type"), "json") {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it was read to its end
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	c.check.Answer(c.t, r.Method, r.URL.RequestURI(), kittest.Answer{Status: res.StatusCode, Header: res.Header, Body: string(body)})
	return res, nil
}

// JSON reads a text as JSON.
func JSON[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v), "%s", text)
	return v
}
