package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostFilesAreInvisible(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	other, err := s.Workspace("other")
	require.NoError(t, err)
	require.NoError(t, other.WriteFile("/work/secret-of-another", strings.NewReader("x"), 10, 0o600))
	w, err := s.Workspace("s1")
	require.NoError(t, err)
	secret := filepath.Join(t.TempDir(), "host-secret")
	require.NoError(t, os.WriteFile(secret, []byte("x"), 0o644))

	out, _ := sh(t, w, "ls /; echo; ls /home /etc /run /opt/gantry; ls -d /root /sys /var /boot /etc/shadow /etc/hostname /etc/machine-id "+
		secret+" "+other.Dir()+" 2>/dev/null; cat /etc/passwd; find / -xdev -name secret-of-another 2>/dev/null")
	root, rest, _ := strings.Cut(out, "\n\n")
	require.Equal(t, []string{"bin", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "run", "sbin", "tmp", "usr", "work"},
		without(strings.Fields(root), "lib32", "libx32", "srv"))
	require.NotContains(t, rest, "/root\n")
	for _, gone := range []string{"/sys", "/var", "/boot", "shadow", "/etc/hostname", "machine-id", secret, other.Dir(), "secret-of-another"} {
		require.NotContains(t, rest, gone)
	}
	require.Contains(t, rest, "agent:x:1000:1000")
}

func without(list []string, drop ...string) []string {
	var out []string
	for _, s := range list {
		keep := true
		for _, d := range drop {
			keep = keep && s != d
		}
		if keep {
			out = append(out, s)
		}
	}
	return out
}

func TestOnlyTheSessionsDirectoriesAreWritable(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	out, _ := sh(t, w, `for d in / /etc /usr /usr/bin /run /run/gantry /opt /opt/gantry /home /proc/sys/kernel/core_pattern /etc/passwd /opt/gantry/gantry; do
		if [ -d $d ]; then touch $d/x 2>/dev/null && echo "wrote $d"; else (echo x >>$d) 2>/dev/null && echo "wrote $d"; fi; done
		for d in /work /tmp /home/agent; do touch $d/x || echo "no $d"; done; echo done`)
	require.Equal(t, "done", out)
}

func TestProcessesHaveNoCapabilitiesNoRootAndNoWayBack(t *testing.T) {
	t.Parallel()
	for _, net := range []string{NetNone, NetProxy, NetHost} {
		w := newWorkspace(t, withNet(net))
		out, _ := sh(t, w, "id -u; id -g; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; hostname")
		require.Equal(t, strings.Split(`1000
1000
1000
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	0000000000000000
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
gantry`, "\n"), strings.Split(out, "\n"), net)
	}
}

func TestDangerousSystemCallsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	out, _ := sh(t, w, "/opt/gantry/gantry test-tool calls </dev/null; unshare -U true 2>/dev/null && echo unshared; "+
		"bwrap --ro-bind / / true 2>/dev/null && echo nested; true")
	require.Equal(t, "done", out)
}

func TestFilesMadeInsideBelongToTheSandboxUserOutside(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	_, exit := sh(t, w, "touch f; mkdir d")
	require.True(t, exit.OK())
	require.NoError(t, w.WriteFile("in/put", strings.NewReader("x"), 10, 0o644))
	out, _ := sh(t, w, "stat -c %u f d in in/put; echo more >>in/put && cat in/put")
	require.Equal(t, "1000\n1000\n1000\n1000\nxmore", out)
	if os.Geteuid() != 0 {
		t.Skip("the outside half needs a root worker")
	}
	for _, f := range []string{"f", "d", "in", "in/put"} {
		require.Equal(t, uint32(DefaultID), ownerOf(t, filepath.Join(w.Dir(), "work", f)), f)
	}
}

func TestProcessesSeeOnlyTheirOwnPidNamespace(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	start(t, w, "exec sleep 4242")
	out, _ := sh(t, w, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; kill -0 "+itoa(os.Getpid())+" 2>/dev/null && echo rea\"\"ched")
	require.NotContains(t, out, "4242", "another process of the session")
	require.NotContains(t, out, "test.timeout", "the worker")
	require.NotContains(t, out, "reached")
}

