package kit

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// Shape gives the schema of a wire type, registered in the API's document.
func Shape[T any](a *API) *huma.Schema {
	return a.schemas().Schema(reflect.TypeFor[T](), true, "")
}

// OneOf describes an answer of one of several shapes, told apart by a member.
func OneOf(discriminator string, shapes ...*huma.Schema) *huma.Schema {
	return &huma.Schema{AnyOf: shapes, Discriminator: &huma.Discriminator{PropertyName: discriminator}}
}

// Answers describes the JSON answer of an operation whose output type can't say it.
func Answers(status int, schema *huma.Schema) map[string]*huma.Response {
	return map[string]*huma.Response{strconv.Itoa(status): {
		Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
	}}
}
