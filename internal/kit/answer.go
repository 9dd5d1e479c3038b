package kit

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

// output is what an operation answers, read off its output type once: Body is encoded as JSON, or writes itself when it is a function;
// Status is the answer's when there is one; every other field is a header.
type output struct {
	ok           int // the status without a Status
	status, body []int
	headers      []header
}

type header struct {
	at   []int
	name string
}

// describeOutput reads an output type and describes it in the document.
func (a *API) describeOutput(h *huma.Operation, t reflect.Type) *output {
	if t.Kind() != reflect.Struct {
		panic("kit: the output of " + h.OperationID + " must be a struct")
	}
	out := &output{ok: h.DefaultStatus}
	if f, ok := t.FieldByName("Status"); ok {
		out.status = f.Index
	}
	f, hasBody := t.FieldByName("Body")
	switch {
	case out.ok != 0:
	case hasBody:
		out.ok = http.StatusOK
	default:
		out.ok = http.StatusNoContent
	}
	h.DefaultStatus = out.ok
	code := strconv.Itoa(out.ok)
	if h.Responses[code] == nil {
		h.Responses[code] = &huma.Response{Description: http.StatusText(out.ok)}
	}
	res := h.Responses[code]
	if hasBody {
		out.body = f.Index
		if res.Headers == nil {
			res.Headers = map[string]*huma.Param{}
		}
		if res.Description == "" {
			res.Description = http.StatusText(out.ok)
		}
		if f.Type.Kind() != reflect.Func {
			a.describeAnswer(res, huma.SchemaFromField(a.schemas(), f, hint(t, "Body", h.OperationID+"Response")))
		}
	}
	a.findHeaders(h, out, res, t, nil)
	return out
}

func (a *API) describeAnswer(res *huma.Response, s *huma.Schema) {
	if len(res.Content) == 0 {
		res.Content = map[string]*huma.MediaType{"application/json": {}}
	}
	if m := res.Content["application/json"]; m != nil && m.Schema == nil {
		m.Schema = s
	}
}

func (a *API) findHeaders(h *huma.Operation, out *output, res *huma.Response, t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		here := append(slices.Clip(at), i)
		switch {
		case !f.IsExported() || f.Name == "Status" || f.Name == "Body":
			continue
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			a.findHeaders(h, out, res, f.Type, here)
			continue
		}
		name := cmpOr(f.Tag.Get("header"), f.Name)
		out.headers = append(out.headers, header{here, name})
		if res.Headers == nil {
			res.Headers = map[string]*huma.Param{}
		}
		res.Headers[name] = &huma.Header{
			Schema: huma.SchemaFromField(a.schemas(), f, hint(t, f.Name, h.OperationID+strconv.Itoa(out.ok)+name)),
		}
	}
}

// answer writes what the handler gave.
func (o *operation) answer(c *call, w http.ResponseWriter, given any) {
	out, v := o.out, reflect.ValueOf(given).Elem()
	for _, h := range out.headers {
		h.write(w.Header(), v.FieldByIndex(h.at))
	}
	status := out.ok
	if out.status != nil {
		status = int(v.FieldByIndex(out.status).Int())
	}
	if out.body == nil {
		w.WriteHeader(status)
		return
	}
	body := v.FieldByIndex(out.body).Interface()
	if write, ok := body.(func(huma.Context)); ok {
		write(humachi.NewContext(o.spec, c.req, w))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	text := texts.Get().(*bytes.Buffer) //nolint:forcetypeassert // only buffers are put there
	defer func() {
		if text.Cap() <= keptText {
			text.Reset()
			texts.Put(text)
		}
	}()
	if err := marshal(text, body); err != nil { // what can't be encoded is no success
		o.refuse(c, w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(status)
	if _, err := w.Write(text.Bytes()); err != nil && c.Err() == nil {
		o.api.kit.log.ErrorContext(c, "answer not written", "error", err)
	}
}

// texts are buffers for answers: one whose length is known goes out whole, without a chunk's frame.
var texts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptText bounds, in bytes, what a buffer may hold on to.
const keptText = 256 << 10

func (h *header) write(to http.Header, f reflect.Value) {
	if f.Kind() == reflect.Pointer {
		if f.IsNil() {
			return
		}
		f = f.Elem()
	}
	switch f.Kind() {
	case reflect.String:
		if s := f.String(); s != "" {
			to.Set(h.name, s)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		to.Set(h.name, strconv.FormatInt(f.Int(), 10))
	default:
		panic("kit: a header can't be a " + f.Type().String())
	}
}
