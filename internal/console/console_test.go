package console_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/config"
	"gantry/internal/platform/id"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

var noAddr netip.Addr

// listening is a server with an address.
var listening = servertest.Options{Listen: true}

func TestWhoIsNotSignedInIsLedToSignInAndBack(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		key := s.NewKey(t, s.Org, access.RoleOrgAdmin)
		made := start(t, s, key.Token, session.CreateParams{OrgID: s.Org, Prompt: "x", Title: "Way back"})
		b := open(t, s)
		p := b.get("/sessions/" + made.ID + "?before=2")
		require.Equal(t, http.StatusOK, p.status)
		u, err := url.Parse(p.path)
		require.NoError(t, err)
		require.Equal(t, "/login", u.Path)
		next := u.Query().Get("next")
		require.Equal(t, "/sessions/"+made.ID+"?before=2", next)
		p = b.post("/login", url.Values{"key": {" " + key.Token + "\n"}, "next": {next}})
		require.Equal(t, http.StatusOK, p.status)
		require.Equal(t, next, p.path)
		shows(t, p.body, "Way back")

		require.NotContains(t, b.get("/login").path, "login", "who is signed in needn't sign in")
		p = b.post("/logout", nil)
		require.Equal(t, "/login", p.path)
		require.Contains(t, b.get("/").path, "/login")
	})
}

func TestASessionsAddressLeadsToItsPage(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x", Title: "The shown address"})
	b := signedIn(t, s, s.Admin.Token.Reveal())
	u, err := url.Parse(s.Sessions.URL(made.ID))
	require.NoError(t, err)
	for _, path := range []string{u.Path, "/sessions/devin-" + made.ID} {
		p := b.get(path)
		require.Equal(t, http.StatusOK, p.status)
		shows(t, p.body, "The shown address")
	}
}

func TestAReturnAddressStaysOnThisSite(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	key := s.NewKey(t, s.Org, access.RoleOrgAdmin)
	for _, next := range []string{
		"https://evil.test/", "//evil.test/", "/\\evil.test", "javascript:alert(1)", "\t//evil.test", "/login", "evil.test", "", "///evil.test",
	} {
		b := open(t, s)
		p := b.post("/login", url.Values{"key": {key.Token}, "next": {next}})
		require.Equal(t, http.StatusOK, p.status, next)
		require.Equal(t, "/orgs/"+s.Org+"/sessions", p.path, next)
	}
}

func TestARefusedKeyIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		b := open(t, s)
		good := s.NewKey(t, s.Org, access.RoleOrgAdmin).Token
		orgKey, err := s.Members.CreateOrgKey(t.Context(), s.Root(), s.Org)
		require.NoError(t, err)
		for name, c := range map[string]struct{ key, hint string }{
			"none":       {"", "Paste a key"},
			"rubbish":    {"hunter2", "begins with cog_"},
			"unknown":    {good[:len(good)-4] + "aaaa", "copied whole"},
			"revoked":    {s.Revoked(t, s.Org, access.RoleOrgAdmin), "gantry admin key"},
			"expired":    {s.Expired(t, s.Org, access.RoleOrgAdmin), "revoked or expired"},
			"a worker's": {s.WorkerKey(t), "begins with cog_"},
			"apk_":       {orgKey.Token.Reveal(), "scripts of the older"},
			"with text":  {"key: " + good, "blanks"},
		} {
			p := b.post("/login", url.Values{"key": {c.key}})
			require.Equal(t, http.StatusUnauthorized, p.status, name)
			shows(t, p.body, c.hint, name)
			require.Empty(t, p.header.Values("Set-Cookie"), name)
			if c.key != "" {
				hides(t, p.body, c.key, name)
			}
		}
		require.NotContains(t, s.Log(), good)
	})
}

func TestGuessedKeysAreCountedByTheirAddress(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true, Configure: func(c *config.Serve) { c.UnknownKeyLimit = 3 }})
	b := open(t, s)
	for range 3 {
		require.Equal(t, http.StatusUnauthorized, b.post("/login", url.Values{"key": {"cog_x"}}).status)
	}
	p := b.post("/login", url.Values{"key": {"cog_x"}})
	require.Equal(t, http.StatusTooManyRequests, p.status)
	require.NotEmpty(t, p.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, b.post("/login", url.Values{"key": {s.Admin.Token.Reveal()}}).status, "a known key never meets the limit")
}

func TestGuessedCookiesAreCountedByTheirAddress(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true, Configure: func(c *config.Serve) { c.UnknownKeyLimit = 3 }})
	b := open(t, s)
	for range 3 {
		require.Contains(t, b.get("/", "Cookie", "gantry="+id.NewKey("")).path, "/login")
	}
	require.Equal(t, http.StatusTooManyRequests, b.get("/", "Cookie", "gantry="+id.NewKey("")).status)
	require.Equal(t, http.StatusOK, signedIn(t, s, s.Admin.Token.Reveal()).get("/").status, "who is signed in never meets the limit")
}

