// Package forge knows the repositories that sessions may name, where they are, who may use them, and what git needs to reach them.
//
// A connection is an account at a provider whose API lists its repositories, or plain git whose repositories an operator lists: a name,
// and an https, ssh or file address. A file is allowed only below a root that the operator listed for that, after symbolic links are
// resolved; an address carries no credentials, because it is shown and kept as it is. An organization may use what its permissions
// cover (contract/behaviour.md §9), and everything in the built-in connection, which is what an operator lists without naming one.
package forge

import (
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/pattern"
	"gantry/internal/platform/safehttp"
)

// Kind says how a repository is reached.
type Kind string

// The kinds.
const (
	HTTPS Kind = "https"
	SSH   Kind = "ssh"
	File  Kind = "file"
)

// Repository is one repository. Name is what a session calls it: its path, `owner/name` or a bare name, with its host before it where
// the path alone would mean another one.
type Repository struct {
	Name         string
	Path         string
	URL          string
	ConnectionID string
	// ProviderID is the provider's own id, the name where an operator listed the repository. Empty texts and a zero UpdatedAt are
	// what the provider doesn't say.
	ProviderID, Description, Language string
	UpdatedAt                         time.Time
	CreatedAt                         time.Time
	// ReadOnly says that the organization that was asked about may not push.
	ReadOnly bool

	folded string // Path as its provider compares paths
}

// Kind says how the repository is reached.
func (r Repository) Kind() Kind {
	switch {
	case strings.HasPrefix(r.URL, "https://"):
		return HTTPS
	case strings.HasPrefix(r.URL, "file://"):
		return File
	}
	return SSH
}

// Base is the last part of a repository's path.
func (r Repository) Base() string { return path.Base(r.Path) }

// FileHost stands for the host of a repository that is a file.
const FileHost = "localhost"

// ShownHost is Host, and FileHost for a file.
func (r Repository) ShownHost() string {
	if r.Kind() == File {
		return FileHost
	}
	return r.Host()
}

