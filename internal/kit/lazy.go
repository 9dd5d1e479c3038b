package kit

import (
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

// lazily is how an operation comes into being: at the start of a server it is a declaration and a route. What huma makes of it, the
// schemas of its input and output above all, is made with its first request, or when somebody wants the document. A server starts in
// a fraction of the time, and keeps nothing of operations that nobody calls.
type lazily struct {
	once     sync.Once
	register func() // hands the operation to huma, which hands its handler to opener
	serve    func(huma.Context)
	spec     *huma.Operation
}

// opener is what huma takes for the router: it gives the handler to the operation that is being opened. The router has that already.
type opener struct {
	huma.Adapter
	at *operation
}

func (a *opener) Handle(spec *huma.Operation, serve func(huma.Context)) {
	a.at.spec, a.at.serve = spec, serve
}

// mount routes an operation.
func (a *API) mount(o *operation, register func()) *operation {
	o.register = register
	a.operations = append(a.operations, o)
	a.kit.mux.MethodFunc(o.method, o.path, func(w http.ResponseWriter, r *http.Request) {
		o.open()
		o.serve(humachi.NewContext(o.spec, r, w))
	})
	return o
}

// open makes the operation unless that was done. One of an API is made at a time: they share its document.
func (o *operation) open() {
	o.once.Do(func() {
		o.api.opening.Lock()
		defer o.api.opening.Unlock()
		o.api.opener.at = o
		o.register()
		o.register = nil
		o.api.adopt(o)
	})
}

// OpenAPI is the document of all operations.
func (a *API) OpenAPI() *huma.OpenAPI {
	for _, o := range a.operations {
		o.open()
	}
	return a.API.OpenAPI()
}

// schemas makes huma's registry safe for requests that look schemas up while an operation is opened.
type schemas struct {
	huma.Registry
	mu sync.RWMutex
}

func (s *schemas) Schema(t reflect.Type, allowRef bool, hint string) *huma.Schema {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Registry.Schema(t, allowRef, hint)
}

func (s *schemas) SchemaFromRef(ref string) *huma.Schema {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Registry.SchemaFromRef(ref)
}

func (s *schemas) TypeFromRef(ref string) reflect.Type {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Registry.TypeFromRef(ref)
}

// MarshalJSON is the document's list of schemas. Nothing may be opened meanwhile.
func (s *schemas) MarshalJSON() ([]byte, error) {
	return s.Registry.(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
}
