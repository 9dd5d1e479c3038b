package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/client"
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
	got := s.awaitEnd(full)
	all := s.events(full)
	require.Contains(t, strings.ToLower(all.reason()), "disk", "the session says why: %+v", got)
	require.NotContains(t, all.output(), "never")
	require.True(t, w.alive())

	// While the disk is full the next one is told so too.
	next := s.run("echo fits")
	require.Contains(t, []string{"error", "running/waiting_for_user", "running/finished"}, state(s.awaitEnd(next)))
	require.True(t, w.alive())

	_, err := s.api.TerminateSession(t.Context(), s.org, full, false)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := os.Stat(w.file(full, "big"))
		return os.IsNotExist(err)
	}, patient, tick, "the workspace of a session that is over is thrown away")
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

func state(s client.Session) string { return strings.TrimSuffix(s.Status+"/"+s.StatusDetail, "/") }

// awaitEnd waits until a session doesn't work any more.
func (s *server) awaitEnd(id string) client.Session {
	s.t.Helper()
	var got client.Session
	require.Eventually(s.t, func() bool {
		now, err := s.api.GetSession(s.t.Context(), s.org, id)
		if err == nil {
			got = now
		}
		switch state(got) {
		case "error", "exit", "running/waiting_for_user", "running/finished", "suspended/inactivity":
			return true
		}
		return false
	}, patient, tick, "the session never comes to an end")
	return got
}
