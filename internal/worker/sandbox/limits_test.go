package sandbox

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gantry/internal/wire"
)

func itoa(n int) string { return strconv.Itoa(n) }

func ownerOf(t testing.TB, path string) uint32 {
	t.Helper()
	st, err := os.Lstat(path)
	require.NoError(t, err)
	sys, ok := st.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	return sys.Uid
}

func needCgroups(t testing.TB, s *Sandbox) {
	t.Helper()
	if s.LimitsBy() == "prlimit" {
		t.Skip("no cgroups can be made here")
	}
}

func TestMemoryLimitEndsAsMemory(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	needCgroups(t, w.sb)
	_, exit := sh(t, w, "exec /opt/gantry/gantry test-tool eat", limits(wire.Limits{MemoryBytes: 128 << 20}))
	require.Equal(t, ReasonMemory, exit.Reason, exit.String())
	require.Positive(t, exit.OOMKills)
	require.Contains(t, exit.String(), "memory limit")

	// A child that is killed doesn't end the program, and is told all the same.
	_, exit = sh(t, w, "/opt/gantry/gantry test-tool eat; exit 0", limits(wire.Limits{MemoryBytes: 128 << 20}))
	require.True(t, exit.OK())
	require.Positive(t, exit.OOMKills)

	out, exit := sh(t, w, "echo fine", limits(wire.Limits{MemoryBytes: 128 << 20}))
	require.Equal(t, "fine", out)
	require.Zero(t, exit.OOMKills, "an earlier process's kills aren't this one's")
}

func TestMemoryLimitHoldsForAllProcessesOfASessionTogether(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	needCgroups(t, w.sb)
	l := wire.Limits{MemoryBytes: 192 << 20}
	script := "x=$(head -c 90000000 /dev/zero | tr '\\0' x); touch /work/held; sleep 100"
	r, err := w.Start(t.Context(), Process{Args: []string{"/bin/sh", "-c", script}, Limits: l})
	require.NoError(t, err)
	defer func() { r.Kill(); <-r.Done() }()
	eventually(t, func() bool { return exists(filepath.Join(w.Dir(), "work", "held")) }, "it holds its memory")
	_, exit := sh(t, w, "exec /opt/gantry/gantry test-tool eat", limits(l))
	select {
	case <-r.Done():
		exit, _ = r.Wait()
	default:
	}
	require.Equal(t, ReasonMemory, exit.Reason)
}

func TestForkBombMeetsTheProcessLimit(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	needCgroups(t, w.sb)
	r, err := w.Start(t.Context(), Process{Args: []string{"/bin/sh", "-c", "b() { b | b & }; b; sleep 100"}, Limits: wire.Limits{Processes: 40}})
	require.NoError(t, err)
	var most int
	eventually(t, func() bool {
		u, err := r.Usage()
		most = max(most, u.Processes)
		oom, forks := r.group.events()
		return err == nil && oom == 0 && forks > 0
	}, "forks fail")
	require.LessOrEqual(t, most, 40)
	began := time.Now()
	r.Kill()
	exit, err := r.Wait()
	require.NoError(t, err)
	require.Equal(t, ReasonKilled, exit.Reason)
	require.Positive(t, exit.ForkFailures)
	require.Less(t, time.Since(began), 10*time.Second)

	out, exit := sh(t, w, "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; exit 0", limits(wire.Limits{Processes: 20}))
	require.Equal(t, ReasonProcesses, exit.Reason, out)
}

func TestCPULimitSlowsDown(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	needCgroups(t, w.sb)
	r, err := w.Start(t.Context(), Process{Args: []string{"/bin/sh", "-c", "while :; do :; done"}, Limits: wire.Limits{CPUMillis: 100}})
	require.NoError(t, err)
	defer func() { r.Kill(); <-r.Done() }()
	began := time.Now()
	require.Never(t, func() bool {
		u, err := r.Usage()
		return err != nil || u.CPU > time.Since(began)/4+100*time.Millisecond
	}, 2*time.Second, 100*time.Millisecond)
}

