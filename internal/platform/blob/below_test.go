package blob_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/blob"
	"gantry/internal/platform/fault"
)

// deletesBelow requires that a store forgets all that lies below a key, and nothing else.
func deletesBelow(t *testing.T, s *blob.Store) {
	t.Helper()
	ctx := t.Context()
	gone := []string{"sessions/1/1-1.raw", "sessions/1/1-1.0", "sessions/1/1-2.0", "sessions/1/deep/er", "sessions/1/z"}
	kept := []string{"sessions/10/1-1.raw", "sessions/1.raw", "attachments/1/a"}
	for _, key := range append(gone, kept...) {
		require.NoError(t, s.Put(ctx, key, strings.NewReader(key), ""))
	}
	for range 2 { // done again, it finds nothing
		require.NoError(t, s.DeleteBelow(ctx, "sessions/1"))
	}
	for _, key := range gone {
		_, err := s.Get(ctx, key)
		require.True(t, fault.Is(err, fault.NotFound), "%s: %v", key, err)
	}
	for _, key := range kept {
		require.Equal(t, key, read(t, s, key))
	}
	require.NoError(t, s.DeleteBelow(ctx, "never/was"))
	require.NoError(t, s.DeleteBelow(ctx, "attachments/1/a"), "a blob has none below")
	require.Equal(t, "attachments/1/a", read(t, s, "attachments/1/a"))
	require.Error(t, s.DeleteBelow(ctx, "../sessions"))
	require.Error(t, s.DeleteBelow(ctx, ""))
}

func TestWhatLiesBelowAKeyGoesAtOnce(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	deletesBelow(t, s)
	require.NoDirExists(t, filepath.Join(dir, "sessions", "1"))

	require.NoError(t, s.Put(t.Context(), "sessions/2/a", strings.NewReader("a"), ""))
	left := filepath.Join(dir, "sessions", "2", ".new-1") // of an upload whose server died
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o600))
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.DeleteBelow(stopped, "sessions/2"), context.Canceled)
	require.Equal(t, "a", read(t, s, "sessions/2/a"))
	require.NoError(t, s.DeleteBelow(t.Context(), "sessions/2"))
	require.NoFileExists(t, left)
}
