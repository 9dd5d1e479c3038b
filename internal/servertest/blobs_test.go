package servertest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
)

func TestAServerThatHasOtherBlobsThanTheFirstSaysSo(t *testing.T) {
	t.Parallel()
	const differ, local = "neither finds the other's files", "every server on it needs the same directory"
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		same := servertest.New(t, servertest.Options{Engine: s.DB.Engine(), Of: s})
		other := servertest.New(t, servertest.Options{Engine: s.DB.Engine(), Of: s, Configure: func(cfg *config.Serve) {
			cfg.Blobs = "file://" + t.TempDir()
		}})
		if s.DB.Engine() == db.SQLite { // nobody else is on it
			require.NotContains(t, s.Log()+same.Log()+other.Log(), "needs the same directory")
			require.NotContains(t, other.Log(), differ)
			return
		}
		for _, first := range []*servertest.Server{s, same} {
			require.Contains(t, first.Log(), local)
			require.NotContains(t, first.Log(), differ)
		}
		require.Contains(t, other.Log(), differ)
	})
}