func TestCgroupsAreGoneAfterClose(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s, err := New(o)
	require.NoError(t, err)
	if s.LimitsBy() == "prlimit" {
		require.NoError(t, s.Close())
		t.Skip("no cgroups can be made here")
	}
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	start(t, w, "sleep 100")
	var dirs []string
	switch g := s.cgroups.(type) {
	case *cgroup1:
		for _, d := range g.base {
			dirs = append(dirs, d)
		}
	case *cgroup2:
		dirs = []string{g.base}
	}
	for _, d := range dirs {
		require.DirExists(t, d)
	}
	require.NoError(t, s.Close())
	for _, d := range dirs {
		require.NoDirExists(t, d)
	}
}

func TestCgroupVersion2StartsFreezesAndKills(t *testing.T) {
	t.Parallel()
	own, err := cgroup2Own()
	if err != nil {
		t.Skip("no version 2 hierarchy:", err)
	}
	// Controllers may be missing here; the core of version 2 is the same without them.
	v2, err := newCgroup2(own, "gantry-test-"+itoa(os.Getpid()), false)
	if err != nil {
		t.Skip("the version 2 hierarchy can't be written:", err)
	}
	defer v2.close()
	s := newSandbox(t)
	s.cgroups.close()
	s.cgroups = v2
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	r := start(t, w, "while :; do echo x >>/work/ticks; sleep 0.01; done")
	eventually(t, func() bool { return exists(filepath.Join(w.Dir(), "work", "ticks")) }, "it runs")
	b, err := os.ReadFile(filepath.Join(v2.base, "s1", "1", "cgroup.procs"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(strings.Fields(string(b))), 2)
	require.NoError(t, r.Freeze())
	before, err := os.ReadFile(filepath.Join(w.Dir(), "work", "ticks"))
	require.NoError(t, err)
	require.Never(t, func() bool {
		now, _ := os.ReadFile(filepath.Join(w.Dir(), "work", "ticks"))
		return len(now) != len(before)
	}, 200*time.Millisecond, 20*time.Millisecond)
	r.Kill()
	exit, err := r.Wait()
	require.NoError(t, err)
	require.Equal(t, ReasonKilled, exit.Reason)
	require.NoError(t, w.Close())
	require.NoDirExists(t, filepath.Join(v2.base, "s1"))
}

func TestASweepEndsWhatAPredecessorLeftFrozen(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	if _, ok := s.cgroups.(*cgroup1); !ok {
		t.Skip("only version 1's freezer keeps a process from dying")
	}
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	r := start(t, w, "while :; do echo x >>/work/ticks; sleep 0.01; done")
	eventually(t, func() bool { return exists(filepath.Join(w.Dir(), "work", "ticks")) }, "it runs")
	require.NoError(t, r.Freeze())
	s.cgroups.close() // as the next start does, which has no hold on the processes
	exit, err := r.Wait()
	require.NoError(t, err)
	require.NotEqual(t, ReasonExited, exit.Reason)
}

func TestParseCgroupsFindsTheWorkersOwnGroup(t *testing.T) {
	t.Parallel()
	unified := parseCgroups("25 20 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/system.slice/gantry.service\n")
	require.Equal(t, []cgroupMount{{v2: true, own: "/sys/fs/cgroup/system.slice/gantry.service"}}, unified)
	container := parseCgroups("25 20 0:22 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/docker/abc/inner\n0::/\n")
	require.Equal(t, "/sys/fs/cgroup/memory/inner", container[0].own)
	joint := parseCgroups("25 20 0:22 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n", "4:cpu,cpuacct:/a\n")
	require.Equal(t, "/cg/cpu,cpuacct/a", joint[0].own)
	require.Contains(t, joint[0].controllers, "cpuacct")
}

func TestWithoutCgroupsResourceLimitsHoldForEachProcess(t *testing.T) {
	t.Parallel()
	s := newSandbox(t, func(o *Options) { o.Limits = wire.Limits{MemoryBytes: 1 << 30, Processes: 200} })
	s.cgroups.close()
	s.cgroups = noCgroups{}
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	out, exit := sh(t, w, "grep -E '^Max (data|proc)' /proc/self/limits | tr -s ' '; exec /opt/gantry/gantry test-tool eat")
	require.Contains(t, out, "Max data size 1073741824 1073741824")
	require.Contains(t, out, "Max processes 200 200")
	require.NotZero(t, exit.Code, "it couldn't eat on")
	r := start(t, w, "while :; do echo x >>/work/ticks; sleep 0.01; done")
	eventually(t, func() bool { return exists(filepath.Join(w.Dir(), "work", "ticks")) }, "it runs")
	require.NoError(t, r.Freeze())
	require.NoError(t, r.Thaw())
	u, err := r.Usage()
	require.NoError(t, err)
	require.GreaterOrEqual(t, u.Processes, 2)
	r.Kill()
	exit, err = r.Wait()
	require.NoError(t, err)
	require.Equal(t, ReasonKilled, exit.Reason)
}

func TestFullDiskIsAClearError(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	o := testOptions(t)
	require.NoError(t, os.Mkdir(o.Root, 0o700))
	if err := unix.Mount("tmpfs", o.Root, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("a tmpfs can't be mounted here:", err)
	}
	defer func() { _ = unix.Unmount(o.Root, unix.MNT_DETACH) }()
	s, err := New(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	w, err := s.Workspace("s1")
	require.NoError(t, err)

	repo := makeRepository(t, func(dir string) {
		b := make([]byte, 8<<20)
		for i := range b {
			b[i] = byte(i * i >> 3)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "big"), b, 0o600))
	})
	s.opts.FileRoots = []string{repo}
	err = w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "big", URL: repo, Dir: "big"}})
	require.ErrorIs(t, err, ErrDiskFull)
	require.NoDirExists(t, filepath.Join(w.Dir(), "work", "big"))

	out, exit := sh(t, w, "cat /dev/zero >fill")
	require.Contains(t, out, "No space left on device")
	require.True(t, exit.DiskFull)
	require.Contains(t, exit.String(), "disk is full")
	require.ErrorIs(t, w.WriteFile("one-more", bytes.NewReader(make([]byte, 1<<20)), 2<<20, 0o600), ErrDiskFull)
	used, err := w.DiskUsage()
	require.NoError(t, err)
	require.Greater(t, used, int64(3<<20))
	_, err = s.Workspace("s2")
	if err != nil {
		require.ErrorIs(t, err, ErrDiskFull)
	}
	require.NoError(t, w.Remove())
}

