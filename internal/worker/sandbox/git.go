package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"gantry/internal/platform/pattern"
	"gantry/internal/wire"
)

// CloneParams name what Clone brings into the workspace.
type CloneParams struct {
	// Repository needs Workspace.Credentials when its Credential says so.
	Repository wire.Repository
	// Progress gets git's lines as they come; may be nil.
	Progress func(line string)
	// Limits are the session's, as in Process.
	Limits wire.Limits
}

// gitFixed are the settings of every git that the worker runs, though it runs inside: a clone must not be able to run anything
// before the agent does.
var gitFixed = []string{
	"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.symlinks=true", "-c", "core.askPass=",
	"-c", "credential.helper=", "-c", "protocol.allow=never", "-c", "protocol.ext.allow=never",
	"-c", "submodule.recurse=false", "-c", "transfer.fsckObjects=false", "-c", "http.followRedirects=initial",
	"-c", "init.templateDir=", "-c", "gc.auto=0", "-c", "advice.detachedHead=false",
}

// Clone clones a repository into its folder of the working directory, inside the sandbox. A folder that an earlier Clone of the
// same address filled is left alone; whatever else is in it is deleted first.
func (w *Workspace) Clone(ctx context.Context, p CloneParams) error {
	r := p.Repository
	if r.Refused != "" {
		return errors.New(r.Refused)
	}
	rem, err := parseRemote(r)
	if err != nil {
		return err
	}
	if r.Dir == "" || !filepath.IsLocal(r.Dir) || path.Clean(r.Dir) != r.Dir || slices.Contains(strings.Split(r.Dir, "/"), ".git") {
		return fmt.Errorf("repository %s: %q is no folder of the working directory", r.Name, r.Dir)
	}
	if rem.scheme == "ssh" && !r.Credential {
		return fmt.Errorf("repository %s: ssh needs a key: list the repository with a git connection that has one", r.Name)
	}
	if strings.HasPrefix(r.Branch, "-") {
		return fmt.Errorf("repository %s: %q is no branch", r.Name, r.Branch)
	}
	if rem.scheme != "file" && w.sb.opts.Net == NetNone {
		return fmt.Errorf("repository %s: the sandbox has no network (sandbox-net is %s)", r.Name, NetNone)
	}
	host, err := w.sb.fileRepository(r)
	if err != nil {
		return err
	}
	if host != "" {
		if rem.url = "file://" + fileRepositoryInside(r); w.sb.opts.Mode == ModeNone {
			rem.url = "file://" + host
		}
	}
	if err := w.Allow(r); err != nil {
		return fmt.Errorf("repository %s: %w", r.Name, err)
	}
	if w.cloned(r) {
		return nil
	}
	if err := w.clearFolder(r.Dir); err != nil {
		return fmt.Errorf("repository %s: make room: %w", r.Name, diskError(err))
	}
	if err := w.clone(ctx, p, rem); err != nil {
		return errors.Join(err, w.clearFolder(r.Dir))
	}
	if err := os.WriteFile(w.marker(r), []byte(r.URL), 0o600); err != nil {
		return fmt.Errorf("repository %s: %w", r.Name, diskError(err))
	}
	return nil
}

func (w *Workspace) clone(ctx context.Context, p CloneParams, rem remote) error {
	r := p.Repository
	args := append([]string{"git"}, gitFixed...)
	args = append(args, "-c", "protocol."+rem.scheme+".allow=always")
	if relayed(r) {
		// The relays ask again; this one tells a refusal from whatever else git may meet.
		if _, err := w.askFor(ctx, r.Name, wire.GitClone); err != nil {
			return fmt.Errorf("repository %s: %w", r.Name, err)
		}
		args = append(args, "-c", "protocol.http.allow=always") // to the relay, which https becomes
	}
	env := w.gitEnv(rem, relayed(r))
	args = append(args, "clone", "--progress", "--no-recurse-submodules")
	if r.Branch != "" {
		args = append(args, "--branch="+r.Branch)
	}
	args = append(args, "--", rem.url, r.Dir)

	out := &lines{each: p.Progress}
	exit, err := w.Run(ctx, Process{Args: args, Env: env, Dir: insideWork, Stdout: out, Stderr: out, Limits: p.Limits})
	if err != nil {
		return fmt.Errorf("clone %s: %w", r.Name, err)
	}
	if err := ctx.Err(); err != nil && !exit.OK() {
		return fmt.Errorf("clone %s: %w", r.Name, err)
	}
	if !exit.OK() {
		said := out.tail()
		if exit.DiskFull || saysDiskFull(said) {
			return fmt.Errorf("clone %s: %w: %s", r.Name, ErrDiskFull, said)
		}
		if rem.scheme == "file" && w.sb.root && strings.Contains(said, "does not appear to be a git repository") {
			said += fmt.Sprintf(" (uid %d, which a root worker runs sandboxes as, must be able to read it)", w.sb.opts.UID)
		}
		if strings.Contains(said, "CONNECT tunnel failed, response 403") || strings.Contains(said, "HTTP code 403 from proxy") {
			said += " (the sandbox's proxy refused it: an address that isn't public must lie in --allow-networks, another port than 80 and 443 be listed with --sandbox-allow)"
		}
		err := fmt.Errorf("clone %s: git %s: %s", r.Name, exit, said)
		if saysPassing(said) {
			err = passing{err}
		}
		return err
	}
	return nil
}

