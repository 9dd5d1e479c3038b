package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxDepth is how deep directories may lie in one another: each level takes an open file while a tree is measured or deleted, and
// the machine has only so many. It is less than a path has room for and far more than anybody needs.
const maxDepth = 200

// ErrTooDeep is wrapped when a session's directories lie deeper in one another than is measured.
var ErrTooDeep = fmt.Errorf("the directories lie more than %d deep in one another", maxDepth)

const (
	openHandle = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	openRead   = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
)

// removal deletes a tree whatever programs made of it: directories closed to their owner (a module cache has some) are opened, and
// those that lie too deep are moved to the top first.
type removal struct {
	top   int // the tree's own directory
	moved int // directories moved to it in this round
	count int
}

// removeTree deletes rootDir/name. Nobody works in it any more.
func removeTree(rootDir, name string) error {
	parent, err := unix.Open(rootDir, openRead, 0)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(parent)
	top, err := openOwn(parent, name)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(top)
	r := removal{top: top}
	for {
		r.moved = 0
		if err := r.empty(top, 0); err != nil {
			return err
		}
		if r.moved == 0 {
			return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		}
	}
}

// openOwn opens a directory for reading, with all rights for its owner.
func openOwn(at int, name string) (int, error) {
	handle, err := unix.Openat(at, name, openHandle, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(handle)
	self := fmt.Sprintf("/proc/self/fd/%d", handle)
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return -1, err
	}
	if st.Mode&0o700 != 0o700 {
		if err := unix.Chmod(self, 0o700); err != nil {
			return -1, err
		}
	}
	return unix.Open(self, openRead, 0)
}

// empty deletes what lies in a directory, except what it moved to the top.
func (r *removal) empty(fd, depth int) error {
	again, err := unix.Openat(fd, ".", openRead, 0) // a place of its own to read from
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(again), "directory")
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		if len(names) == 0 {
			return endOfList(err)
		}
		before := r.moved
		for _, n := range names {
			if err := r.remove(fd, n, depth); err != nil {
				return err
			}
		}
		if depth == 0 && r.moved > before {
			return nil // what was moved here is for the next round
		}
		if _, err := dir.Seek(0, 0); err != nil { // what was deleted may have moved the rest
			return err
		}
	}
}

func endOfList(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// remove deletes one entry, or moves it to the top when it is a directory that lies too deep.
func (r *removal) remove(fd int, name string, depth int) error {
	err := unix.Unlinkat(fd, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("delete a file: %w", err)
	}
	below, err := openOwn(fd, name)
	if err != nil {
		return fmt.Errorf("open a directory to delete: %w", err)
	}
	defer unix.Close(below)
	if depth+1 >= maxDepth {
		r.moved++
		r.count++
		return r.lift(fd, name)
	}
	if err := r.empty(below, depth+1); err != nil {
		return err
	}
	if err := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("delete a directory: %w", err)
	}
	return nil
}

// lift moves a directory to the top of the tree, under a name that nothing has.
func (r *removal) lift(fd int, name string) error {
	for ; ; r.count++ {
		err := unix.Renameat2(fd, name, r.top, fmt.Sprintf(".deep-%d", r.count), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}
