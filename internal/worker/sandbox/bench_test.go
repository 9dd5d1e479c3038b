package sandbox

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkStart is the way from Start to the end of a program that does nothing; BenchmarkBareBubblewrap is its floor.
func BenchmarkStart(b *testing.B) {
	for _, net := range []string{NetNone, NetProxy} {
		b.Run(net, func(b *testing.B) {
			w := newWorkspace(b, withNet(net))
			for b.Loop() {
				exit, err := w.Run(b.Context(), Process{Args: []string{"/bin/true"}})
				require.NoError(b, err)
				require.True(b, exit.OK())
			}
		})
	}
}

func BenchmarkBareBubblewrap(b *testing.B) {
	if _, err := exec.LookPath("bwrap"); err != nil {
		b.Skip("bubblewrap isn't installed")
	}
	for b.Loop() {
		require.NoError(b, exec.Command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/true").Run())
	}
}
