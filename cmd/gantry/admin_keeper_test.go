package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheKeeperIsRotatedByCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, next := filepath.Join(dir, "data"), "file://"+filepath.Join(dir, "next.key")
	code, _, errs := command(t, "", "admin", "rotate-keeper", next, "--data", data)
	require.NotZero(t, code)
	require.Contains(t, errs, "no database")
	require.NoFileExists(t, filepath.Join(dir, "next.key"))

	admin := func(want int, what, verb string, args ...string) string { // an agent's command takes every flag behind it
		t.Helper()
		code, out, errs := command(t, "", append([]string{"admin", what, verb, "--data", data}, args...)...)
		require.Equal(t, want, code, errs)
		return out + errs
	}
	admin(0, "agent", "add", "--env", "API_KEY=hunter2", "claude", "/bin/true")
	require.Contains(t, admin(0, "rotate-keeper", next), next)
	info, err := os.Stat(filepath.Join(dir, "next.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.Contains(t, admin(1, "agent", "list"), "rotate-keeper", "the old key opens it no more")
	found := examine(t, data)
	require.False(t, found["keeper"].OK)
	require.Contains(t, found["keeper"].Mend, "rotate-keeper")
	require.NotContains(t, found["keeper"].Mend, "put the file", "what the error says isn't said again")
	require.Contains(t, admin(0, "agent", "list", "--keeper", next), "claude")
	require.Contains(t, admin(1, "rotate-keeper", next), "already")
}
