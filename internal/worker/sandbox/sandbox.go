// Package sandbox keeps the workspaces of sessions on a worker machine and runs hostile programs in them.
//
// Every process of a session runs under bubblewrap in its own mount, pid, user, ipc, uts, cgroup and network namespace, without
// capabilities, under cgroup limits, with an environment that holds nothing of the worker's. Git is such a program too: clone
// runs inside. What the outside keeps is a guarded proxy and, behind it and a socket of their own, relays that add a git credential or
// an ssh key to what git asks for (docs/security.md).
//
// The package is Linux only.
package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gantry/internal/platform/safehttp"
	"gantry/internal/wire"
)

// Modes of a sandbox. ModeNone is no sandbox at all and has to be asked for by name.
const (
	ModeBubblewrap = "bubblewrap"
	ModeNone       = "none"
)

// What a session may reach over the network.
const (
	NetProxy = "proxy" // HTTP(S), and CONNECT to listed repositories, through the guarded proxy; the default
	NetNone  = "none"  // loopback only
	NetHost  = "host"  // the machine's own network, unguarded; by name only
)

// Options configure a Sandbox. Root and Self are required.
type Options struct {
	// Root is the directory of the session state; it is made with mode 0700. Nothing else may live in it, and only one Sandbox at
	// a time may use it: a check of the machine (doctor) names a directory of its own.
	Root string
	// Self is the gantry binary; it is bound read-only at /opt/gantry/gantry.
	Self string
	// Mode is ModeBubblewrap when empty.
	Mode string
	// Net is NetProxy when empty.
	Net string
	// Binds are host paths every process may read: PATH, or PATH:INSIDE to show it under another name.
	Binds []string
	// FileRoots are the directories under which a repository named by a path or a file:// URL may lie.
	FileRoots []string
	// AllowCIDRs are the otherwise refused addresses (private, loopback) that the proxy may reach.
	AllowCIDRs []netip.Prefix
	// AllowTargets are the host:port pairs that the proxy may reach besides ports 80 and 443; "*:port" stands for any host.
	AllowTargets []string
	// CABundle is a PEM file that replaces the machine's certificate authorities inside, read once by New; empty keeps them.
	CABundle string
	// Limits are used where a process names none. What is zero here too gets the package's own default.
	Limits wire.Limits
	// UID and GID own the workspaces and run the processes when the worker is root; DefaultID when zero. A worker that isn't
	// root runs them as itself.
	UID, GID int
	// Logger takes warnings and the proxy's lines; slog.Default() when nil.
	Logger *slog.Logger
}

// DefaultID is the uid and gid outside the sandbox of what a root worker runs: it must belong to nobody else on the machine.
const DefaultID = 64021

// Defaults of the limits.
const (
	defaultMemory    = 4 << 30
	defaultProcesses = 1024
	defaultDisk      = 20 << 30
)

// ErrNotUsable is wrapped by New when the machine can't run the sandbox. The message says why and what to do.
var ErrNotUsable = errors.New("the sandbox can't be used here")

// ErrDiskFull is wrapped when the workspace's filesystem or quota is full.
var ErrDiskFull = errors.New("the workspace's disk is full")

// ErrPassing is wrapped by a clone that failed for a reason that may pass by itself: no name, no connection, or a host that is overloaded.
var ErrPassing = errors.New("the host can't be reached now")

// Sandbox runs sessions on this machine. It is safe for concurrent use.
type Sandbox struct {
	opts    Options
	log     *slog.Logger
	root    bool // the worker is root, so processes are given another uid
	bwrap   string
	guard   *safehttp.Guard
	spawner *spawner
	lock    *os.File // one Sandbox to a Root
	userns  *os.File // only when root: the user namespace all sandboxes run in
	cgroups cgroupTree
	targets map[string]bool

	mu         sync.Mutex
	workspaces map[string]*Workspace
	closed     bool
}

