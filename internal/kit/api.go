package kit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// Version describes one API version to NewAPI.
type Version struct {
	Title       string
	Version     string
	Description string
	// Prefixes are the beginnings of its paths, such as "/v3/" and "/v3beta1/"; they also decide the form of its 404s.
	Prefixes []string
	Form     Form
	// Rewrite turns an older spelling of a path into the registered one, before routing; nil is none. It gives back any other path.
	Rewrite func(method, path string) string
	// Deprecated is since when programs ought to use a newer version; zero is never. Answers say so (RFC 9745).
	Deprecated time.Time
	// Authenticator replaces the kit's own, for a door with credentials of its own.
	Authenticator Authenticator
}

// API is one API version, whose operations were registered with Register.
type API struct {
	doc        *huma.OpenAPI
	kit        *Kit
	auth       Authenticator
	form       Form
	prefixes   []string
	rewrite    func(method, path string) string
	deprecated time.Time
	operations []*operation
	opening    sync.Mutex
}

// NewAPI makes an API version on the kit's router. Names of schemas are those of the Go types, so a door's wire types have names
// of their own.
func NewAPI(k *Kit, v Version) *API {
	cfg := huma.DefaultConfig(v.Title, v.Version)
	cfg.Info.Description = v.Description
	// Only the document is huma's: no routes, no hooks.
	cfg.SchemasPath, cfg.OpenAPIPath, cfg.DocsPath, cfg.CreateHooks, cfg.Transformers = "", "", "", nil, nil
	cfg.AllowAdditionalPropertiesByDefault = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	a := &API{
		doc: huma.NewAPI(cfg, nil).OpenAPI(), kit: k, auth: v.Authenticator, form: v.Form, prefixes: v.Prefixes,
		rewrite: v.Rewrite, deprecated: v.Deprecated,
	}
	a.doc.Components.Schemas = &registry{Registry: a.doc.Components.Schemas}
	if a.auth == nil {
		a.auth = k.o.Authenticator
	}
	k.apis = append(k.apis, a)
	return a
}

// Kit gives the kit that the API belongs to.
func (a *API) Kit() *Kit { return a.kit }

func marshal(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// parse reads a body to be validated. It refuses NUL characters, which PostgreSQL can't keep in a text, and bytes that aren't UTF-8, which
// the decoder would replace or, in a part that is kept as it came, let through.
func parse(data []byte) (any, error) {
	var parsed any
	if err := json.Unmarshal(data, &parsed); err != nil {
		return nil, namedHuge(data, err)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s%s", textField, cmp.Or(findIn("body", parsed, hasReplaced), "body"))
	}
	if bytes.Contains(data, []byte(`\u0000`)) {
		if at := findIn("body", parsed, hasNUL); at != "" {
			return nil, fmt.Errorf("%s%s", nulField, at)
		}
	}
	return parsed, nil
}

// namedHuge says which field holds a number that no float64 holds: the decoder tells its text only.
func namedHuge(data []byte, cause error) error {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](cause); !ok {
		return cause
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var parsed any
	if dec.Decode(&parsed) != nil {
		return cause
	}
	if at := findIn("body", parsed, isHuge); at != "" {
		return fmt.Errorf("%s%s", hugeField, at)
	}
	return cause
}

func isHuge(v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	_, err := n.Float64()
	return err != nil
}

func hasNUL(v any) bool {
	s, ok := v.(string)
	return ok && strings.IndexByte(s, 0) >= 0
}

// hasReplaced says that a text holds what the decoder puts for bytes that aren't UTF-8.
func hasReplaced(v any) bool {
	s, ok := v.(string)
	return ok && strings.ContainsRune(s, utf8.RuneError)
}

// findIn gives the place of the first value that is wrong, of an object's when one of its names is; empty without one.
func findIn(at string, v any, wrong func(any) bool) string {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			if found := findIn(fmt.Sprintf("%s.%d", at, i), e, wrong); found != "" {
				return found
			}
		}
	case map[string]any:
		for name, e := range v {
			if wrong(name) {
				return at
			}
			if found := findIn(at+"."+name, e, wrong); found != "" {
				return found
			}
		}
	default:
		if wrong(v) {
			return at
		}
	}
	return ""
}

// OpenAPI gives the API's OpenAPI 3.1 document as indented JSON, the same bytes each time.
func OpenAPI(a *API) ([]byte, error) {
	raw, err := json.Marshal(a.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("encode the OpenAPI document: %w", err)
	}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document back: %w", err)
	}
	admitNull(doc)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encode the OpenAPI document: %w", err)
	}
	return b.Bytes(), nil
}

// admitNull adds null to the values of every enumeration that may be null, as JSON Schema wants it.
func admitNull(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			admitNull(e)
		}
	case map[string]any:
		for _, e := range v {
			admitNull(e)
		}
		types, _ := v["type"].([]any)
		values, _ := v["enum"].([]any)
		if len(values) > 0 && contains(types, "null") && !contains(values, nil) {
			v["enum"] = append(values, nil)
		}
	}
}

func contains(list []any, v any) bool {
	return slices.Contains(list, v)
}

// errorResponses describes the refusals that any operation may answer with, in the version's form.
func (a *API) errorResponses(op *operation, into map[string]*huma.Response) {
	codes := []string{"401", "403", "404", "422", "429", "default"}
	texts := []string{
		"No valid credential.", "The credential lacks the permission.", "Unknown, or not to be seen.", "A field is wrong.",
		"Too many requests; not processed.", "Any other error.",
	}
	for i, code := range codes {
		if into[code] != nil || (op.public && (code == "401" || code == "403")) {
			continue
		}
		t := reflect.TypeFor[ProblemDetail]()
		switch {
		case a.form == FastAPI && code == "422":
			t = reflect.TypeFor[HTTPValidationError]()
		case a.form != Problem:
			t = reflect.TypeFor[ErrorDetail]()
		}
		schema := a.schemas().Schema(t, true, "")
		into[code] = &huma.Response{Description: texts[i], Content: map[string]*huma.MediaType{a.form.contentType(): {Schema: schema}}}
	}
}
