package kit

import (
	"encoding"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/queryparam"
)

// input is what an operation takes, read off its input type once. Fields tagged path, query or header are parameters; Body is a JSON
// body, RawBody the body as it came. huma's schemas say what may be in them; reading them is ours, because huma's own way is generic
// code of 50 KB for every operation.
type input struct {
	t      reflect.Type
	params []*param
	// body and raw are the places of Body and RawBody, nil without one.
	body, raw []int
	// needed says that a body has to come.
	needed bool
	schema *huma.Schema // of the JSON body
}

// param is a parameter of a request.
type param struct {
	at        []int
	loc, name string
	def       string
	needed    bool
	explode   bool // a list repeats instead of standing behind commas
	schema    *huma.Schema
}

// describeInput reads an input type and describes it in the document.
func (a *API) describeInput(h *huma.Operation, t reflect.Type) *input {
	if t.Kind() != reflect.Struct {
		panic("kit: the input of " + h.OperationID + " must be a struct")
	}
	in := &input{t: t}
	a.findParams(h, in, t, nil)
	if f, ok := t.FieldByName("Body"); ok {
		in.body = f.Index
		a.describeBody(h, in, &f)
	}
	if f, ok := t.FieldByName("RawBody"); ok {
		in.raw = f.Index
		content := cmpOr(f.Tag.Get("contentType"), "application/octet-stream")
		bodyOf(h).Required = true
		h.RequestBody.Content[content] = &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}}
	}
	in.needed = h.RequestBody != nil && h.RequestBody.Required
	return in
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func bodyOf(h *huma.Operation) *huma.RequestBody {
	if h.RequestBody == nil {
		h.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{}}
	}
	return h.RequestBody
}

func (a *API) describeBody(h *huma.Operation, in *input, f *reflect.StructField) {
	body := bodyOf(h)
	if f.Tag.Get("required") == "true" || (f.Type.Kind() != reflect.Pointer && f.Type.Kind() != reflect.Interface) {
		body.Required = true
	}
	in.schema = huma.SchemaFromField(a.schemas(), *f, hint(in.t, "Body", h.OperationID+"Request"))
	body.Content["application/json"] = &huma.MediaType{Schema: in.schema}
	in.schema.PrecomputeMessages()
	refuseDefaults(h.OperationID, f.Type, map[reflect.Type]bool{})
}

// hint names the schema of an inline type.
func hint(parent reflect.Type, name, other string) string {
	if parent.Name() != "" {
		return parent.Name() + name
	}
	return other
}

// refuseDefaults refuses a default inside a body that isn't the zero value: nothing would fill it in. Optional.Or does that.
func refuseDefaults(id string, t reflect.Type, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		refuseDefaults(id, t.Elem(), seen)
		return
	case reflect.Struct:
	default:
		return
	}
	if seen[t] {
		return
	}
	seen[t] = true
	for f := range t.Fields() {
		if d := f.Tag.Get("default"); d != "" && d != "false" && d != "0" {
			panic("kit: " + id + ": the member " + f.Name + " has a default; take an Optional and its Or")
		}
		refuseDefaults(id, f.Type, seen)
	}
}

func (a *API) findParams(h *huma.Operation, in *input, t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		here := append(slices.Clip(at), i)
		switch {
		case !f.IsExported() || f.Name == "Body" || f.Name == "RawBody":
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			a.findParams(h, in, f.Type, here)
		default:
			if p := a.newParam(h, &f); p != nil {
				p.at = here
				in.params = append(in.params, p)
			}
		}
	}
}

// newParam describes a parameter, nil for a field that is none.
func (a *API) newParam(h *huma.Operation, f *reflect.StructField) *param {
	p := &param{def: f.Tag.Get("default"), needed: f.Tag.Get("required") == "true"}
	var explode *bool
	var options string
	switch {
	case f.Tag.Get("path") != "":
		p.loc, p.name, p.needed = "path", f.Tag.Get("path"), true
	case f.Tag.Get("query") != "":
		p.loc = "query"
		p.name, options, _ = strings.Cut(f.Tag.Get("query"), ",")
		p.explode = options == "explode"
		explode = &p.explode
	case f.Tag.Get("header") != "":
		p.loc, p.name = "header", f.Tag.Get("header")
	default:
		return nil
	}
	if f.Type.Kind() == reflect.Pointer {
		panic("kit: " + h.OperationID + ": the parameter " + p.name + " can't be a pointer; take an Optional")
	}
	p.schema = huma.SchemaFromField(a.schemas(), *f, "")
	for _, known := range h.Parameters {
		if known.Name == p.name && known.In == p.loc {
			return p // the operation describes it itself
		}
	}
	h.Parameters = append(h.Parameters, &huma.Param{
		Name: p.name, In: p.loc, Description: p.schema.Description, Explode: explode, Required: p.needed, Schema: p.schema,
	})
	return p
}

// text gives the parameter as it came, else its default.
func (p *param) text(r *http.Request) string {
	var s string
	switch p.loc {
	case "path":
		s = r.PathValue(p.name)
		if r.URL.RawPath != "" { // the router matched the escaped form
			if plain, err := url.PathUnescape(s); err == nil {
				s = plain
			}
		}
	case "query":
		s = queryparam.Get(r.URL.RawQuery, p.name)
	case "header":
		s = r.Header.Get(p.name)
	}
	return cmpOr(s, p.def)
}

// read puts the parameter into an input and notes in q what is wrong with it.
func (p *param) read(r *http.Request, v reflect.Value, q *inquiry) {
	q.path.Reset()
	q.path.Push(p.loc)
	q.path.Push(p.name)
	text := p.text(r)
	if text == "" {
		if p.needed {
			q.found.Add(q.path, "", "required "+p.loc+" parameter is missing")
		}
		return
	}
	f := v.FieldByIndex(p.at)
	into := f
	wrapper, wrapped := reflect.TypeAssert[huma.ParamWrapper](f.Addr())
	if wrapped {
		into = wrapper.Receiver()
	}
	value, err := p.parse(r, into, text)
	if err != nil {
		q.found.Add(q.path, text, err.Error())
		return
	}
	if wrapped {
		if reactor, ok := wrapper.(huma.ParamReactor); ok {
			reactor.OnParamSet(true, value)
		}
	}
	huma.Validate(q.schemas, p.schema, q.path, huma.ModeWriteToServer, value, q.found)
}

// parse puts text into a field and gives the value that the schema is held against.
func (p *param) parse(r *http.Request, f reflect.Value, text string) (any, error) {
	if f.Kind() != reflect.Slice {
		return parseText(f, text)
	}
	var texts []string
	if p.explode {
		texts = r.URL.Query()[p.name]
	} else {
		texts = strings.Split(text, ",")
	}
	list, values := reflect.MakeSlice(f.Type(), len(texts), len(texts)), make([]any, len(texts))
	for i, t := range texts {
		v, err := parseText(list.Index(i), t)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	f.Set(list)
	return values, nil
}

func parseText(f reflect.Value, text string) (any, error) {
	switch f.Kind() {
	case reflect.String:
		f.SetString(text)
		return text, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || f.OverflowInt(n) {
			return nil, errors.New("invalid integer")
		}
		f.SetInt(n)
		return n, nil
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errors.New("invalid float")
		}
		f.SetFloat(n)
		return n, nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("invalid boolean")
		}
		f.SetBool(b)
		return b, nil
	default:
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](f.Addr()); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return nil, errors.New("invalid value: " + err.Error())
		}
		return text, nil
	}
	panic("kit: a parameter can't be a " + f.Type().String())
}
