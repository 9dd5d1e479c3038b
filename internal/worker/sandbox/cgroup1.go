package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gantry/internal/wire"
)

// cgroup1 keeps the same tree in each hierarchy of version 1.
type cgroup1 struct {
	sp   *spawner
	own  map[string]string // controller to the worker's own group
	base map[string]string // controller to ours below it
}

// cgroup1Wanted are the hierarchies in the order in which they are swept: what is frozen must thaw before it can end.
var cgroup1Wanted = []string{"freezer", "memory", "pids", "cpu", "cpuacct"}

func openCgroup1(name string, sp *spawner) (*cgroup1, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return nil, err
	}
	t := &cgroup1{sp: sp, own: map[string]string{}, base: map[string]string{}}
	for _, m := range mounts {
		for _, c := range m.controllers {
			if slices.Contains(cgroup1Wanted, c) {
				t.own[c] = m.own
			}
		}
	}
	if t.own["memory"] == "" || t.own["pids"] == "" {
		return nil, errors.New("the memory and pids hierarchies aren't mounted")
	}
	for _, c := range cgroup1Wanted {
		own := t.own[c]
		if own == "" {
			continue
		}
		dir := filepath.Join(own, name)
		sweepCgroup(dir)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			t.close()
			return nil, err
		}
		t.base[c] = dir
	}
	// Kernels before 5.11 count a group's children only when asked to.
	_ = writeCgroup(t.base["memory"], "memory.use_hierarchy", "1")
	return t, nil
}

func (t *cgroup1) name() string { return "cgroup v1" }

func (t *cgroup1) close() {
	for _, c := range cgroup1Wanted {
		if dir := t.base[c]; dir != "" {
			sweepCgroup(dir)
		}
	}
}

func (t *cgroup1) session(id string) (cgroupSession, error) {
	g := &cgroup1Group{tree: t, dirs: map[string]string{}}
	if err := g.make(t.base, id); err != nil {
		return nil, err
	}
	return g, nil
}

// cgroup1Group is a session's group, or a leaf of it, in every hierarchy.
type cgroup1Group struct {
	tree   *cgroup1
	dirs   map[string]string
	parent *cgroup1Group // nil for a session's
	leaves int
	forks  int64 // the session's fork failures when the leaf was made
}

func (g *cgroup1Group) make(above map[string]string, name string) error {
	for c, dir := range above {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			g.remove()
			return err
		}
		g.dirs[c] = d
	}
	return nil
}

func (g *cgroup1Group) leaf(l wire.Limits) (cgroupLeaf, error) {
	if err := g.limit(l); err != nil {
		return nil, err
	}
	g.leaves++
	leaf := &cgroup1Group{tree: g.tree, dirs: map[string]string{}, parent: g, forks: g.forkFailures()}
	if err := leaf.make(g.dirs, strconv.Itoa(g.leaves)); err != nil {
		return nil, err
	}
	return leaf, nil
}

func (g *cgroup1Group) limit(l wire.Limits) error {
	mem := strconv.FormatInt(l.MemoryBytes, 10)
	dir := g.dirs["memory"]
	// Memory with swap may never be below memory alone, so which comes first depends on the direction.
	_ = writeCgroup(dir, "memory.memsw.limit_in_bytes", mem)
	if err := writeCgroup(dir, "memory.limit_in_bytes", mem); err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	_ = writeCgroup(dir, "memory.memsw.limit_in_bytes", mem) // absent without swap accounting
	if err := writeCgroup(g.dirs["pids"], "pids.max", strconv.Itoa(l.Processes)); err != nil {
		return fmt.Errorf("process limit: %w", err)
	}
	if dir := g.dirs["cpu"]; dir != "" {
		quota := int64(-1)
		if l.CPUMillis > 0 {
			quota = max(1000, int64(l.CPUMillis)*100) // microseconds in a period of 100 ms; the kernel's least is 1 ms
		}
		if err := writeCgroup(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)); err != nil && l.CPUMillis > 0 {
			return fmt.Errorf("cpu limit: %w", err)
		}
	}
	return nil
}

// spawn takes the spawner's thread into the leaf and back, so that the child is in it from its first instruction. Writing 0 moves
// the writing thread only, which spares the kernel's global lock.
func (g *cgroup1Group) spawn(cmd *exec.Cmd) error {
	var err error
	for _, dir := range g.dirs {
		if err = writeCgroup(dir, "tasks", "0"); err != nil {
			break
		}
	}
	if err == nil {
		err = cmd.Start()
	}
	for c := range g.dirs {
		err = errors.Join(err, writeCgroup(g.tree.own[c], "tasks", "0"))
	}
	return err
}

func (g *cgroup1Group) kill() {
	// A frozen process takes the signal only when it is thawed.
	signalCgroup(g.dirs["pids"])
	if dir := g.dirs["freezer"]; dir != "" {
		_ = writeCgroup(dir, "freezer.state", "THAWED")
	}
	killCgroup(g.dirs["pids"])
}

func (g *cgroup1Group) freeze(on bool) (bool, error) {
	dir := g.dirs["freezer"]
	if dir == "" {
		return false, nil
	}
	want := "THAWED"
	if on {
		want = "FROZEN"
	}
	if err := writeCgroup(dir, "freezer.state", want); err != nil {
		return true, err
	}
	return true, awaitCgroup(func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
		return err != nil || string(b) == want+"\n"
	})
}

func (g *cgroup1Group) usage() (Usage, bool, error) {
	mem, err := readCgroupInt(g.dirs["memory"], "memory.usage_in_bytes")
	if err != nil {
		return Usage{}, true, err
	}
	mem -= readCgroupKey(g.dirs["memory"], "memory.stat", "total_inactive_file")
	u := Usage{MemoryBytes: max(0, mem)}
	if n, err := readCgroupInt(g.dirs["pids"], "pids.current"); err == nil {
		u.Processes = int(n)
	}
	if dir := g.dirs["cpuacct"]; dir != "" {
		n, _ := readCgroupInt(dir, "cpuacct.usage")
		u.CPU = time.Duration(n)
	}
	return u, true, nil
}

func (g *cgroup1Group) events() (int64, int64) {
	oom := readCgroupKey(g.dirs["memory"], "memory.oom_control", "oom_kill")
	forks := g.forkFailures()
	if g.parent != nil {
		// Kernels differ in which of the two groups they count.
		forks = max(forks, g.parent.forkFailures()-g.forks)
	}
	return oom, forks
}

func (g *cgroup1Group) forkFailures() int64 {
	return readCgroupKey(g.dirs["pids"], "pids.events", "max")
}

func (g *cgroup1Group) remove() {
	for _, dir := range g.dirs {
		removeCgroup(dir)
	}
}
