package console_test

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

func memberRole(org, user, role string) member.PersonRoleParams {
	return member.PersonRoleParams{OrgID: org, UserID: user, RoleID: role}
}

func TestAnotherOrganizationsThingsAreNotThere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		other := s.NewOrg(t, "Zebra")
		theirs := s.NewKey(t, other, access.RoleOrgAdmin)
		file, err := s.Sessions.Upload(t.Context(), subject(t, s, theirs.Token), other, "zebra.txt", "text/plain", strings.NewReader("zebra"))
		require.NoError(t, err)
		made := start(t, s, theirs.Token, session.CreateParams{
			OrgID: other, Prompt: "zebra prompt", Title: "zebra title", AttachmentURLs: []string{s.Sessions.AttachmentURL(file)},
		})
		mine := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
		b := signedIn(t, s, s.NewKey(t, s.Org, access.RoleOrgAdmin).Token)
		for _, path := range []string{
			"/sessions/" + made.ID, "/sessions/" + made.ID + "/live?after=0", "/sessions/" + made.ID + "/files/" + file.ID,
			"/sessions/" + made.ID + "/events/1", "/sessions/" + made.ID + "/events/1/output", "/sessions/" + mine.ID + "/files/" + file.ID, "/orgs/" + other + "/sessions",
			"/orgs/" + other + "/sessions/new", "/orgs/" + other + "/keys", "/orgs/" + other + "/usage", "/orgs/" + s.Org + "/sessions/new?from=" + made.ID,
			"/sessions/nothing", "/orgs/org-nothing/sessions",
		} {
			p := b.get(path)
			require.Equal(t, http.StatusNotFound, p.status, path)
			require.NotContains(t, strings.ToLower(p.body), "zebra", path)
		}
		missing := b.get("/sessions/nothing").body
		require.Equal(t, missing, strings.ReplaceAll(b.get("/sessions/"+made.ID).body, made.ID, "nothing"), "what must not be seen answers like what isn't")
		for _, path := range []string{
			"/sessions/" + made.ID + "/message", "/sessions/" + made.ID + "/stop", "/sessions/" + made.ID + "/archive",
			"/sessions/" + made.ID + "/tags", "/sessions/" + made.ID + "/approve", "/orgs/" + other + "/sessions",
			"/orgs/" + other + "/keys/provision", "/orgs/" + other + "/keys/organization",
		} {
			p := b.post(path, url.Values{"message": {"m"}, "prompt": {"p"}, "tags": {"t"}, "name": {"n"}, "role_id": {access.RoleOrgAdmin}, "days": {"1"}})
			require.Equal(t, http.StatusNotFound, p.status, path)
		}
		after, err := s.Sessions.Find(t.Context(), other, made.ID)
		require.NoError(t, err)
		require.Equal(t, made.LastSeq, after.LastSeq)
	})
}

func TestARevokedKeyEndsItsBrowserAtOnce(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		key := s.NewKey(t, s.Org, access.RoleOrgAdmin)
		made := start(t, s, key.Token, session.CreateParams{OrgID: s.Org, Prompt: "x"})
		b := signedIn(t, s, key.Token)
		path := "/orgs/" + s.Org + "/sessions"
		require.Equal(t, path, b.get(path).path)
		stream := b.follow("/sessions/" + made.ID + "/live?after=0")
		require.NotEmpty(t, stream.next())
		_, err := s.Members.RevokeKey(t.Context(), s.Root(), key.ServiceUserID, key.KeyID)
		require.NoError(t, err)
		p := b.get(path)
		require.Contains(t, p.path, "/login?ended=1")
		shows(t, p.body, "You were signed out")
		require.Contains(t, b.post("/sessions/"+made.ID+"/message", url.Values{"message": {"still here"}}).path, "/login")
		require.Eventually(t, stream.over, patience, step, "an open page hears nothing more")
		part := b.get(path, asScript...)
		require.Contains(t, part.header.Get("HX-Redirect"), "/login", "a script is sent there too")
		require.Equal(t, http.StatusUnauthorized, b.get("/sessions/"+made.ID+"/live?after=0").status)
	})
}

func TestASignedOutBrowsersStreamEnds(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
	b := signedIn(t, s, s.Admin.Token.Reveal())
	stream := b.follow("/sessions/" + made.ID + "/live?after=0")
	require.NotEmpty(t, stream.next())
	b.post("/logout", nil)
	require.Eventually(t, stream.over, patience, step)
}

