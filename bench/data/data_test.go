package data_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/bench/data"
	"gantry/internal/audit"
	"gantry/internal/metric"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
	"gantry/internal/usage"
)

func TestWhatIsLoadedAgreesWithItself(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		w, err := data.Load(t.Context(), s.Server, data.Options{Scale: 0.001, Database: s.Config.Database, Until: time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)})
		require.NoError(t, err)
		require.Equal(t, 1000, w.Sessions)
		count := func(query string, args ...any) int64 {
			n, err := db.One(t.Context(), s.DB.Reader(), db.Int, query, args...)
			require.NoError(t, err)
			return n
		}
		require.EqualValues(t, 1000, count(`SELECT COUNT(*) FROM sessions`))
		require.EqualValues(t, 2000, count(`SELECT COUNT(*) FROM audit_entries WHERE request_id IS NOT NULL`))
		got, err := s.Rooms.Metrics.Sessions(t.Context(), s.Root(), metric.Filter{})
		require.NoError(t, err)
		require.EqualValues(t, 1000, got.Created)
		require.Equal(t, count(`SELECT COUNT(*) FROM sessions WHERE size = 'm'`), got.BySize["m"])
		days, err := s.Usage.Daily(t.Context(), s.Root(), usage.DailyParams{Scope: usage.User, ID: w.User})
		require.NoError(t, err)
		var used int64
		for _, d := range days {
			used += d.Total()
		}
		require.Positive(t, used)
		require.Equal(t, count(`SELECT SUM(acu_micros) FROM usage_entries WHERE user_id = $1`, w.User), used)
		require.Equal(t, count(`SELECT SUM(acu_micros) FROM sessions WHERE user_id = $1`, w.User), used)
		for _, path := range []string{"/v3/enterprise/sessions/" + w.Session + "/messages", "/v3/enterprise/sessions?parent_session_id=" + w.Parent} {
			a := s.Do(t, http.MethodGet, path, s.Admin.Token.Reveal(), "")
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.Contains(t, a.Body, `"items":[{`, path)
		}
		cases, err := w.Cases()
		require.NoError(t, err)
		require.Greater(t, len(cases), 150)
		for _, c := range cases {
			a := s.Do(t, http.MethodGet, c.Path, s.Admin.Token.Reveal(), "")
			require.Equal(t, http.StatusOK, a.Status, "%s\n%s", c.Path, a.Body)
		}
		report, err := s.Audit.Verify(t.Context(), s.Root(), audit.Anchor{})
		require.NoError(t, err)
		require.Empty(t, report.Findings, "every loaded entry is stamped and sealed")
	})
}
