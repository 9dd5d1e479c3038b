package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gantry/internal/wire"
)

// Who the processes are inside, whoever they are outside.
const (
	insideUID  = 1000
	insideUser = "agent"
)

// ownHosts are the sandbox's own loopback: programs that talk to each other there don't go through the proxy.
const ownHosts = "localhost,127.0.0.1,::1"

// command makes the command that runs p confined. The files are to be closed once it has been started.
func (w *Workspace) command(ctx context.Context, p Process) (*exec.Cmd, []*os.File, error) {
	env, err := w.environment(p.Env)
	if err != nil {
		return nil, nil, err
	}
	if w.sb.opts.Mode == ModeNone {
		return w.plainCommand(ctx, p, env), nil, nil
	}
	args, err := w.bwrapArgs(p, env)
	if err != nil {
		return nil, nil, err
	}
	var files []*os.File
	filter, err := memfd("seccomp", seccompFilter())
	if err != nil {
		return nil, nil, err
	}
	files = append(files, filter)
	fd := 4 // 3 is the file of arguments
	args = append(args, "--seccomp", strconv.Itoa(fd))
	var own []*os.File
	own = append(own, filter)
	if w.sb.userns != nil {
		fd++
		args = append(args, "--userns", strconv.Itoa(fd))
		own = append(own, w.sb.userns)
	}
	args = append(args, "--json-status-fd", strconv.Itoa(fd+1))
	argFile, err := memfd("args", nulJoined(args))
	if err != nil {
		return nil, files, err
	}
	files = append(files, argFile)

	// Arguments and environment go through a file: a process list shows neither, and nothing of the environment is set in bwrap
	// itself, where a LD_PRELOAD would run outside.
	cmd := exec.CommandContext(ctx, w.sb.bwrap, append([]string{"--args", "3", "--"}, w.inner(p.Args)...)...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.ExtraFiles = append([]*os.File{argFile}, own...)
	cmd.SysProcAttr = w.sb.attributes()
	return cmd, files, nil
}

// attributes are those of every bwrap: it dies with the worker and is never root.
func (s *Sandbox) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.root {
		a.Credential = &syscall.Credential{Uid: uint32(s.opts.UID), Gid: uint32(s.opts.GID)}
	}
	return a
}

// plainCommand runs p without a sandbox, in a process group of its own.
func (w *Workspace) plainCommand(ctx context.Context, p Process, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Args[0], p.Args[1:]...)
	cmd.Env = env
	cmd.Dir = w.host(dirWork)
	if p.Dir != "" {
		cmd.Dir = w.outside(p.Dir)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// inner puts sandbox-init before the command where there is something for it to do.
func (w *Workspace) inner(args []string) []string {
	if !w.needsInit() {
		return args
	}
	init := []string{insideSelf, "sandbox-init"}
	if w.sb.opts.Net == NetProxy {
		init = append(init, "--proxy")
	}
	if _, none := w.sb.cgroups.(noCgroups); none {
		l := w.sb.limits(wire.Limits{})
		init = append(init, "--data="+strconv.FormatInt(l.MemoryBytes, 10), "--processes="+strconv.Itoa(l.Processes))
	}
	return append(append(init, "--"), args...)
}

func (w *Workspace) needsInit() bool {
	_, none := w.sb.cgroups.(noCgroups)
	return none || w.sb.opts.Net == NetProxy
}

// environment is what the process gets: ours, then the caller's, then what nobody may replace.
func (w *Workspace) environment(extra []string) ([]string, error) {
	p := w.Paths()
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + p.Home, "USER=" + insideUser,
		"LOGNAME=" + insideUser, "SHELL=/bin/sh", "TMPDIR=" + p.Tmp, "LANG=C.UTF-8",
	}
	if w.sb.opts.CABundle != "" {
		for _, n := range []string{"SSL_CERT_FILE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
			env = append(env, n+"="+w.caBundle())
		}
	}
	if w.sb.opts.Net == NetProxy {
		env = append(env, "NO_PROXY="+ownHosts, "no_proxy="+ownHosts)
	}
	if w.sb.opts.Mode == ModeNone { // the sandbox's own /etc/gitconfig says the same
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=include.path", "GIT_CONFIG_VALUE_0="+p.Run+"/"+gitConfig)
	}
	for _, e := range extra {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			return nil, fmt.Errorf("sandbox: the variable %q is not NAME=VALUE", name)
		}
		env = append(env, e)
	}
	env = append(env, "GANTRY_RUN="+p.Run)
	if w.sb.opts.Net == NetProxy {
		for _, n := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
			env = append(env, n+"=http://"+forwardAddress)
		}
	}
	return env, nil
}

