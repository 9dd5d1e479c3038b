package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// smallDisk mounts a tmpfs of some megabytes.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.Mkdir(dir, 0o700))
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes))
	if err != nil {
		t.Skipf("a small disk can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4<<10))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
}

func TestAFullDiskEndsOneSessionWithTheReasonAndNotTheWorker(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	w := s.workerAt("small", s.url, smallDisk(t, 48))
	full := s.run("dd if=/dev/zero of=big bs=1M count=100", "echo never")
	s.await(full, "error")
	all := s.events(full)
	require.Equal(t, "The workspace's disk is full.", all.reason())
	require.NotContains(t, all.output(), "never")
	require.True(t, w.alive())
	// The session is over: the space comes back with the worker's next report.
	require.Eventually(t, func() bool {
		_, err := os.Stat(w.file(full, ""))
		return os.IsNotExist(err)
	}, patient, tick, "the workspace of a session that is over is thrown away")
	s.await(s.run("echo fits"), "running/finished")

	// Others fill the disk too. Then nothing is taken that can't begin, after the answer to the request that was made before.
	rest := filepath.Join(w.dir, "rest")
	fill(t, rest)
	s.run("echo perhaps")
	require.Eventually(t, func() bool { return strings.Contains(w.said(), "no session is claimed until there is space") }, soon, tick)
	next := s.run("echo fits")
	sleep(t, 2*time.Second)
	s.await(next, "new")
	require.NoError(t, os.Remove(rest))
	s.await(next, "running/finished")
	require.True(t, w.alive())
	requireConsistent(t, s.open())
}

func TestASessionBeyondItsDiskLimitEndsWithTheReason(t *testing.T) {
	t.Parallel()
	s := newServer(t, "")
	w := s.newWorker("split", "--session-disk", "20MiB")
	mark := marker()
	id := s.run("dd if=/dev/zero of=big bs=1M count=40; sleep " + mark)
	s.await(id, "error")
	require.Contains(t, s.events(id).reason(), "its limit is 20 MiB")
	awaitGone(t, mark, soon)
	require.True(t, w.alive())
	s.await(s.run("echo fits"), "running/finished")
}
