package kit_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func TestShortFormsMeanTheCredentialsOwnOrganization(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, path := range []string{"/v3/organizations/sessions", "/v3beta1/organizations/sessions", "/v3/organizations/~/sessions"} {
		a := h.do(t, "POST", path, "a", `{"title":"x"}`)
		require.Equal(t, 200, a.Status, a.Body)
		require.Equal(t, orgA, a.JSON(t)["org_id"], "%s: the handler and the use case see the organization", path)

		a = h.do(t, "POST", path, "enterprise", `{"title":"x"}`)
		require.Equal(t, 422, a.Status)
		require.Contains(t, a.Body, `["path","org_id"]`)
		require.Equal(t, path, a.JSON(t)["instance"], "the client's own path")
		require.Equal(t, 401, h.do(t, "POST", path, "", "{").Status)
	}
	require.Equal(t, 404, h.do(t, "POST", "/v3/organizations/nothing", "a", `{}`).Status)
}

func TestBetaPathsFallBackToV3(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	require.Equal(t, "beta", h.get(t, "/v3beta1/enterprise/self", "a").JSON(t)["id"], "an operation of its own")
	require.Equal(t, "su-a", h.get(t, "/v3beta1/self", "a").JSON(t)["id"])
	require.Equal(t, 200, h.get(t, "/v3beta1/organizations/"+orgA+"/sessions", "a").Status)
	require.Equal(t, 404, h.get(t, "/v3beta1/nowhere", "a").Status)
	require.Equal(t, 404, h.get(t, "/v3/enterprise/self", "a").Status, "never the other way")
}

func TestRequestIDIsTheClientsWhenItIsSane(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.get(t, "/v3/self", "a", "X-Request-Id", "abc-1.2_3")
	require.Equal(t, "abc-1.2_3", a.Header.Get("X-Request-Id"))
	require.Equal(t, "abc-1.2_3", a.JSON(t)["org_id"], "the subject carries it into audit entries")
	for _, bad := range []string{"", "a b", "a\"b", strings.Repeat("x", 129), "é"} {
		a := h.get(t, "/v3/nowhere", "", "X-Request-Id", bad)
		require.True(t, strings.HasPrefix(a.Header.Get("X-Request-Id"), "req-"), bad)
	}
}

func TestTheLogHasNoSecretsAndEveryRequest(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newHouse(t, func(o *kit.Options) { o.Logger = slog.New(kit.LogHandler(slog.NewJSONHandler(&log, nil))) })
	h.do(t, "POST", sessionsA, "a", `{"title":"secretbody"}`)
	h.get(t, "/v3/organizations/"+orgA+"/attachments/1/x?signature=hush", "a")
	h.get(t, sessionsA+"?first=7&access_token=hush", "a")
	h.get(t, sessionsA+"?key=hush", "")
	h.get(t, "/v3/ping?signature=hush", "")
	h.get(t, "/v3/nowhere?key=hush", "a")
	h.get(t, "/v3/panic", "")
	require.NotContains(t, log.String(), "secretbody")
	require.NotContains(t, log.String(), "hush")
	require.NotContains(t, log.String(), "Bearer")
	require.Contains(t, log.String(), `"query":"first=7"`, "what an operation declares helps to read the log")
	require.Equal(t, 7, strings.Count(log.String(), `"msg":"request"`))
	require.Contains(t, log.String(), `"status":500`)
	require.Contains(t, log.String(), `"principal":"su-a"`)
	require.Contains(t, log.String(), "secret cause", "the cause of a panic stays here")
}

func TestEveryLineOfARequestHasItsIDOnce(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(slog.Handler) slog.Handler{
		"a bare handler":                       func(h slog.Handler) slog.Handler { return h },
		"one that adds request ids by itself":  kit.LogHandler,
		"one that does, with attributes added": func(h slog.Handler) slog.Handler { return kit.LogHandler(h).WithAttrs(nil) },
	} {
		var log bytes.Buffer
		h := newHouse(t, func(o *kit.Options) { o.Logger = slog.New(wrap(slog.NewJSONHandler(&log, nil))) })
		h.get(t, "/v3/panic", "", "X-Request-Id", "mine")
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 2, "the panic and the request")
		for _, line := range lines {
			require.Equal(t, 1, strings.Count(line, `"request_id":"mine"`), "%s: %s", name, line)
		}
	}
}

func TestRealAddressIsBelievedOnlyFromListedProxies(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "6.6.6.6, 198.51.100.1, 10.2.2.2", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1, rubbish", "10.0.0.1"},
		{"10.0.0.1:1", "6.6.6.6, 198.51.100.1:4711, 10.2.2.2:80", "198.51.100.1"},
		{"10.0.0.1:1", "[2001:db8::1]:4711", "2001:db8::1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[::ffff:203.0.113.9]:1", "", "203.0.113.9"},
		{"@", "198.51.100.1", "invalid IP"},
	} {
		var got netip.Addr
		k := kit.New(kit.Options{TrustedProxies: proxies})
		k.Router().Get("/", func(_ http.ResponseWriter, r *http.Request) { got = kit.RemoteAddr(r.Context()) })
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		k.Router().ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, c.want, got.String(), "%+v", c)
	}
}

func FuzzRewriteKeepsTheRest(f *testing.F) {
	for _, s := range []string{"/v3/organizations/sessions", "/v3beta1/organizations/members/x", "/v3beta1/", "/v3beta1/self", "/v3/organizations/", "/v3/organizations//sessions", "/v3/organizations/a%2Fb/sessions"} {
		f.Add(s)
	}
	h := newHouse(f)
	h.keys.Put("o", access.Subject{Kind: access.ServiceUser, ID: "su-o", OrgID: orgA}.WithGrants())
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequest("GET", "http://h", nil)
		require.NoError(t, err)
		if r.URL, err = r.URL.Parse(path); err != nil || !strings.HasPrefix(path, "/") {
			t.Skip()
		}
		r.Header.Set("Authorization", "Bearer o")
		w := httptest.NewRecorder()
		h.kit.Router().ServeHTTP(w, r)
		require.Less(t, w.Code, 500, path)
		require.NotContains(t, w.Body.String(), orgB)
	})
}
