package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gantry/internal/platform/mail"
)

// maxACUs keeps limits in millionths of an ACU within 63 bits.
const maxACUs = 1_000_000_000_000

// Problem is one wrong setting: which, what is wrong with it, where it was set (empty: nowhere, so it has its default) and how to
// mend it.
type Problem struct{ Setting, What, Where, Mend string }

// Error says all four in one line.
func (p Problem) Error() string {
	where := "not set"
	if p.Where != "" {
		where = "set by " + p.Where
	}
	return fmt.Sprintf("%s (%s): %s. %s", p.Setting, where, p.What, p.Mend)
}

// Problems are all that is wrong, so that one start shows them all.
type Problems []Problem

// Error gives one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

type checker struct {
	src Sources
	ps  Problems
}

func (c *checker) wrong(setting, mend, what string, args ...any) {
	c.ps = append(c.ps, Problem{Setting: setting, What: fmt.Sprintf(what, args...), Where: c.src[setting], Mend: mend})
}

func (c *checker) err() error {
	if len(c.ps) == 0 {
		return nil
	}
	return c.ps
}

// Fill makes Data absolute and writes out the URLs that were left empty, and refuses those that can't be.
func (s *Storage) Fill(src Sources) error {
	c := &checker{src: src}
	s.fill(c)
	return c.err()
}

func (s *Storage) fill(c *checker) {
	if s.Data == "" {
		s.Data = defaultData()
	}
	if s.Data == "" {
		c.wrong("data", "Give --data DIR.", "there is no home directory to put the data directory in")
		return
	}
	abs, err := filepath.Abs(s.Data)
	if err != nil {
		c.wrong("data", "Give an absolute path.", "the working directory is gone")
		return
	}
	s.Data = abs
	below := func(p *string, scheme, name string) {
		if *p == "" {
			*p = (&url.URL{Scheme: scheme, Path: filepath.Join(abs, name)}).String()
		}
	}
	if s.Database == "" {
		// Not a parsed URL: what follows sqlite:// is the path as it is.
		s.Database = "sqlite://" + filepath.Join(abs, "gantry.db")
	}
	below(&s.Blobs, "file", "blobs")
	below(&s.Keeper, "file", "keeper.key")
	c.scheme("database", s.Database, "sqlite", "postgres", "postgresql")
	c.scheme("blobs", s.Blobs, "file", "s3")
	c.scheme("keeper", s.Keeper, "file", "awskms")
}

// scheme refuses a URL with an unknown scheme or nothing behind it. The value itself isn't shown: it may hold a password.
func (c *checker) scheme(setting, value string, known ...string) {
	got, rest, ok := strings.Cut(value, "://")
	mend := "Give a URL that begins with " + strings.Join(known, "://, ") + "://."
	if !ok {
		c.wrong(setting, mend, "it is not a URL")
		return
	}
	for _, k := range known {
		if got != k {
			continue
		}
		if rest == "" || ((k == "file" || k == "sqlite") && !strings.HasPrefix(rest, "/")) {
			c.wrong(setting, "Give an absolute path: "+k+":///path.", "the URL names no absolute path")
		}
		return
	}
	c.wrong(setting, mend, "%s:// is not known", got)
}

func defaultData() string {
	if x := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "gantry")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "gantry")
}

// Finish fills in what is derived and refuses what can't work. Every problem is in the one error.
func (s *Serve) Finish(src Sources) error {
	c := &checker{src: src}
	s.fill(c)
	s.Listen.finish(c)
	s.Limits.check(c)
	s.Sessions.check(c)
	s.Sandbox.check(c)
	s.Mail.check(c)
	s.Insights.check(c)
	checkCapacity(c, "worker-capacity", s.WorkerCapacity)
	if s.PurgeAfter < 24*time.Hour { // answers that are kept for a day are sealed with the organization's key
		c.wrong("purge-after", "Give a duration of a day or more, like 720h.", "%s is too short to notice a mistake", s.PurgeAfter)
	}
	return c.err()
}

func (m *Mail) check(c *checker) {
	if m.SMTPURL == "" {
		if m.MailFrom != "" {
			c.wrong("mail-from", "Give --smtp-url too, or take the sender away.", "there is no mail server to send through")
		}
		return
	}
	if _, err := mail.Check(m.SMTPURL, m.MailFrom); err != nil {
		c.wrong("smtp-url", "Give --smtp-url smtp://user:password@host:port and --mail-from ADDRESS.", "%v", err)
	}
}

func checkCapacity(c *checker, setting string, n int) {
	const most = 1024 // more is a slip of the finger, not a machine
	if n < 0 || n > most {
		c.wrong(setting, "Give 1 to 1024, or 0 for four per processor.", "%d is out of range", n)
	}
}

func (l *Listen) finish(c *checker) {
	host, port, err := net.SplitHostPort(l.Listen)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		c.wrong("listen", "Give HOST:PORT, like 127.0.0.1:8080.", "%q is not HOST:PORT", l.Listen)
		return
	}
	l.checkTLS(c)
	if !loopback(host) && !l.TLS() && !l.BehindProxy {
		c.wrong("listen", "Give --tls-cert and --tls-key, or --behind-proxy when a proxy ends TLS, or listen on 127.0.0.1.",
			"%s is reachable from other machines and keys would cross the network unencrypted", l.Listen)
	}
	if len(l.TrustedProxies) > 0 && !l.BehindProxy {
		c.wrong("trusted-proxies", "Add --behind-proxy, or take the ranges away.", "proxies are trusted only with --behind-proxy")
	}
	l.finishURL(c)
}

