package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gantry/internal/platform/clock"
)

// signalTree stops or continues a process and all its children, where there is no freezer. It looks again until it finds nobody
// new: a child may have been made meanwhile.
func signalTree(pid int, stop bool) error {
	sig := syscall.SIGCONT
	if stop {
		sig = syscall.SIGSTOP
	}
	seen := map[int]bool{}
	for range 50 {
		fresh := false
		for _, p := range tree(pid) {
			if !seen[p] {
				seen[p], fresh = true, true
				_ = syscall.Kill(p, sig)
			}
		}
		if !fresh {
			return nil
		}
	}
	return fmt.Errorf("processes of %d are made faster than they can be stopped", pid)
}

// killTree kills a process and all its descendants, where there is no cgroup that names them. bwrap's first child is tied to bwrap's
// life only once it has been set up, so bwrap is stopped first: it can then neither make that child nor leave it behind unseen.
func killTree(p *os.Process) {
	if p.Signal(syscall.SIGSTOP) != nil {
		return // it has ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for !stopped(p.Pid) && clock.Sleep(ctx, time.Millisecond) {
	}
	for _, pid := range tree(p.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// stopped reports whether a process is stopped or no more.
func stopped(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	return err != nil || !ok || strings.ContainsAny(rest[:1], "TtZX")
}

// tree gives a process and all its descendants, parents first.
func tree(pid int) []int {
	out := []int{pid}
	for i := 0; i < len(out); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", out[i]))
		for _, l := range lists {
			b, _ := os.ReadFile(l)
			for f := range strings.FieldsSeq(string(b)) {
				if child, err := strconv.Atoi(f); err == nil {
					out = append(out, child)
				}
			}
		}
	}
	return out
}

// treeUsage adds up what /proc says of a process and its living descendants.
func treeUsage(pid int) (Usage, error) {
	const ticks = 100 // USER_HZ on every Linux port
	var u Usage
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue
		}
		_, rest, ok := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 22 {
			continue
		}
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		pages, _ := strconv.ParseInt(f[21], 10, 64)
		u.CPU += time.Duration(user+system) * time.Second / ticks
		u.MemoryBytes += pages * int64(os.Getpagesize())
		u.Processes++
	}
	return u, nil
}
