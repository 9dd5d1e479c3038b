package sandbox

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"gantry/internal/wire"
)

// heard collects the branches that a workspace tells of.
type heard struct {
	mu   sync.Mutex
	list []string
}

func (h *heard) hear(repository string, branches []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range branches {
		h.list = append(h.list, repository+" "+b)
	}
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(slices.Values(h.list))
}

// pushes is a script that pushes two branches, one that the host refuses and one that goes again, a tag and, in a large push, another branch.
const pushes = `cd repo && git checkout -q -b fix && ` + commit + ` && git branch more && git branch refused && git branch goes && git tag v1 &&
	git push -q origin fix more goes v1 && ! git push -q origin refused && git push -q origin :goes && git checkout -q -b large &&
	head -c 3000000 /dev/urandom >big && git add big && git -c user.name=a -c user.email=a@b commit -qm big && git push -q origin large && git push -q origin fix`

// refusing has a repository refuse one branch.
func refusing(t *testing.T, root string) {
	t.Helper()
	hook := filepath.Join(root, "repo.git", "hooks", "update")
	require.NoError(t, os.MkdirAll(filepath.Dir(hook), 0o755))
	require.NoError(t, os.WriteFile(hook, []byte("#!/bin/sh\necho \"ok $1 is what it would like to hear\"\n[ \"$1\" != refs/heads/refused ]\n"), 0o755))
}

func TestTheRelayTellsWhichBranchesWerePushed(t *testing.T) {
	t.Parallel()
	root := bareRepositories(t, "repo.git")
	refusing(t, root)
	srv, ca := gitServer(t, root)
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca })
	w.Credentials(passwords().ask)
	var h heard
	w.Pushes(h.hear)
	require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "acme/repo", URL: srv.URL + "/repo.git", Dir: "repo", Credential: true}}))
	out, exit := sh(t, w, pushes)
	require.True(t, exit.OK(), out)
	want := []string{"acme/repo fix", "acme/repo goes", "acme/repo large", "acme/repo more"}
	eventually(t, func() bool { return slices.Equal(want, h.all()) }, "it tells of them")
}

func TestTheSSHRelayTellsWhichBranchesWerePushed(t *testing.T) {
	t.Parallel()
	root := bareRepositories(t, "repo.git")
	refusing(t, root)
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	addr, hostKey := sshServer(t, pub)
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	w := newWorkspace(t, allowLoopback(t))
	w.Credentials((&server{reply: wire.CredentialReply{
		PrivateKey: string(pem.EncodeToMemory(block)), KnownHosts: fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(hostKey)),
	}}).ask)
	var h heard
	w.Pushes(h.hear)
	require.NoError(t, w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "repo", URL: "ssh://git@" + addr + root + "/repo.git", Dir: "repo", Credential: true}}))
	out, exit := sh(t, w, pushes)
	require.True(t, exit.OK(), out)
	want := []string{"repo fix", "repo goes", "repo large", "repo more"}
	eventually(t, func() bool { return slices.Equal(want, h.all()) }, "it tells of them")
}

// pkt writes git's lines, each with its length before it.
func pkt(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%04x%s", len(l)+4, l)
	}
	return b.String()
}

const oidA, oidB = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"

func TestAPushIsReadAsFarAsItCanBe(t *testing.T) {
	t.Parallel()
	zero := strings.Repeat("0", 40)
	line := func(from, to, ref string) string { return from + " " + to + " " + ref }
	for name, c := range map[string]struct {
		asked, said string
		want        []string
	}{
		"a new branch":               {pkt(line(zero, oidA, "refs/heads/a")+"\x00 report-status") + "0000PACK", "unpack ok\n001aok refs/heads/a\n", []string{"a"}},
		"from a shallow clone":       {pkt("shallow "+oidA, line(zero, oidA, "refs/heads/a")) + "0000", "ok refs/heads/a\n", []string{"a"}},
		"refused":                    {pkt(line(oidA, oidB, "refs/heads/a")) + "0000", "ng refs/heads/a hook\nok refs/heads/ab\n", nil},
		"deleted":                    {pkt(line(oidA, zero, "refs/heads/a")) + "0000", "ok refs/heads/a\n", nil},
		"unchanged":                  {pkt(line(oidA, oidA, "refs/heads/a")) + "0000", "ok refs/heads/a\n", nil},
		"a tag":                      {pkt(line(zero, oidA, "refs/tags/a")) + "0000", "ok refs/tags/a\n", nil},
		"git's question beforehand":  {"0000", "", nil},
		"nothing":                    {"", "ok refs/heads/a\n", nil},
		"no lines":                   {"hello, world", "ok refs/heads/a\n", nil},
		"a line that is cut":         {pkt(line(oidA, oidB, "refs/heads/a"))[:30], "ok refs/heads/a\n", nil},
		"a length that can't be":     {"0001" + pkt(line(oidA, oidB, "refs/heads/a")), "ok refs/heads/a\n", nil},
		"behind the end of commands": {"0000" + pkt(line(oidA, oidB, "refs/heads/a")), "ok refs/heads/a\n", nil},
		"after much that was said":   {pkt(line(oidA, oidB, "refs/heads/a")) + "0000", strings.Repeat("x", 5*pushKept) + "ok refs/heads/a\n", []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := watchPush("git-receive-pack")
			_, err := io.Copy(io.Discard, p.out(strings.NewReader(c.asked+strings.Repeat("x", 3*pushKept))))
			require.NoError(t, err)
			to := p.back(io.Discard)
			for _, piece := range strings.SplitAfter(c.said, "xxxx") {
				_, err = io.WriteString(to, piece)
				require.NoError(t, err)
			}
			require.Equal(t, c.want, p.branches())
			require.LessOrEqual(t, len(p.asked), pushKept)
			require.LessOrEqual(t, len(p.said), 2*pushKept+64)
		})
	}
	require.Nil(t, watchPush("git-upload-pack").branches())
}

func FuzzAPushIsRead(f *testing.F) {
	f.Add([]byte(pkt(oidA+" "+oidB+" refs/heads/a")+"0000"), []byte("ok refs/heads/a\n"))
	f.Add([]byte("ffff0004"), []byte(""))
	f.Fuzz(func(t *testing.T, asked, said []byte) {
		p := &push{asked: asked, said: said}
		for _, b := range p.branches() {
			require.Contains(t, string(asked), "refs/heads/"+b)
			require.Contains(t, string(said), "ok refs/heads/"+b+"\n")
		}
	})
}
