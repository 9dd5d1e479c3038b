package sandbox

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
)

// cgroupTree makes the cgroups of sessions below the worker's own cgroup: version 2, version 1, or nothing.
type cgroupTree interface {
	name() string
	session(id string) (cgroupSession, error)
	close()
}

// cgroupSession carries one session's limits; its processes live in leaves.
type cgroupSession interface {
	leaf(wire.Limits) (cgroupLeaf, error)
	remove()
}

// cgroupLeaf holds one process and its children.
type cgroupLeaf interface {
	// spawn starts cmd inside the leaf. It runs on the spawner's thread.
	spawn(cmd *exec.Cmd) error
	kill()
	// freeze answers false when the leaf can't do it.
	freeze(on bool) (bool, error)
	usage() (Usage, bool, error)
	events() (oomKills, forkFailures int64)
	remove()
}

// openCgroups takes the best that works here. The name is made of Root, so that a worker finds what its predecessor left.
func openCgroups(root string, sp *spawner, log *slog.Logger) cgroupTree {
	sum := sha256.Sum256([]byte(root))
	name := "gantry-" + hex.EncodeToString(sum[:6])
	v2, err2 := openCgroup2(name)
	if err2 == nil {
		return v2
	}
	v1, err1 := openCgroup1(name, sp)
	if err1 == nil {
		return v1
	}
	log.Warn("cgroups can't be used: memory and process limits hold for each process by itself, not for the session",
		"cgroup_v2", err2.Error(), "cgroup_v1", err1.Error())
	return noCgroups{}
}

// cgroupMount is one mounted hierarchy and the worker's own place in it.
type cgroupMount struct {
	v2          bool
	controllers []string
	own         string
}

// cgroupMounts reads the hierarchies this process sees.
func cgroupMounts() ([]cgroupMount, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return parseCgroups(string(info), string(own)), nil
}

func parseCgroups(mountinfo, own string) []cgroupMount {
	paths := map[string]string{} // controller, or "" for version 2, to this process's path
	for line := range strings.Lines(own) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 {
			for c := range strings.SplitSeq(f[1], ",") {
				paths[c] = f[2]
			}
		}
	}
	var out []cgroupMount
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(head) < 5 || len(tail) < 3 {
			continue
		}
		m := cgroupMount{v2: tail[0] == "cgroup2"}
		key := ""
		if tail[0] == "cgroup" {
			m.controllers = strings.Split(tail[2], ",")
			for _, c := range m.controllers {
				if _, ok := paths[c]; ok {
					key = c
				}
			}
		}
		path, known := paths[key]
		if (!m.v2 && key == "") || !known {
			continue
		}
		// A container may have only its own part mounted: head[3] is the mount's root within the hierarchy.
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(head[3], "/")); ok {
			path = rest
		} else {
			path = ""
		}
		m.own = filepath.Join(head[4], path)
		out = append(out, m)
	}
	return out
}

// writeCgroup writes one value to a control file in one write call, as the kernel wants it.
func writeCgroup(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func readCgroupInt(dir, file string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// readCgroupKey reads one line "key value" of a control file; 0 when it isn't there.
func readCgroupKey(dir, file, key string) int64 {
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), key+" "); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}

// removeCgroup removes an empty group. The last process may be on its way out, so it asks for a second.
func removeCgroup(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for wait := time.Millisecond; ; wait *= 2 {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, syscall.ENOENT) || !clock.Sleep(ctx, wait) {
			return
		}
	}
}

// sweepCgroup ends and removes what a predecessor left, deepest first. Its processes died with it, but for one whose bwrap had not
// yet got as far as tying it to its own life.
func sweepCgroup(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			sweepCgroup(filepath.Join(dir, e.Name()))
		}
	}
	if syscall.Rmdir(dir) != nil && exists(dir) {
		// A predecessor that was killed while its agent was frozen leaves processes that take no signal until they are thawed.
		signalCgroup(dir)
		_ = writeCgroup(dir, "freezer.state", "THAWED") // only version 1's freezer has it
		killCgroup(dir)
		removeCgroup(dir)
	}
}

// killCgroup kills every process of a group, again until none is left or a second is over: a process may fork meanwhile.
func killCgroup(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for signalCgroup(dir) > 0 && clock.Sleep(ctx, 2*time.Millisecond) {
	}
}

// signalCgroup sends SIGKILL to every process of a group and says how many there were.
func signalCgroup(dir string) int {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	pids := strings.Fields(string(b))
	for _, p := range pids {
		if pid, err := strconv.Atoi(p); err == nil && pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return len(pids)
}

// awaitCgroup reads a state until it is as wanted.
func awaitCgroup(reached func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for !reached() {
		if !clock.Sleep(ctx, 2*time.Millisecond) {
			return fmt.Errorf("the cgroup didn't change its state: %w", ctx.Err())
		}
	}
	return nil
}

// noCgroups is used where no cgroups can be made: sandbox-init sets resource limits on the process instead.
type noCgroups struct{}

func (noCgroups) name() string                           { return "prlimit" }
func (noCgroups) close()                                 {}
func (noCgroups) session(string) (cgroupSession, error)  { return noCgroups{}, nil }
func (noCgroups) remove()                                {}
func (noCgroups) leaf(l wire.Limits) (cgroupLeaf, error) { return noLeaf{l}, nil }

type noLeaf struct{ limits wire.Limits }

func (noLeaf) spawn(cmd *exec.Cmd) error   { return cmd.Start() }
func (noLeaf) kill()                       {}
func (noLeaf) freeze(bool) (bool, error)   { return false, nil }
func (noLeaf) usage() (Usage, bool, error) { return Usage{}, false, nil }
func (noLeaf) events() (int64, int64)      { return 0, 0 }
func (noLeaf) remove()                     {}
