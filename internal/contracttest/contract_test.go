package contracttest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/server"
)

var update = flag.Bool("update", false, "write docs/compatibility.md anew; an operation that is there is never taken out")

// contracts are the files of the contract in the order of the page.
var contracts = []string{"v3-organizations", "v3-enterprise", "v2", "v1"}

// page lists every operation of the contract with its state.
const page = "../../docs/compatibility.md"

// gap compares one document of the contract with the emitted ones.
type gap struct {
	want, got *document
	out       []string
	where     string
}

func (g *gap) say(format string, args ...any) {
	g.out = append(g.out, g.where+": "+fmt.Sprintf(format, args...))
}

// operation compares one operation that both have.
func (g *gap) operation(w, o operation) {
	g.where = w.name()
	want, got := g.want.parameters(w), g.got.parameters(o)
	for p := range want {
		if _, ok := got[p]; !ok {
			g.say("parameter %s (%s): missing", p.name, p.in)
		}
	}
	for p, required := range got {
		if required && p.in == "query" && !want[p] {
			g.say("parameter %s: required in the emitted only", p.name)
		}
	}
	body, has := g.want.body(w)
	emitted, ok := g.got.body(o)
	switch {
	case has && !ok:
		g.say("request body: missing")
	case has:
		g.schema(body, emitted, "request", false, 0)
	}
	status, answer, has := g.want.answer(w)
	code, reply, ok := g.got.answer(o)
	if status != "" && code != status {
		g.say("answers %s, contract %s", code, status)
	}
	switch {
	case has && !ok:
		g.say("answer body: missing")
	case has:
		g.schema(answer, reply, "answer", true, 0)
	}
	if w.spec["x-permission"] != nil { // the older versions knew few
		g.permissions(texts(w.spec["x-permission"]), texts(o.spec["x-permission"]))
	}
}

// newer are the names that later versions of the contract take as well (contract/behaviour.md §2.2).
var newer = map[string][]string{
	"ManageAccountMembership":  {"ViewAccountMembership"},
	"ManageBilling":            {"ViewAccountConsumption", "ViewOrgConsumption"},
	"ManageEnterpriseSettings": {"ManageIPWhitelist"},
	"ManageGitIntegrations":    {"ViewGitIntegrations"},
}

// permissions must be the contract's, and besides only what §2.2 puts beside them.
func (g *gap) permissions(want, got []string) {
	if i := slices.Index(want, "Read"); i >= 0 {
		want[i] = "ViewOrgRepositories" // contract/behaviour.md §19.2
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			g.say("permission %s: missing", name)
		}
	}
	for _, name := range got {
		known := slices.Contains(want, name)
		for _, w := range want {
			known = known || slices.Contains(newer[w], name)
		}
		if !known {
			g.say("permission %s: not the contract's", name)
		}
	}
}

const deepest = 6

// schema compares what goes in or comes out. Property types are compared loosely; extra properties are fine.
func (g *gap) schema(want, got any, at string, reply bool, depth int) {
	if depth > deepest {
		return
	}
	w, o := g.want.flat(want), g.got.flat(got)
	if a, b := w.base(), o.base(); len(a) > 0 && len(b) > 0 && !meet(a, b) {
		g.say("%s: type %s, emitted %s", at, names(w.kinds), names(o.kinds))
		return
	}
	if w.is("null") && len(o.kinds) > 0 && !o.is("null") && !reply {
		g.say("%s: must accept null", at)
	}
	if w.enum != nil && o.enum != nil {
		for v := range w.enum {
			if !o.enum[v] {
				g.say("%s: enum lacks %v", at, v)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.properties)) {
		g.property(w, o, at+"."+name, name, reply, depth)
	}
	if w.items != nil && o.items != nil {
		g.schema(w.items, o.items, at+"[]", reply, depth+1)
	}
}

func (g *gap) property(w, o shape, at, name string, reply bool, depth int) {
	v := w.properties[name]
	direct, _ := v.(object)
	if g.want.resolve(v)["deprecated"] == true || direct["deprecated"] == true || direct["x-extension"] != nil {
		return
	}
	p, ok := o.properties[name]
	switch {
	case !ok:
		g.say("%s: missing", at)
		return
	case reply && w.required[name] && !o.required[name]:
		g.say("%s: always present in the contract, optional in the emitted", at)
	case !reply && o.required[name] && !w.required[name]:
		g.say("%s: optional in the contract, required in the emitted", at)
	}
	g.schema(v, p, at, reply, depth+1)
}

func meet(a, b map[string]bool) bool {
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}

func names(kinds map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(kinds)), "/") }

// emitted are the documents of every published version, as the program emits them now.
func emitted(t *testing.T) []*document {
	t.Helper()
	var out []*document
	for _, v := range server.Versions() {
		text, err := server.OpenAPI(v)
		require.NoError(t, err)
		out = append(out, parseDocument(t, text))
	}
	return out
}

// find gives the emitted operation of one of the contract's.
func find(docs []*document, key string) (*document, operation, bool) {
	for _, d := range docs {
		if o, ok := d.operations[key]; ok {
			return d, o, true
		}
	}
	return nil, operation{}, false
}