// Host gives the host of a repository that isn't a file, without a port.
func (r Repository) Host() string {
	if !strings.Contains(r.URL, "://") {
		if m := scpForm().FindStringSubmatch(r.URL); m != nil {
			return strings.ToLower(m[2])
		}
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// Options of New.
type Options struct {
	// FileRoots are the directories below which repositories may be files. None: no file is allowed.
	FileRoots []string
	// Keeper seals tokens; nil where no connection is made or used.
	Keeper *keeper.Keeper
	// Guard decides which addresses of providers may be asked; nil is the public internet alone.
	Guard *safehttp.Guard
	// Client asks providers instead of one made of Guard.
	Client *http.Client
	Logger *slog.Logger
}

// Service holds the use cases.
type Service struct {
	db     *db.DB
	o      Options
	client *http.Client
}

// New makes the service.
func New(d *db.DB, o Options) *Service {
	if o.Guard == nil {
		o.Guard = safehttp.NewGuard(nil)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{db: d, o: o, client: o.Client}
	if s.client == nil {
		s.client = newClient(o.Guard)
	}
	return s
}

const (
	maxName = 256
	maxURL  = 2048
)

var (
	goodName = pattern.Of(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,4}$`)
	// scpForm is git's short form of ssh, user@host:path. Neither user nor host may look like an option.
	scpForm  = pattern.Of(`^(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)([A-Za-z0-9][A-Za-z0-9.-]*):([^:\s-][^:\s]*)$`)
	goodHost = pattern.Of(`^[A-Za-z0-9][A-Za-z0-9.-]*$|^\[[0-9A-Fa-f:.]+\]$`)
	goodUser = pattern.Of(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
)

func checkName(name string) error {
	if len(name) > maxName || !goodName().MatchString(name) {
		return fault.InvalidField("name", "must be owner/name or a bare name of letters, digits, '.', '_' and '-'")
	}
	return nil
}

// canonical checks an address and gives it in the form that is kept.
func (s *Service) canonical(raw string) (string, error) {
	if len(raw) > maxURL || strings.ContainsAny(raw, "\x00\r\n\t ") {
		return "", fault.InvalidField("url", "must be one address without spaces")
	}
	if filepath.IsAbs(raw) {
		return s.file(raw)
	}
	if scpForm().MatchString(raw) && !strings.Contains(raw, "://") {
		return raw, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", fault.InvalidField("url", "is no address")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" {
			return "", fault.InvalidField("url", "must be file:///absolute/path")
		}
		return s.file(u.Path)
	case "https", "ssh":
		return remote(u)
	}
	return "", fault.InvalidField("url", "must be an https or ssh address, or a file path below a listed root")
}

func remote(u *url.URL) (string, error) {
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if !goodHost().MatchString(host) || u.Path == "" || u.Path == "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", fault.InvalidField("url", "must name a host and a repository, and nothing else")
	}
	if _, has := u.User.Password(); has || (u.User != nil && u.Scheme == "https") {
		return "", fault.InvalidField("url", "must not hold credentials: they would be shown")
	}
	if u.User != nil && !goodUser().MatchString(u.User.Username()) {
		return "", fault.InvalidField("url", "the user name is not allowed")
	}
	return u.String(), nil
}

// file checks a path against the listed roots, both with their symbolic links resolved.
func (s *Service) file(p string) (string, error) {
	if !filepath.IsAbs(p) {
		return "", fault.InvalidField("url", "a file path must be absolute")
	}
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "url: %s can't be read on this machine", p)
	}
	if !s.underRoot(real) {
		return "", fault.InvalidField("url", "%s is not below a listed root; list one with --repo-root", p)
	}
	return (&url.URL{Scheme: "file", Path: real}).String(), nil
}

func (s *Service) underRoot(real string) bool {
	for _, root := range s.o.FileRoots {
		root, err := filepath.EvalSymlinks(root)
		if err != nil {
			continue // a root that isn't there holds nothing
		}
		if rel, err := filepath.Rel(root, real); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// normalName takes from an input what people add to a repository's name: a scheme, ".git", a slash at the end.
func normalName(in string) string {
	in = strings.TrimSpace(in)
	for _, scheme := range []string{"https://", "http://", "ssh://git@", "git@"} {
		in = strings.TrimPrefix(in, scheme)
	}
	return strings.TrimSuffix(strings.TrimSuffix(in, "/"), ".git")
}

// PlainName gives the name under which a repository is listed for what people write: with a scheme, a host, ".git".
func PlainName(in string) string {
	n := normalName(in)
	if _, rest, ok := splitHost(n); ok && strings.Contains(rest, "/") {
		return rest
	}
	return n
}

// splitHost takes the host off a host-prefixed name such as git.example.com/owner/name (contract/v3-rules.md, differences 15).
func splitHost(name string) (host, rest string, ok bool) {
	at := strings.IndexAny(name, "/:") // the colon of user@host:path, or of a port
	if at < 0 {
		return "", "", false
	}
	host, rest = name[:at], name[at+1:]
	if port, path, cut := strings.Cut(rest, "/"); cut && name[at] == ':' && isNumber(port) {
		rest = path
	}
	if !strings.Contains(host, ".") || rest == "" {
		return "", "", false
	}
	return strings.ToLower(host), rest, true
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// directories gives each repository its folder below the working directory: "." for a single one, else its last name, with its
// owner where two would meet.
func directories(names []string) []string {
	out := make([]string, len(names))
	if len(names) == 1 {
		out[0] = "."
		return out
	}
	count := map[string]int{}
	for _, n := range names {
		count[path.Base(n)]++
	}
	for i, n := range names {
		out[i] = path.Base(n)
		if count[out[i]] > 1 {
			out[i] = strings.ReplaceAll(n, "/", "-")
		}
	}
	return out
}
