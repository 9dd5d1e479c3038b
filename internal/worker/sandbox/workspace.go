package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gantry/internal/platform/pattern"
	"gantry/internal/wire"
)

// Where things are inside the sandbox.
const (
	insideWork = wire.InsideWork
	insideHome = wire.InsideHome
	insideTmp  = wire.InsideTmp
	insideRun  = wire.InsideRun
	insideSelf = wire.InsideSelf
	insideRepo = "/srv/repositories" // repositories of the machine, bound read-only
)

// Directories of one session below Root.
const (
	dirWork  = "work"
	dirHome  = "home"
	dirTmp   = "tmp"
	dirRun   = "run"   // sockets; the sandbox can't write here
	dirState = "state" // what the worker remembers; not bound at all
)

var sessionIDs = pattern.Of(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

// Workspace is the directories, sockets and processes of one session. It is safe for concurrent use.
type Workspace struct {
	sb  *Sandbox
	id  string
	dir string

	starting sync.WaitGroup // Starts under way

	mu      sync.Mutex
	closed  bool
	running map[*Running]struct{}
	group   cgroupSession // nil until the first process
	proxy   *proxy        // nil until the first process
	ask     Ask           // nil until somebody can be asked for credentials
	hear    func(repository string, branches []string)
	relay   *gitRelay // nil without an https repository that needs a credential
	ssh     *sshRelay // nil without an ssh repository that needs one
	repos   []wire.Repository
	runDir  *os.File // the run directory, so that socket paths stay short
}

// Paths are the places of a session as its processes see them.
type Paths struct {
	Work, Home, Tmp, Run string
	// Self is the gantry binary.
	Self string
}

// Workspace gives the session's workspace and makes its directories when they aren't there.
func (s *Sandbox) Workspace(sessionID string) (*Workspace, error) {
	if !sessionIDs().MatchString(sessionID) {
		return nil, fmt.Errorf("sandbox: %q is no session id", sessionID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errSpawnerClosed
	}
	if w := s.workspaces[sessionID]; w != nil {
		return w, nil
	}
	w := &Workspace{sb: s, id: sessionID, dir: filepath.Join(s.opts.Root, sessionID), running: map[*Running]struct{}{}}
	if err := w.makeDirs(); err != nil {
		return nil, diskError(fmt.Errorf("make the workspace of %s: %w", sessionID, err))
	}
	run, err := os.Open(w.host(dirRun))
	if err != nil {
		return nil, fmt.Errorf("open the workspace of %s: %w", sessionID, err)
	}
	w.runDir = run
	s.workspaces[sessionID] = w
	return w, nil
}

func (w *Workspace) makeDirs() error {
	for _, d := range []string{"", dirRun, dirState} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			return err
		}
	}
	// The sandbox's user has to pass through the bound directory itself.
	if err := os.Chmod(w.host(dirRun), 0o755); err != nil {
		return err
	}
	for _, d := range []string{dirWork, dirHome, dirTmp} {
		path := w.host(d)
		if err := os.Mkdir(path, 0o700); errors.Is(err, os.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := w.own(path); err != nil {
			return err
		}
	}
	return nil
}

// own gives a path to the sandbox's user, without following a symbolic link.
func (w *Workspace) own(path string) error {
	if !w.sb.root {
		return nil
	}
	return os.Lchown(path, w.sb.opts.UID, w.sb.opts.GID)
}

// List gives the ids of the sessions that have a workspace on disk.
func (s *Sandbox) List() ([]string, error) {
	entries, err := os.ReadDir(s.opts.Root)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && sessionIDs().MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// ID is the session's id.
func (w *Workspace) ID() string { return w.id }

// Dir is the session's directory on the machine, with work, home, tmp and run below it. Read hostile files through OpenRegular.
func (w *Workspace) Dir() string { return w.dir }

// Paths says where things are for the session's processes.
func (w *Workspace) Paths() Paths {
	if w.sb.opts.Mode == ModeNone {
		return Paths{Work: w.host(dirWork), Home: w.host(dirHome), Tmp: w.host(dirTmp), Run: w.host(dirRun), Self: w.sb.opts.Self}
	}
	return Paths{Work: insideWork, Home: insideHome, Tmp: insideTmp, Run: insideRun, Self: insideSelf}
}

func (w *Workspace) host(name string) string { return filepath.Join(w.dir, name) }

// Allow names the session's repositories: the proxy lets git reach their hosts and ports, and those of this machine are bound
// read-only into every process that is started from now on. Git is led to the relays for those that need a credential. Clone allows
// its own.
func (w *Workspace) Allow(repos ...wire.Repository) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range repos {
		known := false
		for i := range w.repos {
			if w.repos[i].Name == r.Name {
				w.repos[i], known = r, true
			}
		}
		if !known {
			w.repos = append(w.repos, r)
		}
	}
	return w.writeGitConfig()
}

func (w *Workspace) currentRelay() *gitRelay {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.relay
}

func (w *Workspace) repositories() []wire.Repository {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]wire.Repository(nil), w.repos...)
}