// passing is an ErrPassing that says no more than git did.
type passing struct{ error }

// Is makes it an ErrPassing.
func (passing) Is(target error) bool { return target == ErrPassing }

// saidPassing are the words of git, curl, ssh, the proxy and the relays for what may pass: no name, no connection, one that broke off,
// and a host or something before it that says 502, 503 or 504.
var saidPassing = pattern.Of(`(?i)could not resolve (host|proxy)|temporary failure in name resolution|name or service not known|` +
	`gantry[^;]*: (name not found: |no connection\b)|ssh to [^ ;]+: (name not found: |no connection\b)|` +
	`connection (refused|reset|timed out)|operation timed out|failed to connect|couldn't connect|empty reply from server|early EOF|` +
	`(returned error|answers|response|HTTP code):? 50[234]\b`)

// saysPassing tells by what git said whether the same clone may succeed a little later. What a host makes up costs a few tries.
func saysPassing(said string) bool { return saidPassing().MatchString(said) }

func (w *Workspace) gitEnv(rem remote, relayed bool) []string {
	allowed := rem.scheme
	if relayed && rem.scheme == "https" {
		allowed += ":http"
	}
	system := "/etc/gitconfig"
	if w.sb.opts.Mode == ModeNone {
		system = filepath.Join(w.sb.opts.Root, etcDir, "gitconfig")
	}
	return []string{
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=" + system, "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=1",
		"GIT_ALLOW_PROTOCOL=" + allowed, "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND=" + w.sshCommand(),
		"NO_PROXY=", "no_proxy=", // a remote is never inside, whatever its address looks like
	}
}

// marker is the file that says that a folder was cloned to its end. The sandbox can't reach it.
func (w *Workspace) marker(r wire.Repository) string {
	sum := sha256.Sum256([]byte(r.Dir))
	return filepath.Join(w.host(dirState), "clone-"+hex.EncodeToString(sum[:8]))
}

func (w *Workspace) cloned(r wire.Repository) bool {
	url, err := os.ReadFile(w.marker(r))
	if err != nil || string(url) != r.URL {
		return false
	}
	root, err := os.OpenRoot(w.host(dirWork))
	if err != nil {
		return false
	}
	defer root.Close()
	st, err := root.Lstat(path.Join(r.Dir, ".git", "HEAD"))
	return err == nil && st.Mode().IsRegular()
}

// clearFolder empties a folder of the working directory and makes the folders above it.
func (w *Workspace) clearFolder(dir string) error {
	root, err := os.OpenRoot(w.host(dirWork))
	if err != nil {
		return err
	}
	defer root.Close()
	if dir != "." {
		if err := root.RemoveAll(dir); err != nil {
			return err
		}
		return w.mkdirs(root, path.Dir(dir))
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// lines cuts a program's output into lines that are fit to be shown, and keeps the last ones. A carriage return ends one too:
// that is how git shows progress.
type lines struct {
	each func(string)

	mu    sync.Mutex
	part  []byte
	shown string
	last  []string
}

const (
	maxLine   = 500 // bytes; the rest of a longer line is dropped
	keptLines = 8
)

// Write takes output as it comes.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexAny(p, "\r\n")
		piece := p
		if i >= 0 {
			piece = p[:i]
		}
		if room := maxLine - len(l.part); room > 0 {
			l.part = append(l.part, piece[:min(room, len(piece))]...)
		}
		if i < 0 {
			break
		}
		l.flush()
		if p[i] == '\n' {
			l.keep()
		}
		p = p[i+1:]
	}
	return n, nil
}

// flush ends a line and shows it.
func (l *lines) flush() {
	text := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, string(l.part)))
	l.part = l.part[:0]
	if text == "" {
		return
	}
	l.shown = text
	if l.each != nil {
		l.each(text)
	}
}

// keep keeps the last line shown: one that another overwrote on the screen never gets here.
func (l *lines) keep() {
	if l.shown == "" {
		return
	}
	if l.last = append(l.last, l.shown); len(l.last) > keptLines {
		l.last = l.last[1:]
	}
	l.shown = ""
}

func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	l.keep()
	return strings.Join(l.last, "; ")
}
