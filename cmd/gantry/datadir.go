package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeDataDir makes the directory for this user only. One that others may enter is used as it is, and the caller told.
func makeDataDir(dir string) (loose bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("the data directory can't be made: %w; name another with --data", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return false, fmt.Errorf("the data directory can't be read: %w", err)
	}
	if !st.IsDir() {
		return false, fmt.Errorf("the data directory %s is not a directory; name another with --data", dir)
	}
	return st.Mode().Perm()&0o077 != 0, nil
}

// absent gives the path of a sqlite or file URL when nothing is there, and "" for everything else. What only looks must not make
// what it looks for: a new empty database in the place of one that went away would hide that it did.
func absent(rawURL string) string {
	path := pathOf(rawURL)
	if path == "" {
		return ""
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return path
	}
	return ""
}

// pathOf gives the path of a sqlite or file URL, and "" for every other.
func pathOf(rawURL string) string {
	if path, is := strings.CutPrefix(rawURL, "sqlite://"); is { // what follows is the path as it is
		path, _, _ = strings.Cut(path, "?")
		return path
	}
	if u, err := url.Parse(rawURL); err == nil && u.Scheme == "file" {
		return u.Path
	}
	return ""
}

// errLocked means that another process holds a directory.
var errLocked = errors.New("another process holds it")

// lockFile takes a lock that ends with the process. The file holds the owner's process id for people.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 32)) // a help only
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w (process %s)", errLocked, orText(strings.TrimSpace(string(owner)), "unknown"))
		}
		return nil, fmt.Errorf("%s can't be locked: %w", path, err)
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err := errors.Join(f.Truncate(0), writeAt(f, pid)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// maxSocketPath is what sockaddr_un holds on Linux, less the closing zero.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// gatewaySocket is the embedded worker's way to the server: a socket that only this user can reach.
type gatewaySocket struct {
	net.Listener
	path string
	// elsewhere says that the path in the data directory is too long, so that the socket is in a directory of its own.
	elsewhere string
}

// listenGateway listens on DATA/run/gateway.sock. The caller holds the data directory's lock, so a socket that is there is a
// dead one.
func listenGateway(data string) (*gatewaySocket, error) {
	s := &gatewaySocket{}
	dir := filepath.Join(data, "run")
	s.path = filepath.Join(dir, "gateway.sock")
	if len(s.path) > maxSocketPath {
		var err error
		if dir, err = os.MkdirTemp("", "gantry-"); err != nil { // mode 0700
			return nil, fmt.Errorf("a short directory for the gateway's socket: %w", err)
		}
		s.elsewhere, s.path = dir, filepath.Join(dir, "gateway.sock")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Whatever the directory was before: nobody else may reach the socket, not even before its own mode is set.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the old gateway socket: %w", err)
	}
	ln, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, fmt.Errorf("the gateway's socket: %w", err)
	}
	s.Listener = ln
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close takes the socket away.
func (s *gatewaySocket) Close() error {
	err := s.Listener.Close()
	if s.elsewhere != "" {
		err = errors.Join(err, os.RemoveAll(s.elsewhere))
	}
	return err
}
