package older

import (
	"context"
	"errors"
	"strings"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
)

// Names says what an older version calls the fields that a room names in a refusal. A key is one field or a dotted path of several, in
// which * is any place of a list; of those that fit, the longest counts. An empty name takes the field out of the path: what lies in it
// lies in the body itself.
type Names map[string]string

// Fault gives err with its fields named as the client of the older version knows them, in their places and in what is said of them.
// Every other error stays what it is.
func (n Names) Fault(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || len(n) == 0 {
		return err
	}
	out := *f
	out.Message = n.message(f.Message)
	out.Fields = make([]fault.Field, len(f.Fields))
	for i, field := range f.Fields {
		out.Fields[i] = fault.Field{Loc: n.loc(field.Loc), Message: n.words(field.Message), Type: field.Type}
	}
	return &out
}

// loc renames a place; its first part says whether it is the body, the query or the path.
func (n Names) loc(loc []string) []string {
	if len(loc) == 0 {
		return loc
	}
	return append(loc[:1:1], n.path(loc[1:])...)
}

func (n Names) path(parts []string) []string {
	out := make([]string, 0, len(parts))
	for len(parts) > 0 {
		took, name := 0, ""
		for key, to := range n {
			if k := fits(key, parts); k > took {
				took, name = k, to
			}
		}
		switch {
		case took == 0:
			out, took = append(out, parts[0]), 1
		case name != "":
			out = append(out, strings.Split(name, ".")...)
		}
		parts = parts[took:]
	}
	return out
}

// fits gives how many parts of a path a key stands for, 0 when it isn't the path's beginning.
func fits(key string, parts []string) int {
	n := 0
	for part := range strings.SplitSeq(key, ".") {
		if n == len(parts) || (part != parts[n] && part != "*") {
			return 0
		}
		n++
	}
	return n
}

// message renames the path before a message's colon, and the words after it.
func (n Names) message(s string) string {
	at, rest, ok := strings.Cut(s, ": ")
	if !ok || at == "" || strings.ContainsFunc(at, notInPath) {
		return n.words(s)
	}
	if path := n.path(strings.Split(at, ".")); len(path) > 0 {
		return strings.Join(path, ".") + ": " + n.words(rest)
	}
	return n.words(rest)
}

// words renames the fields that a text mentions. Only names with an underscore are taken for fields: the others are words of English too.
func (n Names) words(s string) string {
	var b strings.Builder
	for rest := s; rest != ""; {
		end := strings.IndexFunc(rest, notInName)
		switch end {
		case -1:
			end = len(rest)
		case 0:
			end = 1 // bytes of a character that no name has are copied one by one
		}
		word := rest[:end]
		if to, ok := n[word]; ok && to != "" && strings.Contains(word, "_") {
			word = to
		}
		b.WriteString(word)
		rest = rest[end:]
	}
	return b.String()
}

func notInName(r rune) bool {
	return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
}

func notInPath(r rune) bool { return r != '.' && notInName(r) }

// Naming gives a handler whose refusals name fields as the older version does.
func Naming[I, O any](n Names, h func(context.Context, access.Subject, *I) (*O, error)) func(context.Context, access.Subject, *I) (*O, error) {
	return func(ctx context.Context, who access.Subject, in *I) (*O, error) {
		out, err := h(ctx, who, in)
		return out, n.Fault(err)
	}
}
