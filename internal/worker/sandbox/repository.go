package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"gantry/internal/platform/pattern"
	"gantry/internal/wire"
)

// remote is a repository's address, taken apart. Scheme is https, ssh or file.
type remote struct {
	scheme string
	url    string // what git is given
	host   string // lower case, without port
	port   string
	path   string // without slashes at its ends
}

var scpLike = pattern.Of(`^([A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):([^/].*)$`)

// parseRemote takes an address apart. What it doesn't know is refused: git's other transports (ext::, fd::, git://, http://) run
// programs, read other files or hide nothing from the network.
func parseRemote(r wire.Repository) (remote, error) {
	raw := r.URL
	if m := scpLike().FindStringSubmatch(raw); m != nil && !strings.Contains(raw, "://") && !strings.Contains(raw, "::") {
		raw = "ssh://" + m[1] + m[2] + "/" + m[3]
	}
	if strings.HasPrefix(raw, "/") {
		return remote{scheme: "file", path: path.Clean(raw)}, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return remote{}, fmt.Errorf("repository %s: its address can't be read", r.Name) // the error would quote a password
	}
	rem := remote{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port(), path: strings.Trim(u.Path, "/")}
	_, password := u.User.Password()
	switch {
	case rem.scheme == "file" && (u.Host == "" || u.Host == "localhost") && strings.HasPrefix(u.Path, "/"):
		return remote{scheme: "file", path: path.Clean(u.Path)}, nil
	case rem.scheme != "https" && rem.scheme != "ssh":
		return remote{}, fmt.Errorf("repository %s: its address must be https, ssh, or a path on the worker", r.Name)
	case rem.host == "" || strings.HasPrefix(rem.host, "-") || rem.path == "":
		return remote{}, fmt.Errorf("repository %s: its address names no host or no path", r.Name)
	case password || (rem.scheme == "https" && u.User != nil):
		return remote{}, fmt.Errorf("repository %s: its address holds a credential; give it to the server instead", r.Name)
	case rem.scheme == "ssh" && strings.HasPrefix(u.User.Username(), "-"):
		return remote{}, fmt.Errorf("repository %s: its address names no user", r.Name)
	}
	if rem.port == "" {
		rem.port = map[string]string{"https": "443", "ssh": "22"}[rem.scheme]
	}
	rem.url = u.String()
	return rem, nil
}

// repositoryTarget is the host:port git has to reach, empty for a repository of this machine.
func repositoryTarget(r wire.Repository) string {
	rem, err := parseRemote(r)
	if err != nil || rem.scheme == "file" {
		return ""
	}
	return net.JoinHostPort(rem.host, rem.port)
}

// fileRepository gives the real path of a repository of this machine, empty for the others. It must lie under a listed root once
// every symbolic link is followed.
func (s *Sandbox) fileRepository(r wire.Repository) (string, error) {
	rem, err := parseRemote(r)
	if err != nil || rem.scheme != "file" {
		return "", err
	}
	outside := fmt.Errorf("repository %s: %s doesn't lie under a directory the operator lists for repositories", r.Name, rem.path)
	real, err := filepath.EvalSymlinks(rem.path)
	if errors.Is(err, os.ErrNotExist) && s.underRoot(rem.path) {
		return "", fmt.Errorf("repository %s: %s doesn't exist", r.Name, rem.path)
	}
	if err != nil || !s.underRoot(real) {
		return "", outside // whether it exists there is nobody's business
	}
	if wire.Within(s.opts.Root, real) || wire.Within(real, s.opts.Root) {
		return "", outside
	}
	return real, nil
}

func (s *Sandbox) underRoot(path string) bool {
	for _, root := range s.opts.FileRoots {
		if root, err := filepath.EvalSymlinks(root); err == nil && wire.Within(path, root) {
			return true
		}
	}
	return false
}

var unsafeName = pattern.Of(`[^A-Za-z0-9._-]+`)

// fileRepositoryInside is where a repository of this machine is bound.
func fileRepositoryInside(r wire.Repository) string {
	name := strings.Trim(unsafeName().ReplaceAllString(r.Name, "_"), ".")
	if name != r.Name || name == "" {
		sum := sha256.Sum256([]byte(r.Name))
		name += "-" + hex.EncodeToString(sum[:4])
	}
	return insideRepo + "/" + name
}
