package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
)

func TestProcessGetsItsArgumentsInputAndDirectoryAndGivesItsStatus(t *testing.T) {
	t.Parallel()
	for _, net := range []string{NetNone, NetProxy, NetHost} {
		t.Run(net, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t, withNet(net))
			var out, errs bytes.Buffer
			exit, err := w.Run(t.Context(), Process{
				Args: []string{"sh", "-c", `cat; pwd; echo "$1" >&2; exit 7`, "sh", "an argument\nof two lines"},
				Dir:  "/tmp", Stdin: strings.NewReader("input\n"), Stdout: &out, Stderr: &errs,
			})
			require.NoError(t, err)
			require.Equal(t, "input\n/tmp\n", out.String())
			require.Equal(t, "an argument\nof two lines\n", errs.String())
			require.Equal(t, Exit{Code: 7, Reason: ReasonExited}, exit)
		})
	}
}

func TestExitTellsSignalsKillsAndMissingCommandsApart(t *testing.T) {
	t.Parallel()
	for _, net := range []string{NetNone, NetProxy} {
		w := newWorkspace(t, withNet(net))
		_, exit := sh(t, w, "kill -SEGV $$")
		require.Equal(t, Exit{Code: 128 + int(syscall.SIGSEGV), Reason: ReasonSignaled}, exit, net)

		r := start(t, w, "sleep 100")
		r.Kill()
		exit, err := r.Wait()
		require.NoError(t, err)
		require.Equal(t, ReasonKilled, exit.Reason, net)

		ctx, cancel := context.WithCancel(t.Context())
		r, err = w.Start(ctx, Process{Args: []string{"sleep", "100"}})
		require.NoError(t, err)
		cancel()
		exit, err = r.Wait()
		require.NoError(t, err)
		require.Equal(t, ReasonKilled, exit.Reason, net)

		exit, err = w.Run(t.Context(), Process{Args: []string{"no-such-program"}})
		require.NoError(t, err)
		require.NotEqual(t, 0, exit.Code, net)

		exit, err = w.Run(t.Context(), Process{Args: []string{"true"}, Dir: "/nowhere"})
		require.NoError(t, err)
		require.Equal(t, ReasonSetup, exit.Reason, net)
	}
}

func TestEnvironmentOfTheWorkerIsNotInherited(t *testing.T) {
	t.Setenv("GANTRY_TEST_TOKEN", "cog_secret")
	w := newWorkspace(t, withNet(NetProxy))
	out, exit := sh(t, w, "env; tr '\\0' '\\n' </proc/1/environ", func(p *Process) { p.Env = []string{"MINE=1", "PATH=/usr/bin:/bin"} })
	require.True(t, exit.OK())
	require.NotContains(t, out, "cog_secret")
	require.Contains(t, out, "MINE=1")
	require.Contains(t, out, "PATH=/usr/bin:/bin\n")
	require.Contains(t, out, "HOME=/home/agent")
	for _, n := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		require.Contains(t, out, n+"=http://127.0.0.1:3128")
	}
}

func TestEnvironmentCantReachBwrapOrItsArguments(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	r, err := w.Start(t.Context(), Process{Args: []string{"sleep", "100"}, Env: []string{"LD_BIND_NOW=s3cret"}})
	require.NoError(t, err)
	defer func() { r.Kill(); <-r.Done() }()
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.cmd.Process.Pid, file))
		if errors.Is(err, os.ErrPermission) {
			continue // bwrap's memory is closed to a worker of the same uid
		}
		require.NoError(t, err)
		require.NotContains(t, string(b), "s3cret")
	}
	for _, bad := range []string{"A=1\x00--bind\x00/\x00/mnt", "novalue", "=x"} {
		_, err := w.Start(t.Context(), Process{Args: []string{"true"}, Env: []string{bad}})
		require.Error(t, err, bad)
	}
	_, err = w.Start(t.Context(), Process{Args: []string{"true"}, Dir: "/\x00--bind\x00/\x00/mnt"})
	require.Error(t, err)
}

