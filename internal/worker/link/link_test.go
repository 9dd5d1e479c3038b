package link_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/wire"
	"gantry/internal/worker/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open serves handler on a loopback address and opens it.
func open(t *testing.T, handler http.HandlerFunc) (*link.Server, string) {
	t.Helper()
	srv := httptest.NewServer(handler)
	s, err := link.Open(link.Options{URL: srv.URL, Version: "test"})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(); srv.Close() })
	return s, srv.URL
}

func TestOnlyHTTPSLoopbackAndSocketsAreDialled(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"https://gantry.example.com":      true,
		"https://gantry.example.com/base": true,
		"http://127.0.0.1:8080":           true,
		"http://[::1]:8080":               true,
		"http://localhost:8080":           true,
		"http+unix:///run/gantry.sock":    true,
		"http://gantry.example.com":       false,
		"http://10.0.0.1":                 false,
		"http://127.0.0.1.example.com":    false,
		"http+unix://host/run.sock":       false,
		"http+unix://":                    false,
		"https://user:pw@example.com":     false,
		"ftp://127.0.0.1":                 false,
		"gantry.example.com":              false,
		"":                                false,
	} {
		_, err := link.Open(link.Options{URL: address})
		if ok {
			require.NoError(t, err, address)
			continue
		}
		require.ErrorIs(t, err, link.ErrAddress, address)
		require.NotContains(t, err.Error(), "pw@")
	}
	s, err := link.Open(link.Options{URL: "https://gantry.example.com"})
	require.NoError(t, err)
	_, err = s.Gateway("http://gantry.example.com/gw", "t")
	require.ErrorIs(t, err, link.ErrAddress, "a gateway address is held to the same rule")
}

func TestClaimNextTellsNothingFromAClaim(t *testing.T) {
	t.Parallel()
	claim := wire.Claim{SessionID: "s1", Fence: 4, ConnectToken: "tok", GatewayURL: "http://127.0.0.1/gw"}
	var empty atomic.Bool
	s, _ := open(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/gantry/v1/outposts/default/claim-next", r.URL.Path)
		require.Equal(t, "Bearer key-1", r.Header.Get("Authorization"))
		if empty.Load() {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_ = json.NewEncoder(w).Encode(claim)
	})
	o := s.Outpost("default", "key-1")
	got, err := o.ClaimNext(t.Context(), wire.ClaimNext{WorkerID: "w", WaitSeconds: 1})
	require.NoError(t, err)
	require.Equal(t, &claim, got)
	empty.Store(true)
	got, err = o.ClaimNext(t.Context(), wire.ClaimNext{WorkerID: "w"})
	require.NoError(t, err)
	require.Nil(t, got)
}

func TestARedirectIsNeverFollowed(t *testing.T) {
	t.Parallel()
	var leaked atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
	t.Cleanup(thief.Close)
	s, base := open(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	g, err := s.Gateway(base+"/gw", "tok")
	require.NoError(t, err)
	_, err = g.Spec(t.Context())
	require.Equal(t, http.StatusTemporaryRedirect, link.Status(err))
	require.False(t, leaked.Load())
}

func TestASocketServesTheGatewayWhateverHostItsURLNames(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "g.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.Spec{SessionID: r.URL.Path})
	})}
	go func() { _ = srv.Serve(l) }()
	s, err := link.Open(link.Options{URL: "http+unix://" + path})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(); _ = srv.Close() })
	g, err := s.Gateway("http://gateway/gantry/v1/gateway/s1", "tok")
	require.NoError(t, err)
	spec, err := g.Spec(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/gantry/v1/gateway/s1/spec", spec.SessionID)
}

