// Package worker is the machine's side of Gantry: it claims sessions from an outpost's queue, runs each one's agent in the
// sandbox, and reports what happens, until the session waits for somebody or is over.
//
// It speaks HTTP only, even inside one process, and trusts neither the agent nor the repository. A claim is fenced: once the
// server says that the fence is stale, everything under it is killed at once (docs/worker.md).
package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
	"gantry/internal/worker/link"
	"gantry/internal/worker/sandbox"
)

// DefaultOutpost is the outpost that always exists.
const DefaultOutpost = "default"

// Options configure a worker. Server, Key and DataDir are required.
type Options struct {
	// Server is https://HOST, http://LOOPBACK or http+unix:///PATH.
	Server string
	// Key is the worker key, the bearer at the outpost's door.
	Key secret.String
	// OutpostID is DefaultOutpost when empty.
	OutpostID string
	// Name is what people see; the host's name when empty.
	Name string
	// DataDir keeps the worker's id, the workspaces and the spools.
	DataDir string
	// Capacity is how many turns are worked on at once; DefaultCapacity when zero.
	Capacity int
	// Sandbox says how sessions are confined. Root is DataDir/sessions and Self this program when they are empty.
	Sandbox sandbox.Options
	// TLS replaces the system's trust when it is set.
	TLS     *tls.Config
	Version string
	Clock   clock.Clock
	Logger  *slog.Logger // slog.Default() when nil
}

// ErrUnauthorized means that the server doesn't know the worker key, or not any more.
var ErrUnauthorized = errors.New("the server refuses this worker's key: check the key, that it wasn't revoked, and that it belongs to this outpost")

// DefaultCapacity is four turns for each processor, at least two: an agent mostly waits for its model.
func DefaultCapacity() int { return max(2, 4*runtime.NumCPU()) }

// Worker runs the sessions of one machine.
type Worker struct {
	o  Options
	id string
	// instance names this process: the server ends what an earlier one of the same id held.
	instance string
	log      *slog.Logger
	server   *link.Server
	outpost  *link.Outpost
	box      *sandbox.Sandbox
	slots    *slots

	// life is what sessions run under: it outlasts the context that ends the claiming, so that they can be drained.
	life context.Context
	kill context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	runs     map[string]*run // by session
	draining bool            // the server, or the end of the context, asked for it
}

// Run claims and works until ctx ends, then drains: agents are brought to a tool boundary and their sessions handed back. It
// returns nil after a drain, also after one that the server asked for, and ErrUnauthorized when the key isn't valid.
func Run(ctx context.Context, o Options) error {
	w, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	w.outpost = w.server.Outpost(w.o.OutpostID, w.o.Key.Reveal())
	return w.serve(ctx)
}

// open checks the options and prepares everything but the claims.
func open(ctx context.Context, o Options) (*Worker, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	for _, d := range []string{o.DataDir, filepath.Join(o.DataDir, spoolDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("worker data: %w", err)
		}
	}
	server, err := link.Open(link.Options{URL: o.Server, Version: o.Version, TLS: o.TLS})
	if err != nil {
		return nil, err
	}
	box, err := sandbox.New(o.Sandbox)
	if err != nil {
		server.Close()
		return nil, err
	}
	w := &Worker{o: o, instance: id.Session(), log: o.Logger, server: server, box: box, slots: newSlots(o.Capacity), runs: map[string]*run{}}
	w.life, w.kill = context.WithCancel(context.WithoutCancel(ctx))
	if w.id, err = workerID(o.DataDir); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// spoolDir is where reports wait, below DataDir.
const spoolDir = "spool"

func (o *Options) complete() error {
	if o.DataDir == "" {
		return errors.New("worker: the data directory must be named")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.OutpostID == "" {
		o.OutpostID = DefaultOutpost
	}
	if o.Capacity <= 0 {
		o.Capacity = DefaultCapacity()
	}
	var err error
	if o.Name == "" {
		if o.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("worker name: %w", err)
		}
	}
	if o.Sandbox.Root == "" {
		o.Sandbox.Root = filepath.Join(o.DataDir, "sessions")
	}
	if o.Sandbox.Self == "" {
		if o.Sandbox.Self, err = os.Executable(); err != nil {
			return fmt.Errorf("worker program: %w", err)
		}
	}
	if o.Sandbox.Logger == nil {
		o.Sandbox.Logger = o.Logger
	}
	return nil
}

// close ends what still runs and gives everything back.
func (w *Worker) close() {
	w.kill()
	w.wg.Wait()
	if err := w.box.Close(); err != nil {
		w.log.Warn("the sandbox didn't close cleanly", "error", err)
	}
	w.server.Close()
}

// workerID reads the machine's id, or makes one at the first start, so that the server knows it again.
func workerID(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "worker-id")
	b, err := os.ReadFile(path)
	if known := strings.TrimSpace(string(b)); err == nil && known != "" {
		return known, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("worker id: %w", err)
	}
	fresh := id.New(id.Hypervisor)
	if err := os.WriteFile(path, []byte(fresh+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("worker id: %w", err)
	}
	return fresh, nil
}
