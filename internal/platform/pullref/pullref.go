// Package pullref knows the addresses of pull requests: it finds them in text that comes in pieces, and tells of which repository they
// are.
package pullref

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"gantry/internal/platform/pattern"
)

// Form is how a provider writes the addresses of its pull requests.
type Form string

// The forms, by what stands before the number.
const (
	GitHub    Form = "pull"
	GitLab    Form = "-/merge_requests"
	Bitbucket Form = "pull-requests"
	Azure     Form = "pullrequest"
	Gitea     Form = "pulls" // and Forgejo's
)

// Ref is the address of a pull request, taken apart.
type Ref struct {
	URL  string // ends with the number, whatever followed it
	Host string // in lower case, with its port when that isn't the usual one
	// Path is that of the repository's own https address, without ".git".
	Path   string
	Form   Form
	Number int64
}

const (
	scheme = "https://"
	// MaxURL is how long an address may be in bytes.
	MaxURL = 2048
)

// address begins with a host, goes on with the shortest path that leaves a form and a number, and ends with the number.
var address = pattern.Of(`^https://([A-Za-z0-9.-]+(?::[0-9]{1,5})?)/((?:[A-Za-z0-9._~%+-]+/)+?)(pull|-/merge_requests|pull-requests|pullrequest|pulls)/([1-9][0-9]{0,8})`)

// Parse takes the address of a pull request apart. Nothing may follow its number.
func Parse(raw string) (Ref, bool) {
	r, n, ok := parse(raw)
	return r, ok && n == len(raw)
}

// parse reads the address that a text begins with, and how much of the text it is.
func parse(text string) (r Ref, n int, ok bool) {
	text = text[:min(len(text), MaxURL+1)]
	m := address().FindStringSubmatch(text)
	if m == nil || len(m[0]) > MaxURL || (len(m[0]) < len(text) && goesOn(text[len(m[0])])) {
		return r, 0, false
	}
	page, err := url.PathUnescape(strings.TrimSuffix(m[2], "/"))
	if err != nil || strings.Count(page, "/") != strings.Count(m[2], "/")-1 { // no escaped slash
		return r, 0, false
	}
	number, err := strconv.ParseInt(m[4], 10, 64)
	if err != nil {
		return r, 0, false
	}
	r = Ref{Host: strings.TrimSuffix(strings.ToLower(m[1]), ":443"), Form: Form(m[3]), Number: number}
	r.URL = scheme + r.Host + "/" + escaped(page) + "/" + m[3] + "/" + m[4]
	r.Path = r.Form.gitPath(page)
	return r, len(m[0]), true
}

// escaped writes a path in one way out of the many that mean the same.
func escaped(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if c := p[i]; c != '%' && c != ':' && inAddress(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// goesOn reports whether a number with this behind it is part of a longer word.
func goesOn(c byte) bool {
	return c == '-' || c == '_' || c == '%' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// gitPath gives the path of a repository as git has it from that of its pages. They differ at Bitbucket's server edition alone:
// projects/KEY/repos/NAME and users/NAME/repos/NAME are below /scm.
func (f Form) gitPath(page string) string {
	parts := strings.Split(page, "/")
	n := len(parts)
	if f != Bitbucket || n < 4 || parts[n-2] != "repos" {
		return page
	}
	owner := parts[n-3]
	switch parts[n-4] {
	case "users":
		owner = "~" + owner
	case "projects":
	default:
		return page
	}
	return path.Join(path.Join(parts[:n-4]...), "scm", owner, parts[n-1])
}

var (
	// scpForm is git's short form of ssh.
	scpForm = pattern.Of(`^(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):([^/].*)$`)
	// sshHosts are the hosts that serve ssh under another name than pages.
	sshHosts = map[string]string{
		"ssh.dev.azure.com": "dev.azure.com", "ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org",
	}
)

// Of reports whether this is a pull request of the repository with an address as git has it: of the same host and path. Cases aren't
// told apart, as no provider does. A repository that is a file has none.
func (r Ref) Of(clone string) bool {
	if m := scpForm().FindStringSubmatch(clone); m != nil && !strings.Contains(clone, "://") {
		clone = "ssh://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(clone)
	if err != nil {
		return false
	}
	repository := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	switch u.Scheme {
	case "https":
		return repository != "" && r.Host == strings.TrimSuffix(strings.ToLower(u.Host), ":443") && strings.EqualFold(r.Path, repository)
	case "ssh": // its port says nothing about that of the pages
		return repository != "" && r.ofSSH(strings.ToLower(u.Hostname()), repository)
	}
	return false
}

func (r Ref) ofSSH(host, repository string) bool {
	if web, ok := sshHosts[host]; ok {
		host = web
	}
	if rest, ok := strings.CutPrefix(repository, "v3/"); ok && r.Form == Azure { // v3/ORGANIZATION/PROJECT/NAME
		repository = path.Dir(rest) + "/_git/" + path.Base(rest)
	}
	if r.Host != host {
		return false
	}
	below := "/scm/" + repository // where Bitbucket's server edition has it over https
	whole := "/" + r.Path
	return strings.EqualFold(r.Path, repository) ||
		(r.Form == Bitbucket && len(whole) >= len(below) && strings.EqualFold(whole[len(whole)-len(below):], below))
}

// Find gives the addresses in a text, in their order.
func Find(text string) []Ref { return find(text, len(text)) }

// find gives the addresses that begin among the first n bytes of a text.
func find(text string, n int) []Ref {
	var out []Ref
	for at := 0; ; {
		i := strings.Index(text[at:n], scheme)
		if i < 0 {
			return out
		}
		at += i
		r, length, ok := parse(text[at:])
		if ok {
			out = append(out, r)
		}
		at = min(n, at+max(length, len(scheme)))
	}
}

// Scanner finds addresses in a text that comes in pieces. The zero value is ready.
type Scanner struct{ held string }

// Write takes the next piece in and gives the addresses that ended with it. One that the piece ends in waits for the next.
func (s *Scanner) Write(text string) []Ref {
	if s.held != "" {
		text = s.held + text
	}
	n := closed(text)
	s.held = strings.Clone(text[n:]) // the rest of a large piece needn't be kept for it
	return find(text, n)
}

// End gives the address that the text so far ends with. More text may still come.
func (s *Scanner) End() []Ref { return Find(s.held) }

// Reset forgets the text: what comes next is another one.
func (s *Scanner) Reset() { s.held = "" }

// closed gives how much of a text can't become part of an address by what follows.
func closed(text string) int {
	begin := len(text)
	for begin > 0 && len(text)-begin < MaxURL && inAddress(text[begin-1]) {
		begin--
	}
	run := text[begin:]
	if i := strings.LastIndex(run, scheme); i >= 0 {
		return begin + i
	}
	for n := min(len(run), len(scheme)-1); n > 0; n-- {
		if strings.HasSuffix(run, scheme[:n]) {
			return len(text) - n
		}
	}
	return len(text)
}

// inAddress reports whether a byte may be part of an address up to its number.
func inAddress(c byte) bool { return goesOn(c) || strings.IndexByte(".:/~+", c) >= 0 }