func TestARemovedPersonsBrowserIsOver(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		user, token := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgAdmin)
		b := signedIn(t, s, token)
		require.Equal(t, http.StatusOK, b.get("/orgs/"+s.Org+"/sessions").status)
		_, err := s.Members.RemovePersonRole(t.Context(), s.Root(), s.Org, user)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, b.get("/orgs/"+s.Org+"/sessions").status, "who leaves an organization sees it no more")
		_, err = s.Members.RemovePerson(t.Context(), s.Root(), user)
		require.NoError(t, err)
		require.Contains(t, b.get("/").path, "/login")
	})
}

func TestTheIPListHoldsForBrowsers(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	require.Equal(t, http.StatusOK, b.get("/").status)
	_, err := s.Members.ReplaceIPList(t.Context(), s.Root(), []string{"192.0.2.0/24"})
	require.NoError(t, err)
	require.Contains(t, b.get("/").path, "/login")
	p := b.post("/login", url.Values{"key": {s.Admin.Token.Reveal()}})
	require.Equal(t, http.StatusUnauthorized, p.status)
	shows(t, p.body, "gantry admin ip-list clear")
	_, err = s.Members.ClearIPList(t.Context(), s.Root())
	require.NoError(t, err)
	require.NotContains(t, b.get("/").path, "/login", "the browser is what its key is")
}

func TestRateLimitsHoldForBrowsers(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true, Configure: func(c *config.Serve) { c.RateLimit, c.RateBurst = 0.001, 4 }})
	b := signedIn(t, s, s.NewKey(t, s.Org, access.RoleOrgAdmin).Token)
	path := "/orgs/" + s.Org + "/keys"
	var p answer
	for range 6 {
		p = b.get(path)
	}
	require.Equal(t, http.StatusTooManyRequests, p.status)
	require.NotEmpty(t, p.header.Get("Retry-After"))
	shows(t, p.body, "Too fast")
}

func TestNeitherTokenNorKeyIsKept(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		key := s.NewKey(t, s.Org, access.RoleOrgAdmin)
		b := open(t, s)
		b.c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		p := b.post("/login", url.Values{"key": {key.Token}})
		require.Equal(t, http.StatusSeeOther, p.status)
		cookies := p.header.Values("Set-Cookie")
		require.Len(t, cookies, 1)
		require.Contains(t, cookies[0], "HttpOnly")
		require.Contains(t, cookies[0], "SameSite=Lax")
		c, err := http.ParseSetCookie(cookies[0])
		require.NoError(t, err)
		require.NotContains(t, cookies[0], key.Token)
		b.get("/orgs/" + s.Org + "/sessions?token=" + c.Value)
		rows, err := db.All(t.Context(), s.DB.Reader(), func(r db.Scanner) (string, error) {
			var token, hash []byte
			err := r.Scan(&token, &hash)
			return string(token) + string(hash), err
		}, `SELECT token_hash, key_hash FROM browser_sessions`)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		for _, secret := range []string{c.Value, key.Token} {
			require.NotContains(t, rows[0], secret)
			require.NotContains(t, s.Log(), secret)
		}
	})
}

func TestASignInEndsTheOneBefore(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	before := b.c.Jar.Cookies(u)
	require.Len(t, before, 1)
	b.post("/login", url.Values{"key": {s.NewKey(t, s.Org, access.RoleOrgMember).Token}})
	require.NotEqual(t, before[0].Value, b.c.Jar.Cookies(u)[0].Value)
	thief := open(t, s)
	thief.c.Jar.SetCookies(u, before)
	require.Contains(t, thief.get("/").path, "/login")
}

// stream is a page that follows a session.
type stream struct {
	t      *testing.T
	events chan string
	ended  chan struct{}
}

func (b *browser) follow(path string) *stream {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	r := b.request(http.MethodGet, path, nil, "Accept", "text/event-stream").WithContext(ctx)
	res, err := b.c.Do(r)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, res.StatusCode)
	require.Equal(b.t, "text/event-stream", res.Header.Get("Content-Type"))
	st := &stream{t: b.t, events: make(chan string, 100), ended: make(chan struct{})}
	go func() {
		defer close(st.ended)
		var event strings.Builder
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			if lines.Text() != "" {
				event.WriteString(lines.Text() + "\n")
				continue
			}
			if strings.Contains(event.String(), "data: ") {
				st.events <- event.String()
			}
			event.Reset()
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		_ = res.Body.Close()
		<-st.ended
	})
	return st
}

func (st *stream) next() string {
	st.t.Helper()
	select {
	case e := <-st.events:
		return e
	case <-time.After(patience):
		require.Fail(st.t, "the stream says nothing")
		return ""
	}
}

// until gives the first event that contains a text.
func (st *stream) until(text string) string {
	st.t.Helper()
	for {
		if e := st.next(); strings.Contains(e, text) {
			return e
		}
	}
}

func (st *stream) over() bool {
	select {
	case <-st.ended:
		return true
	default:
		return false
	}
}
