package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
)

// arg is a statement's argument, written down with its type.
type arg struct {
	Int   *int64   `json:"int,omitempty"`
	Float *float64 `json:"float,omitempty"`
	Text  *string  `json:"text,omitempty"`
	Bytes []byte   `json:"bytes,omitempty"`
}

func argsOf(in []any) ([]arg, error) {
	out := make([]arg, len(in))
	for i, v := range in {
		d, err := driver.DefaultParameterConverter.ConvertValue(v)
		if err != nil {
			return nil, err
		}
		switch d := d.(type) {
		case nil:
		case int64:
			out[i].Int = &d
		case float64:
			out[i].Float = &d
		case string:
			out[i].Text = &d
		case []byte:
			out[i].Bytes = d
		default:
			return nil, fmt.Errorf("an argument is a %T", d)
		}
	}
	return out, nil
}

func (a arg) value() any {
	switch {
	case a.Int != nil:
		return *a.Int
	case a.Float != nil:
		return *a.Float
	case a.Text != nil:
		return *a.Text
	case a.Bytes != nil:
		return a.Bytes
	}
	return nil
}

// replayed is the bare answer to a case: the same statements, asked as the other bare handlers ask theirs, every row kept as a struct with
// fields of its columns' types, and the same JSON encoded from a plain struct that is made beforehand. It makes nothing of the rows that
// it keeps, so it does a little less than whoever writes such a handler.
type replayed struct {
	statements []query
	answer     any
	rows       int
}

type query struct {
	text string
	args []any
	row  reflect.Type // a struct with a field for each column
}

// prepare reads what was asked and learns the types.
func (s *bare) prepare(ctx context.Context, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var cases []asked
	if err := json.Unmarshal(text, &cases); err != nil {
		return err
	}
	for _, c := range cases {
		r, err := s.prepareCase(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		s.replays = append(s.replays, r)
	}
	return nil
}

func (s *bare) prepareCase(ctx context.Context, c asked) (*replayed, error) {
	r := &replayed{}
	for _, st := range c.Statements {
		q := query{text: st.SQL}
		for _, a := range st.Args {
			q.args = append(q.args, a.value())
		}
		n, err := q.learn(ctx, s.read)
		if err != nil {
			return nil, err
		}
		r.rows += n
		r.statements = append(r.statements, q)
	}
	var plain any
	if err := json.Unmarshal(c.Answer, &plain); err != nil {
		return nil, err
	}
	v := reflect.New(shape(plain))
	if err := json.Unmarshal(c.Answer, v.Interface()); err != nil {
		return nil, err
	}
	r.answer = v.Interface()
	return r, nil
}

// learn reads the rows once and notes what each column holds.
func (q *query) learn(ctx context.Context, d *sql.DB) (int, error) {
	rows, err := d.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }() // Err has what matters
	names, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	kinds := make([]reflect.Type, len(names))
	n := 0
	for ; rows.Next(); n++ {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return 0, err
		}
		for i, v := range values {
			if v != nil {
				kinds[i] = reflect.TypeOf(v)
			}
		}
	}
	fields := make([]reflect.StructField, len(kinds))
	for i, k := range kinds {
		fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: columnType(k)}
	}
	q.row = reflect.StructOf(fields)
	return n, rows.Err()
}

func columnType(k reflect.Type) reflect.Type {
	switch k {
	case reflect.TypeFor[int64]():
		return reflect.TypeFor[sql.NullInt64]()
	case reflect.TypeFor[float64]():
		return reflect.TypeFor[sql.NullFloat64]()
	case reflect.TypeFor[[]byte]():
		return reflect.TypeFor[[]byte]()
	}
	return reflect.TypeFor[sql.NullString]()
}

func (q *query) run(ctx context.Context, d *sql.DB) error {
	rows, err := d.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err has what matters
	row, kept := reflect.New(q.row).Elem(), reflect.New(reflect.SliceOf(q.row)).Elem()
	into := make([]any, row.NumField())
	for i := range into {
		into[i] = row.Field(i).Addr().Interface()
	}
	for n := 0; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if n == kept.Cap() {
			kept.Grow(n + 1)
		}
		kept.SetLen(n + 1)
		kept.Index(n).Set(row)
	}
	return rows.Err()
}

func (s *bare) replay(w http.ResponseWriter, r *http.Request) error {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n >= len(s.replays) {
		return fmt.Errorf("no case %q", r.PathValue("n"))
	}
	c := s.replays[n]
	for i := range c.statements {
		if err := c.statements[i].run(r.Context(), s.read); err != nil {
			return err
		}
	}
	w.Header().Set("X-Rows", strconv.Itoa(c.rows))
	return encode(w, c.answer)
}

// shape gives a Go type that holds a JSON value: what a handler would declare for it.
func shape(v any) reflect.Type {
	switch v := v.(type) {
	case bool:
		return reflect.TypeFor[bool]()
	case float64:
		if v == float64(int64(v)) {
			return reflect.TypeFor[int64]()
		}
		return reflect.TypeFor[float64]()
	case string:
		return reflect.TypeFor[string]()
	case []any:
		return reflect.SliceOf(shapeOfAll(v))
	case map[string]any:
		return structOf([]any{v})
	}
	return reflect.TypeFor[any]()
}

// shapeOfAll gives one type for several values, nil among them as a pointer.
func shapeOfAll(values []any) reflect.Type {
	var of []any
	objects := true
	for _, v := range values {
		if v != nil {
			of = append(of, v)
			_, is := v.(map[string]any)
			objects = objects && is
		}
	}
	if len(of) == 0 {
		return reflect.TypeFor[any]()
	}
	var t reflect.Type
	if objects {
		t = structOf(of)
	} else if t = shapeOfLists(of); t == nil {
		for _, v := range of {
			switch x := shape(v); {
			case t == nil, t == x:
				t = x
			case t.Kind() == reflect.Int64 && x.Kind() == reflect.Float64, t.Kind() == reflect.Float64 && x.Kind() == reflect.Int64:
				t = reflect.TypeFor[float64]()
			default:
				return reflect.TypeFor[any]()
			}
		}
	}
	if len(of) < len(values) {
		return reflect.PointerTo(t)
	}
	return t
}

// shapeOfLists gives one type for several lists, nil when they aren't all lists.
func shapeOfLists(values []any) reflect.Type {
	var all []any
	for _, v := range values {
		l, ok := v.([]any)
		if !ok {
			return nil
		}
		all = append(all, l...)
	}
	return reflect.SliceOf(shapeOfAll(all))
}

// structOf gives one type for several objects. A field that some lack is left out when it is empty.
func structOf(objects []any) reflect.Type {
	values, order := map[string][]any{}, []string{}
	for _, o := range objects {
		m, _ := o.(map[string]any) // the callers know
		for k, v := range m {
			if values[k] == nil {
				order = append(order, k)
			}
			values[k] = append(values[k], v)
		}
	}
	slices.Sort(order)
	fields := make([]reflect.StructField, len(order))
	for i, k := range order {
		t, option := shapeOfAll(values[k]), ""
		if len(values[k]) < len(objects) {
			option = ",omitempty"
			if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
				t = reflect.PointerTo(t)
			}
		}
		fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: t, Tag: reflect.StructTag(`json:"` + k + option + `"`)}
	}
	return reflect.StructOf(fields)
}
