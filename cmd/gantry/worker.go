package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
	"gantry/internal/wire"
	"gantry/internal/worker"
	"gantry/internal/worker/sandbox"
)

type workerCmd struct {
	Run   workerRunCmd   `cmd:"" default:"withargs" help:"Work on sessions for a server (the default)."`
	Start workerStartCmd `cmd:"" help:"Work on the one session that was claimed for this process, as an outposts operator starts it."`

	Drain workerDrainCmd `cmd:"" help:"Have a worker finish what it has and take nothing new."`
}

// Help is shown below the flags.
func (workerCmd) Help() string {
	return "`gantry worker --server URL` is short for `gantry worker run --server URL`, whose --help shows the settings."
}

type workerRunCmd struct {
	config.Worker `embed:""`
	Embedded      bool `hidden:"" help:"Started by gantry serve."`
}

// Run works until a signal, then drains.
func (w *workerRunCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	if w.Embedded {
		return runEmbedded(ctx, io)
	}
	if err := w.Finish(src); err != nil {
		return err
	}
	log := newLogger(io, w.Log)
	o := worker.Options{
		Server: w.Server, Key: w.Key, OutpostID: w.Outpost, Name: w.Name, DataDir: w.Dir, Capacity: w.Capacity,
		Sandbox: sandboxOptions(w.Sandbox, log), Version: version(), Logger: log,
	}
	return runWorker(ctx, o, 0)
}

// runEmbedded is the child process of `gantry serve`. When the server is gone there is nobody left to report to: the
// process ends at once, its sessions with it, and the next server resumes them.
func runEmbedded(ctx context.Context, io *stdio) error {
	spec, gone, err := readEmbedded()
	if err != nil {
		return err
	}
	log := newLogger(io, spec.Log)
	go func() {
		<-gone
		log.Error("the server is gone; the embedded worker ends")
		os.Exit(exitError)
	}()
	o := worker.Options{
		Server: spec.Server, Key: secret.New(spec.Key), Name: "embedded", DataDir: spec.Dir, Capacity: spec.Capacity,
		Sandbox: sandboxOptions(spec.Sandbox, log), Version: version(), Logger: log,
	}
	if err := runWorker(ctx, o, workerStop); err != nil {
		// Its lines stand in the server's log, so this one has the same form.
		log.Error("the embedded worker can't work", "error", err)
		return exitCode(exitUsage)
	}
	return nil
}

// runWorker holds the worker's directory, waiting for a predecessor that still drains, and works.
func runWorker(ctx context.Context, o worker.Options, patience time.Duration) error {
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return fmt.Errorf("the worker's directory can't be made: %w", err)
	}
	lock, err := lockFile(filepath.Join(o.DataDir, "worker.lock"))
	const step = 200 * time.Millisecond
	for waited := time.Duration(0); errors.Is(err, errLocked) && waited < patience; waited += step {
		if !clock.Sleep(ctx, step) {
			return nil
		}
		lock, err = lockFile(filepath.Join(o.DataDir, "worker.lock"))
	}
	if err != nil {
		return fmt.Errorf("the worker's directory %s: %w", o.DataDir, err)
	}
	defer func() { _ = lock.Close() }() // the lock ends with it
	return worker.Run(ctx, o)
}

func sandboxOptions(s config.Sandbox, log *slog.Logger) sandbox.Options {
	const milli = 1000
	return sandbox.Options{
		Mode: s.Sandbox, Net: s.SandboxNet, Binds: s.SandboxBind, FileRoots: s.RepoRoot,
		AllowCIDRs: s.AllowNetworks, AllowTargets: s.SandboxAllow, CABundle: s.SandboxCA,
		Limits: wire.Limits{
			MemoryBytes: int64(s.SessionMemory), DiskBytes: int64(s.SessionDisk),
			Processes: s.SessionProcesses, CPUMillis: int(s.SessionCPUs * milli),
		},
		Logger: log,
	}
}

type workerStartCmd struct {
	config.Sandbox `embed:""`
	config.Log     `embed:""`
	Session        string `required:"" help:"Id of the session." placeholder:"SESSION"`
	Dir            string `help:"Directory of the workspace." default:"." placeholder:"DIR" env:"GANTRY_WORKER_DIR,DEVIN_WORKER_CACHE_DIR"`
}

// Help is shown below the flags.
func (workerStartCmd) Help() string {
	return "The session's token is taken from " + worker.EnvSessionToken + " and the gateway's address from " + worker.EnvGatewayURL + "."
}

// Run works on the session until it waits, sleeps or is over.
func (w *workerStartCmd) Run(ctx context.Context, io *stdio) error {
	dir, err := filepath.Abs(w.Dir)
	if err != nil {
		return err
	}
	log := newLogger(io, w.Log)
	o := worker.OneOptions{SessionID: id.BareSession(w.Session), Options: worker.Options{
		DataDir: dir, Sandbox: sandboxOptions(w.Sandbox, log), Version: version(), Logger: log,
	}}
	o.Token, o.GatewayURL = secret.New(os.Getenv(worker.EnvSessionToken)), os.Getenv(worker.EnvGatewayURL)
	// Nothing that the worker starts inherits it.
	if err := os.Unsetenv(worker.EnvSessionToken); err != nil {
		return err
	}
	return worker.RunOne(ctx, o)
}

type workerDrainCmd struct {
	target `embed:""`
	Worker string `arg:"" optional:"" help:"Id or name of the worker; needed when there are several."`
}

// Run asks the server, which tells the worker with its next report.
func (d *workerDrainCmd) Run(ctx context.Context, io *stdio) error {
	c, err := d.open(io)
	if err != nil {
		return err
	}
	p, err := c.ListHypervisors(ctx)
	if err != nil {
		return explain(err)
	}
	var found, names []string
	for _, h := range p.Items {
		names = append(names, strings.TrimSpace(h.HypervisorID+" "+h.Name))
		if d.Worker == "" || d.Worker == h.HypervisorID || d.Worker == h.Name {
			found = append(found, h.HypervisorID)
		}
	}
	if d.Worker != "" && len(found) == 0 && strings.HasPrefix(d.Worker, "hypervisor-") {
		found = []string{d.Worker} // not on the first page
	}
	if len(names) == 0 && len(found) == 0 {
		return errors.New("no worker is available: each has gone or drains already")
	}
	if len(found) == 0 {
		return fmt.Errorf("no worker has the id or name %q: name one of\n  %s", d.Worker, strings.Join(names, "\n  "))
	}
	if len(found) != 1 {
		return fmt.Errorf("%d workers fit: name one of\n  %s", len(found), strings.Join(names, "\n  "))
	}
	if err := c.DrainHypervisor(ctx, found[0]); err != nil {
		return explain(err)
	}
	if d.JSON {
		return io.json(map[string]string{"hypervisor_id": found[0], "status": "draining"})
	}
	io.printf("%s drains: it finishes or hands back what it has and takes nothing new\n", found[0])
	return nil
}
