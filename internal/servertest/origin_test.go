package servertest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/servertest"
)

func TestTheCommandLinesSessionsSayWhereTheyAreFrom(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	path := "/v3/organizations/" + s.Org
	for agent, want := range map[string]string{
		"gantry/0.3.0": "cli", "gantry": "api", "": "api", "python-requests/2.32": "api", "webapp": "api", "Mozilla/5.0 gantry/0.3.0": "api",
	} {
		a := s.Do(t, http.MethodPost, path+"/sessions", s.Admin.Token.Reveal(), `{"prompt":"x","origin":"slack"}`, "User-Agent", agent)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, want, a.JSON(t)["origin"], "%q", agent)
	}
	list := s.Do(t, http.MethodGet, path+"/sessions?origins=cli", s.Admin.Token.Reveal(), "")
	require.Len(t, list.JSON(t)["items"], 1, list.Body)
	now := s.DB.Clock().Now()
	counts := s.Do(t, http.MethodGet, fmt.Sprintf("%s/metrics/sessions?time_after=%d&time_before=%d", path, now.Add(-24*time.Hour).Unix(),
		now.Add(24*time.Hour).Unix()), s.Admin.Token.Reveal(), "")
	require.Equal(t, http.StatusOK, counts.Status, counts.Body)
	require.EqualValues(t, 6, counts.JSON(t)["sessions_created_count"])
	require.Contains(t, counts.Body, `"api":5,`, "the contract's counts have no place for cli")
}
