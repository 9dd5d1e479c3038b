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
	// A machine with a full disk takes nothing that it can't begin, after the answer to the request that it had made before.
	s.run("echo perhaps")
	require.Eventually(t, func() bool { return strings.Contains(w.said(), "no session is claimed until there is space") }, soon, tick)
	next := s.run("echo fits")
	sleep(t, 2*time.Second)
	s.await(next, "new")

	_, err := s.api.TerminateSession(t.Context(), s.org, full, false)
	require.NoError(t, err)
	s.await(next, "running/finished") // once the worker has thrown the workspace of the other away
	require.NoDirExists(t, w.file(full, ""))
	fits := s.run("echo fits; dd if=/dev/zero of=small bs=1M count=10")
	s.await(fits, "running/finished")
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
