package servertest_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/servertest"
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// from makes a request with a key come from an address; the network's form is ADDRESS:PORT.
func from(t *testing.T, s *servertest.Server, remote, method, target, key, body string, header ...string) kittest.Answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.RemoteAddr = remote
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.Send(t, r)
}

const ipListPath = "/v3/enterprise/ip-access-list"

func TestTheIPListGuardsEveryDoorThatTakesAKey(t *testing.T) {
	t.Parallel()
	o := servertest.Options{Configure: func(c *config.Serve) { c.UnknownKeyLimit = 1 << 20 }}
	servertest.Each(t, o, func(t *testing.T, s *servertest.Server) {
		admin := s.Admin.Token.Reveal()
		_, person := s.NewPerson(t, "ada@example.com", "", access.RoleEnterpriseAdmin)
		worker := s.WorkerKey(t)
		const inside, outside = "198.51.100.7:1234", "203.0.113.9:1234"
		a := from(t, s, outside, http.MethodPut, ipListPath, admin, `{"ip_ranges":["198.51.100.7/24"]}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.JSONEq(t, `{"ip_ranges":["198.51.100.0/24"]}`, a.Body)
		n := 0
		for _, op := range s.Checker().Operations {
			if op.Spec["security"] == nil {
				continue
			}
			takes := list[string](op.Spec["x-credential"])
			for _, key := range []string{admin, person} {
				r := valid(t, op, s.Org).request(t, key)
				r.RemoteAddr = outside
				a := s.Send(t, r)
				require.Equal(t, http.StatusUnauthorized, a.Status, "%s %s: %s", op.Method, op.Path, a.Body)
				n++
			}
			if slices.Contains(takes, "worker") {
				r := valid(t, op, s.Org).request(t, worker)
				r.RemoteAddr = outside
				require.NotEqual(t, http.StatusUnauthorized, s.Send(t, r).Status, "%s %s: workers' keys have lists of their own", op.Method, op.Path)
			}
		}
		require.Greater(t, n, 100)
		for _, path := range []string{"/v3/self", "/opbeta/outposts", "/gantry/v1/roles"} {
			require.Equal(t, http.StatusOK, from(t, s, inside, http.MethodGet, path, admin, "").Status, path)
			require.Equal(t, http.StatusOK, from(t, s, "[::ffff:198.51.100.9]:1", http.MethodGet, path, admin, "").Status, path)
			require.Equal(t, http.StatusUnauthorized, from(t, s, "[2001:db8::1]:1", http.MethodGet, path, admin, "").Status, path)
			// A forwarded address counts from a listed proxy only, and none is.
			require.Equal(t, http.StatusUnauthorized, from(t, s, outside, http.MethodGet, path, admin, "", "X-Forwarded-For", "198.51.100.7").Status, path)
		}
		require.Equal(t, http.StatusOK, from(t, s, "@", http.MethodDelete, ipListPath, admin, "").Status, "a unix socket has no address")
		require.Equal(t, http.StatusOK, from(t, s, outside, http.MethodGet, "/v3/self", admin, "").Status)
	})
}

func TestAProxysClientIsHeldToTheList(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Configure: func(c *config.Serve) {
		c.BehindProxy, c.TrustedProxies = true, prefixes("10.0.0.0/8", "2001:db8:ff::/48")
	}})
	admin := s.Admin.Token.Reveal()
	_, err := s.Members.ReplaceIPList(t.Context(), s.Root(), []string{"198.51.100.0/24", "10.0.0.0/8"})
	require.NoError(t, err)
	for _, c := range []struct {
		peer, forwarded string
		want            int
	}{
		{"10.0.0.1:1", "198.51.100.7", http.StatusOK},
		{"[2001:db8:ff::1]:1", "198.51.100.7", http.StatusOK},
		{"10.0.0.1:1", "198.51.100.7:4711", http.StatusOK}, // some proxies add the port
		{"10.0.0.1:1", "203.0.113.9", http.StatusUnauthorized},
		{"10.0.0.1:1", "[2001:db8::7]:4711", http.StatusUnauthorized},
		{"10.0.0.1:1", "198.51.100.7, 203.0.113.9", http.StatusUnauthorized},           // the left one is the client's own claim
		{"10.0.0.1:1", "198.51.100.7, 203.0.113.9, 10.9.9.9", http.StatusUnauthorized}, // through two proxies
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.7, 10.9.9.9", http.StatusOK},
		{"203.0.113.9:1", "198.51.100.7", http.StatusUnauthorized}, // no proxy of ours
	} {
		a := from(t, s, c.peer, http.MethodGet, "/v3/self", admin, "", "X-Forwarded-For", c.forwarded)
		require.Equal(t, c.want, a.Status, "%+v %s", c, a.Body)
	}
	require.Contains(t, s.Log(), `"remote":"203.0.113.9"`, "the log names the client")
}

func TestADownloadAddressIsGoodFromListedAddressesOnly(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		file, err := s.Sessions.Upload(t.Context(), s.Root(), s.Org, "notes.txt", "text/plain", strings.NewReader("text"))
		require.NoError(t, err)
		a := s.Do(t, http.MethodGet, "/v3/organizations/"+s.Org+"/attachments/"+file.ID+"/notes.txt", s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusTemporaryRedirect, a.Status, a.Body)
		address := strings.TrimPrefix(a.Header.Get("Location"), "http://gantry.test")
		require.Equal(t, http.StatusOK, from(t, s, "203.0.113.9:1", http.MethodGet, address, "", "").Status)
		_, err = s.Members.ReplaceIPList(t.Context(), s.Root(), []string{"198.51.100.0/24"})
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, from(t, s, "203.0.113.9:1", http.MethodGet, address, "", "").Status)
		a = from(t, s, "198.51.100.7:1", http.MethodGet, address, "", "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, "text", a.Body)
	})
}

func TestAStreamEndsWhenItsAddressIsNoLongerListed(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		admin := s.Admin.Token.Reveal()
		made := s.Do(t, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", admin, `{"prompt":"x"}`)
		require.Equal(t, http.StatusOK, made.Status, made.Body)
		var real clock.Clock
		for _, target := range []string{
			"/gantry/v1/organizations/" + s.Org + "/sessions/" + made.JSON(t)["session_id"].(string) + "/events",
			"/opbeta/outposts/devins?outpost=default&watch=true",
		} {
			_, err := s.Members.ClearIPList(t.Context(), s.Root())
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil)
			r.RemoteAddr = "203.0.113.9:1"
			r.Header.Set("Authorization", "Bearer "+admin)
			r.Header.Set("Accept", "text/event-stream")
			var begun time.Time
			w := &interrupted{ResponseRecorder: httptest.NewRecorder()}
			after := time.AfterFunc(100*time.Millisecond, func() {
				begun = real.Now()
				_, err := s.Members.ReplaceIPList(t.Context(), s.Root(), []string{"198.51.100.0/24"})
				require.NoError(t, err)
			})
			s.Handler().ServeHTTP(w, r)
			require.NoError(t, ctx.Err(), "%s ended by itself", target)
			cancel()
			require.False(t, after.Stop(), "the list had changed")
			require.Less(t, real.Since(begun), 5*time.Second)
		}
	})
}

func TestAClaimIsGoodFromWhereItsWorkersKeyIs(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		made := s.Do(t, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", s.Admin.Token.Reveal(), `{"prompt":"x"}`)
		require.Equal(t, http.StatusOK, made.Status, made.Body)
		key := s.WorkerKeyFrom(t, "198.51.100.0/24")
		const claim = "/gantry/v1/outposts/default/claim-next"
		a := from(t, s, "203.0.113.9:1", http.MethodPost, claim, key, `{"worker_id":"w","wait_seconds":0}`)
		require.Equal(t, http.StatusUnauthorized, a.Status, a.Body)
		a = from(t, s, "198.51.100.7:1", http.MethodPost, claim, key, `{"worker_id":"w","wait_seconds":0}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		token, spec := a.JSON(t)["connect_token"].(string), "/gateway/sessions/"+made.JSON(t)["session_id"].(string)+"/spec"
		require.Equal(t, http.StatusOK, from(t, s, "198.51.100.8:1", http.MethodGet, spec, token, "").Status)
		require.Equal(t, http.StatusUnauthorized, from(t, s, "203.0.113.9:1", http.MethodGet, spec, token, "").Status)
	})
}

// What comes through the socket in the data directory has no address; the kernel says so, not the client.
func TestAUnixSocketIsNoAddress(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	_, err := s.Members.ReplaceIPList(t.Context(), s.Root(), []string{"198.51.100.0/24"})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://gantry"+ipListPath, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+s.Admin.Token.Reveal())
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	res, err := transport.RoundTrip(r)
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
}