func TestDiskUsageCountsBlocksAndHardLinksOnce(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	base, err := w.DiskUsage()
	require.NoError(t, err)
	out, exit := sh(t, w, "head -c 1048576 /dev/urandom >a; ln a b; truncate -s 1G sparse; ln -s /usr outside; mkdir closed; head -c 65536 /dev/urandom >closed/x; chmod 0 closed")
	require.True(t, exit.OK(), out)
	used, err := w.DiskUsage()
	require.NoError(t, err)
	require.InDelta(t, 1<<20, used-base, 200<<10)
}

// dig makes directories one in another and gives the innermost.
func dig(t *testing.T, at string, depth int) int {
	t.Helper()
	fd, err := unix.Open(at, openRead, 0)
	require.NoError(t, err)
	for range depth {
		require.NoError(t, unix.Mkdirat(fd, "deeper", 0o700))
		next, err := unix.Openat(fd, "deeper", openRead, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		fd = next
	}
	return fd
}

func TestDirectoriesTooDeepToMeasureAreSaidToBeAndAreDeletedAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	work := filepath.Join(w.Dir(), "work")
	require.NoError(t, unix.Close(dig(t, work, maxDepth-1)))
	_, err := w.DiskUsage()
	require.NoError(t, err)
	inner := dig(t, filepath.Join(w.Dir(), "tmp"), 20*maxDepth)
	require.NoError(t, unix.Mkdirat(inner, "closed", 0o700))
	require.NoError(t, unix.Symlinkat("/etc", inner, "link"))
	require.NoError(t, unix.Fchmod(inner, 0))
	require.NoError(t, unix.Close(inner))
	_, err = w.DiskUsage()
	require.ErrorIs(t, err, ErrTooDeep)
	require.NoError(t, w.Remove())
	require.NoDirExists(t, w.Dir())
}

func TestWriteFileStaysInsideTheWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("host"), 0o666))
	work := filepath.Join(w.Dir(), "work")
	require.NoError(t, os.Symlink(victim, filepath.Join(work, "link")))
	require.NoError(t, os.Symlink(outside, filepath.Join(work, "dir")))
	require.NoError(t, os.Symlink("../../..", filepath.Join(work, "up")))
	require.NoError(t, os.Mkdir(filepath.Join(work, "folder"), 0o755))
	require.NoError(t, syscall.Mkfifo(filepath.Join(work, "pipe"), 0o666))
	for _, name := range []string{"link", "dir/victim", "dir/new", "up/x", "../x", "../../x", "/etc/passwd", "/work", "/work/../run/proxy.sock", "/run/gantry/x", "folder", "pipe", "", ".", "a\x00b"} {
		err := w.WriteFile(name, strings.NewReader("evil"), 100, 0o644)
		require.Error(t, err, name)
	}
	b, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "host", string(b))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	require.NoError(t, w.WriteFile("a/b/c", strings.NewReader("first"), 5, 0o644))
	require.NoError(t, w.WriteFile("/work/a/b/c", strings.NewReader("again"), 5, 0o644))
	require.ErrorIs(t, w.WriteFile("a/b/c", strings.NewReader("too long"), 5, 0o644), ErrTooBig)
	out, _ := sh(t, w, "cat a/b/c; ls -A a/b")
	require.Equal(t, "againc", out)
}

func TestOpenRegularReadsRegularFilesOfTheWorkspaceOnly(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	_, exit := sh(t, w, `echo text >f; ln -s f inside; ln -s /etc/passwd abs; ln -s ../../../../../../../etc/passwd rel; ln -s loop loop
		mkfifo pipe; mkdir d; ln -s / d/root; head -c 2000 /dev/zero >big; echo home >$HOME/h; echo tmp >/tmp/t`)
	require.True(t, exit.OK())
	for _, name := range []string{"abs", "rel", "loop", "pipe", "d", "d/root/etc/passwd", "../state", "/etc/passwd", "/run/gantry/proxy.sock", "/work/../../etc/passwd", ""} {
		f, err := w.OpenRegular(name, 1000)
		require.ErrorIs(t, err, ErrNotRegular, name)
		require.Nil(t, f)
	}
	_, err := w.OpenRegular("big", 1000)
	require.ErrorIs(t, err, ErrTooBig)
	_, err = w.OpenRegular("missing", 1000)
	require.ErrorIs(t, err, os.ErrNotExist)
	for name, want := range map[string]string{"f": "text\n", "/work/inside": "text\n", "/home/agent/h": "home\n", "/tmp/t": "tmp\n"} {
		f, err := w.OpenRegular(name, 1000)
		require.NoError(t, err, name)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, want, string(b))
	}
}

// makeRepository makes a git repository that others may read.
func makeRepository(t testing.TB, fill func(dir string)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	require.NoError(t, os.Mkdir(dir, 0o755))
	git(t, dir, "init", "-q", "-b", "main")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README"), []byte("hello\n"), 0o644))
	if fill != nil {
		fill(dir)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "first")
	return dir
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
