// Package pattern is regular expressions that are compiled when they are first used. A package's variables are made at the start of every
// process of this program, and most of them, the many that run inside sandboxes above all, ask few of the expressions or none.
package pattern

import (
	"regexp"
	"sync"
)

// Of gives the expression, compiled at the first call. A text that is no expression panics there.
func Of(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
