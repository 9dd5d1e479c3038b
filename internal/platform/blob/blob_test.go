package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/blob"
	"gantry/internal/platform/fault"
)

func open(t *testing.T) (*blob.Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := blob.Open(t.Context(), "", dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, filepath.Join(dir, "blobs")
}

func read(t *testing.T, s *blob.Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return string(b)
}

func TestBlobsComeBackWhole(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	require.NoError(t, s.Check(t.Context()))
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	require.NoError(t, s.Put(t.Context(), "attachments/org-1/a", bytes.NewReader(big), "text/plain"))
	require.Equal(t, string(big), read(t, s, "attachments/org-1/a"))

	require.NoError(t, s.Put(t.Context(), "attachments/org-1/a", strings.NewReader(""), ""))
	require.Empty(t, read(t, s, "attachments/org-1/a"), "a later Put replaces")

	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s is for the owner only", path)
		return nil
	}))

	require.NoError(t, s.Delete(t.Context(), "attachments/org-1/a"))
	require.NoError(t, s.Delete(t.Context(), "attachments/org-1/a"), "deleting twice is no error")
	_, err := s.Get(t.Context(), "attachments/org-1/a")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
}

func TestTheBeginningOfAKeyIsNoBlob(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	require.NoError(t, s.Put(t.Context(), "a/b/c", strings.NewReader("x"), ""))
	for _, key := range []string{"a", "a/b", "a/b/c/d"} {
		_, err := s.Get(t.Context(), key)
		require.True(t, fault.Is(err, fault.NotFound), "%s: %v", key, err)
		require.NoError(t, s.Delete(t.Context(), key), key)
	}
	require.Equal(t, "x", read(t, s, "a/b/c"))
}

func TestABrokenStreamLeavesNothing(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	tooLarge := fault.New(fault.TooLarge, "too large")
	for _, cause := range []error{tooLarge, io.ErrUnexpectedEOF} {
		err := s.Put(t.Context(), "a/b", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(cause)), "")
		require.ErrorIs(t, err, cause)
		require.Equal(t, errors.Is(cause, tooLarge), fault.Is(err, fault.TooLarge), "the source's own fault is kept")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, s.Put(ctx, "a/c", strings.NewReader("x"), ""))
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	require.Empty(t, files)
}

func TestKeysStayInsideTheStore(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for _, key := range []string{"", ".", "..", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a b", "a\x00", "ä", strings.Repeat("a", 513)} {
		require.Error(t, s.Put(t.Context(), key, strings.NewReader("x"), ""), "%q", key)
		_, err := s.Get(t.Context(), key)
		require.Error(t, err, "%q", key)
		require.Error(t, s.Delete(t.Context(), key), "%q", key)
	}
}

func TestAnUnusableStoreSaysSo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, u := range []string{"file://" + file, "file://relative", "ftp://x", "%zz"} {
		_, err := blob.Open(t.Context(), u, t.TempDir())
		require.ErrorContains(t, err, "blobs:", u)
	}
	s, dir := open(t)
	require.NoError(t, os.RemoveAll(dir))
	require.ErrorContains(t, s.Check(t.Context()), dir)
}
