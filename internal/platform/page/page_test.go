package page_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestCutTellsWhetherThereIsMore(t *testing.T) {
	t.Parallel()
	pos := func(n int) page.Position { return page.Position{int64(n)} }
	r := page.Request{First: 2}
	require.Equal(t, 3, r.Limit())
	p := page.Cut([]int{1, 2, 3}, r, pos)
	require.Equal(t, page.Page[int]{Items: []int{1, 2}, End: page.Position{int64(2)}, More: true}, p)
	p = page.Cut([]int{1, 2}, r, pos)
	require.False(t, p.More)
	require.Equal(t, page.Position{int64(2)}, p.End, "the last page has an end too")
	require.Nil(t, page.Cut(nil, r, pos).End)
}

func TestACursorOpensOnlyInItsOwnList(t *testing.T) {
	t.Parallel()
	s, other := page.NewSealer([]byte("0123456789abcdef0123456789abcdef")), page.NewSealer([]byte("another"))
	rapid.Check(t, func(t *rapid.T) {
		scope := rapid.String().Draw(t, "scope")
		want := page.Position{rapid.Int64().Draw(t, "at"), rapid.StringMatching(`[a-z0-9-]{0,40}`).Draw(t, "id")}
		c := s.Seal(scope, want)
		got, err := s.Open(scope, c)
		require.NoError(t, err)
		require.Equal(t, want, got)
		for _, open := range []func() (page.Position, error){
			func() (page.Position, error) { return s.Open(scope+"x", c) },
			func() (page.Position, error) { return other.Open(scope, c) },
			func() (page.Position, error) { return s.Open(scope, c[:len(c)-1]) },
			func() (page.Position, error) { return s.Open(scope, c+"A") },
		} {
			_, err := open()
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
			require.Equal(t, []string{"query", "after"}, fault.As(err).Fields[0].Loc)
		}
		raw, err := base64.RawURLEncoding.DecodeString(c)
		require.NoError(t, err)
		raw[rapid.IntRange(0, len(raw)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, err = s.Open(scope, base64.RawURLEncoding.EncodeToString(raw))
		require.Error(t, err)
	})
}

func FuzzOpen(f *testing.F) {
	s := page.NewSealer([]byte("key"))
	f.Add(s.Seal("list", page.Position{int64(1), "a"}))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, c string) {
		pos, err := s.Open("list", c)
		if err != nil {
			require.True(t, fault.Is(err, fault.Invalid))
			return
		}
		back, err := s.Open("list", s.Seal("list", pos))
		require.NoError(t, err)
		require.Equal(t, pos, back)
	})
}