func TestFailuresAreSorted(t *testing.T) {
	t.Parallel()
	var status atomic.Int32
	s, base := open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7000")
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, `{"title":"T","detail":"why it failed"}`)
	})
	g, err := s.Gateway(base+"/gw", "tok")
	require.NoError(t, err)
	for code, want := range map[int]string{
		400: "refused", 401: "lost", 403: "lost", 404: "lost", 409: "lost", 410: "lost", 408: "retry", 413: "refused",
		422: "refused", 429: "retry", 500: "retry", 502: "retry", 503: "retry", 301: "refused",
	} {
		status.Store(int32(code))
		_, err := g.Heartbeat(t.Context(), wire.Heartbeat{Fence: 1})
		require.ErrorContains(t, err, "why it failed")
		got := "retry"
		if link.Lost(err) {
			got = "lost"
		} else if link.Refused(err) {
			got = "refused"
		}
		require.Equal(t, want, got, code)
		require.Equal(t, 30*time.Second, link.RetryAfter(err), "what a server may ask for is capped")
	}
}

func TestNoTokenInErrorsOrFormats(t *testing.T) {
	t.Parallel()
	s, base := open(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	g, err := s.Gateway(base+"/gw", "very-secret")
	require.NoError(t, err)
	_, err = g.Spec(t.Context())
	require.ErrorIs(t, err, link.ErrUnreachable)
	require.True(t, link.Temporary(err))
	require.NotContains(t, err.Error()+fmt.Sprintf("%v %+v %#v", g, g, g), "very-secret")
}

func TestCommandsComeOnceEachAcrossReconnects(t *testing.T) {
	t.Parallel()
	s, base := open(t, func(w http.ResponseWriter, r *http.Request) {
		var after int64
		_, _ = fmt.Sscan(r.URL.Query().Get("after"), &after)
		first := max(after, 1) // the server repeats the last one, as a careless one might
		for n := first; n <= first+2; n++ {
			data, _ := json.Marshal(wire.Command{Number: n, Kind: wire.CommandMessage, Text: strings.Repeat("ä", 9000)})
			fmt.Fprintf(w, ": keep-alive\n\nid: %d\ndata: %s\n\n", n, data)
		}
		_, _ = io.WriteString(w, "id: 99\ndata: {\"number\":9") // cut off
	})
	g, err := s.Gateway(base+"/gw", "tok")
	require.NoError(t, err)
	var got []int64
	after := int64(0)
	for range 3 {
		err := g.Commands(t.Context(), after, func(c wire.Command) {
			got = append(got, c.Number)
			after = c.Number
		})
		require.ErrorIs(t, err, link.ErrStreamEnded)
	}
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7}, got)
}

func TestASilentCommandStreamIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s, err := link.Open(link.Options{
			URL:  "http://127.0.0.1:1",
			Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
		})
		require.NoError(t, err)
		g, err := s.Gateway("http://127.0.0.1:1/gw", "tok")
		require.NoError(t, err)
		go func() {
			_, _ = theirs.Read(make([]byte, 4096))
			_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
			time.Sleep(40 * time.Second)
			_, _ = io.WriteString(theirs, ": still here\n\n")
		}()
		began := time.Now()
		err = g.Commands(t.Context(), 0, func(wire.Command) {})
		require.ErrorContains(t, err, "nothing heard")
		require.Equal(t, 85*time.Second, time.Since(began))
		s.Close()
		_ = theirs.Close()
	})
}

func TestAttachmentsStreamBothWays(t *testing.T) {
	t.Parallel()
	file := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	s, base := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write(file)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(wire.AttachmentReply{ID: r.URL.Query().Get("name"), URL: fmt.Sprint(len(body))})
	})
	g, err := s.Gateway(base+"/gw", "tok")
	require.NoError(t, err)
	reply, err := g.Upload(t.Context(), "a b&c.txt", bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, wire.AttachmentReply{ID: "a b&c.txt", URL: fmt.Sprint(len(file))}, reply)
	in, err := g.Download(t.Context(), "id-1")
	require.NoError(t, err)
	out, err := io.ReadAll(in)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.True(t, bytes.Equal(file, out))
}
