package kit

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// maxListed bounds the values of one query parameter: an engine takes only so many arguments.
const maxListed = 1000

// queryKind is how a declared query parameter reads its text.
type queryKind uint8

const (
	queryText queryKind = iota
	queryNumber
	queryBool
	queryList
)

// queryDecl are an operation's declared query parameters.
type queryDecl map[string]queryKind

func declareQuery(name string, op *huma.Operation) queryDecl {
	d := queryDecl{}
	for _, p := range op.Parameters {
		if p.In != "query" || p.Schema == nil {
			continue
		}
		switch p.Schema.Type {
		case huma.TypeInteger, huma.TypeNumber:
			d[p.Name] = queryNumber
		case huma.TypeBoolean:
			d[p.Name] = queryBool
		case huma.TypeArray:
			if p.Explode == nil || !*p.Explode {
				panic("kit: " + name + ": the list parameter " + p.Name + " must be tagged query:\"" + p.Name + ",explode\"")
			}
			d[p.Name] = queryList
		default:
			d[p.Name] = queryText
		}
	}
	return d
}

// normalise turns the forms of a query that clients send into the flat one that is declared (contract/behaviour.md §14.6,
// contract/v3-rules.md "Differences" 5): `qs[first]=10`, `qs.first=10` and `qs={"first":10}` are as if flat, lists repeat or are
// joined by commas. Parameters that aren't declared fall away. Of a repeated single value the first counts, a flat one before one in qs.
func (d queryDecl) normalise(raw string) (string, error) {
	n := normaliser{decl: d}
	for segment := range strings.SplitSeq(raw, "&") {
		if segment == "" {
			continue
		}
		key, value, given := strings.Cut(segment, "=")
		key, err := url.QueryUnescape(key)
		if err != nil {
			return "", fault.InvalidQuery("query", "malformed percent-encoding")
		}
		name, inner := d.resolve(key)
		if name == "" && !inner {
			continue
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			return "", fault.InvalidQuery(key, "malformed percent-encoding")
		}
		if name == "" {
			n.object(value)
		} else {
			n.add(name, value, given, inner)
		}
	}
	if n.err != nil {
		return "", n.err
	}
	return n.encode()
}

// resolve finds the declared parameter that a key means. inner says that it stands inside qs; the name is empty for qs itself.
func (d queryDecl) resolve(key string) (name string, inner bool) {
	if _, ok := d[key]; ok {
		return key, false
	}
	rest := key
	switch {
	case key == "qs":
		return "", true
	case strings.HasPrefix(key, "qs."):
		rest, inner = key[len("qs."):], true
	case strings.HasPrefix(key, "qs["):
		end := strings.IndexByte(key, ']')
		if end < 0 {
			return "", false
		}
		rest, inner = key[len("qs["):end]+key[end+1:], true
	}
	// tags[] and tags[0] are how some clients write a list.
	if at := strings.IndexByte(rest, '['); at > 0 && strings.HasSuffix(rest, "]") && d[rest[:at]] == queryList {
		rest = rest[:at]
	}
	if _, ok := d[rest]; ok {
		return rest, inner
	}
	return "", false
}

type pair struct{ name, value string }

type normaliser struct {
	decl  queryDecl
	flat  []pair
	inner []pair
	err   error
}

func (n *normaliser) add(name, value string, given, inner bool) {
	if !db.Storable(value) {
		n.fail(name, "not valid UTF-8 text")
		return
	}
	into := &n.flat
	if inner {
		into = &n.inner
	}
	switch n.decl[name] {
	case queryList:
		for v := range strings.SplitSeq(value, ",") {
			if v != "" {
				*into = append(*into, pair{name, v})
			}
		}
		return
	case queryNumber:
		if value == "" {
			n.fail(name, "expected a number")
			return
		}
	case queryBool:
		if !given {
			value = "true"
		} else if value == "" {
			n.fail(name, "expected true or false")
			return
		}
	case queryText:
		if value == "" {
			return
		}
	}
	*into = append(*into, pair{name, value})
}

// object reads qs as a JSON object.
func (n *normaliser) object(text string) {
	var members map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&members); err != nil {
		n.fail("qs", "expected a JSON object")
		return
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, ok := n.decl[name]; ok {
			n.member(name, members[name])
		}
	}
}

func (n *normaliser) member(name string, v any) {
	switch v := v.(type) {
	case nil:
	case string:
		n.add(name, v, true, true)
	case json.Number:
		n.add(name, v.String(), true, true)
	case bool:
		n.add(name, strconv.FormatBool(v), true, true)
	case []any:
		if n.decl[name] != queryList {
			n.fail("qs."+name, "expected one value, not a list")
			return
		}
		for _, e := range v {
			n.member(name, e)
		}
	default:
		n.fail("qs."+name, "expected a plain value")
	}
}

func (n *normaliser) fail(name, msg string) {
	if n.err == nil {
		n.err = fault.InvalidQuery(name, "%s", msg)
	}
}

func (n *normaliser) encode() (string, error) {
	var b strings.Builder
	seen := make(map[string]int, len(n.flat)+len(n.inner))
	for _, list := range [2][]pair{n.flat, n.inner} {
		for _, p := range list {
			if seen[p.name]++; seen[p.name] > 1 {
				if n.decl[p.name] != queryList {
					continue
				}
				if seen[p.name] > maxListed {
					return "", fault.InvalidQuery(p.name, "more than %d values", maxListed)
				}
			}
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(p.name)
			b.WriteByte('=')
			b.WriteString(url.QueryEscape(p.value))
		}
	}
	return b.String(), nil
}

// filterOf is the part of a normalised query that says which list it is: everything but the place in it, in one order.
func filterOf(query string) string {
	if query == "" {
		return ""
	}
	var parts []string
	for p := range strings.SplitSeq(query, "&") {
		if !strings.HasPrefix(p, "first=") && !strings.HasPrefix(p, "after=") {
			parts = append(parts, p)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "&")
}
