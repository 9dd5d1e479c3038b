package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheDataDirectoryIsMadeForThisUserOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	loose, err := makeDataDir(dir)
	require.NoError(t, err)
	require.False(t, loose)
	st, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	require.NoError(t, os.Chmod(dir, 0o755))
	loose, err = makeDataDir(dir)
	require.NoError(t, err)
	require.True(t, loose, "an operator hears of it")
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = makeDataDir(file)
	require.ErrorContains(t, err, "--data")
}

func TestOneProcessHoldsALockAndTheNextLearnsWho(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "serve.lock")
	f, err := lockFile(path)
	require.NoError(t, err)
	_, err = lockFile(path)
	require.ErrorIs(t, err, errLocked)
	require.ErrorContains(t, err, "process ")
	require.NoError(t, f.Close())
	f, err = lockFile(path)
	require.NoError(t, err, "it ends with its owner")
	require.NoError(t, f.Close())
}

func TestTheGatewaysSocketIsForThisUserOnly(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"in the data directory":           t.TempDir(),
		"elsewhere when that is too long": filepath.Join(t.TempDir(), strings.Repeat("long/", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, os.MkdirAll(data, 0o700))
			for range 2 { // the second finds what a killed first one left
				s, err := listenGateway(data)
				require.NoError(t, err)
				require.LessOrEqual(t, len(s.path), maxSocketPath)
				require.Equal(t, strings.HasPrefix(s.path, data), s.elsewhere == "")
				st, err := os.Stat(s.path)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
				st, err = os.Stat(filepath.Dir(s.path))
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o700), st.Mode().Perm())
				c, err := net.Dial("unix", s.path)
				require.NoError(t, err)
				require.NoError(t, c.Close())
				s.Listener.(*net.UnixListener).SetUnlinkOnClose(s.elsewhere != "")
				require.NoError(t, s.Close())
			}
		})
	}
}

func TestAWorkerGetsNothingOfTheServersEnvironmentThatItDoesNotNeed(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"PATH=/bin", "HOME=/root"}, workerEnv([]string{
		"HOME=/root", "GANTRY_DATABASE=postgres://u:p@h/d", "AWS_SECRET_ACCESS_KEY=x", "PATH=/bin", "PATHOLOGY=no", "GANTRY_KEY=cog_x",
	}))
}