func TestAPersonsKeysSignInAndAnOlderOneIsBoundToItsOrganization(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		user, token := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgAdmin)
		other := s.NewOrg(t, "Other")
		_, err := s.Members.AssignPersonRole(t.Context(), s.Root(), memberRole(other, user, access.RoleOrgMember))
		require.NoError(t, err)
		shows(t, signedIn(t, s, token).get("/").body, "Other", "a person of two organizations chooses")
		k, err := s.Members.CreatePersonalKey(t.Context(), s.Root(), user, s.Org)
		require.NoError(t, err)
		b := signedIn(t, s, k.Token.Reveal())
		require.Equal(t, "/orgs/"+s.Org+"/sessions", b.get("/").path)
		require.Equal(t, http.StatusNotFound, b.get("/orgs/"+other+"/sessions").status)
	})
}

func TestPagesSayWhatABrowserMayDoWithThem(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	for _, path := range []string{"/login", "/", "/orgs/" + s.Org + "/sessions", "/orgs/" + s.Org + "/keys", "/enterprise/keys", "/orgs/" + s.Org + "/usage", "/nothing-here"} {
		h := b.get(path).header
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'", path)
		require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe", path)
		require.Equal(t, "no-store", h.Get("Cache-Control"), path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "same-origin", h.Get("Referrer-Policy"), path)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
	}
}

var inline = regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|<style|\son[a-z]+=|\sstyle=|javascript:`)

func TestNoPageHasAScriptOrStyleInIt(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "do *it*"})
	b := signedIn(t, s, s.Admin.Token.Reveal())
	for _, path := range []string{
		"/", "/orgs/" + s.Org + "/sessions", "/orgs/" + s.Org + "/sessions/new", "/orgs/" + s.Org + "/keys", "/enterprise/keys", "/sessions/" + made.ID,
	} {
		require.NotRegexp(t, inline, b.get(path).body, path)
	}
}

var linked = regexp.MustCompile(`(?:href|src)="(/console/[^"]+)"`)

func TestWhatPagesLinkToIsThereAndKeptByItsVersion(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	b := open(t, s)
	found := linked.FindAllStringSubmatch(b.get("/login").body, -1)
	require.GreaterOrEqual(t, len(found), 4)
	for _, m := range found {
		p := b.get(strings.ReplaceAll(m[1], "&amp;", "&"))
		require.Equal(t, http.StatusOK, p.status, m[1])
		require.Contains(t, p.header.Get("Cache-Control"), "immutable", m[1])
		require.NotContains(t, p.header.Get("Content-Type"), "html", m[1])
	}
	require.Equal(t, "no-store", b.get("/console/app.css").header.Get("Cache-Control"), "another version's address isn't kept")
	plain, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/console/htmx.min.js", nil)
	require.NoError(t, err)
	plain.Header.Set("Accept-Encoding", "identity")
	res, err := b.c.Do(plain)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, errors.Join(err, res.Body.Close()))
	require.Empty(t, res.Header.Get("Content-Encoding"))
	require.Equal(t, b.get("/console/htmx.min.js").body, string(text), "packed or not, the same")
	require.Equal(t, http.StatusNotFound, b.get("/console/..%2fconsole.go").status)
	require.Equal(t, http.StatusNotFound, b.get("/console/nothing.css").status)
}

func TestWhatIsNoTextIsRefused(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
		b := signedIn(t, s, s.Admin.Token.Reveal())
		list, one := "/orgs/"+s.Org+"/sessions", "/sessions/"+made.ID
		for _, bad := range []string{"a\x00b", "a\xffb"} {
			q := url.QueryEscape(bad)
			for _, path := range []string{list + "?tag=" + q, list + "?after=" + q, "/sessions/" + q, "/orgs/" + q + "/keys", one + "/files/" + q, "/login?next=" + q, "/nowhere/" + q} {
				require.Equal(t, http.StatusUnprocessableEntity, b.get(path).status, path)
			}
			for path, form := range map[string]url.Values{
				one + "/message": {"message": {bad}}, one + "/tags": {"tags": {bad}}, list: {"prompt": {bad}}, "/login": {"key": {bad}},
				"/orgs/" + s.Org + "/keys/provision": {"name": {bad}, "role_id": {access.RoleOrgMember}, "days": {"1"}},
			} {
				require.Equal(t, http.StatusUnprocessableEntity, b.post(path, form).status, path)
			}
			require.Equal(t, http.StatusUnprocessableEntity, b.upload(list, url.Values{"prompt": {bad}}, "f", "x").status)
		}
	})
}

func TestAFormFromAnotherSiteChangesNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
		b := signedIn(t, s, s.Admin.Token.Reveal())
		for name, h := range map[string][]string{
			"a browser of today": {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"},
			"a sibling":          {"Sec-Fetch-Site", "same-site", "Origin", "https://evil.test"},
			"an older browser":   {"Sec-Fetch-Site", "", "Origin", "https://evil.test"},
			"an unknown origin":  {"Sec-Fetch-Site", "", "Origin", "null"},
		} {
			for path, form := range map[string]url.Values{
				"/sessions/" + made.ID + "/stop":        {},
				"/sessions/" + made.ID + "/message":     {"message": {"evil"}},
				"/orgs/" + s.Org + "/sessions":          {"prompt": {"evil"}},
				"/orgs/" + s.Org + "/keys/organization": {},
				"/login":                                {"key": {s.Admin.Token.Reveal()}},
				"/logout":                               {},
			} {
				p := b.post(path, form, h...)
				require.Equal(t, http.StatusForbidden, p.status, "%s: %s", name, path)
				require.Empty(t, p.header.Values("Set-Cookie"), "%s: %s", name, path)
			}
		}
		after, err := s.Sessions.Find(t.Context(), s.Org, made.ID)
		require.NoError(t, err)
		require.Equal(t, made.LastSeq, after.LastSeq)
		require.Equal(t, http.StatusOK, b.get("/").status, "and it is still signed in")
	})
}

func TestABrowserWithoutFetchMetadataMayPostFromThisSite(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	b := open(t, s)
	p := b.post("/login", url.Values{"key": {s.Admin.Token.Reveal()}}, "Sec-Fetch-Site", "", "Origin", s.URL)
	require.Equal(t, http.StatusOK, p.status)
}

func TestTheConsoleMayBeLeftOut(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true, Configure: func(c *config.Serve) { c.NoConsole = true }})
	b := open(t, s)
	for _, path := range []string{"/", "/login", "/console/app.css"} {
		p := b.get(path)
		require.Equal(t, http.StatusNotFound, p.status, path)
		require.Equal(t, "application/problem+json", p.header.Get("Content-Type"), path)
	}
}

func TestAPathThatNoDoorHasIsSaidInTheCallersForm(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	b := open(t, s)
	p := b.get("/nothing/here")
	require.Equal(t, http.StatusNotFound, p.status)
	shows(t, p.body, "Nothing here")
	for path, accept := range map[string]string{"/nothing/here": "application/json", "/v3/nothing": "text/html"} {
		p := b.get(path, "Accept", accept)
		require.Equal(t, http.StatusNotFound, p.status, path)
		require.Equal(t, "application/problem+json", p.header.Get("Content-Type"), path)
	}
}

// A proxy may serve Gantry below a path of its own, which it takes off.
func TestEveryLinkBeginsWithThePublicAddressesPath(t *testing.T) {
	t.Parallel()
	const base = "/tools/gantry"
	s := servertest.New(t, servertest.Options{Configure: func(c *config.Serve) { c.PublicURL = "http://example.com" + base }})
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
	form := url.Values{"key": {s.Admin.Token.Reveal()}, "next": {"/sessions/" + made.ID}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a := s.Send(t, r)
	require.Equal(t, base+"/sessions/"+made.ID, a.Header.Get("Location"))
	c, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.Equal(t, base+"/", c.Path)
	for _, path := range []string{"/sessions/" + made.ID, "/orgs/" + s.Org + "/sessions", "/orgs/" + s.Org + "/keys", "/orgs/" + s.Org + "/sessions/new", "/enterprise/keys", "/orgs/" + s.Org + "/usage", "/enterprise/usage"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		a := s.Send(t, r)
		require.Equal(t, http.StatusOK, a.Status, path)
		for _, link := range ownLinks.FindAllStringSubmatch(a.Body, -1) {
			require.True(t, strings.HasPrefix(link[1], base+"/"), "%s leads to %s", path, link[1])
		}
	}
}

var ownLinks = regexp.MustCompile(`(?:href|src|action|hx-get|hx-post|data-live|data-login)="(/[^"]*)"`)

// Behind a proxy that ends TLS the public address says how cookies are kept and which origin forms come from.
func TestThePublicAddressDecidesOnCookiesAndOrigins(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Configure: func(c *config.Serve) { c.PublicURL = "https://gantry.example.com" }})
	form := url.Values{"key": {s.Admin.Token.Reveal()}}
	post := func(origin string) kittest.Answer {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		return s.Send(t, r)
	}
	a := post("https://gantry.example.com")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	c, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(c.Name, "__Host-"))
	require.True(t, c.Secure)
	require.Equal(t, "/", c.Path)
	require.Equal(t, http.StatusForbidden, post("https://evil.example.com").Status)
}
