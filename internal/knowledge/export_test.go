package knowledge

import "gantry/internal/platform/page"

// Matches holds a trigger against a text.
func Matches(trigger, text string) bool { return wordsOf(text).matches(trigger) }

// SameRepo compares a pin with a repository.
var SameRepo = sameRepo

// ListQuery is the query of a part of a list.
func ListQuery(f Filter, part int64) (string, []any) {
	return f.query(part, page.Position{part, int64(1), "x"}, 101)
}
