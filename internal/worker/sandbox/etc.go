package sandbox

import (
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
	"gitconfig": "[safe]\n\tdirectory = *\n[user]\n\tname = Gantry agent\n\temail = agent@localhost\n[init]\n\tdefaultBranch = main\n",
}

// etcHost are the machine's own files that programs need to run at all; none is secret.
var etcHost = []string{
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/etc/alternatives",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types",
}

const etcDir = ".etc" // below Root; no session id begins with a dot

func (s *Sandbox) writeEtc() error {
	dir := filepath.Join(s.opts.Root, etcDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return diskError(fmt.Errorf("sandbox: %w", err))
	}
	for name, text := range etcFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // read by everybody inside
			return diskError(fmt.Errorf("sandbox: %w", err))
		}
	}
	return nil
}

func (s *Sandbox) etcArgs() []string {
	a := []string{"--perms", "0755", "--dir", "/etc"}
	for name := range etcFiles {
		src := filepath.Join(s.opts.Root, etcDir, name)
		if s.opts.Net == NetHost && (name == "resolv.conf" || name == "hosts") {
			src = filepath.Join("/etc", name)
		}
		a = append(a, "--ro-bind", src, filepath.Join("/etc", name))
	}
	for _, path := range etcHost {
		if _, err := os.Stat(path); err == nil {
			a = append(a, "--ro-bind", path, path)
		}
	}
	if s.opts.CABundle != "" {
		a = append(a, "--ro-bind", s.opts.CABundle, insideCA)
	}
	return a
}

const insideCA = "/etc/gantry/ca.pem"

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
