// Package link is the worker's side of its two HTTP doors: the outpost's door, opened with the worker key (claims, reports
// of the machine), and one session's gateway, opened with the connect token of a claim.
//
// The worker only ever dials out. Redirects are never followed, because a bearer must not travel to an address that nobody
// configured, and plain http is spoken to a loopback address or to a Unix socket only.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Timeouts of one exchange. A long poll adds what the server was asked to hold the request for.
const (
	dialTimeout     = 10 * time.Second
	exchangeTimeout = 20 * time.Second
	// streamSilence ends a command stream on which not even a keep-alive arrived; the server sends one every 15 s.
	streamSilence = 45 * time.Second
)

// Options say how to reach a server.
type Options struct {
	// URL is https://HOST, http://LOOPBACK or http+unix:///PATH/TO/SOCKET.
	URL string
	// Version is sent as the user agent.
	Version string
	// TLS replaces the system's trust when it is set (a private certificate authority).
	TLS *tls.Config
	// Dial replaces the dialler of the operating system when it is set; the Unix socket form ignores it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Server is one reachable control plane. It is safe for concurrent use and keeps its connections for reuse; Close drops them.
type Server struct {
	base      *url.URL
	unix      bool
	userAgent string
	transport *http.Transport
	client    *http.Client
}

// ErrAddress means that a URL can't be used: its scheme is unknown, or it is plain http to another machine.
var ErrAddress = errors.New("the address must be https, http to a loopback address, or http+unix:///path")

// Open checks the address and prepares the connections; it doesn't dial.
func Open(o Options) (*Server, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", errors.Join(ErrAddress, err))
	}
	s := &Server{userAgent: "gantry-worker/" + strings.TrimSpace(o.Version)}
	s.transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:     o.TLS,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		Proxy:               http.ProxyFromEnvironment,
		// A dead path must show before the lease does.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
	}
	if o.Dial != nil {
		s.transport.DialContext = o.Dial
		s.transport.Proxy = nil
	}
	if u.Scheme == "http+unix" {
		if u.Host != "" || u.Path == "" {
			return nil, fmt.Errorf("server address %q: %w", o.URL, ErrAddress)
		}
		s.useSocket(u.Path)
	} else {
		if err := allowed(u); err != nil {
			return nil, fmt.Errorf("server address %q: %w", u.Redacted(), err)
		}
		s.base = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}
	}
	s.client = &http.Client{
		Transport:     s.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// useSocket sends every request to the Unix socket, whatever host its URL names.
func (s *Server) useSocket(path string) {
	s.unix = true
	s.base = &url.URL{Scheme: "http", Host: "gateway"}
	s.transport.Proxy = nil
	s.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	}
}

// Close drops the idle connections.
func (s *Server) Close() { s.transport.CloseIdleConnections() }

// allowed accepts https anywhere and http to a loopback address.
func allowed(u *url.URL) error {
	switch {
	case u.Host == "" || u.User != nil:
		return ErrAddress
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return ErrAddress
	}
	if u.Hostname() == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() {
		return nil
	}
	return ErrAddress
}
