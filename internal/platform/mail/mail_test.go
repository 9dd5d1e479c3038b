package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/jobs"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// server speaks as much SMTP as a client needs (RFC 5321, 3207, 4954), on a real listener.
type server struct {
	l        net.Listener
	tls      *tls.Config
	pool     *x509.CertPool
	implicit bool
	startTLS bool
	auth     bool
	refuse   string // the answer to RCPT instead of 250

	mu   sync.Mutex
	got  []received
	said []string // commands, with whether they came encrypted
	wg   sync.WaitGroup
}

type received struct {
	from, to, data, login string
	encrypted             bool
}

func start(t *testing.T, change func(*server)) *server {
	t.Helper()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	s := &server{tls: &tls.Config{Certificates: certs.TLS.Certificates}, pool: x509.NewCertPool(), startTLS: true}
	s.pool.AddCert(certs.Certificate())
	certs.Close()
	change(s)
	var err error
	s.l, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.wg.Go(func() {
		for {
			c, err := s.l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { _ = s.l.Close(); s.wg.Wait() })
	return s
}

// mailer is a client of the server that trusts its certificate. The URL has HOST for its address.
func (s *server) mailer(t *testing.T, rawURL string) *Mailer {
	t.Helper()
	set, err := Check(strings.ReplaceAll(rawURL, "HOST", s.l.Addr().String()), "Gantry <gantry@example.com>")
	require.NoError(t, err)
	m, err := set.open(clock.NewFake(time.Unix(1_800_000_000, 0)).Clock(), &tls.Config{RootCAs: s.pool})
	require.NoError(t, err)
	return m
}

func (s *server) serve(raw net.Conn) {
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn, encrypted := raw, s.implicit
	if s.implicit {
		conn = tls.Server(raw, s.tls)
	}
	r := textproto.NewReader(bufio.NewReader(conn))
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	var m received
	say("220 test")
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.said = append(s.said, fmt.Sprintf("%s %t", strings.Fields(line + " ")[0], encrypted))
		s.mu.Unlock()
		switch verb := strings.ToUpper(strings.Fields(line + " ")[0]); verb {
		case "EHLO":
			say("250-test")
			if s.startTLS && !encrypted {
				say("250-STARTTLS")
			}
			if s.auth {
				say("250-AUTH PLAIN LOGIN")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			conn, encrypted = tls.Server(raw, s.tls), true
			r = textproto.NewReader(bufio.NewReader(conn))
		case "AUTH":
			plain, _ := base64.StdEncoding.DecodeString(line[strings.LastIndexByte(line, ' ')+1:])
			m.login = string(plain)
			say("235 welcome")
		case "MAIL":
			m.from, m.encrypted = line, encrypted
			say("250 ok")
		case "RCPT":
			m.to = line
			if s.refuse != "" {
				say(s.refuse)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			lines, err := r.ReadDotLines()
			if err != nil {
				return
			}
			m.data = strings.Join(lines, "\n")
			s.mu.Lock()
			s.got = append(s.got, m)
			s.mu.Unlock()
			say("250 kept")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *server) received() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.got...)
}

var letter = Message{To: "ada@example.com", Subject: "Schedule \r\nBcc: x@y.z failed", Text: "It failed: ümlaut.\n.\nSecond line.\n"}

func TestAMailIsSentOverSTARTTLSWithALogin(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *server) { s.auth = true })
	require.NoError(t, s.mailer(t, "smtp://robot:p%40ss@HOST").Send(t.Context(), "job-1", letter))
	got := s.received()
	require.Len(t, got, 1)
	require.True(t, got[0].encrypted)
	require.Equal(t, "\x00robot\x00p@ss", got[0].login)
	require.Contains(t, got[0].from, "<gantry@example.com>")
	require.Contains(t, got[0].to, "<ada@example.com>")
	head, body, ok := strings.Cut(got[0].data, "\n\n")
	require.True(t, ok)
	require.Contains(t, head, `From: "Gantry" <gantry@example.com>`)
	require.Contains(t, head, "To: <ada@example.com>")
	require.Contains(t, head, "Subject: Schedule Bcc: x@y.z failed")
	require.NotContains(t, head, "\nBcc:", "a subject makes no header")
	require.Contains(t, head, "Message-ID: <job-1@example.com>", "a mail that is sent again has the same")
	require.Contains(t, head, "Date: Fri, 15 Jan 2027 08:00:00 ")
	require.Contains(t, head, "Auto-Submitted: auto-generated")
	require.Contains(t, body, "=C3=BCmlaut.")
	require.Contains(t, body, "Second line.")
	for _, said := range s.said {
		verb, encrypted, _ := strings.Cut(said, " ")
		require.True(t, encrypted == "true" || verb == "EHLO" || verb == "STARTTLS", "%s came in the clear", verb)
	}
}

func TestAMailIsSentOverTLSFromTheBeginning(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *server) { s.auth, s.implicit = true, true })
	require.NoError(t, s.mailer(t, "smtps://robot:pass@HOST").Send(t.Context(), "job-1", letter))
	got := s.received()
	require.Len(t, got, 1)
	require.True(t, got[0].encrypted)
	require.Equal(t, "\x00robot\x00pass", got[0].login)
}

