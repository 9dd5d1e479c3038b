package schema_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/schema"
)

// doubling is a schema in which each of n definitions asks twice for the next one, by the applicator given.
func doubling(n int, root, twice, last string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{%s,"definitions":{`, root)
	for i := range n {
		next := fmt.Sprintf(`{"$ref":"#/definitions/a%d"}`, i+1)
		fmt.Fprintf(&b, `"a%d":{%s},`, i, fmt.Sprintf(twice, next, next))
	}
	fmt.Fprintf(&b, `"a%d":%s}}`, n, last)
	return b.String()
}

func TestACheckThatWouldNeverEndIsGivenUp(t *testing.T) {
	t.Parallel()
	all := `"allOf":[{"$ref":"#/definitions/a0"}]`
	not := `"not":{"$ref":"#/definitions/a0"}`
	for name, s := range map[string]string{
		"all of":             doubling(60, all, `"allOf":[%s,%s]`, `{}`),
		"any of, none fits":  doubling(60, all, `"anyOf":[%s,%s]`, `false`),
		"one of":             doubling(60, all, `"oneOf":[%s,%s]`, `true`),
		"dependencies":       doubling(60, all, `"dependencies":{"x":%s,"y":%s}`, `{}`),
		"dependencies, not":  doubling(60, not, `"dependencies":{"x":%s,"y":%s}`, `false`),
		"own format":         doubling(60, all, `"format":"date","allOf":[%s,%s]`, `{}`),
		"a later draft":      doubling(60, `"$schema":"https://json-schema.org/draft/2020-12/schema",`+all, `"allOf":[%s,%s]`, `{}`),
		"an id of its own":   doubling(60, `"$id":"http://example.com/a",`+all, `"allOf":[%s,%s]`, `{}`),
		"if, then, and else": doubling(60, all, `"if":%s,"then":%s`, `true`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, schema.Check([]byte(s)))
			require.ErrorIs(t, schema.Validate([]byte(s), []byte(`{"x":1,"y":2}`)), schema.ErrCostly)
		})
	}
	recursive := `{"patternProperties":{"x":{"$ref":"#"},"^x":{"$ref":"#"}}}`
	deep := strings.Repeat(`{"x":`, 100) + `1` + strings.Repeat(`}`, 100)
	require.ErrorIs(t, schema.Validate([]byte(recursive), []byte(deep)), schema.ErrCostly)
}

func TestALargeValueOfAnOrdinarySchemaIsChecked(t *testing.T) {
	t.Parallel()
	s := []byte(`{"type":"object","required":["rows"],"properties":{"rows":{"type":"array","items":{"allOf":[
		{"$ref":"#/definitions/row"},{"properties":{"n":{"minimum":0}}}]}}},
		"definitions":{"row":{"type":"object","required":["n"],"properties":{"n":{"type":"integer"},"day":{"type":"string","format":"date"}}}}}`)
	value := func(n int) []byte {
		return []byte(`{"rows":[` + strings.Repeat(`{"n":1,"day":"2026-01-01"},`, 9000) + fmt.Sprintf(`{"n":%d}]}`, n))
	}
	require.NoError(t, schema.Validate(s, value(1)))
	require.ErrorContains(t, schema.Validate(s, value(-1)), "minimum")
}

func TestAProblemIsOneLineThatNamesThePlace(t *testing.T) {
	t.Parallel()
	s := []byte(`{"required":["m"],"properties":{"n":{"type":"integer"}}}`)
	require.EqualError(t, schema.Validate(s, []byte(`{"m":1,"n":"x"}`)), "at '/n': got string, want integer")
	require.EqualError(t, schema.Validate(s, []byte(`{"n":"x"}`)), "at '': missing property 'm'; at '/n': got string, want integer")
	err := schema.Check([]byte(`{"type":"objct"}`))
	require.ErrorContains(t, err, "at '/type': value must be one of 'array'")
	require.NotContains(t, err.Error(), "\n")

	many := `{"additionalProperties":{"type":"integer"}}`
	value := `{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":""}`
	require.ErrorContains(t, schema.Validate([]byte(many), []byte(value)), "; and 2 more")
}

func TestASchemaLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(srv.Close)
	for _, ref := range []string{srv.URL + "/s.json", "file:///etc/hostname", "other.json"} {
		require.Error(t, schema.Check([]byte(`{"$ref":"`+ref+`"}`)))
		require.ErrorContains(t, schema.Validate([]byte(`{"$ref":"`+ref+`"}`), []byte(`{}`)), "the schema can't be used", ref)
	}
	require.False(t, asked.Load())
	own := []byte(`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"n":{"type":"integer"}},"properties":{"n":{"$ref":"#/definitions/n"}}}`)
	require.NoError(t, schema.Validate(own, []byte(`{"n":1}`)))
	require.Error(t, schema.Validate(own, []byte(`{"n":"1"}`)))
}

func TestARefusalNamesNoPlaceOfTheMachine(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	require.NoError(t, err)
	wrong := []byte(`{"properties":{"n":{"type":"integer"}}}`)
	require.NotContains(t, schema.Validate(wrong, []byte(`{"n":"1"}`)).Error(), here[1:])
	for _, s := range []string{`{"type":"strange"}`, `{"$ref":"other.json"}`, `{"$ref":"#/definitions/none"}`} {
		require.NotContains(t, schema.Check([]byte(s)).Error(), here[1:])
	}
}

func TestOnlyAnObjectThatIsComplete(t *testing.T) {
	t.Parallel()
	for _, s := range []string{``, `[]`, `true`, `{"type":"strange"}`, `{"$ref":"file:///etc/passwd"}`, `{"$ref":"http://127.0.0.1/"}`} {
		require.Error(t, schema.Check([]byte(s)), s)
		require.ErrorContains(t, schema.Validate([]byte(s), []byte(`{}`)), "the schema can't be used", s)
	}
	require.ErrorContains(t, schema.Validate([]byte(`{}`), []byte(`[1]`)), "must be a JSON object")
	require.ErrorContains(t, schema.Validate([]byte(`{}`), []byte(`{`)), "no JSON")
	require.NoError(t, schema.Validate([]byte(`{}`), []byte(`{"a":1}`)))
	require.Error(t, schema.Validate([]byte(`{"properties":{"a":{"format":"date"}}}`), []byte(`{"a":"yesterday"}`)))
}

// Compiling takes minutes for 30 KB that are deep, seconds for 60 KB that are wide.
func TestASchemaHasOnlySoManyParts(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte { return []byte(strings.Repeat(`{"not":`, n) + `{}` + strings.Repeat(`}`, n)) }
	require.NoError(t, schema.Check(nested(90)))
	require.ErrorContains(t, schema.Check(nested(8000)), "at most 100 levels")
	require.ErrorContains(t, schema.Validate(nested(8000), []byte(`{}`)), "at most 100 levels")
	lists := []byte(`{"enum":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`)
	require.ErrorContains(t, schema.Check(lists), "at most 100 levels")
	require.NoError(t, schema.Check([]byte(`{"allOf":[`+strings.Repeat("{},", 4000)+`{}]}`)))
	require.ErrorContains(t, schema.Check([]byte(`{"allOf":[`+strings.Repeat("{},", 20_000)+`{}]}`)), "5000 objects")
}