func (w *Workspace) bwrapArgs(p Process, env []string) ([]string, error) {
	a := []string{
		"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "gantry",
		"--uid", strconv.Itoa(insideUID), "--gid", strconv.Itoa(insideUID), "--cap-drop", "ALL",
		"--die-with-parent", "--new-session", "--clearenv",
	}
	if w.sb.userns == nil {
		a = append(a, "--unshare-user")
	}
	if w.sb.opts.Net != NetHost {
		a = append(a, "--unshare-net")
	}
	if w.needsInit() {
		a = append(a, "--as-pid-1")
	}
	a = append(a, systemArgs()...)
	a = append(a, w.sb.etcArgs()...)
	a = append(a, "--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--dir", "/run")
	a = append(a, w.sessionArgs()...)
	binds, err := w.bindArgs(p.Binds)
	if err != nil {
		return nil, err
	}
	a = append(append(a, binds...), "--remount-ro", "/")
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		a = append(a, "--setenv", name, value)
	}
	dir := p.Dir
	if dir == "" {
		dir = insideWork
	}
	a = append(a, "--chdir", dir)
	for _, s := range a {
		// A NUL would end one argument and begin another of the program's choice.
		if strings.ContainsRune(s, 0) {
			return nil, errors.New("sandbox: an argument holds a NUL")
		}
	}
	return a, nil
}

// sessionArgs binds the session's own directories. The run directory is the worker's, so it is read-only: a program could
// otherwise put something else in a socket's place.
func (w *Workspace) sessionArgs() []string {
	return []string{
		"--bind", w.host(dirWork), insideWork, "--bind", w.host(dirHome), insideHome, "--bind", w.host(dirTmp), insideTmp,
		"--ro-bind", w.host(dirRun), insideRun, "--ro-bind", w.sb.opts.Self, insideSelf,
	}
}

// systemArgs shows the machine's programs and libraries. Where /bin and its like are symbolic links they become the same links.
func systemArgs() []string {
	a := []string{"--ro-bind", "/usr", "/usr"}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		st, err := os.Lstat(d)
		if err != nil {
			continue
		}
		if st.Mode()&os.ModeSymlink == 0 {
			a = append(a, "--ro-bind", d, d)
		} else if target, err := os.Readlink(d); err == nil {
			a = append(a, "--symlink", target, d)
		}
	}
	return a
}

// bindArgs are the operator's binds, the process's, and the session's repositories on this machine.
func (w *Workspace) bindArgs(extra []string) ([]string, error) {
	var a []string
	for _, b := range append(append([]string(nil), w.sb.opts.Binds...), extra...) {
		if err := w.sb.checkBind(b); err != nil {
			return nil, err
		}
		host, inside := wire.SplitBind(b)
		a = append(a, "--ro-bind", host, inside)
	}
	for _, r := range w.repositories() {
		host, err := w.sb.fileRepository(r)
		if err != nil {
			// Clone has refused it, or it was taken away since: what was cloned is still there to work on.
			w.sb.log.Warn("a repository isn't shown inside", "session_id", w.id, "repository", r.Name, "reason", err.Error())
			continue
		}
		if host != "" {
			a = append(a, "--ro-bind", host, fileRepositoryInside(r))
		}
	}
	return a, nil
}

// checkBind refuses binds that can't work and those that would show other sessions or cover what the sandbox itself mounts.
func (s *Sandbox) checkBind(b string) error {
	if err := wire.CheckBind(b); err != nil {
		return err
	}
	host, _ := wire.SplitBind(b)
	real, err := filepath.EvalSymlinks(host)
	if err != nil {
		return fmt.Errorf("bind %q: %w", b, err)
	}
	if wire.Within(s.opts.Root, real) || wire.Within(real, s.opts.Root) {
		return fmt.Errorf("bind %q: would show the sessions' own directories", b)
	}
	return nil
}

func nulJoined(args []string) []byte {
	return []byte(strings.Join(args, "\x00") + "\x00")
}

// memfd gives a file in memory that is read from its start.
func memfd(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("gantry-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("sandbox: memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(data); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: memory file: %w", err), f.Close())
	}
	return f, nil
}
