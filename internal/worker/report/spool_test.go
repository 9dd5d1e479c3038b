package report

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSpoolIsAQueueWhateverTheSizes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "spool")
	rapid.Check(t, func(rt *rapid.T) {
		s, err := openSpool(path)
		require.NoError(rt, err)
		var want, got []string
		drain := func(lines int, size int64) {
			out, err := s.next(lines, size)
			require.NoError(rt, err)
			require.LessOrEqual(rt, len(out), lines)
			for _, line := range out {
				got = append(got, string(line))
			}
		}
		for i := range rapid.IntRange(0, 60).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "push") {
				line := fmt.Sprintf("%d:%0*d", i, rapid.IntRange(1, 300_000).Draw(rt, "size"), 0)
				want = append(want, line)
				require.NoError(rt, s.push([]byte(line+"\n")))
			} else {
				drain(rapid.IntRange(1, 4).Draw(rt, "lines"), rapid.Int64Range(1, 100_000).Draw(rt, "bytes"))
			}
		}
		for s.backlog() > 0 {
			drain(100, 1<<20)
		}
		require.Equal(rt, want, got)
		require.NoError(rt, s.close())
	})
}

func TestADiskThatTakesNothingKeepsLinesInMemoryInOrder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "spool")
	s, err := openSpool(path)
	require.NoError(t, err)
	require.NoError(t, s.push([]byte("one\n")))
	readOnly, err := os.Open(path)
	require.NoError(t, err)
	writable := s.file
	s.file = readOnly
	require.Error(t, s.push([]byte("two\n")), "the first refusal is told")
	require.NoError(t, s.push([]byte("three\n")), "and only the first")
	require.NoError(t, s.push(make([]byte, maxTail)))
	require.Greater(t, s.backlog(), int64(maxBacklog), "a full tail holds the agent back")

	var got []string
	for range 3 {
		lines, err := s.next(2, 1<<20)
		require.NoError(t, err)
		for _, l := range lines {
			got = append(got, string(l[:min(len(l), 5)]))
		}
	}
	require.Equal(t, []string{"one", "two", "three", "\x00\x00\x00\x00\x00"}, got)
	s.file = writable
	require.NoError(t, s.push([]byte("four\n")), "the disk is tried again once memory is empty")
	require.NoError(t, readOnly.Close())
	require.NoError(t, s.file.Close())
}
