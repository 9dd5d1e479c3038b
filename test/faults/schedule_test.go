package faults

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
)

func TestSchedulesThatAreDueWhenTheServerIsKilledRunOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, database string) {
		s := newServer(t, database)
		const n = 40
		due := live.Now().Add(10 * time.Second).UTC().Truncate(time.Second)
		for i := range n {
			a := s.call(http.MethodPost, "/v3/organizations/"+s.org+"/schedules", fmt.Sprintf(
				`{"name": "schedule-%d", "prompt": "nothing", "schedule_type": "one_time", "scheduled_at": %q}`, i, due.Format(time.RFC3339)), nil)
			require.Equal(t, http.StatusOK, a.status, a.body)
		}
		require.True(t, live.Now().Before(due), "the machine is too slow to say anything")
		d := s.open()
		started := func() int64 {
			count, err := db.One(t.Context(), d.Reader(), db.Int, `SELECT COUNT(*) FROM sessions WHERE schedule_id IS NOT NULL`)
			require.NoError(t, err)
			return count
		}
		require.Eventually(t, func() bool { return started() > 0 }, soon, time.Millisecond)
		s.kill()
		cut := started()
		s.start()
		require.Eventually(t, func() bool { return started() >= n }, soon, tick)
		sleep(t, 2500*time.Millisecond) // two more looks
		require.EqualValues(t, n, started(), "%d ran before the kill", cut)
		each, err := db.One(t.Context(), d.Reader(), db.Int, `SELECT COUNT(DISTINCT schedule_id) FROM sessions WHERE schedule_id IS NOT NULL`)
		require.NoError(t, err)
		require.EqualValues(t, n, each, "each its own")
		requireConsistent(t, d)
		t.Logf("%d of %d ran before the kill", cut, n)
	})
}
