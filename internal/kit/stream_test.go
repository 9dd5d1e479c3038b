package kit_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/fault"
)

type streamHouse struct {
	*house
	url  string
	wake chan struct{}
}

// newStream serves GET …/sessions/events: numbers from Last-Event-ID on, three at once and one at each wake.
func newStream(t *testing.T, change ...func(*kit.Options)) *streamHouse {
	t.Helper()
	s := &streamHouse{house: newHouse(t, change...), wake: make(chan struct{})}
	page := func(context.Context, access.Subject, *struct {
		OrgID string `path:"org_id"`
	},
	) (*kit.Page[string], error) {
		return &kit.Page[string]{Items: []string{"x"}}, nil
	}
	open := func(_ context.Context, _ access.Subject, in *struct {
		OrgID string `path:"org_id"`
	},
	) (kit.StreamFunc, error) {
		if in.OrgID == orgB {
			return nil, fault.New(fault.NotFound, "no events here")
		}
		return func(_ context.Context, st *kit.Stream) error {
			n, _ := strconv.Atoi(st.LastID)
			for range 2 {
				n++
				st.SendRaw(strconv.Itoa(n), "number", []byte("1\n2"))
			}
			for {
				n++
				if err := st.Send(kit.Event{ID: strconv.Itoa(n), Type: "number", Data: n}); err != nil {
					return err
				}
				if n >= 10 {
					return st.Send(kit.Event{Type: "end", Data: nil})
				}
				if err := st.Wait(s.wake, time.Hour); err != nil {
					return err
				}
			}
		}, nil
	}
	kit.RegisterPageOrStream(s.api, kit.Op{
		Operation: huma.Operation{OperationID: "events", Method: "GET", Path: "/v3/organizations/{org_id}/events"},
		Any:       []access.Permission{access.ViewOrgSessions},
	}, page, open)
	kittest.Guard(t, s.api)
	srv := httptest.NewServer(s.kit.Router())
	t.Cleanup(srv.Close)
	t.Cleanup(s.kit.Close)
	s.url = srv.URL + "/v3/organizations/" + orgA + "/events"
	return s
}

func (s *streamHouse) open(t *testing.T, lastID string) (*http.Response, *bufio.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer a")
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return res, bufio.NewReader(res.Body)
}

func next(t *testing.T, b *bufio.Reader) string {
	t.Helper()
	var lines []string
	for {
		line, err := b.ReadString('\n')
		if err != nil {
			return "EOF"
		}
		if line == "\n" {
			return strings.Join(lines, "")
		}
		lines = append(lines, line)
	}
}

func TestAStreamDeliversAndResumes(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	res, b := s.open(t, "")
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "id: 1\nevent: number\ndata: 1\ndata: 2\n", next(t, b), "the data may have lines")
	require.Contains(t, next(t, b), "id: 2")
	require.Equal(t, "id: 3\nevent: number\ndata: 3\n", next(t, b))
	s.wake <- struct{}{}
	require.Contains(t, next(t, b), "id: 4")

	_, b = s.open(t, "7")
	for _, want := range []string{"id: 8\n", "id: 9\n", "id: 10\n", "event: end\ndata: null\n"} {
		require.True(t, strings.HasPrefix(next(t, b), want), want)
	}
	require.Equal(t, "EOF", next(t, b))
}

func TestTheSameOperationPagesWithoutTheAcceptHeader(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	a := s.get(t, "/v3/organizations/"+orgA+"/events", "a")
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.JSONEq(t, `{"items":["x"],"end_cursor":null,"has_next_page":false,"total":null}`, a.Body)
	a = s.get(t, "/v3/organizations/"+orgB+"/events", "b", "Accept", "text/event-stream")
	require.Equal(t, 404, a.Status, "a refusal is answered, not streamed")
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	require.Equal(t, 403, s.get(t, "/v3/organizations/"+orgA+"/events", "b", "Accept", "text/event-stream").Status)
}

func TestAStreamEndsWithItsKeyItsPermissionAndItsServer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *streamHouse){
		"key revoked": func(s *streamHouse) { s.keys.Revoke("a"); s.wake <- struct{}{} },
		"permission lost": func(s *streamHouse) {
			s.keys.Put("a", access.Subject{Kind: access.ServiceUser, ID: "su-a", OrgID: orgA}.WithGrants())
			s.wake <- struct{}{}
		},
		"server stops": func(s *streamHouse) { s.kit.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStream(t)
			_, b := s.open(t, "")
			for range 3 {
				require.NotEqual(t, "EOF", next(t, b))
			}
			end(s)
			require.Equal(t, "EOF", next(t, b))
		})
	}
}

func TestAStreamThatLooksOftenAndFindsNothingKeepsItsConnection(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *kit.Options) { o.KeepAlive = 50 * time.Millisecond })
	kit.RegisterStream(h.api, kit.Op{Operation: huma.Operation{OperationID: "look", Method: http.MethodGet, Path: "/v3/look"}, AnyPrincipal: true},
		func(context.Context, access.Subject, *struct{}) (kit.StreamFunc, error) {
			return func(_ context.Context, st *kit.Stream) error {
				for {
					if err := st.Flush(); err != nil {
						return err
					}
					if err := st.Wait(nil, 2*time.Millisecond); err != nil {
						return err
					}
				}
			}, nil
		})
	srv := httptest.NewServer(h.kit.Router())
	t.Cleanup(func() { h.kit.Close(); srv.Close() })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v3/look", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer a")
	res, err := srv.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, ": keep-alive\n", next(t, bufio.NewReader(res.Body)))
}

func TestAPanicApartIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	defer func() {
		p, _ := recover().(string)
		require.True(t, strings.HasPrefix(p, "boom\n"), "%q", p)
		require.Contains(t, p, "TestAPanicApartIsTheCallersOwn", "it says where")
	}()
	defer func() { _, _ = kit.Apart(func() (int, error) { panic("boom") }) }()
	n, err := kit.Apart(func() (int, error) { return 7, context.Canceled })
	require.Equal(t, 7, n)
	require.ErrorIs(t, err, context.Canceled)
}

func TestASilentStreamKeepsItsConnection(t *testing.T) {
	t.Parallel()
	s := newStream(t, func(o *kit.Options) { o.KeepAlive = 5 * time.Millisecond })
	_, b := s.open(t, "")
	for range 3 {
		next(t, b)
	}
	require.Equal(t, ": keep-alive\n", next(t, b))
	require.Equal(t, ": keep-alive\n", next(t, b))
	s.wake <- struct{}{}
	for event := ""; !strings.HasPrefix(event, "id: 4"); event = next(t, b) {
		require.NotEqual(t, "EOF", event)
	}
}