// open counts a start in, unless the workspace is closed.
func (w *Workspace) open() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("sandbox: the workspace of %s is closed", w.id)
	}
	w.starting.Add(1)
	return nil
}

func (w *Workspace) track(r *Running) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[r] = struct{}{}
}

func (w *Workspace) untrack(r *Running) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, r)
}

// leaf makes the cgroup of one process below the session's, and sets the session's limits.
func (w *Workspace) leaf(l wire.Limits) (cgroupLeaf, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.group == nil {
		g, err := w.sb.cgroups.session(w.id)
		if err != nil {
			return nil, fmt.Errorf("sandbox: cgroup of %s: %w", w.id, err)
		}
		w.group = g
	}
	leaf, err := w.group.leaf(w.sb.limits(l))
	if err != nil {
		return nil, fmt.Errorf("sandbox: cgroup of %s: %w", w.id, err)
	}
	return leaf, nil
}

// limits fills what a process leaves open.
func (s *Sandbox) limits(l wire.Limits) wire.Limits {
	first := func(a, b, c int64) int64 {
		if a > 0 {
			return a
		}
		if b > 0 {
			return b
		}
		return c
	}
	d := s.opts.Limits
	l.MemoryBytes = first(l.MemoryBytes, d.MemoryBytes, defaultMemory)
	l.DiskBytes = first(l.DiskBytes, d.DiskBytes, defaultDisk)
	l.Processes = int(first(int64(l.Processes), int64(d.Processes), defaultProcesses))
	l.CPUMillis = int(first(int64(l.CPUMillis), int64(d.CPUMillis), 0)) // 0: no limit
	return l
}

// Limits gives the limits a session gets that asks for l: what is zero is filled from the options and the package's defaults.
func (s *Sandbox) Limits(l wire.Limits) wire.Limits { return s.limits(l) }

// Close ends the session's processes, proxy and sockets and waits for them. The directories stay for a resume; a later
// Sandbox.Workspace opens them again.
func (w *Workspace) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	w.mu.Unlock()
	w.starting.Wait()

	w.mu.Lock()
	live := make([]*Running, 0, len(w.running))
	for r := range w.running {
		live = append(live, r)
	}
	w.mu.Unlock()
	for _, r := range live {
		r.Kill()
	}
	for _, r := range live {
		<-r.Done()
	}
	if w.proxy != nil {
		w.proxy.close()
	}
	if w.relay != nil {
		w.relay.close()
	}
	if w.ssh != nil {
		w.ssh.close()
	}
	if w.group != nil {
		w.group.remove()
	}
	w.sb.mu.Lock()
	delete(w.sb.workspaces, w.id)
	w.sb.mu.Unlock()
	return w.runDir.Close()
}

// Remove closes the workspace and deletes all of it.
func (w *Workspace) Remove() error {
	if err := w.Close(); err != nil {
		return err
	}
	return w.sb.RemoveWorkspace(w.id)
}

// RemoveWorkspace deletes a session's directories. A workspace that is open is closed first.
func (s *Sandbox) RemoveWorkspace(sessionID string) error {
	if !sessionIDs().MatchString(sessionID) {
		return fmt.Errorf("sandbox: %q is no session id", sessionID)
	}
	s.mu.Lock()
	w := s.workspaces[sessionID]
	s.mu.Unlock()
	if w != nil {
		if err := w.Close(); err != nil {
			return err
		}
	}
	if err := removeTree(s.opts.Root, sessionID); err != nil {
		return fmt.Errorf("remove the workspace of %s: %w", sessionID, err)
	}
	return nil
}

// full reports whether the workspace's filesystem is full.
func (w *Workspace) full() bool { return diskFull(w.host(dirWork)) }

// Full reports whether the filesystem of all workspaces is full, so that no session could begin.
func (s *Sandbox) Full() bool { return diskFull(s.opts.Root) }

// diskFull reports whether a filesystem has less than a megabyte or no inodes left.
func diskFull(path string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false
	}
	return st.Bavail*uint64(st.Bsize) < 1<<20 || (st.Files > 0 && st.Ffree == 0)
}

// outside turns a path as processes see it into the machine's, for ModeNone.
func (w *Workspace) outside(path string) string {
	for inside, dir := range map[string]string{insideWork: dirWork, insideHome: dirHome, insideTmp: dirTmp, insideRun: dirRun} {
		if path == inside || strings.HasPrefix(path, inside+"/") {
			return w.host(dir) + strings.TrimPrefix(path, inside)
		}
	}
	return path
}
