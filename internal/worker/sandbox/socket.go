package sandbox

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// listen makes a socket in the run directory that the sandbox's user may connect to. The address goes by the directory's handle:
// a socket's address has room for 107 bytes, which a data directory's path may well fill.
func (w *Workspace) listen(name string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(w.host(dirRun), name)); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	addr := fmt.Sprintf("/proc/self/fd/%d/%s", w.runDir.Fd(), name)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// Nobody inside can write the directory, so the file is still the socket just made.
	if err := os.Chmod(addr, 0o666); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}
