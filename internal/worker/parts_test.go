package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestASlotGivenBackGoesToWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		require.NoError(t, s.free(t.Context()))
		require.NoError(t, s.take(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.take(ctx), context.DeadlineExceeded)
		got := make(chan error, 1)
		go func() { got <- s.take(t.Context()) }()
		synctest.Wait()
		s.put()
		require.NoError(t, <-got)
		s.force()
		require.Equal(t, 2, s.inUse(), "a claim that has come is worked on")
		s.put()
		s.put()
		require.NoError(t, s.free(t.Context()))
	})
}

func TestASafeNameIsOnePathElementAndNeverTaken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		taken := map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "files") {
			before := len(taken)
			name := safeName(rapid.OneOf(rapid.String(), rapid.Just("../../etc/passwd"), rapid.Just("..")).Draw(t, "name"), taken)
			require.NotContains(t, name, "/")
			require.NotContains(t, name, "\x00")
			require.NotEmpty(t, strings.Trim(name, "."))
			require.LessOrEqual(t, len(name), 210)
			require.Len(t, taken, before+1)
		}
	})
}
