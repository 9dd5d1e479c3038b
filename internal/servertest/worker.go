package servertest

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/fleet"
	"gantry/internal/platform/secret"
	"gantry/internal/worker"
	"gantry/internal/worker/runbook"
	"gantry/internal/worker/sandbox"
)

// Main is the body of a TestMain whose tests start workers: the test binary stands in for gantry inside the sandbox. It fails
// when a test leaves a goroutine behind.
func Main(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "sandbox-init":
			os.Exit(sandbox.Init(os.Args[2:]))
		case "sandbox-connect":
			os.Exit(sandbox.Connect(os.Args[2:]))
		case "git-ssh":
			os.Exit(sandbox.GitSSH(os.Args[2:]))
		case "agent":
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := runbook.Main(ctx, os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// WorkerOptions configure StartWorker. The zero value is a worker like the embedded one.
type WorkerOptions struct {
	Name     string
	Key      string // default: a fresh key for every organization
	Capacity int
	Sandbox  sandbox.Options // Root, Self and the log are filled in
}

// StartWorker runs a worker in this process until the test ends or stop is called; stop drains it.
func (s *Server) StartWorker(t testing.TB, o WorkerOptions) (stop func()) {
	t.Helper()
	require.NotEmpty(t, s.URL, "the server has no listener")
	if o.Key == "" {
		o.Key = s.WorkerKey(t)
	}
	if o.Name == "" {
		o.Name = "test"
	}
	self, err := os.Executable()
	require.NoError(t, err)
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	box := o.Sandbox
	box.Self, box.Logger = self, log
	box.FileRoots = append(box.FileRoots, s.Config.RepoRoot...)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := worker.Run(ctx, worker.Options{
			Server: s.URL, Key: secret.New(o.Key), OutpostID: fleet.DefaultOutpost, Name: o.Name, DataDir: t.TempDir(),
			Capacity: o.Capacity, Sandbox: box, Logger: log,
		})
		if err != nil {
			t.Errorf("the worker ended: %v", err)
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}
