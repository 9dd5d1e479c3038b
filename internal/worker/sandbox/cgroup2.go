package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gantry/internal/wire"
)

// cgroup2 keeps the tree in the one hierarchy of version 2.
type cgroup2 struct {
	base  string
	extra bool // the memory and pids controllers are there
}

// openCgroup2 needs the memory and pids controllers in the worker's own group.
func openCgroup2(name string) (*cgroup2, error) {
	own, err := cgroup2Own()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	have := strings.Fields(string(b))
	if !slices.Contains(have, "memory") || !slices.Contains(have, "pids") {
		return nil, fmt.Errorf("%s has no memory and pids controllers", own)
	}
	if err := delegate(own, have); err != nil {
		return nil, err
	}
	return newCgroup2(own, name, true)
}

func cgroup2Own() (string, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if m.v2 {
			return m.own, nil
		}
	}
	return "", errors.New("no version 2 hierarchy is mounted")
}

func newCgroup2(own, name string, controllers bool) (*cgroup2, error) {
	base := filepath.Join(own, name)
	sweepCgroup(base)
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	t := &cgroup2{base: base, extra: controllers}
	if err := t.enable(base); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// delegate hands the controllers down. A group with processes of its own can't (but for the root), so the worker and the server
// that started it move into a group beside the sessions'. With anybody else in the group nothing is moved.
func delegate(own string, have []string) error {
	err := enableControllers(own, have)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	b, rerr := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	if rerr != nil {
		return rerr
	}
	for p := range strings.FieldsSeq(string(b)) {
		if p != strconv.Itoa(os.Getpid()) && p != strconv.Itoa(os.Getppid()) {
			return fmt.Errorf("%s holds other processes than the worker's; give the worker a group of its own (systemd: Delegate=yes): %w", own, err)
		}
	}
	mine := filepath.Join(own, "gantry-supervisor")
	if err := os.Mkdir(mine, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for p := range strings.FieldsSeq(string(b)) {
		if err := writeCgroup(mine, "cgroup.procs", p); err != nil {
			return err
		}
	}
	return enableControllers(own, have)
}

func enableControllers(dir string, have []string) error {
	want := "+memory +pids"
	if slices.Contains(have, "cpu") {
		want += " +cpu"
	}
	return writeCgroup(dir, "cgroup.subtree_control", want)
}

func (t *cgroup2) enable(dir string) error {
	if !t.extra {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	return enableControllers(dir, strings.Fields(string(b)))
}

func (t *cgroup2) name() string { return "cgroup v2" }
func (t *cgroup2) close()       { sweepCgroup(t.base) }

func (t *cgroup2) session(id string) (cgroupSession, error) {
	g := &cgroup2Group{tree: t, dir: filepath.Join(t.base, id)}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := t.enable(g.dir); err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}

// cgroup2Group is a session's group or a leaf of it.
type cgroup2Group struct {
	tree   *cgroup2
	dir    string
	parent *cgroup2Group
	leaves int
	forks  int64
}

func (g *cgroup2Group) leaf(l wire.Limits) (cgroupLeaf, error) {
	if g.tree.extra {
		if err := g.limit(l); err != nil {
			return nil, err
		}
	}
	g.leaves++
	leaf := &cgroup2Group{tree: g.tree, dir: filepath.Join(g.dir, strconv.Itoa(g.leaves)), parent: g, forks: g.forkFailures()}
	if err := os.Mkdir(leaf.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return leaf, nil
}

func (g *cgroup2Group) limit(l wire.Limits) error {
	if err := writeCgroup(g.dir, "memory.max", strconv.FormatInt(l.MemoryBytes, 10)); err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	_ = writeCgroup(g.dir, "memory.swap.max", "0") // absent without swap accounting
	if err := writeCgroup(g.dir, "pids.max", strconv.Itoa(l.Processes)); err != nil {
		return fmt.Errorf("process limit: %w", err)
	}
	quota := "max 100000"
	if l.CPUMillis > 0 {
		quota = strconv.Itoa(max(1000, l.CPUMillis*100)) + " 100000"
	}
	if err := writeCgroup(g.dir, "cpu.max", quota); err != nil && l.CPUMillis > 0 {
		return fmt.Errorf("cpu limit: %w", err)
	}
	return nil
}

// spawn lets the kernel make the child inside the leaf.
func (g *cgroup2Group) spawn(cmd *exec.Cmd) error {
	dir, err := os.Open(g.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	return cmd.Start()
}

func (g *cgroup2Group) kill() {
	_ = writeCgroup(g.dir, "cgroup.kill", "1") // since Linux 5.14; a frozen process dies too
	_ = writeCgroup(g.dir, "cgroup.freeze", "0")
	killCgroup(g.dir)
}

func (g *cgroup2Group) freeze(on bool) (bool, error) {
	value, want := "0", int64(0)
	if on {
		value, want = "1", 1
	}
	if err := writeCgroup(g.dir, "cgroup.freeze", value); err != nil {
		return true, err
	}
	return true, awaitCgroup(func() bool { return readCgroupKey(g.dir, "cgroup.events", "frozen") == want })
}

func (g *cgroup2Group) usage() (Usage, bool, error) {
	if !g.tree.extra {
		return Usage{}, false, nil
	}
	mem, err := readCgroupInt(g.dir, "memory.current")
	if err != nil {
		return Usage{}, true, err
	}
	mem -= readCgroupKey(g.dir, "memory.stat", "inactive_file")
	u := Usage{MemoryBytes: max(0, mem), CPU: time.Duration(readCgroupKey(g.dir, "cpu.stat", "usage_usec")) * time.Microsecond}
	if n, err := readCgroupInt(g.dir, "pids.current"); err == nil {
		u.Processes = int(n)
	}
	return u, true, nil
}

func (g *cgroup2Group) events() (int64, int64) {
	forks := g.forkFailures()
	if g.parent != nil {
		forks = max(forks, g.parent.forkFailures()-g.forks)
	}
	return readCgroupKey(g.dir, "memory.events", "oom_kill"), forks
}

func (g *cgroup2Group) forkFailures() int64 { return readCgroupKey(g.dir, "pids.events", "max") }

func (g *cgroup2Group) remove() { removeCgroup(g.dir) }
