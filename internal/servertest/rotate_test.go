package servertest_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/page"
	"gantry/internal/server"
	"gantry/internal/servertest"
)

// A replica with the new keeper stands beside one that still has the old one: what was sealed and signed before is good on both.
func TestAfterARotationOfTheKeeperEverythingSealedAndSignedBeforeIsGood(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		o := newTenant(t, s, "aardvark5c")
		list := "/v3/organizations/" + o.org + "/sessions?is_archived=true&first=1"
		file := s.Do(t, http.MethodGet, "/v3/organizations/"+o.org+"/attachments/"+o.attachments[0]+"/x", o.admin.Token, "")
		require.Equal(t, http.StatusTemporaryRedirect, file.Status, file.Body)

		require.NoError(t, s.Audit.Seal(t.Context()))
		anchor, err := s.Audit.Head(t.Context(), s.Root())
		require.NoError(t, err)

		next := "file://" + filepath.Join(t.TempDir(), "next.key")
		storage := s.Config.Storage
		n, err := server.RotateKeeper(t.Context(), &storage, next, clock.Clock{})
		require.NoError(t, err)
		require.Positive(t, n)

		after := servertest.New(t, servertest.Options{Engine: s.DB.Engine(), Of: s, Configure: func(c *config.Serve) { c.Keeper = next }})
		given, err := after.Secrets.Open(t.Context(), o.org, []string{o.secret})
		require.NoError(t, err)
		require.Equal(t, o.mark+"-value", given[0].Value.Reveal())
		given, err = s.Secrets.Open(t.Context(), o.org, []string{o.secret})
		require.NoError(t, err, "the old replica has the data key in memory")
		require.Len(t, given, 1)
		a := after.Do(t, http.MethodGet, file.Header.Get("Location")[len("http://gantry.test"):], "", "")
		require.Equal(t, http.StatusOK, a.Status, "an address that was signed before: %s", a.Body)
		a = after.Do(t, http.MethodGet, list, o.admin.Token, "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)

		logs, err := after.Audit.List(t.Context(), after.Root(), audit.ListParams{Action: audit.RotateKeeper, Page: page.Request{First: 5}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 1)
		require.Contains(t, string(logs.Items[0].Data), "next.key")
		require.NoError(t, after.Audit.Seal(t.Context()))
		report, err := after.Audit.Verify(t.Context(), after.Root(), anchor)
		require.NoError(t, err)
		require.Zero(t, report.Wrong, "%+v", report)
		_, err = server.RotateKeeper(t.Context(), &storage, next, clock.Clock{})
		require.ErrorContains(t, err, "already")
	})
}
