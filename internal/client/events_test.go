package client_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/client"
)

// stream is a server of n events that breaks each connection after the next of cuts events, in one of several ways.
type stream struct {
	mu    sync.Mutex
	n     int
	cuts  []int
	froms []int
	calls int
}

func (s *stream) next(r *http.Request) (from, cut, call int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ = strconv.Atoi(r.Header.Get("Last-Event-ID"))
	s.froms = append(s.froms, from)
	cut = -1
	if s.calls < len(s.cuts) {
		cut = s.cuts[s.calls]
	}
	s.calls++
	return from, cut, s.calls
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, cut, call := s.next(r)
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": hello\n\n")
	if call%2 == 0 && from > 0 {
		from-- // a server may repeat what was seen
	}
	for seq := from + 1; seq <= s.n; seq++ {
		if cut == 0 {
			// Half an event must not count.
			fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%d", seq, seq)
			w.(http.Flusher).Flush()
			if call%3 == 0 {
				panic(http.ErrAbortHandler)
			}
			return
		}
		cut--
		fmt.Fprintf(w, "id: %d\nevent: log\ndata: {\"seq\":%d,\"type\":\"log\",\ndata: \"created_at\":%d,\"data\":{}}\n\n: keep-alive\n\n", seq, seq, seq)
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "event: end\ndata: {}\n\n")
	w.(http.Flusher).Flush()
	<-r.Context().Done() // the client must go by itself
}

func TestFollowGivesEveryEventOnceAndInOrderOverBrokenConnections(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := &stream{n: rapid.IntRange(0, 30).Draw(rt, "n"), cuts: rapid.SliceOfN(rapid.IntRange(0, 9), 0, 4).Draw(rt, "cuts")}
		start := rapid.IntRange(0, s.n).Draw(rt, "start")
		c := serve(t, s.ServeHTTP)
		var got []int
		for e, err := range c.Follow(t.Context(), "o", "s", int64(start)) {
			require.NoError(rt, err)
			got = append(got, int(e.Seq))
		}
		var want []int
		for i := start + 1; i <= s.n; i++ {
			want = append(want, i)
		}
		require.Equal(rt, want, got)
	})
}

func TestFollowComesBackAfterTheServerWasAway(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	s := &stream{n: 2}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.Header().Set("Retry-After", "0.01")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			s.ServeHTTP(w, r)
		}
	})
	var got []int64
	for e, err := range c.Follow(t.Context(), "o", "s", 0) {
		require.NoError(t, err)
		got = append(got, e.Seq)
	}
	require.Equal(t, []int64{1, 2}, got)
}

func TestFollowEndsWithARefusal(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	var errs []error
	for _, err := range c.Follow(t.Context(), "o", "s", 0) {
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	require.Equal(t, http.StatusUnauthorized, client.StatusOf(errs[0]))
}

func TestTheReaderMayStopAndTheContextMayEnd(t *testing.T) {
	t.Parallel()
	c := serve(t, (&stream{n: 5}).ServeHTTP)
	for e, err := range c.Follow(t.Context(), "o", "s", 0) {
		require.NoError(t, err)
		require.EqualValues(t, 1, e.Seq)
		break
	}
	quiet := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var last error
	for _, err := range quiet.Follow(ctx, "o", "s", 0) {
		last = err
	}
	require.ErrorIs(t, last, context.DeadlineExceeded)
}
