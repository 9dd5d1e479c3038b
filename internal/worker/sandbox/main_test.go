package sandbox

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/wire"
)

// TestMain lets the test binary stand in for gantry inside the sandbox.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sandbox-init":
			os.Exit(Init(os.Args[2:]))
		case "sandbox-connect":
			os.Exit(Connect(os.Args[2:]))
		case "git-ssh":
			os.Exit(GitSSH(os.Args[2:]))
		case "test-worker":
			os.Exit(testWorker(os.Args[2]))
		case "test-umask":
			syscall.Umask(0o077)
			os.Exit(testUmask(os.Args[2]))
		case "test-tool":
			os.Exit(testTool(os.Args[2:]))
		}
	}
	// What tests make on the machine is read by the sandbox's user. That Sandbox itself does not depend on it is TestUmaskOfTheWorkerDoesntShutTheSandboxOut.
	syscall.Umask(0o022)
	goleak.VerifyTestMain(m)
}

func testOptions(t testing.TB) Options {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap isn't installed")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	// The sandbox's user has to get past directories that only the worker may enter.
	data := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(data, 0o700))
	return Options{Root: filepath.Join(data, "sessions"), Self: self, Net: NetNone, Logger: slog.New(slog.DiscardHandler)}
}

func newSandbox(t testing.TB, change ...func(*Options)) *Sandbox {
	t.Helper()
	o := testOptions(t)
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func newWorkspace(t testing.TB, change ...func(*Options)) *Workspace {
	t.Helper()
	w, err := newSandbox(t, change...).Workspace("s1")
	require.NoError(t, err)
	return w
}

func withNet(net string) func(*Options) { return func(o *Options) { o.Net = net } }

// sh runs a script and gives what it said on both outputs.
func sh(t testing.TB, w *Workspace, script string, change ...func(*Process)) (string, Exit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var out bytes.Buffer
	p := Process{Args: []string{"/bin/sh", "-c", script}, Stdout: &out, Stderr: &out}
	for _, c := range change {
		c(&p)
	}
	exit, err := w.Run(ctx, p)
	require.NoError(t, err, out.String())
	return strings.TrimSpace(out.String()), exit
}

// start starts a script in the background.
func start(t testing.TB, w *Workspace, script string) *Running {
	t.Helper()
	r, err := w.Start(t.Context(), Process{Args: []string{"/bin/sh", "-c", script}})
	require.NoError(t, err)
	t.Cleanup(func() { r.Kill(); <-r.Done() })
	return r
}

func eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, 20*time.Second, 5*time.Millisecond, what)
}

// testTool is small programs that tests run inside, where a shell can't do it.
func testTool(args []string) int {
	switch args[0] {
	case "eat": // memory until the limit
		var kept [][]byte
		for {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
			if len(kept) > 1<<14 {
				return 0
			}
		}
	case "calls":
		return tryCalls()
	}
	return complain(2, errors.New("no such tool: "+strings.Join(args, " ")))
}

func limits(l wire.Limits) func(*Process) { return func(p *Process) { p.Limits = l } }
