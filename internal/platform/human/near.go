package human

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxNear = 3 // names that are offered for a wrong one
	slip    = 2 // letters that a slip of the finger changes, adds or takes away
)

// Near gives the names that somebody may have meant by a word, the nearest first and at most three: those that have it in them and those
// that differ from it by a slip of the finger.
func Near(word string, known []string) []string {
	var near []string
	if word == "" {
		return near
	}
	far := map[string]int{}
	for _, k := range known {
		switch more := len(k) - len(word); {
		case strings.Contains(k, word):
			far[k] = more
		case more < -slip || more > slip: // whatever the letters are; a word may be very long
			continue
		default:
			if far[k] = distance(word, k); far[k] > slip {
				continue
			}
		}
		near = append(near, k)
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(far[a], far[b]) })
	return near[:min(maxNear, len(near))]
}

// distance counts the letters to change, add or take away to make one word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(corner+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
