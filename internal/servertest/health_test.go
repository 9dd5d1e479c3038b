package servertest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
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

func TestAServerUnderWhichANewerReleaseMigratedIsNotReady(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		is := map[db.Engine]string{db.SQLite: "1", db.Postgres: "TRUE"}[s.DB.Engine()]
		require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, `+is+`)`)
			return err
		}))
		a := s.Do(t, http.MethodGet, "/readyz", "", "")
		require.Equal(t, http.StatusServiceUnavailable, a.Status)
		require.Contains(t, a.Body, "a newer release made it")
	})
}

func TestAServerWhoseDatabaseTakesNoWritesIsNotReadyUntilItDoes(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true})
	ready := func() bool { return s.Do(t, http.MethodGet, "/readyz", "", "").Status == http.StatusOK }
	limit := func(pages string) {
		require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `PRAGMA max_page_count = `+pages)
			return err
		}))
	}
	require.True(t, ready())
	limit("1") // the engine takes it for the number of pages there are, and answers as on a full disk
	require.Error(t, s.DB.TryWrite(t.Context()))
	a := s.Do(t, http.MethodGet, "/readyz", "", "")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Contains(t, a.Body, "the database takes no writes")
	require.Never(t, ready, 1500*time.Millisecond, 100*time.Millisecond, "it is tried in vain")
	limit("1000000")
	require.Eventually(t, ready, 10*time.Second, 50*time.Millisecond, "nobody has to write for it")
}
