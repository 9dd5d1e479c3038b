package faults

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
)

// busyTimeout is how long the server waits for SQLite's lock, answerTime for any database.
const (
	busyTimeout = 5 * time.Second
	answerTime  = 10 * time.Second
)

// requireAway checks the answer of a server whose database is away.
func requireAway(t *testing.T, a answer) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, a.status, "%+v", a)
	seconds, err := strconv.Atoi(a.retryAfter)
	require.NoError(t, err, "Retry-After: %q", a.retryAfter)
	require.Positive(t, seconds)
	require.Contains(t, a.body, "detail")
}

func (s *server) tryCreate(title string) answer {
	return s.call(http.MethodPost, s.sessionsPath(), fmt.Sprintf(`{"prompt": "nothing", "title": %q}`, title), nil)
}

// requireNone checks that a session that was refused left nothing behind.
func requireNone(t *testing.T, d *db.DB, title string) {
	t.Helper()
	n, err := db.One(t.Context(), d.Reader(), db.Int, `SELECT COUNT(*) FROM sessions WHERE title = $1`, title)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestSQLiteLockedPastItsTimeoutAnswers503AndLosesNoLease(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	s := newServer(t, "", "--lease", lease.String())
	s.newWorker("split")
	id := s.run(counted(60))
	s.awaitOutput(id, "line 10\n")

	release := lockSQLite(t, strings.TrimPrefix(s.db, "sqlite://"))
	begun := live.Now()
	refused := make(chan answer, 8)
	for range cap(refused) {
		go func() { refused <- s.tryCreate("refused") }()
	}
	for live.Since(begun) < lease+4*time.Second {
		a := s.call(http.MethodGet, s.sessionsPath()+"/"+id, "", nil)
		require.Equal(t, http.StatusOK, a.status, "reads still work: %+v", a)
		require.Less(t, a.took, 2*time.Second)
		sleep(t, 500*time.Millisecond)
	}
	for range cap(refused) {
		a := <-refused
		requireAway(t, a)
		require.Less(t, a.took, busyTimeout+2*time.Second, "nobody waits twice")
	}
	release()

	require.Eventually(t, func() bool { return s.tryCreate("taken").status == http.StatusOK }, soon, tick, "it recovers by itself")
	s.await(id, "running/finished")
	requireWhole(t, s, id, 60)
	requireNone(t, s.open(), "refused")
}

// lockSQLite takes the write lock as another process would.
func lockSQLite(t *testing.T, path string) (release func()) {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(20000)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	c, err := pool.Conn(t.Context())
	require.NoError(t, err)
	_, err = c.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	require.NoError(t, err)
	return func() {
		_, err := c.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
}

func TestPostgreSQLStoppedLongerThanALeaseAnswers503AndLosesNoLease(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	for name, outage := range map[string]struct{ begin, end func(*postgres) error }{
		"stopped at once": {
			(*postgres).stop,
			(*postgres).start,
		},
		"hanging": {
			func(p *postgres) error { return p.signal(syscall.SIGSTOP) },
			func(p *postgres) error { return p.signal(syscall.SIGCONT) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireSandbox(t)
			if !hasPostgres() {
				t.Skip("PostgreSQL isn't installed, or there is no user postgres to run it as")
			}
			p, err := newPostgres(freePort(t))
			require.NoError(t, err)
			t.Cleanup(p.remove)
			s := newServer(t, p.url(), "--lease", lease.String())
			s.newWorker("split")
			id := s.run(counted(60))
			s.awaitOutput(id, "line 10\n")

			require.NoError(t, outage.begin(p))
			begun := live.Now()
			for live.Since(begun) < lease+3*time.Second {
				for _, a := range []answer{
					s.tryCreate("refused"), s.call(http.MethodGet, s.sessionsPath()+"/"+id, "", nil),
				} {
					requireAway(t, a)
					require.Less(t, a.took, answerTime+2*time.Second)
				}
				ready := s.call(http.MethodGet, "/readyz", "", nil)
				require.Equal(t, http.StatusServiceUnavailable, ready.status)
				sleep(t, 500*time.Millisecond)
			}
			require.NoError(t, outage.end(p))

			require.Eventually(t, func() bool { return s.tryCreate("taken").status == http.StatusOK }, soon, 4*tick, "it recovers by itself")
			s.await(id, "running/finished")
			requireWhole(t, s, id, 60)
			requireNone(t, s.open(), "refused")
		})
	}
}