func TestEveryOperationThatIsThereIsTheContracts(t *testing.T) {
	t.Parallel()
	docs, compared := emitted(t), 0
	var out []string
	for _, name := range contracts {
		want := readDocument(t, "testdata/"+name+".json")
		for _, key := range slices.Sorted(maps.Keys(want.operations)) {
			got, o, ok := find(docs, key)
			if !ok {
				continue
			}
			compared++
			g := gap{want: want, got: got}
			g.operation(want.operations[key], o)
			out = append(out, g.out...)
		}
	}
	require.Greater(t, compared, 40)
	require.Empty(t, strings.Join(out, "\n"))
}

const intro = `# Compatibility

Every operation of the Devin API that Gantry knows of, and whether this release has it. An operation that is here has the contract's
parameters, bodies, enumerations, status codes and permissions; a test compares them with the emitted OpenAPI document. "Later" are
operations that the contract puts after the others.

This page is written by ` + "`go test ./internal/contracttest -update`" + `. An operation that it lists as there can't go away again.
`

// state of an operation on the page.
const (
	there  = "yes"
	absent = "not yet"
)

func compatibility(t *testing.T, docs []*document) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(intro)
	older := map[string]bool{}
	for _, name := range contracts {
		want := readDocument(t, "testdata/"+name+".json")
		rows, have := []string{}, 0
		for _, o := range want.operations {
			if name == "v1" || name == "v2" {
				older[o.name()] = true
			}
			state := absent
			if _, _, ok := find(docs, o.method+" "+anonymous(o.path)); ok {
				state = there
				have++
			}
			if o.tier() != "core" {
				state += ", later"
			}
			rows = append(rows, fmt.Sprintf("| `%s` | `%s` | %s |", o.path, strings.ToUpper(o.method), state))
		}
		slices.Sort(rows)
		fmt.Fprintf(&b, "\n## %s: %d of %d\n\n| path | method | here |\n|---|---|---|\n%s\n", name, have, len(rows), strings.Join(rows, "\n"))
	}
	return b.String() + differ(t, older)
}

func TestThePageOfCompatibilityIsTrueAndTheGapOnlyShrinks(t *testing.T) {
	t.Parallel()
	now := compatibility(t, emitted(t))
	text, err := os.ReadFile(page)
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		require.True(t, *update, "%s is missing: run this test with -update", page)
	}
	for line := range strings.Lines(string(text)) {
		before, _, ok := strings.Cut(line, "| "+there)
		if ok && strings.HasPrefix(line, "| `") {
			require.Contains(t, now, before+"| "+there, "an operation of an earlier release is gone")
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(now), 0o644))
		return
	}
	require.Equal(t, now, string(text), "run this test with -update")
}

func TestTheComparisonSeesEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	const contract = `{"paths":{"/x/{id}":{"post":{"x-permission":["ManageBilling"],
		"parameters":[{"in":"path","name":"id","required":true},{"in":"query","name":"first"},{"in":"query","name":"gone"}],
		"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["a"],"properties":{
			"a":{"type":"string","enum":["x","y"]},"b":{"anyOf":[{"type":"string"},{"type":"null"}]},"c":{"type":"integer"},"d":{"type":"string"},
			"old":{"type":"string","deprecated":true}}}}}},
		"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/R"}}}}}}}},
		"components":{"schemas":{"R":{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"list":{"type":"array","items":{"type":"object","properties":{"n":{"type":"number"}}}}}}}}}`
	const other = `{"paths":{"/x/{name}":{"post":{"x-permission":["ViewAccountConsumption","ManageOrganizations"],
		"parameters":[{"in":"path","name":"name","required":true},{"in":"query","name":"first","required":true}],
		"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["a","c"],"properties":{
			"a":{"type":"string","enum":["x"]},"b":{"type":"string"},"c":{"type":"number"}}}}}},
		"responses":{"201":{"content":{"application/json":{"schema":{"type":"object","properties":{"id":{"type":"string"},"list":{"type":"array","items":{"type":"object","properties":{"n":{"type":"string"}}}}}}}}}}}}}}`
	want, got := parseDocument(t, []byte(contract)), parseDocument(t, []byte(other))
	g := gap{want: want, got: got}
	g.operation(want.operations["post /x/{}"], got.operations["post /x/{}"])
	slices.Sort(g.out)
	require.Equal(t, []string{
		"POST /x/{id}: answer.id: always present in the contract, optional in the emitted",
		"POST /x/{id}: answer.list[].n: type number, emitted string",
		"POST /x/{id}: answers 201, contract 200",
		"POST /x/{id}: parameter first: required in the emitted only",
		"POST /x/{id}: parameter gone (query): missing",
		"POST /x/{id}: permission ManageBilling: missing",
		"POST /x/{id}: permission ManageOrganizations: not the contract's",
		"POST /x/{id}: request.a: enum lacks y",
		"POST /x/{id}: request.b: must accept null",
		"POST /x/{id}: request.c: optional in the contract, required in the emitted",
		"POST /x/{id}: request.d: missing",
	}, g.out)
	g = gap{want: want, got: want}
	g.operation(want.operations["post /x/{}"], want.operations["post /x/{}"])
	require.Empty(t, g.out)
}
