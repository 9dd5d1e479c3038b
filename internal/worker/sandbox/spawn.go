package sandbox

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// spawner is one operating system thread that forks every child of a Sandbox. The kernel sends a parent death signal when the
// thread that forked ends, not when the process does, and Go ends idle threads as it likes; this one lives as long as the Sandbox.
// It also carries the thread's cgroups of version 1 over a fork.
type spawner struct {
	work chan func()
	done chan struct{}
	quit chan struct{}
}

var errSpawnerClosed = errors.New("the sandbox is closed")

func newSpawner() *spawner {
	closeOnExec()
	s := &spawner{work: make(chan func()), done: make(chan struct{}), quit: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for {
			select {
			case f := <-s.work:
				f()
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

// do runs f on the thread and waits for it.
func (s *spawner) do(f func() error) error {
	errc := make(chan error, 1)
	select {
	case s.work <- func() { errc <- f() }:
		return <-errc
	case <-s.quit:
		return errSpawnerClosed
	}
}

func (s *spawner) close() {
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
	<-s.done
}

// closeOnExec marks what this process was started with beside its standard files. Go opens everything so by itself, but what a
// shell or a supervisor left open would otherwise be handed on into the sandbox.
func closeOnExec() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
