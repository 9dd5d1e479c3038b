package kit_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/clock"
)

func TestUnknownKeysAreLimitedPerAddressAndKnownOnesNever(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Unix(600, 0))
	h := newHouse(t, func(o *kit.Options) { o.Clock, o.Limits.UnknownKeys = fake.Clock(), 3 })
	for range 3 {
		require.Equal(t, 401, h.get(t, "/v3/self", "guess").Status)
	}
	a := h.get(t, "/v3/self", "guess")
	require.Equal(t, 429, a.Status)
	require.Equal(t, "60", a.Header.Get("Retry-After"))
	require.Equal(t, 200, h.get(t, "/v3/self", "a").Status)
	require.Equal(t, 401, h.get(t, "/v3/self", "").Status, "a missing key guesses nothing")
	fake.Advance(time.Minute)
	require.Equal(t, 401, h.get(t, "/v3/self", "guess").Status)
}

func TestTheTokenBucketTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Unix(1000, 0))
	h := newHouse(t, func(o *kit.Options) { o.Clock, o.Limits.PerSecond, o.Limits.Burst = fake.Clock(), 1, 2 })
	a := h.get(t, "/v3/self", "a")
	require.Equal(t, []string{"2", "1", "1001"}, []string{a.Header.Get("X-RateLimit-Limit"), a.Header.Get("X-RateLimit-Remaining"), a.Header.Get("X-RateLimit-Reset")})
	require.Equal(t, 200, h.get(t, "/v3/self", "a").Status)
	a = h.do(t, "POST", sessionsB, "a", "{")
	require.Equal(t, 429, a.Status, "429 comes before 403 and 422")
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	require.Equal(t, "0", a.Header.Get("X-RateLimit-Remaining"))
	require.Equal(t, 200, h.get(t, "/v3/self", "b").Status, "each principal has its own")
	fake.Advance(time.Second)
	require.Equal(t, 200, h.get(t, "/v3/self", "a").Status)
	require.Empty(t, newHouse(t).get(t, "/v3/self", "a").Header.Get("X-RateLimit-Limit"), "off by default")
}

func TestRequestsInFlightAreLimitedPerPrincipal(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *kit.Options) { o.Limits.Requests, o.Limits.Streams = 2, 1 })
	enter, leave := make(chan struct{}), make(chan struct{})
	hold := func(context.Context, access.Subject, *struct{}) (*thingOutput, error) {
		enter <- struct{}{}
		<-leave
		return &thingOutput{}, nil
	}
	kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: "hold", Method: "GET", Path: "/v3/hold"}, AnyPrincipal: true}, hold)
	kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: "wait", Method: "GET", Path: "/v3/wait"}, AnyPrincipal: true, Stream: true}, hold)
	var g errgroup.Group
	for _, path := range []string{"/v3/hold", "/v3/hold", "/v3/wait"} {
		g.Go(func() error {
			require.Equal(t, 200, h.get(t, path, "a").Status)
			return nil
		})
		<-enter
	}
	for _, path := range []string{"/v3/self", "/v3/wait"} {
		a := h.get(t, path, "a")
		require.Equal(t, 429, a.Status)
		require.Equal(t, "1", a.Header.Get("Retry-After"))
	}
	require.Equal(t, 200, h.get(t, "/v3/self", "b").Status)
	close(leave)
	require.NoError(t, g.Wait())
	require.Equal(t, 200, h.get(t, "/v3/self", "a").Status, "places come back")
}

func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	kit.Register(h.api, kit.Op{
		Operation:    huma.Operation{OperationID: "up", Method: http.MethodPost, Path: "/v3/up", MaxBodyBytes: 1 << 10},
		AnyPrincipal: true, Upload: "file",
	}, func(ctx context.Context, _ access.Subject, _ *struct{}) (*thingOutput, error) {
		mr, err := kit.Request(ctx).MultipartReader()
		if err != nil {
			return nil, err
		}
		part, err := mr.NextPart()
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return nil, err
		}
		return &thingOutput{Body: thing{ID: part.FileName()}}, nil
	})
	body := func(n int) string {
		return "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\n" + strings.Repeat("x", n) + "\r\n--B--\r\n"
	}
	send := func(n int) int {
		return h.do(t, "POST", "/v3/up", "a", body(n), "Content-Type", "multipart/form-data; boundary=B").Status
	}
	require.Equal(t, 200, send(100))
	require.Equal(t, 413, send(2000))
	doc, err := kit.OpenAPI(h.api)
	require.NoError(t, err)
	require.Contains(t, string(doc), "multipart/form-data")
}
