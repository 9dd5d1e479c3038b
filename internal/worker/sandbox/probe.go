package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// probe runs the sandbox once with everything a session gets, so that what doesn't work here is known at start.
func (s *Sandbox) probe() error {
	if st, err := os.Stat(s.opts.Self); err != nil || !st.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not the gantry binary", ErrNotUsable, s.opts.Self)
	}
	if s.opts.Mode == ModeNone {
		return nil
	}
	var err error
	if s.bwrap, err = exec.LookPath("bwrap"); err != nil {
		return fmt.Errorf("%w: bubblewrap is missing: install it (Debian and Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap), "+
			"or name the weaker mode with --sandbox=%s", ErrNotUsable, ModeNone)
	}
	if s.root {
		if err := s.makeUserns(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	w := &Workspace{sb: s, dir: s.opts.Root}
	cmd, files, err := w.probeCommand(ctx)
	defer closeAll(files)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = s.spawner.do(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return s.refusal(strings.TrimSpace(errs.String()), err)
	}
	return nil
}

// probeCommand is a sandbox without a session's directories.
func (w *Workspace) probeCommand(ctx context.Context) (*exec.Cmd, []*os.File, error) {
	a := []string{
		"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try", "--uid", "1000", "--gid", "1000",
		"--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev",
	}
	a = append(append(a, systemArgs()...), w.sb.etcArgs()...)
	filter, err := memfd("seccomp", seccompFilter())
	if err != nil {
		return nil, nil, err
	}
	files := []*os.File{filter}
	a = append(a, "--seccomp", "4")
	extra := []*os.File{filter}
	if w.sb.userns != nil {
		a = append(a, "--userns", "5")
		extra = append(extra, w.sb.userns)
	} else {
		a = append(a, "--unshare-user")
	}
	argFile, err := memfd("args", nulJoined(a))
	if err != nil {
		return nil, files, err
	}
	cmd := exec.CommandContext(ctx, w.sb.bwrap, "--args", "3", "--", "/bin/sh", "-c", "exit 0")
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.ExtraFiles = append([]*os.File{argFile}, extra...)
	cmd.SysProcAttr = w.sb.attributes()
	return cmd, append(files, argFile), nil
}

// makeUserns makes the user namespace that a root worker's sandboxes share. Its owner is the sandbox's uid, so that bwrap, which
// runs as that uid, may join it; root is mapped too, so that bwrap can walk through the worker's 0700 directories while it binds
// what lies below them. Programs inside have neither capabilities nor a way to get any, so for them that entry only gives the
// files of root their name.
func (s *Sandbox) makeUserns() error {
	infoR, infoW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	blockR, blockW, err := os.Pipe()
	if err != nil {
		closeAll([]*os.File{infoR, infoW})
		return fmt.Errorf("sandbox: %w", err)
	}
	defer closeAll([]*os.File{infoR, blockW})
	var errs bytes.Buffer
	cmd := exec.Command(s.bwrap, "--unshare-user", "--userns-block-fd", "3", "--info-fd", "4", "--die-with-parent",
		"--ro-bind", "/usr", "/usr", "--", "/usr/bin/true")
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.ExtraFiles = []*os.File{blockR, infoW}
	cmd.SysProcAttr = s.attributes()
	cmd.Stderr = &errs
	err = s.spawner.do(cmd.Start)
	closeAll([]*os.File{blockR, infoW})
	if err != nil {
		return s.refusal("", err)
	}
	var info struct {
		PID int `json:"child-pid"`
	}
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		if info.PID > 0 {
			_ = syscall.Kill(info.PID, syscall.SIGKILL) // it waits for the map and isn't tied to its parent yet
		}
		_ = cmd.Wait()
	})
	defer end()
	// The first thing bwrap says, before it waits; nothing when it fails.
	err = json.NewDecoder(infoR).Decode(&info)
	if err != nil || info.PID <= 0 {
		end()
		return s.refusal(strings.TrimSpace(errs.String()), errors.Join(errors.New("no user namespace was made"), err))
	}
	proc := fmt.Sprintf("/proc/%d/", info.PID)
	uids := fmt.Sprintf("0 0 1\n%d %d 1\n", insideUID, s.opts.UID)
	gids := fmt.Sprintf("0 0 1\n%d %d 1\n", insideUID, s.opts.GID)
	err = errors.Join(writeCgroup(proc, "uid_map", uids), writeCgroup(proc, "gid_map", gids))
	if err != nil {
		return s.refusal("", fmt.Errorf("map users: %w", err))
	}
	if s.userns, err = os.Open(proc + "ns/user"); err != nil {
		return s.refusal("", fmt.Errorf("keep the user namespace: %w", err))
	}
	return nil
}

// refusal turns a sandbox that didn't start into the reason and the remedy.
func (s *Sandbox) refusal(said string, cause error) error {
	reason, remedy := explain(said, readSetting)
	if said != "" {
		cause = fmt.Errorf("%w: %s", cause, said)
	}
	return fmt.Errorf("%w: %s; %s, or name the weaker mode with --sandbox=%s: %w", ErrNotUsable, reason, remedy, ModeNone, cause)
}

// explain reads the kernel's settings that keep bubblewrap from working.
func explain(said string, setting func(string) string) (reason, remedy string) {
	switch {
	case setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		return "unprivileged user namespaces are switched off", "set sysctl kernel.unprivileged_userns_clone=1"
	case setting("/proc/sys/user/max_user_namespaces") == "0":
		return "user namespaces are switched off", "set sysctl user.max_user_namespaces to 10000"
	case setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor keeps unprivileged programs from user namespaces",
			"install an AppArmor profile for bwrap that has `userns,`, or set sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	case strings.Contains(setting("/proc/self/status"), "Seccomp:\t2"):
		return "this process runs under a seccomp filter, as in a container, that keeps it from making namespaces",
			"start the container with a seccomp profile that allows clone, unshare, mount and pivot_root (docker: --security-opt seccomp=unconfined)"
	case strings.Contains(said, "proc"):
		return "/proc can't be mounted, as in a container that hides parts of it",
			"start the container with /proc unmasked (docker: --security-opt systempaths=unconfined)"
	}
	return "bubblewrap didn't start", "run `bwrap --unshare-all --ro-bind / / true` to see why"
}
