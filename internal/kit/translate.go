package kit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/human"
)

func init() {
	huma.DefaultArrayNullable = false
	huma.ErrorFormatter = sayNumbers //nolint:reassign // the name is not an error, and huma asks for it to be set
}

// sayNumbers is fmt.Sprintf that writes a bound as people do: 1000000000000 and not 1e+12.
func sayNumbers(format string, args ...any) string {
	for i, a := range args {
		if f, ok := a.(float64); ok {
			args[i] = strconv.FormatFloat(f, 'f', -1, 64)
		}
	}
	return fmt.Sprintf(format, args...)
}

// unreadBody is what translate is told of a body that broke off.
const unreadBody = "cannot read request body"

// translate turns what is wrong with a request into its refusal: a wrong request is 422 and names the field.
func translate(status int, msg string, errs []error) *Error {
	e := &Error{status: status, detail: msg}
	for _, err := range errs {
		var f *fault.Error
		if errors.As(err, &f) && f.Kind == fault.Invalid {
			e.fields = append(e.fields, f.Fields...)
		}
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			e.fields = append(e.fields, fieldOf(d))
		}
	}
	switch status {
	case http.StatusBadRequest:
		e.status = http.StatusUnprocessableEntity
		if len(e.fields) == 0 {
			e.fields = []fault.Field{{Loc: []string{"body"}, Message: msg, Type: "missing"}}
		}
	case http.StatusUnsupportedMediaType:
		e.status = http.StatusUnprocessableEntity
		e.fields = []fault.Field{{Loc: []string{"header", "content-type"}, Message: "expected application/json", Type: "value_error"}}
	case http.StatusRequestEntityTooLarge:
		e.detail = strings.Replace(msg, " limit=", ": the limit is ", 1)
	case http.StatusInternalServerError:
		if msg == unreadBody {
			e.status, e.detail = http.StatusBadRequest, "the request body could not be read"
		} else {
			e.detail = "internal error"
		}
	}
	if e.status == http.StatusUnprocessableEntity {
		e.detail = summary(e.fields)
	}
	return e
}

const (
	missingBody  = "expected required property "
	missingParam = "parameter is missing"
	goField      = " into Go struct field "
	goValue      = " into Go value of type "
	nulField     = "NUL character in "
	hugeField    = "number out of range in "
	textField    = "no UTF-8 in "
)

// fieldOf reads huma's location and message. It never passes on the value, and no name of a Go type.
func fieldOf(d *huma.ErrorDetail) fault.Field {
	loc, msg := locOf(d.Location), d.Message
	switch {
	case strings.HasPrefix(msg, missingBody):
		name, _, _ := strings.Cut(msg[len(missingBody):], " to be present")
		name, _, _ = strings.Cut(name, " ")
		return fault.Field{Loc: append(loc, name), Message: "Field required", Type: "missing"}
	case strings.HasPrefix(msg, "required ") && strings.HasSuffix(msg, missingParam):
		return fault.Field{Loc: loc, Message: "Field required", Type: "missing"}
	case strings.HasPrefix(msg, nulField):
		return fault.Field{Loc: locOf(msg[len(nulField):]), Message: "a NUL character is not allowed", Type: "value_error"}
	case strings.HasPrefix(msg, hugeField):
		return fault.Field{Loc: locOf(msg[len(hugeField):]), Message: "the number is too large", Type: "out_of_range"}
	case strings.HasPrefix(msg, textField):
		return fault.Field{Loc: locOf(msg[len(textField):]), Message: "must be UTF-8", Type: "value_error"}
	case strings.Contains(msg, goField):
		what, at, _ := strings.Cut(msg, goField)
		at, _, _ = strings.Cut(at, " of type ")
		_, at, _ = strings.Cut(at, ".")
		if at != "" {
			loc = append(loc, strings.Split(at, ".")...)
		}
		return fault.Field{Loc: loc, Message: "unfit value: " + strings.TrimPrefix(what, "json: cannot unmarshal "), Type: "type_error"}
	case strings.Contains(msg, goValue):
		what, _, _ := strings.Cut(msg, goValue)
		return fault.Field{Loc: loc, Message: "unfit value: " + strings.TrimPrefix(what, "json: cannot unmarshal "), Type: "type_error"}
	case len(loc) == 1 && loc[0] == "body" && !strings.HasPrefix(msg, "expected "):
		return fault.Field{Loc: loc, Message: "not valid JSON: " + msg, Type: "json_invalid"}
	}
	return fault.Field{Loc: loc, Message: shorter(loc, msg, d.Value), Type: typeOf(msg)}
}

const (
	oneOf = "expected value to be one of "
	// maxNamed is how many names of a closed list an answer holds.
	maxNamed = 20
)

// shorter names those of a long closed list that somebody may have meant, and where the others stand.
func shorter(loc []string, msg string, value any) string {
	list, ok := strings.CutPrefix(msg, oneOf)
	names := strings.Split(strings.Trim(list, `"`), ", ")
	if !ok || len(names) <= maxNamed {
		return msg
	}
	msg = "unknown " + nameOf(loc)
	if text, ok := value.(string); ok {
		if near := human.Near(text, names); near != nil {
			msg += "; near it: " + strings.Join(near, ", ")
		}
	}
	return msg + fmt.Sprintf("; the OpenAPI document, which `gantry openapi VERSION` prints, lists all %d", len(names))
}

// nameOf is what a place is called: its last part that is no number in a list.
func nameOf(loc []string) string {
	for _, part := range slices.Backward(loc) {
		if _, err := strconv.Atoi(part); err != nil {
			return part
		}
	}
	return "value"
}

// locOf splits huma's `body.keys[0].name`.
func locOf(s string) []string {
	s = strings.NewReplacer("[", ".", "]", "").Replace(s)
	if s == "" {
		return []string{"body"}
	}
	return strings.Split(s, ".")
}

func typeOf(msg string) string {
	for _, t := range [...]struct{ begins, name string }{
		{oneOf, "enum"},
		{"expected number to be a multiple", "value_error"},
		{"expected number ", "out_of_range"},
		{"expected length ", "length"},
		{"expected array length", "length"},
		{"expected string to match", "pattern"},
		{"expected string to be", "format"},
		{"expected array items", "value_error"},
		{"expected value", "value_error"},
		{"expected ", "type_error"},
		{"invalid ", "type_error"},
	} {
		if strings.HasPrefix(msg, t.begins) {
			if t.name == "out_of_range" && !strings.ContainsAny(msg, "<>") {
				return "type_error"
			}
			return t.name
		}
	}
	return "value_error"
}
