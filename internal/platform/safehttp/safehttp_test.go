package safehttp_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gantry/internal/platform/safehttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckRefusesEverythingThatIsNotThePublicInternet(t *testing.T) {
	t.Parallel()
	g := safehttp.NewGuard(nil)
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1",
		"fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2606:4700::1111%eth0",
	} {
		require.ErrorIs(t, g.Check(netip.MustParseAddr(s)), safehttp.ErrRefused, s)
	}
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"} {
		require.NoError(t, g.Check(netip.MustParseAddr(s)), s)
	}
	require.ErrorIs(t, g.Check(netip.Addr{}), safehttp.ErrRefused)
}

func TestCheckAgreesWithTheStandardLibrarysClasses(t *testing.T) {
	t.Parallel()
	g := safehttp.NewGuard(nil)
	rapid.Check(t, func(t *rapid.T) {
		var a netip.Addr
		if rapid.Bool().Draw(t, "v4") {
			a = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")))
		} else {
			a = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")))
		}
		if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6() {
			require.ErrorIs(t, g.Check(a), safehttp.ErrRefused)
		}
	})
}

func TestAllowedRangeOpensThatRangeOnly(t *testing.T) {
	t.Parallel()
	g := safehttp.NewGuard([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")})
	for _, s := range []string{"10.1.2.3", "127.0.0.1", "::1"} {
		require.NoError(t, g.Check(netip.MustParseAddr(s)), s)
	}
	for _, s := range []string{"10.2.0.1", "127.0.0.2", "::ffff:10.1.2.3"} {
		require.ErrorIs(t, g.Check(netip.MustParseAddr(s)), safehttp.ErrRefused, s)
	}
}

func TestClientRefusesLoopbackByLiteralByNameAndByMappedAddress(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	require.NoError(t, err)
	c := safehttp.NewGuard(nil).Client(5 * time.Second)
	t.Cleanup(c.CloseIdleConnections)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		resp, err := c.Get("http://" + host + ":" + u.Port())
		if err == nil {
			_ = resp.Body.Close()
		}
		require.ErrorIs(t, err, safehttp.ErrRefused, host)
	}
}

func TestRedirectToARefusedAddressIsRefused(t *testing.T) {
	t.Parallel()
	hits := make(chan string, 8)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hits <- r.URL.Path }))
	t.Cleanup(inside.Close)
	target := strings.Replace(inside.URL, "127.0.0.1", "127.0.0.2", 1)
	// The inner server listens on 127.0.0.1 only; a listener on 127.0.0.2 would be reached were it dialled.
	ln, err := net.Listen("tcp", strings.TrimPrefix(target, "http://"))
	require.NoError(t, err)
	second := &http.Server{Handler: inside.Config.Handler, ReadHeaderTimeout: time.Second}
	go func() { _ = second.Serve(ln) }()
	t.Cleanup(func() { _ = second.Close() })

	outside := httptest.NewServer(http.RedirectHandler(target+"/secret", http.StatusFound))
	t.Cleanup(outside.Close)
	c := safehttp.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}).Client(5 * time.Second)
	t.Cleanup(c.CloseIdleConnections)
	resp, err := c.Get(outside.URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	require.ErrorIs(t, err, safehttp.ErrRefused)
	require.Empty(t, hits)

	conn, err := safehttp.NewGuard(nil).DialContext(context.Background(), "tcp", "127.0.0.2:1")
	require.ErrorIs(t, err, safehttp.ErrRefused)
	require.Nil(t, conn)
}
