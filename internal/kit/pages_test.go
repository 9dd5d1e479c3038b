package kit_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/fault"
)

// cookie is a door's own way to know who asks.
func cookie(h *house, r *http.Request) func(context.Context, netip.Addr) (access.Subject, error) {
	return func(ctx context.Context, remote netip.Addr) (access.Subject, error) {
		return h.keys.Authenticate(ctx, r.Header.Get("Cookie"), remote)
	}
}

func TestAPageIsCountedLimitedAndNamedLikeAnOperation(t *testing.T) {
	t.Parallel()
	var done []kit.Done
	h := newHouse(t, func(o *kit.Options) {
		o.Limits.Requests, o.Limits.UnknownKeys = 1, 2
		o.OnDone = func(d kit.Done) { done = append(done, d) }
	})
	inside := func() {}
	h.kit.Pages().Get("/pages/{id}", func(w http.ResponseWriter, r *http.Request) {
		who, err := h.kit.Enter(w, r, kit.Entry{Who: cookie(h, r), Guess: r.URL.Query().Has("guess")})
		if err != nil {
			e := h.kit.Refusal(r, err)
			http.Error(w, e.Error(), e.GetStatus())
			return
		}
		kit.OnOrg(r.Context(), orgA)
		inside()
		_, _ = w.Write([]byte(who.ID + " " + kit.Org(r.Context()) + " " + who.RequestID))
	})
	get := func(target, key string) kittest.Answer {
		return h.get(t, target, "", "Cookie", key, "X-Request-Id", "req-1")
	}
	a := get("/pages/7", "a")
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, a.Body, " "+orgA+" req-1")
	require.Equal(t, "/pages/{id}", done[0].Route)
	inside = func() {
		inside = func() {}
		require.Equal(t, http.StatusTooManyRequests, get("/pages/8", "a").Status, "one request is in flight")
	}
	require.Equal(t, http.StatusOK, get("/pages/7", "a").Status)
	require.Equal(t, http.StatusOK, get("/pages/7", "a").Status, "the place is free again")
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, get("/pages/7", "nobody").Status, "who guesses nothing isn't counted")
	}
	require.Equal(t, http.StatusUnauthorized, get("/pages/7?guess", "nobody").Status)
	require.Equal(t, http.StatusUnauthorized, get("/pages/7?guess", "nobody").Status)
	require.Equal(t, http.StatusTooManyRequests, get("/pages/7?guess", "nobody").Status)
	require.Equal(t, http.StatusOK, get("/pages/7?guess", "a").Status)
}

func TestAPagesStreamEndsWhenItsReaderMayNoMore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var gone atomic.Bool
	h.kit.Pages().Get("/pages/live", func(w http.ResponseWriter, r *http.Request) {
		who, err := h.kit.Enter(w, r, kit.Entry{Who: cookie(h, r), Stream: true})
		require.NoError(t, err)
		again := func() (access.Subject, error) {
			if gone.Load() {
				return access.Subject{}, fault.New(fault.Unauthenticated, "gone")
			}
			return who, nil
		}
		h.kit.Follow(r, again, func(_ context.Context, st *kit.Stream) error {
			for {
				st.SendRaw("1", "part", []byte("<p>\n</p>"))
				if err := st.Flush(); err != nil {
					return err
				}
				if err := st.Wait(nil, 5*time.Millisecond); err != nil {
					return err
				}
			}
		})
	})
	srv := httptest.NewServer(h.kit.Router())
	t.Cleanup(func() { h.kit.Close(); srv.Close() })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/pages/live", nil)
	require.NoError(t, err)
	r.Header.Set("Cookie", "a")
	res, err := srv.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b := bufio.NewReader(res.Body)
	require.Equal(t, "id: 1\nevent: part\ndata: <p>\ndata: </p>\n", next(t, b))
	gone.Store(true)
	for next(t, b) != "EOF" {
		continue
	}
}

func TestOnlyABrowserGetsAPageForWhatIsNowhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.kit.Otherwise(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, c := range []struct {
		path, accept string
		status       int
	}{
		{"/nowhere", "text/html,*/*", http.StatusTeapot},
		{"/nowhere", "application/json", http.StatusNotFound},
		{"/nowhere", "", http.StatusNotFound},
		{"/v3/nowhere", "text/html", http.StatusNotFound},
	} {
		require.Equal(t, c.status, h.get(t, c.path, "", "Accept", c.accept).Status, "%s as %q", c.path, c.accept)
	}
}
