package sandbox

import (
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

// What may pass is told from what won't, both when git dials through the proxy and when a relay does for it.
func TestACloneThatMaySucceedLaterSaysSo(t *testing.T) {
	t.Parallel()
	status := http.StatusServiceUnavailable
	srv, ca := gitServer(t, bareRepositories(t, "public.git"))
	answer := srv.Config.Handler
	srv.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if status != 0 {
			http.Error(rw, "no", status)
			return
		}
		answer.ServeHTTP(rw, r)
	})
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	w := newWorkspace(t, allowLoopback(t), func(o *Options) { o.CABundle = ca })
	w.Credentials(passwords().ask)
	for _, credential := range []bool{false, true} {
		fails := func(url string) error {
			err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: url, Dir: "r", Credential: credential}})
			require.Error(t, err)
			return err
		}
		for _, status = range []int{502, 503, 504} {
			require.ErrorIs(t, fails(srv.URL+"/public.git"), ErrPassing, "%d", status)
		}
		require.ErrorIs(t, fails("https://"+closed.Addr().String()+"/public.git"), ErrPassing)
		require.ErrorIs(t, fails("https://nowhere.invalid/public.git"), ErrPassing)
		for _, status = range []int{400, 401, 403, 404, 410, 500} {
			err := fails(srv.URL + "/public.git")
			require.NotErrorIs(t, err, ErrPassing, "%d", status)
		}
		require.NotErrorIs(t, fails("https://10.1.2.3/public.git"), ErrPassing, "an address that isn't allowed")
		status = 0
		require.NotErrorIs(t, fails(srv.URL+"/public-none.git"), ErrPassing)
	}
	w = newWorkspace(t, allowLoopback(t))
	w.Credentials(passwords().ask)
	for _, credential := range []bool{false, true} {
		err := w.Clone(t.Context(), CloneParams{Repository: wire.Repository{Name: "r", URL: srv.URL + "/public.git", Dir: "r", Credential: credential}})
		require.ErrorContains(t, err, "certificate")
		require.NotErrorIs(t, err, ErrPassing)
	}
	for said, want := range map[string]bool{
		"ssh: connect to host h port 22: Connection refused; fatal: Could not read from remote repository.":       true,
		"gantry: ssh to git.example.com: no connection; fatal: Could not read from remote repository.":            true,
		"error: RPC failed; curl 56 Recv failure: Connection reset by peer; fatal: early EOF":                     true,
		"gantry: ssh to h: host key verification failed: it isn't the one the git connection knows; fatal: Could": false,
		"git@h: Permission denied (publickey).; fatal: Could not read from remote repository.":                    false,
		"fatal: Remote branch 502 not found in upstream origin":                                                   false,
	} {
		require.Equal(t, want, saysPassing(said), said)
	}
	require.ErrorIs(t, errors.Join(passing{errors.New("x")}, nil), ErrPassing)
}