// finishURL checks the public URL or makes it of the listen address. Port 0 is left for the listener to fill in.
func (l *Listen) finishURL(c *checker) {
	if l.PublicURL == "" {
		if l.BehindProxy {
			c.wrong("public-url", "Give the address that clients use, like https://gantry.example.com.",
				"behind a proxy the listen address is not the one that clients use")
		}
		return
	}
	u, err := url.Parse(l.PublicURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		c.wrong("public-url", "Give the bare address, like https://gantry.example.com.", "it is not an http or https address")
		return
	}
	l.PublicURL = strings.TrimSuffix(l.PublicURL, "/")
}

func (l *Listen) checkTLS(c *checker) {
	if l.TLSCert == "" && l.TLSKey == "" {
		return
	}
	if l.TLSCert == "" || l.TLSKey == "" {
		c.wrong("tls-cert", "Give both --tls-cert and --tls-key.", "one of the two TLS files is missing")
		return
	}
	if _, err := tls.LoadX509KeyPair(l.TLSCert, l.TLSKey); err != nil {
		c.wrong("tls-cert", "Give readable PEM files that belong together.", "the TLS files can't be used: %v", err)
	}
}

// TLS reports whether this process ends TLS itself.
func (l *Listen) TLS() bool { return l.TLSCert != "" && l.TLSKey != "" }

// URLFor gives the public URL, made of the address that is really listened on when none was set.
func (l *Listen) URLFor(addr net.Addr) string {
	if l.PublicURL != "" {
		return l.PublicURL
	}
	scheme := "http"
	if l.TLS() {
		scheme = "https"
	}
	host, _, err := net.SplitHostPort(l.Listen)
	_, port, perr := net.SplitHostPort(addr.String())
	if err != nil || perr != nil {
		return scheme + "://" + addr.String()
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// loopback reports whether a host is this machine only. Names other than localhost are not looked up: they may change.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (l *Limits) check(c *checker) {
	positive := func(setting string, n int) {
		if n < 1 {
			c.wrong(setting, "Give 1 or more.", "%d is out of range", n)
		}
	}
	positive("requests-in-flight", l.RequestsInFlight)
	positive("streams-in-flight", l.StreamsInFlight)
	positive("rate-burst", l.RateBurst)
	positive("unknown-key-limit", l.UnknownKeyLimit)
	if l.RateLimit < 0 {
		c.wrong("rate-limit", "Give 0 for no limit, or requests per second.", "it is negative")
	}
}

func (s *Sessions) check(c *checker) {
	if s.IdleTimeout < time.Second {
		c.wrong("idle-timeout", "Give a duration like 30m.", "%s is too short", s.IdleTimeout)
	}
	for _, l := range []struct {
		setting string
		acus    int64
	}{{"session-acu-limit", s.SessionACULimit}, {"session-acu-cap", s.SessionACUCap}, {"cycle-acu-limit", s.CycleACULimit}} {
		if l.acus < 0 || l.acus > maxACUs {
			c.wrong(l.setting, "Give a number of ACUs like 50, or 0 for none.", "%d is out of range", l.acus)
		}
	}
	if !(s.ACUMinutes >= 0.001 && s.ACUMinutes <= 24*60) {
		c.wrong("acu-minutes", "Give a number of minutes like 15.", "%v is out of range", s.ACUMinutes)
	}
	if s.Lease < 3*time.Second || s.Lease%time.Second != 0 {
		c.wrong("lease", "Give a duration in whole seconds like 60s.", "%s is too short or no whole number of seconds", s.Lease)
	}
	if s.DayOffset < -14*time.Hour || s.DayOffset > 14*time.Hour {
		c.wrong("day-offset", "Give an offset from UTC like -8h.", "%s is no offset of any place", s.DayOffset)
	}
}

func (s *Sandbox) check(c *checker) {
	for _, b := range s.SandboxBind {
		outside, _, _ := strings.Cut(b, ":")
		if _, err := os.Stat(outside); err != nil || !filepath.IsAbs(outside) {
			c.wrong("sandbox-bind", "Give an absolute path that exists, or take it away.", "%s can't be read", outside)
		}
	}
	for _, t := range s.SandboxAllow {
		if host, port, err := net.SplitHostPort(t); err != nil || host == "" || port == "" {
			c.wrong("sandbox-allow", "Give HOST:PORT, like registry.example.com:5000.", "%q is not HOST:PORT", t)
		}
	}
	if s.SandboxCA != "" {
		if text, err := os.ReadFile(s.SandboxCA); err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
			c.wrong("sandbox-ca", "Give a PEM file with certificates.", "%s holds no certificate that can be read", s.SandboxCA)
		}
	}
	for _, r := range s.RepoRoot {
		dir(c, "repo-root", r)
	}
	const leastMemory, leastDisk = 64 << 20, 16 << 20
	if s.SessionMemory < leastMemory {
		c.wrong("session-memory", "Give 64MiB or more.", "no agent runs in %s", s.SessionMemory)
	}
	if s.SessionDisk < leastDisk {
		c.wrong("session-disk", "Give 16MiB or more.", "no repository fits in %s", s.SessionDisk)
	}
	if s.SessionProcesses < 16 {
		c.wrong("session-processes", "Give 16 or more.", "no agent runs with %d", s.SessionProcesses)
	}
	if !(s.SessionCPUs >= 0 && s.SessionCPUs <= 4096) {
		c.wrong("session-cpus", "Give a number of processors like 1.5, or 0.", "%v is out of range", s.SessionCPUs)
	}
}

func dir(c *checker, setting, path string) {
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		c.wrong(setting, "Give a directory that exists.", "%s is not a directory that can be read", path)
	}
}

// Redact gives a URL without its password, for logs and tables.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		scheme, _, _ := strings.Cut(raw, "://")
		return scheme + "://…"
	}
	return u.Redacted()
}