// New checks that the machine can run the sandbox, by running it, and prepares Root.
func New(opts Options) (*Sandbox, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Sandbox{
		opts:       opts,
		log:        opts.Logger,
		root:       os.Geteuid() == 0 && opts.Mode == ModeBubblewrap,
		guard:      safehttp.NewGuard(opts.AllowCIDRs),
		targets:    map[string]bool{},
		workspaces: map[string]*Workspace{},
	}
	for _, t := range opts.AllowTargets {
		s.targets[strings.ToLower(t)] = true
	}
	if err := s.prepareRoot(); err != nil {
		if s.lock != nil {
			_ = s.lock.Close()
		}
		return nil, err
	}
	s.spawner = newSpawner()
	s.cgroups = openCgroups(opts.Root, s.spawner, s.log)
	if err := s.probe(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (o *Options) complete() error {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Mode == "" {
		o.Mode = ModeBubblewrap
	}
	if o.Net == "" {
		o.Net = NetProxy
	}
	if o.UID == 0 {
		o.UID = DefaultID
	}
	if o.GID == 0 {
		o.GID = o.UID
	}
	if o.Mode != ModeBubblewrap && o.Mode != ModeNone {
		return fmt.Errorf("sandbox mode %q: must be %s or %s", o.Mode, ModeBubblewrap, ModeNone)
	}
	if o.Net != NetProxy && o.Net != NetNone && o.Net != NetHost {
		return fmt.Errorf("sandbox network %q: must be %s, %s or %s", o.Net, NetProxy, NetNone, NetHost)
	}
	if o.Root == "" || o.Self == "" {
		return errors.New("sandbox: the root directory and the gantry binary must be named")
	}
	var err error
	if o.Root, err = filepath.Abs(o.Root); err != nil {
		return fmt.Errorf("sandbox root: %w", err)
	}
	if o.Self, err = filepath.Abs(o.Self); err != nil {
		return fmt.Errorf("gantry binary: %w", err)
	}
	if o.Mode == ModeNone {
		o.Logger.Warn("sandbox is off: agents and repositories run as this user, with its files and its network")
		o.Net = NetHost
	} else if o.Net == NetHost {
		o.Logger.Warn("sandbox network is the machine's own: agents reach everything this machine reaches")
	}
	return nil
}

func (s *Sandbox) prepareRoot() error {
	if err := os.MkdirAll(s.opts.Root, 0o700); err != nil {
		return diskError(fmt.Errorf("make the sandbox root: %w", err))
	}
	resolved, err := filepath.EvalSymlinks(s.opts.Root)
	if err != nil {
		return fmt.Errorf("resolve the sandbox root: %w", err)
	}
	s.opts.Root = resolved
	if s.lock, err = os.OpenFile(filepath.Join(resolved, ".lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return diskError(fmt.Errorf("lock the sandbox root: %w", err))
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another worker uses %s: give each its own directory (%w)", resolved, err)
	}
	for _, b := range s.opts.Binds {
		if err := s.checkBind(b); err != nil {
			return err
		}
	}
	return s.writeEtc()
}

// Net says what sessions may reach: NetProxy, NetNone or NetHost.
func (s *Sandbox) Net() string { return s.opts.Net }

// Mode says how sessions are confined: ModeBubblewrap or ModeNone.
func (s *Sandbox) Mode() string { return s.opts.Mode }

// LimitsBy says what enforces memory and process limits: "cgroup v2", "cgroup v1" or "prlimit".
func (s *Sandbox) LimitsBy() string { return s.cgroups.name() }

// Close ends every process of every session and closes the workspaces; their directories stay.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	open := make([]*Workspace, 0, len(s.workspaces))
	for _, w := range s.workspaces {
		open = append(open, w)
	}
	s.mu.Unlock()

	var errs []error
	for _, w := range open {
		errs = append(errs, w.Close())
	}
	s.spawner.close()
	s.cgroups.close()
	if s.userns != nil {
		errs = append(errs, s.userns.Close())
	}
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}
