package worker_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/platform/secret"
	"gantry/internal/wire"
	"gantry/internal/worker"
	"gantry/internal/worker/runbook"
	"gantry/internal/worker/sandbox"
)

// TestMain lets the test binary stand for the gantry binary inside the sandbox.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sandbox-init":
			os.Exit(sandbox.Init(os.Args[2:]))
		case "agent":
			os.Exit(runbook.Main(context.Background(), os.Stdin, os.Stdout, os.Stderr))
		}
	}
	goleak.VerifyTestMain(m)
}

// running is a worker that works.
type running struct {
	options worker.Options
	cancel  context.CancelFunc
	ended   chan error
}

// work starts a worker on the server.
func work(t *testing.T, s *server, change ...func(*worker.Options)) *running {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap isn't installed")
	}
	o := worker.Options{
		Server: s.url, Key: secret.New(testKey), DataDir: filepath.Join(t.TempDir(), "data"), Name: "test", Capacity: 2, Version: "test",
		Sandbox: sandbox.Options{Net: sandbox.NetNone}, Logger: slog.New(slog.DiscardHandler),
	}
	if os.Getenv("GANTRY_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &running{options: o, cancel: cancel, ended: make(chan error, 1)}
	go func() { w.ended <- worker.Run(ctx, o) }()
	t.Cleanup(func() { w.stop() })
	return w
}

// stop drains the worker and gives what Run returned.
func (w *running) stop() error {
	w.cancel()
	err := <-w.ended
	w.ended <- err
	return err
}

// pythonAgent is the test agent of package acp, in another language.
func pythonAgent(t *testing.T) wire.Agent {
	t.Helper()
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("/usr/bin/python3 isn't installed")
	}
	return scriptAgent(t, filepath.Join("acp", "testdata", "agent.py"))
}

func scriptAgent(t *testing.T, path string) wire.Agent {
	t.Helper()
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	// A copy, because the sandbox's user may not enter the directories above the repository.
	dir, err := os.MkdirTemp("", "gantry-agent-") //nolint:usetesting // t.TempDir is closed to others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	copied := filepath.Join(dir, "agent.py")
	require.NoError(t, os.WriteFile(copied, source, 0o644))
	return wire.Agent{
		Name: "python", Command: []string{"/usr/bin/python3", "/opt/test/agent.py"}, Binds: []string{copied + ":/opt/test/agent.py"},
		ResumesTurns: true,
	}
}

// block is a runbook prompt of one script.
func block(lines ...string) string { return "```sh\n" + strings.Join(lines, "\n") + "\n```\n" }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
