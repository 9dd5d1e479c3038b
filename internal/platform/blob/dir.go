package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dir is a store in a directory of this machine: a blob is a file of its key's name.
type dir struct{ path string }

// unfinished begins the names of files that are being written. No key begins with a dot.
const unfinished = ".new-"

func openDir(path string) (dir, error) {
	return dir{path}, os.MkdirAll(path, 0o700)
}

func (d dir) file(key string) string { return filepath.Join(d.path, filepath.FromSlash(key)) }

// put writes beside the target, because a rename must not cross file systems, and makes content and name durable.
func (d dir) put(ctx context.Context, key string, r io.Reader, _ string) error {
	path := d.file(key)
	if err := d.makeAbove(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*") // mode 0600
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = ctx.Err() // whoever waited is gone
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// makeAbove makes the directories that a file lies in, durably.
func (d dir) makeAbove(path string) error {
	at := filepath.Dir(path)
	if _, err := os.Stat(at); err == nil || !errors.Is(err, fs.ErrNotExist) || at == d.path {
		return err
	}
	if err := d.makeAbove(at); err != nil {
		return err
	}
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(at))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d dir) get(_ context.Context, key string) (io.ReadCloser, error) {
	if err := d.isFile(key); err != nil {
		return nil, err
	}
	return os.Open(d.file(key))
}

// isFile takes a directory, which is the beginning of other keys, for nothing.
func (d dir) isFile(key string) error {
	st, err := os.Stat(d.file(key))
	if err == nil && st.IsDir() || errors.Is(err, unix.ENOTDIR) {
		return fs.ErrNotExist
	}
	return err
}

func (d dir) delete(_ context.Context, key string) error {
	if err := d.isFile(key); err != nil {
		return err
	}
	return os.Remove(d.file(key))
}

// deleteBelow goes through a directory in portions, so that whoever waits can break it off.
func (d dir) deleteBelow(ctx context.Context, prefix string) error {
	path := d.file(prefix)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	if st, err := f.Stat(); err != nil || !st.IsDir() {
		return err // a blob of this very key has none below
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		some, err := f.ReadDir(1000)
		for _, e := range some {
			if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return os.RemoveAll(path)
		}
		if err != nil {
			return err
		}
	}
}

func (d dir) check(context.Context) error {
	_, err := os.ReadDir(d.path)
	return err
}

func (dir) missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
