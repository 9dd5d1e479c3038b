package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What /etc of every sandbox holds beside the machine's certificates and loader files. Nothing names the machine or its users.
var etcFiles = map[string]string{
	"passwd": "root:x:0:0:root:/:/bin/sh\n" + insideUser + ":x:" + strconv.Itoa(insideUID) + ":" + strconv.Itoa(insideUID) +
		"::" + insideHome + ":/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
	"group":         "root:x:0:\n" + insideUser + ":x:" + strconv.Itoa(insideUID) + ":\nnogroup:x:65534:\n",
	"hosts":         "127.0.0.1 localhost gantry\n::1 localhost\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	"resolv.conf":   "# The sandbox resolves no names: the proxy does.\n",
	// Whoever owns a repository that was bound in, it is in the sandbox already: git's check would only keep clones from working.
	"gitconfig": "[safe]\n\tdirectory = *\n[user]\n\tname = Gantry agent\n\temail = agent@localhost\n[init]\n\tdefaultBranch = main\n[include]\n\tpath = " + insideRun + "/" + gitConfig + "\n",
}

// etcCopied are files of the machine that hardly ever change; etcBound are those that an update of the machine changes, and that
// have to fit its libraries and programs. Each mount costs a session's start about half a millisecond, so there are few.
var (
	etcCopied = []string{"ssl/openssl.cnf", "localtime", "mime.types"}
	etcBound  = []string{"ld.so.cache", "ssl/certs", "pki/tls/certs", "pki/ca-trust", "alternatives"}
)

const etcDir = ".etc" // below Root; no session id begins with a dot

// writeEtc makes the directory that every sandbox has as its /etc, with a place for each mount upon it.
func (s *Sandbox) writeEtc() error {
	dir := filepath.Join(s.opts.Root, etcDir)
	err := removeTree(s.opts.Root, etcDir)
	err = errors.Join(err, etcFolder(dir, "gantry"))
	for name, text := range etcFiles {
		err = errors.Join(err, writeEtcFile(dir, name, []byte(text)))
	}
	for _, name := range etcCopied {
		if b, rerr := os.ReadFile(filepath.Join("/etc", name)); rerr == nil {
			err = errors.Join(err, writeEtcFile(dir, name, b))
		}
	}
	for _, name := range etcBound {
		if st, serr := os.Stat(filepath.Join("/etc", name)); serr != nil {
			continue
		} else if st.IsDir() {
			err = errors.Join(err, etcFolder(dir, name))
		} else {
			err = errors.Join(err, writeEtcFile(dir, name, nil))
		}
	}
	if s.opts.CABundle != "" {
		b, rerr := os.ReadFile(s.opts.CABundle)
		err = errors.Join(err, rerr, writeEtcFile(dir, insideCAName, b))
	}
	if err != nil {
		return diskError(fmt.Errorf("sandbox: prepare /etc: %w", err))
	}
	return nil
}

func writeEtcFile(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	if err := etcFolder(dir, filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}

// etcFolder makes dir/name, open to everybody whatever the worker's umask is.
func etcFolder(dir, name string) error {
	if name != "." {
		if err := etcFolder(dir, filepath.Dir(name)); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func (s *Sandbox) etcArgs() []string {
	a := []string{"--ro-bind", filepath.Join(s.opts.Root, etcDir), "/etc"}
	bound := etcBound
	if s.opts.Net == NetHost {
		bound = append([]string{"resolv.conf", "hosts"}, bound...)
	}
	for _, name := range bound {
		if path := filepath.Join("/etc", name); exists(path) {
			a = append(a, "--ro-bind", path, path)
		}
	}
	return a
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	insideCAName = "gantry/ca.pem"
	insideCA     = "/etc/" + insideCAName
)

func (w *Workspace) caBundle() string {
	if w.sb.opts.Mode == ModeNone {
		return w.sb.opts.CABundle
	}
	return insideCA
}

// readSetting reads a kernel setting; empty when it isn't there.
func readSetting(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}
