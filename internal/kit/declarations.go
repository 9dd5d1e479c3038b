package kit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
)

// Declaration is what a registered operation declares, for tests and for documents.
type Declaration struct {
	ID, Method, Path string
	Op               Op
}

// Declarations lists the API's operations in the order of their registration.
func (a *API) Declarations() []Declaration {
	out := make([]Declaration, len(a.operations))
	for i, o := range a.operations {
		out[i] = Declaration{ID: o.id, Method: o.method, Path: o.path, Op: o.decl}
	}
	return out
}

// Guard checks that router, document and declarations name the same operations: each route below the API's prefixes is documented,
// each documented operation is routed and was registered with Register, and each operation id is used once.
func (a *API) Guard() error {
	var errs []error
	declared, ids := map[string]bool{}, map[string]string{}
	for _, o := range a.operations {
		name := o.method + " " + o.path
		if declared[name] {
			errs = append(errs, fmt.Errorf("%s is registered twice", name))
		}
		declared[name] = true
		if other, ok := ids[o.id]; ok {
			errs = append(errs, fmt.Errorf("%s and %s share the operation id %s", other, name, o.id))
		}
		ids[o.id] = name
		if !slices.ContainsFunc(a.prefixes, func(p string) bool { return strings.HasPrefix(o.path, p) }) {
			errs = append(errs, fmt.Errorf("%s is below none of the API's prefixes", name))
		}
	}
	documented := map[string]bool{}
	for path, item := range a.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Options, item.Head, item.Patch, item.Trace} {
			if op == nil {
				continue
			}
			name := op.Method + " " + path
			documented[name] = true
			if !declared[name] {
				errs = append(errs, fmt.Errorf("%s declares nobody who may call it", name))
			}
		}
	}
	routed := map[string]bool{}
	walk := func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if slices.ContainsFunc(a.prefixes, func(p string) bool { return strings.HasPrefix(route, p) }) {
			routed[method+" "+route] = true
			if !documented[method+" "+route] {
				errs = append(errs, fmt.Errorf("%s %s is routed but not in the document", method, route))
			}
		}
		return nil
	}
	if err := chi.Walk(a.kit.mux, walk); err != nil {
		errs = append(errs, err)
	}
	for name := range documented {
		if !routed[name] {
			errs = append(errs, fmt.Errorf("%s is in the document but not routed", name))
		}
	}
	return errors.Join(errs...)
}