func TestNothingIsSaidToAServerWithoutTLS(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *server) { s.startTLS, s.auth = false, true })
	// This machine may do without, but no password crosses even its network in the clear.
	require.Error(t, s.mailer(t, "smtp://robot:pass@HOST").Send(t.Context(), "job-1", letter))
	require.Empty(t, s.received())
	require.NoError(t, s.mailer(t, "smtp://HOST").Send(t.Context(), "job-1", letter))
	require.NoError(t, s.mailer(t, "smtp://HOST?tls=off").Send(t.Context(), "job-1", letter))
	require.Len(t, s.received(), 2)

	strict, err := Check("smtp://mail.example.com", "gantry@example.com")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(s.l.Addr().String())
	require.NoError(t, err)
	strict.host, strict.port = "127.0.0.1", atoi(t, port) // another machine's rules
	m, err := strict.open(clock.Clock{}, nil)
	require.NoError(t, err)
	require.ErrorContains(t, m.Send(t.Context(), "job-1", letter), "STARTTLS")
	require.Len(t, s.received(), 2)
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	var n int
	_, err := fmt.Sscan(s, &n)
	require.NoError(t, err)
	return n
}

func TestACertificateOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	for _, implicit := range []bool{false, true} {
		s := start(t, func(s *server) { s.implicit = implicit })
		s.pool = x509.NewCertPool()
		scheme := map[bool]string{false: "smtp", true: "smtps"}[implicit]
		require.ErrorContains(t, s.mailer(t, scheme+"://HOST").Send(t.Context(), "job-1", letter), "certificate")
		require.Empty(t, s.received())
	}
}

func TestSettingsAreRefusedWithoutShowingThem(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"http://hunter2.example.com", "smtp://", "mail.hunter2.example.com", "smtp://u:hunter2@host:0", "smtp://u:hunter2@host/path",
		"smtp://u:hunter2@host?tls=off", "smtp://host?tls=hunter2", "smtps://host?tls=off", "smtp://u:hunter2@%zz",
	} {
		_, err := Check(bad, "a@example.com")
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := Check("smtp://host", "nobody")
	require.ErrorContains(t, err, "sender")
	m, err := New("", "", clock.Clock{})
	require.NoError(t, err)
	require.False(t, m.On())
}

func TestAQueuedMailIsSentAfterTheCommitAndAgainWhileTheServerRefuses(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(time.Unix(1_800_000_000, 0))
			d := dbtest.Open(t, e, fake.Clock())
			s := start(t, func(s *server) { s.refuse = "451 later" })
			m := s.mailer(t, "smtp://HOST")
			r := jobs.New(d, slog.New(slog.DiscardHandler))
			m.Handle(r)
			queue := func(m *Mailer) {
				require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
					return m.QueueTx(ctx, tx, fake.Clock().Now(), letter)
				}))
			}
			queue(nil)
			did, err := r.Step(t.Context())
			require.NoError(t, err)
			require.False(t, did, "mail that is off queues nothing")
			queue(m)
			did, err = r.Step(t.Context())
			require.NoError(t, err)
			require.True(t, did)
			require.Empty(t, s.received())
			s.refuse = ""
			fake.Advance(time.Minute)
			did, err = r.Step(t.Context())
			require.NoError(t, err)
			require.True(t, did)
			require.Len(t, s.received(), 1)
		})
	}
}
