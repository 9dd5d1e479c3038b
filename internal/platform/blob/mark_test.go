package blob_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/blob"
)

func TestADirectoryHasOneMarkHoweverManyAskForIt(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	mark, local, err := s.Mark(false)
	require.NoError(t, err)
	require.True(t, local)
	require.Empty(t, mark, "who only looks makes none")
	require.NoFileExists(t, filepath.Join(dir, ".mark"))

	var all sync.WaitGroup
	marks := make([]string, 8)
	for i := range marks {
		all.Go(func() {
			one, err := blob.Open(t.Context(), "file://"+dir, "")
			if err == nil {
				marks[i], _, _ = one.Mark(true)
			}
		})
	}
	all.Wait()
	mark, _, err = s.Mark(false)
	require.NoError(t, err)
	require.Len(t, mark, 36)
	for _, m := range marks {
		require.Equal(t, mark, m)
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing else is left")

	other, _ := open(t)
	second, _, err := other.Mark(true)
	require.NoError(t, err)
	require.NotEqual(t, mark, second)
}
