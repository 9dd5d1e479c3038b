package id_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/id"
)

func TestIDsHaveTheContractsForm(t *testing.T) {
	t.Parallel()
	require.Regexp(t, `^org-[0-9a-f]{32}$`, id.New(id.Org))
	require.Regexp(t, `^[0-9a-f]{32}$`, id.Session())
	require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, id.UUID())
	made := make([]string, 1000)
	for i := range made {
		made[i] = id.New(id.Event)
	}
	require.True(t, slices.IsSorted(made), "ids sort by the time they were made")
	require.Len(t, slices.Compact(made), 1000)
}

func TestKeysHaveTheContractsForm(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^cog_[a-z2-7]{52}$`)
	seen := map[string]bool{}
	for range 100 {
		k := id.NewKey(id.KeyService)
		require.Regexp(t, form, k)
		require.True(t, id.WellFormed(id.KeyService, k))
		require.False(t, id.WellFormed(id.KeyWorker, k))
		require.False(t, seen[k])
		seen[k] = true
		require.Len(t, id.HashKey(k), 32)
		require.Equal(t, id.HashKey(k), id.HashKey(strings.Clone(k)))
	}
}

func TestOnlyKeysLookLikeKeys(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^cog_[a-z2-7]{52}$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`cog_[a-z0-9A-Z]{51,53}`), rapid.StringMatching(`(cog|gwk)_[a-z2-7]{52}\n?`)).Draw(t, "s")
		require.Equal(t, form.MatchString(s) && !strings.HasSuffix(s, "\n"), id.WellFormed(id.KeyService, s), "%q", s)
	})
}

func TestEveryLeadingPrefixIsTakenOffASession(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"abc": "abc", "devin-abc": "abc", "devin-devin-abc": "abc", "": "", "devin-": "", "a-devin-b": "a-devin-b"} {
		require.Equal(t, want, id.BareSession(in))
	}
}

func FuzzIDsAndKeysFromOutside(f *testing.F) {
	f.Add("devin-devin-01a1ff8c63817617afcdec6f6db89a7c")
	f.Add("cog_abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst")
	f.Add("devin-")
	f.Fuzz(func(t *testing.T, s string) {
		bare := id.BareSession(s)
		if strings.HasPrefix(bare, "devin-") || id.BareSession("devin-"+s) != bare {
			t.Fatalf("%q is not bare", bare)
		}
		if id.WellFormed(id.KeyService, s) && (len(s) != 56 || strings.ToLower(s) != s) {
			t.Fatalf("%q passes as a key", s)
		}
	})
}
