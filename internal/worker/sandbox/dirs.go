package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// MakeDir makes a directory of the workspace and those above it; name is a path as processes see it, or relative to the working
// directory. They belong to the sandbox's user. One that is there already is left as it is.
func (w *Workspace) MakeDir(name string) error {
	dir, rest, err := w.place(name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(w.host(dir))
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	defer root.Close()
	if err := w.mkdirs(root, path.Clean(rest)); err != nil {
		return fmt.Errorf("make %s: %w", name, diskError(err))
	}
	return nil
}

// Full reports whether the workspace's filesystem has no room left.
func (w *Workspace) Full() bool { return w.full() }

// RegularFiles lists the regular files directly in a directory of the workspace, at most limit entries of whatever kind being
// looked at. A directory that isn't there has none.
func (w *Workspace) RegularFiles(name string, limit int) ([]fs.FileInfo, error) {
	dir, rest, err := w.place(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(w.host(dir))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", name, err)
	}
	defer root.Close()
	// Without O_DIRECTORY a pipe of that name would be opened, and waited on.
	f, err := root.OpenFile(rest, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: list %s: %w", ErrNotRegular, name, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %s: %w", name, err)
	}
	var files []fs.FileInfo
	for _, n := range names {
		if st, err := root.Lstat(path.Join(rest, n)); err == nil && st.Mode().IsRegular() {
			files = append(files, st)
		}
	}
	return files, nil
}
