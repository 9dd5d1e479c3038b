package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
)

// embeddedSpec is what the server hands its worker through a pipe: nothing of it is on a command line or in an environment,
// where other processes could read it. The server keeps the pipe open for its life, so its end tells the worker that the server
// is gone.
type embeddedSpec struct {
	Server   string         `json:"server"`
	Key      string         `json:"key"`
	Dir      string         `json:"dir"`
	Capacity int            `json:"capacity"`
	Sandbox  config.Sandbox `json:"sandbox"`
	Log      config.Log     `json:"log"`
}

// embeddedFD is the pipe's number in the worker.
const embeddedFD = 3

// workerStop is how long a draining worker is waited for: 30 s to a tool boundary, the rest to hand its sessions back.
const workerStop = 60 * time.Second

// embeddedWorker keeps a worker running as a child process of our own program.
type embeddedWorker struct {
	spec embeddedSpec
	log  *slog.Logger
	// env is the child's environment: the server's, without what only the server needs.
	env []string
}

func newEmbedded(cfg *config.Serve, socket, key string, log *slog.Logger) *embeddedWorker {
	return &embeddedWorker{
		spec: embeddedSpec{
			Server: "http+unix://" + socket, Key: key, Dir: filepath.Join(cfg.Data, "worker"),
			Capacity: cfg.WorkerCapacity, Sandbox: cfg.Sandbox, Log: cfg.Log,
		},
		log: log,
		env: workerEnv(os.Environ()),
	}
}

// workerEnv keeps of an environment what a worker needs; database URLs, cloud credentials and the like stay with the server.
func workerEnv(env []string) []string {
	var out []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GOTRACEBACK", "GOMAXPROCS", "GOMEMLIMIT"} {
		for _, e := range env {
			if len(e) > len(name) && e[:len(name)] == name && e[len(name)] == '=' {
				out = append(out, e)
			}
		}
	}
	return out
}

const (
	restartFirst = 500 * time.Millisecond
	restartMost  = 30 * time.Second
	// steady is how long a worker must have run for its end to count as the first again.
	steady = time.Minute
)

// run starts the worker, and again whenever it ends, until ctx does; then it has the worker drain and waits for it.
func (w *embeddedWorker) run(ctx context.Context) error {
	wait := restartFirst
	for {
		begun := clock.Clock{}.Now()
		err := w.once(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		if err == nil {
			// It ended by itself after a drain that an operator had asked for: to start it again would undo that.
			w.log.Warn("the embedded worker was drained; it works again when the server is started anew")
			<-ctx.Done()
			return nil
		}
		if (clock.Clock{}).Since(begun) > steady {
			wait = restartFirst
		}
		w.log.Error("the embedded worker ended; sessions wait until it is back", "error", err, "again_in", wait.String())
		if !clock.Sleep(ctx, wait) {
			return nil
		}
		wait = min(2*wait, restartMost)
	}
}

// once runs one worker to its end.
func (w *embeddedWorker) once(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, pipe, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = pipe.Close() }() // its end is the message
	cmd := exec.CommandContext(ctx, self, "worker", "run", "--embedded")
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{r}
	// Its own group: a Ctrl-C at the terminal reaches the server alone, which drains the worker in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = workerStop
	err = cmd.Start()
	_ = r.Close() // the child has its own
	if err != nil {
		return fmt.Errorf("start the embedded worker: %w", err)
	}
	if err := json.NewEncoder(pipe).Encode(w.spec); err != nil {
		_ = cmd.Process.Kill() // Wait tells what is to be told
		return errors.Join(fmt.Errorf("tell the embedded worker what to do: %w", err), cmd.Wait())
	}
	return cmd.Wait()
}

// readEmbedded is the worker's end of the pipe. gone is closed when the server is.
func readEmbedded() (spec embeddedSpec, gone <-chan struct{}, err error) {
	// Nothing that the worker starts may inherit it.
	syscall.CloseOnExec(embeddedFD)
	f := os.NewFile(embeddedFD, "embedded")
	dec := json.NewDecoder(f)
	if err := dec.Decode(&spec); err != nil {
		return spec, nil, fmt.Errorf("--embedded is only for `gantry serve`: %w", err)
	}
	end := make(chan struct{})
	go func() {
		defer close(end)
		_, _ = io.Copy(io.Discard, f) // any end is the end
	}()
	return spec, end, nil
}
