package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func woken(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestANoticeWakesWhoListensToItsTopicAndID(t *testing.T) {
	t.Parallel()
	h := events.New()
	one, cancelOne := h.Subscribe(events.Session, "a")
	other, cancelOther := h.Subscribe(events.Session, "b")
	all, cancelAll := h.Subscribe(events.Session, "")
	queue, cancelQueue := h.Subscribe(events.Queue, "a")

	h.Publish(events.Session, "a")
	require.True(t, woken(one))
	require.False(t, woken(other))
	require.True(t, woken(all))
	require.False(t, woken(queue))

	h.Publish(events.Session, "")
	require.True(t, woken(one) && woken(other) && woken(all))

	for range 3 { // never blocks, and three are as good as one
		h.Publish(events.Session, "a")
	}
	require.True(t, woken(one))
	require.False(t, woken(one))
	require.True(t, woken(all))

	cancelOne()
	cancelOne()
	h.Publish(events.Session, "a")
	require.False(t, woken(one))
	require.True(t, woken(all))
	cancelOther()
	cancelAll()
	cancelQueue()
}

func TestPublishAndSubscribeTogether(t *testing.T) {
	t.Parallel()
	h := events.New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				id := fmt.Sprint(i, j%3)
				c, cancel := h.Subscribe(events.Session, id)
				h.Publish(events.Session, id)
				if !woken(c) {
					panic("a notice after Subscribe was lost")
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// replica is a hub with a bridge, as one process of several on the same database.
func replica(t *testing.T, url string) *events.Hub {
	t.Helper()
	h := events.New()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	ready, stop := h.Subscribe("ready", "")
	defer stop()
	b := events.NewBridge(h, url, slog.New(slog.DiscardHandler))
	go func() { defer close(done); _ = b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	require.Eventually(t, func() bool { return woken(ready) }, 10*time.Second, time.Millisecond, "listening wakes everybody once")
	return h
}

func TestNoticesReachOtherReplicas(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t, db.Postgres)
	a, b := replica(t, url), replica(t, url)
	mine, cancelMine := a.Subscribe(events.Session, "s1")
	defer cancelMine()
	theirs, cancelTheirs := b.Subscribe(events.Session, "s1")
	defer cancelTheirs()
	unrelated, cancelUnrelated := b.Subscribe(events.Session, "s2")
	defer cancelUnrelated()
	_ = woken(mine) // the bridges' own first wake-up may still be there
	_ = woken(theirs)
	_ = woken(unrelated)

	a.Publish(events.Session, "s1")
	require.True(t, woken(mine))
	require.Eventually(t, func() bool { return woken(theirs) }, 5*time.Second, time.Millisecond)
	require.False(t, woken(unrelated))
	clock.Sleep(t.Context(), 100*time.Millisecond)
	require.False(t, woken(mine), "a replica doesn't hear itself")
}

func TestManyNoticesAreOneStatement(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t, db.Postgres)
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = c.Close(context.Background()) }()
	_, err = c.Exec(t.Context(), "LISTEN gantry")
	require.NoError(t, err)
	a, b := replica(t, url), replica(t, url)
	var woke []<-chan struct{}
	for i := range 300 {
		w, cancel := b.Subscribe(events.Session, fmt.Sprintf("%032d", i))
		defer cancel()
		woke = append(woke, w)
	}
	for i := range 3000 {
		a.Publish(events.Session, fmt.Sprintf("%032d", i%300))
	}
	for _, w := range woke {
		require.Eventually(t, func() bool { return woken(w) }, 5*time.Second, time.Millisecond)
	}
	payloads := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := c.WaitForNotification(ctx)
		cancel()
		if err != nil {
			break
		}
		payloads++
	}
	require.Positive(t, payloads)
	require.Less(t, payloads, 40, "3000 notices about 300 ids are a few payloads")
}

func TestMoreIDsThanAStatementHoldsWakeTheWholeTopic(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t, db.Postgres)
	a, b := replica(t, url), replica(t, url)
	w, cancel := b.Subscribe(events.Session, "not among them")
	defer cancel()
	_ = woken(w)
	for i := range 5000 {
		a.Publish(events.Session, fmt.Sprint(i))
	}
	require.Eventually(t, func() bool { return woken(w) }, 5*time.Second, time.Millisecond)
}

func TestALostListenerComesBackAndWakesEverybody(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t, db.Postgres)
	a, b := replica(t, url), replica(t, url)
	w, cancel := b.Subscribe(events.Session, "s1")
	defer cancel()
	_ = woken(w)
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = c.Close(context.Background()) }()
	_, err = c.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return woken(w) }, 10*time.Second, time.Millisecond, "what was missed is unknown, so all look")
	require.Eventually(t, func() bool {
		a.Publish(events.Session, "s1")
		return woken(w)
	}, 10*time.Second, 20*time.Millisecond)
}