func TestProcessesOfOneSessionShareDirectoriesAndKeepThemForAResume(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s, err := New(o)
	require.NoError(t, err)
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	_, exit := sh(t, w, "echo a >/tmp/a; echo b >/work/b; echo c >$HOME/c")
	require.True(t, exit.OK())
	out, _ := sh(t, w, "cat /tmp/a /work/b /home/agent/c")
	require.Equal(t, "a\nb\nc", out)
	require.NoError(t, s.Close())

	s, err = New(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	ids, err := s.List()
	require.NoError(t, err)
	require.Equal(t, []string{"s1"}, ids)
	w, err = s.Workspace("s1")
	require.NoError(t, err)
	out, _ = sh(t, w, "cat /tmp/a /work/b /home/agent/c")
	require.Equal(t, "a\nb\nc", out)
	require.NoError(t, w.Remove())
	ids, err = s.List()
	require.NoError(t, err)
	require.Empty(t, ids)
	_, err = w.Start(t.Context(), Process{Args: []string{"true"}})
	require.ErrorContains(t, err, "closed")
}

func TestRemoveDeletesDirectoriesTheirOwnerMayNotWrite(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	_, exit := sh(t, w, "mkdir -p a/b/c && touch a/b/c/f && chmod 0555 a/b/c a/b && chmod 0 a")
	require.True(t, exit.OK())
	require.NoError(t, w.Remove())
	require.False(t, exists(w.Dir()))
}

func TestASecondWorkerOnTheSameRootIsRefused(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s, err := New(o)
	require.NoError(t, err)
	_, err = New(o)
	require.ErrorContains(t, err, "another worker uses")
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	s, err = New(o)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestSessionIDsCantLeaveTheRoot(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	for _, id := range []string{"", ".", "..", "../x", "a/b", ".etc", "a\x00b", strings.Repeat("x", 200)} {
		_, err := s.Workspace(id)
		require.Error(t, err, id)
		require.Error(t, s.RemoveWorkspace(id), id)
	}
}

func TestFreezeStopsTheWholeTreeUntilThaw(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	r := start(t, w, "(while :; do echo x >>/work/child; sleep 0.01; done) & while :; do echo x >>/work/ticks; sleep 0.01; done")
	size := func() int64 {
		var n int64
		for _, f := range []string{"ticks", "child"} {
			if st, err := os.Stat(filepath.Join(w.Dir(), "work", f)); err == nil {
				n += st.Size()
			}
		}
		return n
	}
	eventually(t, func() bool { return size() > 4 }, "it runs")
	require.NoError(t, r.Freeze())
	require.NoError(t, r.Freeze())
	before := size()
	require.Never(t, func() bool { return size() != before }, 300*time.Millisecond, 20*time.Millisecond)
	require.NoError(t, r.Thaw())
	eventually(t, func() bool { return size() > before+8 }, "it goes on")

	require.NoError(t, r.Freeze())
	r.Kill() // frozen processes die as well
	exit, err := r.Wait()
	require.NoError(t, err)
	require.Equal(t, ReasonKilled, exit.Reason)
	require.NoError(t, r.Thaw(), "of a process that has ended")
}

func TestFreezeBySignalsWhereThereIsNoFreezer(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sh", "-c", "sleep 100 & sleep 100 & wait")
	require.NoError(t, cmd.Start())
	defer func() { _ = signalTree(cmd.Process.Pid, false); _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	eventually(t, func() bool { return len(tree(cmd.Process.Pid)) == 3 }, "two children")
	family := tree(cmd.Process.Pid)
	states := func() (s string) {
		for _, pid := range family {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if _, rest, ok := strings.Cut(string(b), ") "); ok {
				s += rest[:1]
			}
		}
		return s
	}
	require.NoError(t, signalTree(cmd.Process.Pid, true))
	eventually(t, func() bool { return states() == "TTT" }, "all are stopped")
	require.NoError(t, signalTree(cmd.Process.Pid, false))
	eventually(t, func() bool { return states() == "SSS" }, "all go on")
	u, err := treeUsage(cmd.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, 3, u.Processes)
	require.Positive(t, u.MemoryBytes)
	for _, pid := range family[1:] {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestKillRightAfterTheStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cgroups", "none"} {
		s := newSandbox(t)
		if name == "none" {
			s.cgroups.close()
			s.cgroups = noCgroups{}
		}
		w, err := s.Workspace("s1")
		require.NoError(t, err)
		mark := "87" + strconv.Itoa(os.Getpid())
		for i := range 60 {
			r, err := w.Start(t.Context(), Process{Args: []string{"sleep", mark}})
			require.NoError(t, err)
			_ = clock.Sleep(t.Context(), time.Duration(i%12)*500*time.Microsecond)
			r.Kill()
			exit, err := r.Wait()
			require.NoError(t, err)
			require.Equal(t, ReasonKilled, exit.Reason)
		}
		eventually(t, func() bool {
			lists, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, l := range lists {
				if b, _ := os.ReadFile(l); bytes.Contains(b, []byte("sleep\x00"+mark)) {
					return false
				}
			}
			return true
		}, "none is left: "+name)
	}
}

func TestSignalReachesTheProgram(t *testing.T) {
	t.Parallel()
	for _, net := range []string{NetNone, NetProxy} {
		w := newWorkspace(t, withNet(net))
		r := start(t, w, "trap 'exit 9' TERM; touch ready; while :; do sleep 0.01; done")
		eventually(t, func() bool { return exists(filepath.Join(w.Dir(), "work", "ready")) }, "it runs")
		require.NoError(t, r.Signal(syscall.SIGTERM))
		exit, err := r.Wait()
		require.NoError(t, err)
		require.Equal(t, Exit{Code: 9, Reason: ReasonExited}, exit, net)
	}
}

func TestOrphansAreReapedAndEndWithTheProgram(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, withNet(NetProxy))
	// Forty orphans end while the program runs: none may be left as a zombie.
	out, exit := sh(t, w, `i=0; while [ $i -lt 40 ]; do (true & ) ; i=$((i+1)); done; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status; (sleep 100 &); echo done`)
	require.Equal(t, "done", out)
	require.True(t, exit.OK())
}

func TestUsageMeasuresMemoryAndProcesses(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	r := start(t, w, "sleep 100 & sleep 100 & wait")
	eventually(t, func() bool {
		u, err := r.Usage()
		return err == nil && u.Processes >= 3 && u.MemoryBytes > 0
	}, "it is seen")
	r.Kill()
	<-r.Done()
	u, err := r.Usage()
	require.NoError(t, err)
	require.Zero(t, u)
}

func TestCloseEndsEveryProcess(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, withNet(NetProxy))
	a, b := start(t, w, "sleep 100"), start(t, w, "sleep 100")
	require.NoError(t, w.Close())
	for _, r := range []*Running{a, b} {
		exit, err := r.Wait()
		require.NoError(t, err)
		require.Equal(t, ReasonKilled, exit.Reason)
	}
}

// testWorker is a worker of its own: it starts a program in a sandbox and waits to be killed.
func testWorker(root string) int {
	self, _ := os.Executable()
	s, err := New(Options{Root: root, Self: self})
	if err != nil {
		return complain(1, err)
	}
	w, err := s.Workspace("s1")
	if err != nil {
		return complain(1, err)
	}
	r, err := w.Start(context.Background(), Process{
		Args:   []string{"sh", "-c", "sleep 1000 & while :; do date +%s%N >/work/alive; sleep 0.01; done"},
		Limits: wire.Limits{Processes: 64},
	})
	if err != nil {
		return complain(1, err)
	}
	_, _ = r.Wait()
	return 0
}

func TestProcessesDieWithTheirWorker(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	cmd := exec.Command(o.Self, "test-worker", o.Root)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	require.NoError(t, cmd.Start())
	alive := filepath.Join(o.Root, "s1", "work", "alive")
	eventually(t, func() bool { return exists(alive) }, "it runs")
	family := tree(cmd.Process.Pid)[1:]
	require.GreaterOrEqual(t, len(family), 3)

	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
	eventually(t, func() bool {
		for _, pid := range family {
			b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
			if err == nil && !bytes.Contains(b, []byte("State:\tZ")) && bytes.Contains(b, []byte("NSpid")) {
				return false
			}
		}
		return true
	}, "all are gone")
	before, err := os.ReadFile(alive)
	require.NoError(t, err)
	require.Never(t, func() bool {
		now, _ := os.ReadFile(alive)
		return !bytes.Equal(now, before)
	}, 200*time.Millisecond, 20*time.Millisecond)

	// The successor finds the workspace and the cgroups' names free.
	s, err := New(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	out, exit := sh(t, w, "cat /work/alive")
	require.True(t, exit.OK())
	require.Equal(t, strings.TrimSpace(string(before)), out)
}

// testUmask runs a program under a worker that keeps everything to itself.
func testUmask(root string) int {
	self, _ := os.Executable()
	s, err := New(Options{Root: root, Self: self})
	if err != nil {
		return complain(1, err)
	}
	defer s.Close()
	w, err := s.Workspace("s1")
	if err != nil {
		return complain(1, err)
	}
	if err := w.WriteFile("a/b", strings.NewReader("x"), 1, 0o600); err != nil {
		return complain(1, err)
	}
	exit, err := w.Run(context.Background(), Process{Args: []string{"sh", "-c", "whoami && cat /work/a/b && ls /etc/ssl /run/gantry && touch /work/x /tmp/x ~/x && git --version"}, Stdout: os.Stderr, Stderr: os.Stderr})
	if err != nil {
		return complain(1, err)
	}
	return exit.Code
}

func TestUmaskOfTheWorkerDoesntShutTheSandboxOut(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	out, err := exec.Command(o.Self, "test-umask", o.Root).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "agent")
}
