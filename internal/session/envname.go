package session

import (
	"strconv"
	"strings"
)

// envNames turns secrets' names into names of environment variables (contract/behaviour.md §3.11 27): other characters than letters,
// digits and _ become _; a name that doesn't begin with a letter gets _ in front; doubles get _2, _3, and so on.
func envNames(names []string) []string {
	out := make([]string, len(names))
	taken := map[string]bool{}
	for i, n := range names {
		base := envName(n)
		name := base
		for k := 2; taken[name]; k++ {
			name = base + "_" + strconv.Itoa(k)
		}
		taken[name] = true
		out[i] = name
	}
	return out
}

func envName(n string) string {
	mapped := strings.Map(func(r rune) rune {
		if isLetter(r) || (r >= '0' && r <= '9') || r == '_' {
			return r
		}
		return '_'
	}, n)
	if mapped == "" || !isLetter(rune(mapped[0])) {
		return "_" + mapped
	}
	return mapped
}

func isLetter(r rune) bool { return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') }
