package forge

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/secret"
)

// Listed is the built-in connection: the repositories that operators list without one. It has no credential, and every organization
// may use what is in it without a permission.
const Listed = "git-connection-00000000000000000000000000000000"

// Connection is an account at a provider, or for plain git a host. Its token is never read back.
type Connection struct {
	ID       string
	Name     string
	Provider Provider
	// Host is in lower case, with its port when it isn't the usual one; "*" for the built-in connection, which has many.
	Host string
	// URL is where the provider is, empty for plain git.
	URL string
	// Username goes with the token where the provider asks for one: plain git, Bitbucket's app passwords and API tokens.
	Username string
	// KnownHosts are the host's ssh keys in the form of OpenSSH's file; only plain git over ssh has them.
	KnownHosts string
	HasToken   bool
	BuiltIn    bool
	CreatedAt  time.Time
	UpdatedAt  time.Time
	// ListedAt is when the provider last told all its repositories, zero before the first time. ListError is why the last try
	// failed, empty when it didn't.
	ListedAt  time.Time
	ListError string

	listingUntil time.Time // until then nobody else asks the provider
	quietUntil   time.Time // until then nobody asks it about pull requests
	refused      bool      // ListError is a refusal, not an absence
	sealed       []byte
}

func (c Connection) family() family { return families[c.Provider] }

// base is the parsed URL of a connection that has one.
func (c Connection) base() *url.URL {
	u, err := url.Parse(c.URL)
	if err != nil {
		return &url.URL{} // it was parsed before it was kept
	}
	return u
}

// hostname is the host without its port.
func (c Connection) hostname() string { return (&url.URL{Host: c.Host}).Hostname() }

// ConnectionParams make a connection.
type ConnectionParams struct {
	Name       string
	Provider   Provider
	Host       string
	URL        string
	Username   string
	KnownHosts string
	Token      secret.String
}

// ConnectionUpdate changes what isn't nil. An empty token takes the token away.
type ConnectionUpdate struct {
	ID         string
	Name       *string
	Token      *secret.String
	Username   *string
	KnownHosts *string
}

const (
	maxConnectionName = 256
	maxToken          = 16 << 10
	maxKnownHosts     = 64 << 10
)

// check checks the parameters and gives the connection they make.
func (p ConnectionParams) check() (Connection, error) {
	c := Connection{
		Name: strings.TrimSpace(p.Name), Provider: p.Provider, Host: strings.ToLower(p.Host), Username: strings.TrimSpace(p.Username),
		KnownHosts: strings.TrimSpace(p.KnownHosts), HasToken: !p.Token.IsZero(),
	}
	if p.Provider == GitHubApp {
		return c, fault.InvalidField("git_provider_type", "an app's key can't be used: make a github_token connection with a token")
	}
	if _, ok := families[p.Provider]; !ok {
		return c, fault.InvalidField("git_provider_type", "must be one of %s", providerNames())
	}
	u := &url.URL{Host: c.Host}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if !goodHost().MatchString(host) || (c.Host != host && c.Host != host+":"+u.Port()) || (u.Port() != "" && !isNumber(u.Port())) {
		return c, fault.InvalidField("host", "must be a host's name, with a port if need be")
	}
	if p.Provider == Plain && u.Port() != "" {
		return c, fault.InvalidField("host", "has no port here: repositories name it in their own addresses")
	}
	var err error
	if c.URL, err = p.Provider.checkBase(c.Host, p.URL); err != nil {
		return c, err
	}
	return c, c.check(p.Token)
}

func providerNames() string {
	var names []string
	for p := range families {
		if p != GitHubApp { // no connection can be made of it
			names = append(names, string(p))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// check checks what a change may touch.
func (c Connection) check(token secret.String) error {
	switch {
	case c.Name == "" || utf8.RuneCountInString(c.Name) > maxConnectionName || strings.ContainsFunc(c.Name, isControl):
		return fault.InvalidField("name", "must have 1 to %d characters on one line", maxConnectionName)
	case c.Username != "" && (len(c.Username) > maxName || strings.ContainsFunc(c.Username, isControl) || strings.Contains(c.Username, ":")):
		return fault.InvalidField("username", "must be a name on one line, without a colon")
	case len(c.KnownHosts) > maxKnownHosts || strings.ContainsRune(c.KnownHosts, 0):
		return fault.InvalidField("known_hosts", "must be lines as in OpenSSH's known_hosts file")
	}
	return c.checkToken(token)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isPrivateKey tells an ssh key from a password.
func isPrivateKey(token string) bool {
	return strings.HasPrefix(strings.TrimSpace(token), "-----BEGIN ")
}

func (c Connection) checkToken(token secret.String) error {
	t := token.Reveal()
	switch {
	case len(t) > maxToken:
		return fault.InvalidField("token", "must have at most %d bytes", maxToken)
	case isPrivateKey(t):
		if c.Provider != Plain {
			return fault.InvalidField("token", "a private key serves connections of the type git only")
		}
		if _, err := ssh.ParseRawPrivateKey([]byte(t)); err != nil {
			return fault.InvalidField("token", "the private key can't be read; one with a passphrase can't be used")
		}
		if _, _, _, _, _, err := ssh.ParseKnownHosts([]byte(c.KnownHosts)); err != nil {
			return fault.InvalidField("known_hosts", "must hold the host's key (ssh-keyscan %s shows it): without it the host could be anybody", c.Host)
		}
	case strings.ContainsFunc(t, isControl) || strings.Contains(t, " "):
		return fault.InvalidField("token", "must be one word: a token, a password, or a private key in PEM")
	}
	return nil
}
