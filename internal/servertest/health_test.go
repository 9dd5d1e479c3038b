package servertest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/servertest"
)

func TestAServerThatStopsIsAliveButNotReady(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		status := func(path string) int { return s.Do(t, http.MethodGet, path, "", "").Status }
		require.Equal(t, http.StatusOK, status("/readyz"))
		require.Contains(t, s.Do(t, http.MethodGet, "/metrics", "", "").Body, "gantry_queue_pending 0\n")
		s.Stopping()
		require.Equal(t, http.StatusServiceUnavailable, status("/readyz"))
		require.Equal(t, http.StatusOK, status("/healthz"))
	})
}
