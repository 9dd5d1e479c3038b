// Package contracttest holds the emitted OpenAPI documents to the contract, which lies in testdata: every operation that is
// registered has the contract's parameters, bodies, enumerations, status and permissions. Operations that are not registered yet are
// listed in docs/compatibility.md, and that list can only get shorter.
package contracttest

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type object = map[string]any

var methods = []string{"get", "post", "put", "patch", "delete"}

// document is an OpenAPI document, the contract's or an emitted one.
type document struct {
	root       object
	operations map[string]operation // by method and path without the names of parameters
}

type operation struct {
	method, path string
	item, spec   object
}

func (o operation) name() string { return strings.ToUpper(o.method) + " " + o.path }

// tier of an operation in the contract: core or later.
func (o operation) tier() string {
	if t, ok := o.spec["x-tier"].(string); ok {
		return t
	}
	return "core"
}

func readDocument(t *testing.T, path string) *document {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return parseDocument(t, text)
}

func parseDocument(t *testing.T, text []byte) *document {
	t.Helper()
	d := &document{operations: map[string]operation{}}
	require.NoError(t, json.Unmarshal(text, &d.root))
	for path, i := range d.root["paths"].(object) {
		item := i.(object)
		for _, m := range methods {
			if spec, ok := item[m].(object); ok {
				d.operations[m+" "+anonymous(path)] = operation{m, path, item, spec}
			}
		}
	}
	return d
}

// anonymous is a path without the names of its parameters, which are nobody's business.
func anonymous(path string) string {
	parts := strings.Split(strings.TrimRight(path, "/"), "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// resolve follows references; what is no object is an empty one.
func (d *document) resolve(v any) object {
	o, _ := v.(object)
	for range 20 {
		ref, ok := o["$ref"].(string)
		if !ok {
			break
		}
		at := any(d.root)
		for part := range strings.SplitSeq(strings.TrimLeft(ref, "#/"), "/") {
			in, _ := at.(object)
			at = in[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
		}
		o, _ = at.(object)
	}
	return o
}

type parameter struct{ in, name string }

// parameters of an operation, and whether each is required. Those in the path are alike whatever their name.
func (d *document) parameters(o operation) map[parameter]bool {
	out := map[parameter]bool{}
	for _, v := range slices.Concat(list(o.item["parameters"]), list(o.spec["parameters"])) {
		p := d.resolve(v)
		in, _ := p["in"].(string)
		name, _ := p["name"].(string)
		required, _ := p["required"].(bool)
		switch in {
		case "path":
			out[parameter{in, "{}"}] = required
		case "query":
			out[parameter{in, name}] = required
		}
	}
	return out
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// texts gives a list of texts; one text is a list of itself.
func texts(v any) []string {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	var out []string
	for _, e := range list(v) {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// body gives the schema of a request's body.
func (d *document) body(o operation) (any, bool) {
	content, _ := d.resolve(o.spec["requestBody"])["content"].(object)
	for _, kind := range []string{"application/json", "multipart/form-data"} {
		if c, ok := content[kind].(object); ok {
			return c["schema"], true
		}
	}
	return nil, false
}

// answer gives the first good status and the schema of its JSON body.
func (d *document) answer(o operation) (status string, schema any, has bool) {
	responses, _ := o.spec["responses"].(object)
	for code := range responses {
		if strings.HasPrefix(code, "2") || strings.HasPrefix(code, "3") {
			if status == "" || code < status {
				status = code
			}
		}
	}
	content, _ := d.resolve(responses[status])["content"].(object)
	for kind, c := range content {
		if strings.Contains(kind, "json") {
			o, _ := c.(object)
			return status, o["schema"], true
		}
	}
	return status, nil, false
}

// shape is a schema without its composition.
type shape struct {
	kinds      map[string]bool
	properties object
	required   map[string]bool
	items      any
	enum       map[any]bool
}

func (s shape) is(kind string) bool { return s.kinds[kind] }

// base are the kinds without null; an integer is a number.
func (s shape) base() map[string]bool {
	out := map[string]bool{}
	for k := range s.kinds {
		switch k {
		case "null":
		case "integer":
			out["number"] = true
		default:
			out[k] = true
		}
	}
	return out
}

// flat reads a schema with all that it is composed of.
func (d *document) flat(v any) shape {
	s := d.resolve(v)
	out := shape{kinds: map[string]bool{}, properties: object{}, required: map[string]bool{}}
	if k, ok := s["type"].(string); ok {
		out.kinds[k] = true
	}
	for _, k := range texts(s["type"]) {
		out.kinds[k] = true
	}
	if n, _ := s["nullable"].(bool); n {
		out.kinds["null"] = true
	}
	if e, ok := s["enum"]; ok {
		out.enum = map[any]bool{}
		for _, v := range list(e) {
			if v == nil {
				out.kinds["null"] = true
				continue
			}
			out.enum[v] = true
		}
	}
	if c, ok := s["const"]; ok {
		out.enum = map[any]bool{c: true}
	}
	if p, ok := s["properties"].(object); ok {
		out.kinds["object"] = true
		maps.Copy(out.properties, p)
		for _, name := range texts(s["required"]) {
			out.required[name] = true
		}
	}
	out.items = s["items"]
	for _, how := range []string{"anyOf", "oneOf", "allOf"} {
		out.compose(d, how, list(s[how]))
	}
	return out
}

// compose adds the parts of an anyOf, oneOf or allOf. What one of several alternatives requires isn't required of all.
func (s *shape) compose(d *document, how string, parts []any) {
	shapes := make([]shape, len(parts))
	alternatives := 0
	for i, p := range parts {
		shapes[i] = d.flat(p)
		if !shapes[i].is("null") {
			alternatives++
		}
	}
	for _, sub := range shapes {
		for k := range sub.kinds {
			s.kinds[k] = true
		}
		for name, v := range sub.properties {
			if _, ok := s.properties[name]; !ok {
				s.properties[name] = v
			}
		}
		if how == "allOf" || alternatives == 1 {
			for name := range sub.required {
				s.required[name] = true
			}
		}
		if s.items == nil {
			s.items = sub.items
		}
		for v := range sub.enum {
			if s.enum == nil {
				s.enum = map[any]bool{}
			}
			s.enum[v] = true
		}
	}
}
