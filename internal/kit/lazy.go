package kit

import (
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// lazily is how an operation comes into being: at the start of a server it is a declaration and a route. What its types mean, the
// schemas of its input and output above all, is made with its first request, or when somebody wants the document. A server starts in
// a fraction of the time, and keeps nothing of operations that nobody calls.
type lazily struct {
	once  sync.Once
	types [2]reflect.Type       // of input and output
	last  func(*huma.Operation) // a last word on the description; nil without one
	spec  *huma.Operation
	in    *input
	out   *output
}

// mount routes an operation.
func (a *API) mount(o *operation, spec *huma.Operation) *operation {
	o.spec = spec
	a.operations = append(a.operations, o)
	a.kit.mux.MethodFunc(o.method, o.path, o.serve)
	return o
}

// open describes the operation unless that was done. One of an API is described at a time: they share its document.
func (o *operation) open() {
	o.once.Do(func() {
		a := o.api
		a.opening.Lock()
		defer a.opening.Unlock()
		if o.last != nil {
			o.last(o.spec)
		}
		o.describe(o.spec)
		o.in = a.describeInput(o.spec, o.types[0])
		o.out = a.describeOutput(o.spec, o.types[1])
		o.adopt(o.spec)
		a.doc.AddOperation(o.spec)
	})
}

// serve answers a request: the guard lets it in, its input is read, the handler acts, its output is written.
func (o *operation) serve(w http.ResponseWriter, r *http.Request) {
	o.open()
	c := callOf(r.Context())
	if o.opens && wantsStream(r) {
		apart(func() { o.take(c, w, r) })
		return
	}
	o.take(c, w, r)
}

func (o *operation) take(c *call, w http.ResponseWriter, r *http.Request) {
	o.guard(c, w, r, func() {
		given, err := o.read(w, r)
		if err == nil {
			err = o.before(c)
		}
		if err == nil {
			given, err = o.act(c, given)
		}
		switch {
		case err != nil:
			o.refuse(c, w, err)
		case reflect.ValueOf(given).IsNil(): // a pointer to the operation's output
			w.WriteHeader(o.out.ok)
		default:
			o.answer(c, w, given)
		}
	})
}

// OpenAPI is the document of all operations.
func (a *API) OpenAPI() *huma.OpenAPI {
	for _, o := range a.operations {
		o.open()
	}
	return a.doc
}

// schemas is the registry of the document's schemas.
func (a *API) schemas() huma.Registry { return a.doc.Components.Schemas }

// registry makes huma's safe for requests that look schemas up while an operation is described.
type registry struct {
	huma.Registry
	mu sync.RWMutex
}

func (s *registry) Schema(t reflect.Type, allowRef bool, hint string) *huma.Schema {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Registry.Schema(t, allowRef, hint)
}

func (s *registry) SchemaFromRef(ref string) *huma.Schema {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Registry.SchemaFromRef(ref)
}

func (s *registry) TypeFromRef(ref string) reflect.Type {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Registry.TypeFromRef(ref)
}

// MarshalJSON is the document's list of schemas.
func (s *registry) MarshalJSON() ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Registry.(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
}
