package session_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
)

func TestTheSameIdempotentRequestGetsTheSameSessionUntilItEnds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		p := session.CreateParams{OrgID: h.org, Prompt: "p", Tags: []string{"a"}, Secrets: []session.SecretParam{{Key: "K", Value: secret.New("v")}}}
		first, fresh, err := h.CreateOnce(t.Context(), h.ours, p)
		require.NoError(t, err)
		require.True(t, fresh)
		again, fresh, err := h.CreateOnce(t.Context(), h.ours, p)
		require.NoError(t, err)
		require.False(t, fresh)
		require.Equal(t, first.ID, again.ID)

		other := p
		other.Secrets = []session.SecretParam{{Key: "K", Value: secret.New("w")}}
		different, fresh, err := h.CreateOnce(t.Context(), h.ours, other)
		require.NoError(t, err)
		require.True(t, fresh, "another secret is another request")
		require.NotEqual(t, first.ID, different.ID)

		_, err = h.Terminate(t.Context(), h.ours, h.org, first.ID, false)
		require.NoError(t, err)
		next, fresh, err := h.CreateOnce(t.Context(), h.ours, p)
		require.NoError(t, err)
		require.True(t, fresh, "the first has ended")
		require.NotEqual(t, first.ID, next.ID)
	})
}

func TestIdempotentRequestsAtOnceGetOneSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		const n = 8
		ids := make([]string, n)
		var made sync.Map
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				s, fresh, err := h.CreateOnce(t.Context(), h.ours, session.CreateParams{OrgID: h.org, Prompt: "once"})
				if err == nil {
					ids[i] = s.ID
					if fresh {
						made.Store(s.ID, true)
					}
				}
			})
		}
		wg.Wait()
		count := 0
		made.Range(func(any, any) bool { count++; return true })
		require.Equal(t, 1, count)
		for _, id := range ids {
			require.Equal(t, ids[0], id)
			require.NotEmpty(t, id)
		}
	})
}

func TestAnIdempotentRequestNeedsTheRightToCreate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, _, err := h.CreateOnce(t.Context(), h.ours, session.CreateParams{OrgID: h.other, Prompt: "p"})
		require.True(t, fault.Is(err, fault.Forbidden))
	})
}
