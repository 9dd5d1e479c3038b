// Package mail sends mail through the operator's SMTP server. It is off until one is named.
//
// A mail is a job: a row that commits with the change it tells of, so a mail is never sent of what didn't happen, and the server that
// is away for a while costs nothing but time. A job runs at least once; a mail that went out twice has the same Message-ID, by which
// readers' programs show it once.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/jobs"
)

// Kind is the kind of a mail's job.
const Kind = "mail"

// Message is one mail of plain text to one address. It holds no secret: it is kept in the database until it is sent.
type Message struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
}

// Mailer queues and sends mail. Nil is a mailer that is off.
type Mailer struct {
	Server
	domain string // the sender's
	config *tls.Config
	clock  clock.Clock
}

// sendTime bounds every step of the conversation with the server.
const sendTime = 30 * time.Second

// New makes a mailer of the server's URL and the sender's address; an empty URL gives nil, which is off. The URL is
// smtp://user:password@host:port, or smtps:// where TLS begins with the connection. Over smtp:// the connection is encrypted by STARTTLS
// before anything is said, and a server that can't is refused, unless it is this machine or the URL ends in ?tls=off. A user name and
// password are sent over TLS only.
func New(rawURL, from string, c clock.Clock) (*Mailer, error) {
	if rawURL == "" {
		return nil, nil
	}
	s, err := Check(rawURL, from)
	if err != nil {
		return nil, err
	}
	return s.open(c, nil)
}

// Server is a checked setting.
type Server struct {
	from           *mail.Address
	host           string
	port           int
	user, password string
	policy         gomail.TLSPolicy
	implicit       bool
}

// Check reads the two settings. Its errors show nothing of the URL, which may hold a password.
func Check(rawURL, from string) (*Server, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" || (u.Scheme != "smtp" && u.Scheme != "smtps") || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("the mail server must be smtp://user:password@host:port or smtps://…")
	}
	s := &Server{host: u.Hostname(), port: gomail.DefaultPortTLS, policy: gomail.TLSMandatory, implicit: u.Scheme == "smtps"}
	if s.from, err = mail.ParseAddress(from); err != nil {
		return nil, errors.New("the sender must be an address like gantry@example.com or Gantry <gantry@example.com>")
	}
	if s.implicit {
		s.port = gomail.DefaultPortSSL
	}
	if p := u.Port(); p != "" {
		if s.port, err = strconv.Atoi(p); err != nil || s.port < 1 || s.port > 65535 {
			return nil, errors.New("the mail server's port must be from 1 to 65535")
		}
	}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	switch mode := u.Query().Get("tls"); {
	case mode == "off" && s.user != "":
		return nil, errors.New("a user name is sent to the mail server over TLS only: take ?tls=off or the name away")
	case mode == "off" && !s.implicit:
		s.policy = gomail.NoTLS
	case mode != "":
		return nil, errors.New("the mail server's only parameter is tls=off, with smtp://")
	case local(s.host):
		s.policy = gomail.TLSOpportunistic
	}
	return s, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// open makes the mailer; nil is a configuration that trusts what the machine trusts.
func (s *Server) open(c clock.Clock, config *tls.Config) (*Mailer, error) {
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion, config.ServerName = tls.VersionTLS12, s.host
	_, domain, _ := strings.Cut(s.from.Address, "@")
	m := &Mailer{Server: *s, domain: domain, config: config, clock: c}
	_, err := m.client(nil)
	return m, err
}

// client makes the client of one conversation. What it opens goes to opened, if anybody wants to know.
func (m *Mailer) client(opened func(net.Conn)) (*gomail.Client, error) {
	o := []gomail.Option{
		gomail.WithPort(m.port), gomail.WithTimeout(sendTime), gomail.WithTLSPolicy(m.policy), gomail.WithTLSConfig(m.config),
		gomail.WithHELO(m.domain),
	}
	if m.implicit {
		o = append(o, gomail.WithSSL())
	} else if opened != nil {
		o = append(o, gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				opened(c)
			}
			return c, err
		}))
	}
	if m.user != "" {
		o = append(o, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(m.user), gomail.WithPassword(m.password))
	}
	client, err := gomail.NewClient(m.host, o...)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	return client, nil
}

// On reports whether mail is sent at all.
func (m *Mailer) On() bool { return m != nil }

// QueueTx has a mail sent once the caller's transaction is durable. Nothing happens when mail is off.
func (m *Mailer) QueueTx(ctx context.Context, tx *db.Tx, now time.Time, msg Message) error {
	if m == nil {
		return nil
	}
	return jobs.InsertTx(ctx, tx, now, jobs.Insert{Kind: Kind, Args: msg})
}

// attempts spread over three hours and a half.
const attempts = 9

// Handle names this mailer as who does the jobs.
func (m *Mailer) Handle(r *jobs.Runner) {
	if m == nil {
		return
	}
	r.Handle(Kind, jobs.Policy{Timeout: 2 * time.Minute, Attempts: attempts}, func(ctx context.Context, j jobs.Job) error {
		var msg Message
		if err := j.Decode(&msg); err != nil {
			return err
		}
		return m.Send(ctx, j.ID, msg)
	})
}

// Send sends a mail at once. The id makes its Message-ID.
func (m *Mailer) Send(ctx context.Context, id string, msg Message) error {
	g := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	g.FromMailAddress(m.from)
	if err := g.To(msg.To); err != nil {
		return fmt.Errorf("the recipient's address is none: %w", err)
	}
	g.Subject(strings.Join(strings.Fields(msg.Subject), " "))
	g.SetMessageIDWithValue(id + "@" + m.domain)
	g.SetDateWithValue(m.clock.Now())
	g.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence note answers it
	g.SetBodyString(gomail.TypeTextPlain, msg.Text)
	var opened net.Conn
	client, err := m.client(func(c net.Conn) { opened = c })
	if err != nil {
		return err
	}
	c, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		if opened != nil {
			_ = opened.Close() // the library leaves it open when the conversation fails before the mail
		}
		return fmt.Errorf("the mail server can't be reached: %w", short(err))
	}
	defer func() { _ = client.CloseWithSMTPClient(c) }() // what was sent is sent, however they part
	return client.SendWithSMTPClient(c, g)
}

// short drops an operation's addresses, which tell an operator nothing that the settings don't.
func short(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
