// Package schema checks JSON values against schemas that somebody else wrote: JSON Schema, Draft 7 unless a schema names another.
//
// A schema may reach nothing outside itself, and checking a value against it takes a bounded number of steps: references let a
// schema of a kilobyte ask for more steps than a machine has time for.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
)

const (
	// maxSteps is how many times one check may hold a part of a value against a part of the schema: several times the parts that
	// a structured output of 64 KiB can have.
	maxSteps = 200_000
	// maxDepth and maxParts bound a schema's nesting and its objects: compiling takes more than the square of the one, and with the
	// other more than so many steps.
	maxDepth, maxParts = 100, 5_000
	// maxTime ends a check whose steps are slow, as a large pattern on a long text is.
	maxTime = 10 * time.Second
)

// ErrCostly is given when a check would take too long.
var ErrCostly = errors.New("the schema takes too many steps to check this value")

// MaxBytes is the longest schema that callers may hand in (contract/behaviour.md §3.4, §3.10).
const MaxBytes = 64 << 10

// CheckField refuses a field of a request that isn't a schema by Check, or is too long. Nil is no schema.
func CheckField(field string, schema []byte) error {
	if schema == nil {
		return nil
	}
	if len(schema) > MaxBytes {
		return fault.InvalidField(field, "must have at most %d bytes", MaxBytes)
	}
	if err := Check(schema); err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return fault.InvalidField(field, "%s", line)
	}
	return nil
}

// Check refuses what is no schema: something else than an object, or one with a reference to somewhere else.
func Check(schema []byte) error {
	_, err := compile(schema, nil)
	return tidy(err)
}

// Validate says what is wrong with a value, which must be an object. ErrCostly is wrapped when that can't be found out in time.
func Validate(schema, value []byte) (err error) {
	var parts []*jsonschema.Schema
	compiled, err := compile(schema, &parts)
	if err != nil {
		return fmt.Errorf("the schema can't be used: %w", tidy(err))
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	if _, ok := doc.(map[string]any); !ok {
		return errors.New("it must be a JSON object")
	}
	newBudget().watch(parts)
	defer func() {
		if p := recover(); p != nil {
			if p != ErrCostly { //nolint:errorlint // a panic's value
				panic(p)
			}
			err = ErrCostly
		}
	}()
	return tidy(compiled.Validate(doc))
}

// place is where the library is told that a schema lies. A name alone would be a file of this machine to it.
const place = "schema:///"

// tidy makes one line of what the library says: where something is wrong and what, without the places that only we know.
func tidy(err error) error {
	if err == nil {
		return nil
	}
	// A schema that isn't one is a value that the schema of schemas refuses.
	about := err
	if refused, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		about = refused.Err
	}
	text := err.Error()
	if wrong, ok := errors.AsType[*jsonschema.ValidationError](about); ok {
		text = problems(wrong)
	}
	return errors.New(strings.ReplaceAll(text, place, ""))
}

// problems lists the first of what is wrong. The library writes a headline, which says nothing about the value, and then a line each.
func problems(wrong *jsonschema.ValidationError) string {
	const most = 8
	lines := strings.Split(wrong.Error(), "\n")[1:]
	more := len(lines) - most
	lines = lines[:min(most, len(lines))]
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(l), "- ")
	}
	text := strings.Join(lines, "; ")
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// refuseLoader keeps a schema from reaching anything outside itself.
type refuseLoader struct{}

func (refuseLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("outside reference %q is not allowed", url)
}

// compile compiles a schema and notes each part of it in parts.
func compile(schema []byte, parts *[]*jsonschema.Schema) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, errors.New("must be a JSON object")
	}
	if parts, deep := extent(doc); deep > maxDepth || parts > maxParts {
		return nil, fmt.Errorf("must have at most %d levels and %d objects", maxDepth, maxParts)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.UseLoader(refuseLoader{})
	if parts != nil {
		// A vocabulary without keywords hears of every part that is compiled, whatever refers to it.
		c.AssertVocabs()
		c.RegisterVocabulary(&jsonschema.Vocabulary{
			URL: "gantry:parts",
			Compile: func(ctx *jsonschema.CompilerContext, _ map[string]any) (jsonschema.SchemaExt, error) {
				*parts = append(*parts, ctx.Enqueue(nil)) // the part itself
				return nil, nil
			},
		})
	}
	if err := c.AddResource(place+"schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile(place + "schema.json")
}

// extent counts a value's objects and its levels.
func extent(v any) (objects, levels int) {
	var inside []any
	switch v := v.(type) {
	case map[string]any:
		objects = 1
		inside = slices.Collect(maps.Values(v))
	case []any:
		inside = v
	default:
		return 0, 0
	}
	for _, member := range inside {
		n, deep := extent(member)
		objects, levels = objects+n, max(levels, deep)
	}
	return objects, levels + 1
}

// budget is what one check may still take.
type budget struct {
	steps int
	clock clock.Clock
	until time.Time
}

func newBudget() *budget {
	b := &budget{steps: maxSteps}
	b.until = b.clock.Now().Add(maxTime)
	return b
}

// watch has every part count. The format is what a part looks at before it turns to other parts.
func (b *budget) watch(parts []*jsonschema.Schema) {
	for _, p := range parts {
		own := p.Format
		counting := &jsonschema.Format{Validate: func(v any) error {
			b.spend()
			if own == nil {
				return nil
			}
			return own.Validate(v)
		}}
		if own != nil {
			counting.Name = own.Name
		}
		p.Format = counting
	}
}

// spend ends the check by a panic, which Validate catches: the library has no other way out.
func (b *budget) spend() {
	if b.steps--; b.steps < 0 || b.clock.Now().After(b.until) {
		panic(ErrCostly)
	}
}
