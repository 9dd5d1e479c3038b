// Package safehttp dials addresses that somebody else named (a git remote, a hook, an image) without reaching inside: the address
// is checked when the socket connects, after the name was resolved, so neither a name that answers differently the second time
// nor a redirect gets past it.
package safehttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrRefused is wrapped by every refusal, so that callers can tell it from a network that is away.
var ErrRefused = errors.New("the address is not allowed")

// refused are the ranges that are not the public internet. IPv4 inside IPv6 is refused in all its forms, for a translator on the
// way would turn it into an address that was never checked.
var refused = prefixes(
	"0.0.0.0/8",        // this network; 0.0.0.0 is the machine itself
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT, and some clouds' metadata
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local, and the clouds' metadata
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments, and Oracle's metadata
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"168.63.129.16/32", // Azure's wire server, a public address that is not
	"::/96",            // unspecified, loopback, IPv4-compatible
	"::ffff:0:0/96",    // IPv4-mapped
	"64:ff9b::/96",     // IPv4 by translation
	"64:ff9b:1::/48",   // IPv4 by local translation
	"100::/64",         // discard
	"2001::/23",        // protocol assignments, Teredo
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4
	"3fff::/20",        // documentation
	"5f00::/16",        // segment routing
	"fc00::/7",         // private, and AWS's metadata
	"fe80::/10",        // link-local
	"fec0::/10",        // site-local
	"ff00::/8",         // multicast
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Guard decides which addresses may be dialled.
type Guard struct{ allow []netip.Prefix }

// NewGuard makes a guard that lets the operator's ranges through besides the public internet.
func NewGuard(allow []netip.Prefix) *Guard { return &Guard{allow: allow} }

// Check reports whether an address may be dialled; a refusal wraps ErrRefused.
func (g *Guard) Check(a netip.Addr) error {
	if a.Zone() != "" {
		return fmt.Errorf("%w: %s names an interface", ErrRefused, a)
	}
	for _, p := range g.allow {
		if p.Contains(a) {
			return nil
		}
	}
	for _, p := range refused {
		if p.Contains(a) || (a.Is4In6() && p.Addr().Is6() && p.Contains(netip.AddrFrom16(a.As16()))) {
			return fmt.Errorf("%w: %s is not on the public internet", ErrRefused, a)
		}
	}
	if a.Is4In6() || !a.IsValid() {
		return fmt.Errorf("%w: %s", ErrRefused, a)
	}
	return nil
}

// Control is a net.Dialer's Control: it sees the address that is really dialled.
func (g *Guard) Control(network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp") {
		return fmt.Errorf("%w: network %s", ErrRefused, network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrRefused, address)
	}
	return g.Check(ap.Addr())
}

// DialContext dials a guarded TCP connection. A literal IPv4-mapped address is refused before the net package rewrites it.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil {
		if a, err := netip.ParseAddr(host); err == nil {
			if err := g.Check(a); err != nil {
				return nil, err
			}
		}
	}
	d := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second, Control: g.Control}
	return d.DialContext(ctx, network, address)
}

// Transport makes a transport that dials through the guard and no proxy of the environment.
func (g *Guard) Transport() *http.Transport {
	return &http.Transport{
		DialContext:           g.DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		IdleConnTimeout:       60 * time.Second,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
	}
}

// maxRedirects is how many redirects a Client follows.
const maxRedirects = 5

// Client makes an HTTP client whose every connection goes through the guard. It follows few redirects, and none from https to
// http. Timeout bounds a whole exchange; 0 means none.
func (g *Guard) Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: g.Transport(),
		Timeout:   timeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("%w: more than %d redirects", ErrRefused, maxRedirects)
			}
			if req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
				return fmt.Errorf("%w: redirect from https to %s", ErrRefused, req.URL.Scheme)
			}
			return nil
		},
	}
}