func TestNoDescriptorOfTheWorkerIsLeftOpen(t *testing.T) {
	t.Parallel()
	for _, net := range []string{NetNone, NetProxy} {
		w := newWorkspace(t, withNet(net))
		out, _ := sh(t, w, "for f in /proc/self/fd/*; do readlink $f; done | grep -vE '^(pipe:|/dev/null|user:|/proc/)'; readlink /proc/self/fd/* | grep -c pipe")
		require.Equal(t, "2", out, net) // standard output and error, here one pipe each; the user namespace is the process's own
	}
}

func TestNetNoneHasLoopbackOnly(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	out, _ := sh(t, w, "cat /proc/net/dev | tail -n +3 | cut -d: -f1; env | grep -ci proxy; ls /run/gantry")
	require.Equal(t, "lo\n0", strings.TrimSpace(out))
}

func TestBindsShowHostPathsReadOnlyAndNeverOtherSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tool"), []byte("tool\n"), 0o644))
	w := newWorkspace(t, func(o *Options) { o.Binds = []string{dir + ":/opt/tools"} })
	out, _ := sh(t, w, "cat /opt/tools/tool /opt/more/tool; touch /opt/tools/x 2>/dev/null && echo wrote; true", func(p *Process) { p.Binds = []string{dir + ":/opt/more"} })
	require.Equal(t, "tool\ntool", out)

	root := w.sb.opts.Root
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(root, link))
	for _, bad := range []string{"relative", "/", filepath.Dir(root), root, root + "/s1", link, dir, dir + ":/home/agent/x", dir + ":/work", dir + ":/proc", dir + ":/run/gantry/x", dir + ":/run", dir + ":/", dir + ":/opt/gantry", dir + ":/opt/../etc", "/does/not/exist"} {
		_, err := w.Start(t.Context(), Process{Args: []string{"true"}, Binds: []string{bad}})
		require.Error(t, err, bad)
	}
	o := testOptions(t)
	o.Binds = []string{"/"}
	_, err := New(o)
	require.ErrorContains(t, err, "bind")
}

func TestUnusableMachineIsRefusedWithReasonAndRemedy(t *testing.T) {
	o := testOptions(t)
	t.Setenv("PATH", t.TempDir())
	_, err := New(o)
	require.ErrorIs(t, err, ErrNotUsable)
	require.ErrorContains(t, err, "apt-get install bubblewrap")
	o.Mode = ModeNone
	s, err := New(o)
	require.NoError(t, err, "the weaker mode by name")
	require.NoError(t, s.Close())
	o.Mode = "weak"
	_, err = New(o)
	require.ErrorContains(t, err, "weak")

	settings := map[string]string{}
	get := func(p string) string { return settings[p] }
	for path, want := range map[string]string{
		"/proc/sys/kernel/unprivileged_userns_clone": "kernel.unprivileged_userns_clone=1", "/proc/sys/user/max_user_namespaces": "max_user_namespaces",
	} {
		settings = map[string]string{path: "0"}
		_, remedy := explain("", get)
		require.Contains(t, remedy, want)
	}
	settings = map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}
	reason, _ := explain("", get)
	require.Contains(t, reason, "AppArmor")
	settings = map[string]string{"/proc/self/status": "Name:\tx\nSeccomp:\t2\n"}
	reason, _ = explain("", get)
	require.Contains(t, reason, "seccomp")
}

func TestARefusingBwrapIsReportedWithWhatItSaid(t *testing.T) {
	o := testOptions(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bwrap"), []byte("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err := New(o)
	require.ErrorIs(t, err, ErrNotUsable)
	require.ErrorContains(t, err, "No permissions to create new namespace")
}

func TestModeNoneRunsInTheSameDirectoriesWithoutASandbox(t *testing.T) {
	t.Setenv("GANTRY_TEST_TOKEN", "cog_secret")
	w := newWorkspace(t, func(o *Options) { o.Mode = ModeNone })
	require.Equal(t, NetHost, w.sb.Net())
	out, exit := sh(t, w, "pwd; env; sleep 1000 & exit 3", func(p *Process) { p.Dir = "/work" })
	require.Equal(t, 3, exit.Code)
	require.Contains(t, out, w.Paths().Work+"\n")
	require.NotContains(t, out, "cog_secret")
}
