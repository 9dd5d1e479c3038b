package session

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAColumnOfTextsIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		quoted := rapid.SampledFrom([]string{``, `"`, `,`, `","`, `["`, `"]`, `\`, `\"`, `<&>`, "\n", "\u2028", "a"})
		part := rapid.OneOf(rapid.String(), quoted, rapid.Map(rapid.SliceOf(quoted), func(l []string) (s string) {
			for _, x := range l {
				s += x
			}
			return s
		}))
		want := rapid.SliceOf(part).Draw(t, "texts")
		var got []string
		if err := texts(text(want), &got); err != nil || !slices.Equal(want, got) {
			t.Fatalf("%q: %q, %v", want, got, err)
		}
	})
	for _, broken := range []string{`["a"`, `["]`, `["a" "b]`, ``} {
		if texts(broken, new([]string)) == nil {
			t.Errorf("%s was read", broken)
		}
	}
}
