package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is wrapped when a path leads to something that is no regular file, or out of the workspace.
var ErrNotRegular = errors.New("not a regular file of the workspace")

// ErrTooBig is wrapped when a file is over its cap.
var ErrTooBig = errors.New("the file is too big")

// place splits a path as processes see it into the session's directory it lies in and the rest. A relative path lies in the
// working directory. The run directory isn't to be reached: it belongs to the worker.
func (w *Workspace) place(name string) (dir, rest string, err error) {
	if strings.ContainsRune(name, 0) || name == "" {
		return "", "", fmt.Errorf("%w: %q", ErrNotRegular, name)
	}
	if !path.IsAbs(name) {
		if rest = path.Clean(name); rest == "." || !filepath.IsLocal(rest) {
			return "", "", fmt.Errorf("%w: %s", ErrNotRegular, name)
		}
		return dirWork, rest, nil
	}
	p := w.Paths()
	clean := path.Clean(name)
	for _, c := range []struct{ inside, dir string }{{p.Work, dirWork}, {p.Home, dirHome}, {p.Tmp, dirTmp}} {
		if rest, ok := strings.CutPrefix(clean, c.inside+"/"); ok {
			return c.dir, rest, nil
		}
	}
	return "", "", fmt.Errorf("%w: %s", ErrNotRegular, name)
}

// WriteFile writes a regular file of the workspace: name is a path as processes see it, or relative to the working directory.
// It makes missing directories, replaces the file as a whole, follows no symbolic link out of the workspace, and refuses more
// than limit bytes (ErrTooBig). The file belongs to the sandbox's user.
func (w *Workspace) WriteFile(name string, r io.Reader, limit int64, mode fs.FileMode) error {
	dir, rest, err := w.place(name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(w.host(dir))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer root.Close()
	if err := w.mkdirs(root, path.Dir(rest)); err != nil {
		return fmt.Errorf("write %s: %w", name, diskError(err))
	}
	if st, err := root.Lstat(rest); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%w: %s", ErrNotRegular, name)
	}
	if err := w.replace(root, rest, r, limit, mode.Perm()); err != nil {
		return fmt.Errorf("write %s: %w", name, diskError(err))
	}
	return nil
}

// replace writes a new file beside the old one and renames it, so that nobody sees half of it and nothing that exists is
// opened for writing.
func (w *Workspace) replace(root *os.Root, name string, r io.Reader, limit int64, mode fs.FileMode) error {
	part := path.Join(path.Dir(name), ".gantry-part-"+path.Base(name))
	_ = root.Remove(part)
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooBig, limit)
	}
	if err == nil && w.sb.root {
		err = f.Chown(w.sb.opts.UID, w.sb.opts.GID)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		_ = root.Remove(part)
	}
	return err
}

func (w *Workspace) mkdirs(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if st, err := root.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := w.mkdirs(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if w.sb.root {
		return root.Lchown(dir, w.sb.opts.UID, w.sb.opts.GID)
	}
	return nil
}

// OpenRegular opens a regular file of the workspace for reading: name is a path as processes see it, or relative to the working
// directory. Symbolic links are followed inside the same directory of the session only; pipes, devices and directories are
// refused without waiting on them, and so is a file over limit bytes. Reading ends at limit even when the file grows.
func (w *Workspace) OpenRegular(name string, limit int64) (*RegularFile, error) {
	dir, rest, err := w.place(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(w.host(dir))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer root.Close()
	// O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
	f, err := root.OpenFile(rest, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: open %s: %w", ErrNotRegular, name, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s", ErrNotRegular, name)
	}
	if err == nil && st.Size() > limit {
		err = fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrTooBig, name, st.Size(), limit)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &RegularFile{file: f, in: io.LimitReader(f, limit), Size: st.Size(), Mode: st.Mode()}, nil
}

// RegularFile is an open file of a workspace.
type RegularFile struct {
	file *os.File
	in   io.Reader
	// Size and Mode are those at the time of opening.
	Size int64
	Mode fs.FileMode
}

// Read reads on.
func (f *RegularFile) Read(p []byte) (int, error) { return f.in.Read(p) }

// Close closes the file.
func (f *RegularFile) Close() error { return f.file.Close() }

// DiskUsage gives the bytes on disk of everything the session wrote: blocks, not lengths, a file with several names once. A file
// that is deleted but still open isn't seen. ErrTooDeep is wrapped when directories lie deeper than can be measured.
func (w *Workspace) DiskUsage() (int64, error) {
	var total int64
	seen := map[[2]uint64]bool{}
	for _, d := range []string{dirWork, dirHome, dirTmp} {
		n, err := usageOf(unix.AT_FDCWD, w.host(d), 0, seen)
		if err != nil {
			return 0, fmt.Errorf("disk usage of %s: %w", w.id, err)
		}
		total += n
	}
	return total, nil
}

// usageOf walks by directory handles, so that a directory that turns into a symbolic link meanwhile leads nowhere.
func usageOf(at int, name string, depth int, seen map[[2]uint64]bool) (int64, error) {
	if depth > maxDepth {
		return 0, ErrTooDeep
	}
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(at, name, unix.O_RDONLY|flags, 0)
	if errors.Is(err, unix.EACCES) {
		fd, err = openClosed(at, name, flags)
	}
	if err != nil {
		return 0, gone(err)
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	var total int64
	for {
		names, err := dir.Readdirnames(1024)
		for _, n := range names {
			size, err := usageOfEntry(fd, n, depth, seen)
			if err != nil {
				return 0, err
			}
			total += size
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return 0, gone(err)
		}
	}
}

// openClosed opens a directory its owner took his own rights from. A worker that isn't root has the same uid as the sandbox, so
// what lies in there would go uncounted. The mode is put back, unless it lacks the right to search: then the owner has it from now on,
// for without it not even an open handle leads to what lies below.
func openClosed(at int, name string, flags int) (int, error) {
	handle, err := unix.Openat(at, name, unix.O_PATH|flags, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(handle)
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return -1, err
	}
	self := fmt.Sprintf("/proc/self/fd/%d", handle)
	if err := unix.Chmod(self, st.Mode&0o7777|0o700); err != nil {
		return -1, err
	}
	fd, err := unix.Open(self, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if st.Mode&0o100 != 0 {
		_ = unix.Chmod(self, st.Mode&0o7777)
	}
	return fd, err
}

func usageOfEntry(at int, name string, depth int, seen map[[2]uint64]bool) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, gone(err)
	}
	size := st.Blocks * 512
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		below, err := usageOf(at, name, depth+1, seen)
		return size + below, err
	}
	if st.Nlink > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if seen[key] {
			return 0, nil
		}
		seen[key] = true
	}
	return size, nil
}

// gone drops the errors of a tree that changes while it is walked, and of directories their owner closed to himself.
func gone(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EACCES):
		return nil
	}
	return err
}
