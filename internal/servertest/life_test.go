package servertest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/client"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/servertest"
)

const (
	patience = 20 * time.Second
	step     = 10 * time.Millisecond
)

func TestADownloadAddressLivesForAMinuteAndForOneFile(t *testing.T) {
	t.Parallel()
	now := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := servertest.New(t, servertest.Options{Clock: now})
	one, other := newTenant(t, s, "aardvark5c"), newTenant(t, s, "zebra7f3a")
	a := s.Do(t, http.MethodGet, "/v3/organizations/"+one.org+"/attachments/"+one.attachments[0]+"/aardvark5c.txt", one.admin.Token, "")
	require.Equal(t, http.StatusTemporaryRedirect, a.Status, a.Body)
	u, err := url.Parse(a.Header.Get("Location"))
	require.NoError(t, err)
	get := func(path string) int { return s.Do(t, http.MethodGet, path, "", "").Status }
	require.Equal(t, http.StatusOK, get(u.RequestURI()))
	for _, wrong := range []string{
		strings.ReplaceAll(u.RequestURI(), one.attachments[0], other.attachments[0]),
		strings.ReplaceAll(u.RequestURI(), one.org, other.org),
		strings.ReplaceAll(u.RequestURI(), "signature=", "signature=x"),
		u.Path,
	} {
		status := get(wrong)
		require.True(t, status >= 400 && status < 500, "%s answers %d", wrong, status)
	}
	now.Advance(61 * time.Second)
	require.NotEqual(t, http.StatusOK, get(u.RequestURI()))
}

func TestAKeyEndsAtItsSecond(t *testing.T) {
	t.Parallel()
	now := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := servertest.New(t, servertest.Options{Clock: now})
	a := s.Do(t, http.MethodPost, "/v3beta1/enterprise/service-users", s.Admin.Token.Reveal(), `{"name":"brief","role_id":"account_admin","ttl_seconds":60}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	token, _ := a.JSON(t)["token"].(string)
	self := func() int { return s.Do(t, http.MethodGet, "/v3/self", token, "").Status }
	require.Equal(t, http.StatusOK, self())
	now.Advance(59 * time.Second)
	require.Equal(t, http.StatusOK, self())
	now.Advance(time.Second)
	require.Equal(t, http.StatusUnauthorized, self())
}

func TestTwoReplicasAreOneServer(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{Listen: true}, func(t *testing.T, s *servertest.Server) {
		replica := servertest.New(t, servertest.Options{Engine: s.DB.Engine(), Listen: true, Of: s})
		key := s.NewKey(t, s.Org, access.RoleOrgAdmin)
		here, there := s.Client(t, key.Token), replica.Client(t, key.Token)
		made, err := here.CreateSession(t.Context(), s.Org, client.CreateSession{Prompt: "first"})
		require.NoError(t, err)

		// A reader on one replica hears what is said on the other.
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		heard := make(chan string, 100)
		done := make(chan error, 1)
		go func() {
			for e, err := range there.Follow(ctx, s.Org, made.SessionID, 0) {
				if err != nil {
					done <- err
					return
				}
				heard <- string(e.Data)
			}
			done <- nil
		}()
		require.Contains(t, <-heard, "first")
		_, err = here.SendMessage(t.Context(), s.Org, made.SessionID, client.SendMessage{Message: "second"})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			select {
			case text := <-heard:
				return strings.Contains(text, "second")
			default:
				return false
			}
		}, patience, step)

		// A key that is revoked on one replica ends calls and streams on both.
		_, err = s.Members.RevokeKey(t.Context(), s.Root(), key.ServiceUserID, key.KeyID)
		require.NoError(t, err)
		revoked := time.Now()
		for _, c := range []*client.Client{here, there} {
			require.Eventually(t, func() bool {
				_, err := c.GetSession(t.Context(), s.Org, made.SessionID)
				return client.StatusOf(err) == http.StatusUnauthorized
			}, patience, step)
		}
		require.Less(t, time.Since(revoked), 3*time.Second, "two seconds are promised")
		require.Equal(t, http.StatusUnauthorized, client.StatusOf(<-done), "the stream ends, and isn't opened again")
	})
}

func TestAStreamGoesOnWhereItsReaderWas(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true})
	o := newTenant(t, s, "aardvark5c")
	path := "/gantry/v1/organizations/" + o.org + "/sessions/" + o.sessions[0] + "/events"
	all := s.Do(t, http.MethodGet, path, o.admin.Token, "")
	n := len(list[object](all.JSON(t)["items"]))
	require.Greater(t, n, 3)
	const beyond = "1000000" // as from another session
	for _, last := range []string{"", "0", "2", "not a number", beyond} {
		want := map[string]string{"": "id: 1", "0": "id: 1", "2": "id: 3", "not a number": "id: 1", beyond: fmt.Sprint("id: ", n+1)}[last]
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+o.admin.Token)
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Last-Event-ID", last)
		transport := &http.Transport{}
		res, err := transport.RoundTrip(r)
		require.NoError(t, err)
		if last == beyond {
			said := s.Do(t, http.MethodPost, "/v3/organizations/"+o.org+"/sessions/"+o.sessions[0]+"/messages", o.admin.Token, `{"message":"x"}`)
			require.Equal(t, http.StatusOK, said.Status, said.Body)
		}
		first := ""
		for lines := bufio.NewScanner(res.Body); first == "" && lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "id: ") {
				first = lines.Text()
			}
		}
		cancel()
		_ = res.Body.Close() // the reader has gone
		transport.CloseIdleConnections()
		require.Equal(t, want, first, "after %q", last)
	}
}

func TestAnOrganizationsEndTakesItsKeysAtOnce(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		o := newTenant(t, s, "aardvark5c")
		a := s.Do(t, http.MethodDelete, "/v3/enterprise/organizations/"+o.org, s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, http.StatusUnauthorized, s.Do(t, http.MethodGet, "/v3/self", o.admin.Token, "").Status)
		require.NoError(t, s.Sessions.Sweep(t.Context()))
		a = s.Do(t, http.MethodGet, "/v3/enterprise/sessions?include_deleted_orgs=true&org_ids="+o.org, s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		for _, item := range list[object](a.JSON(t)["items"]) {
			require.Equal(t, "exit", item["status"])
		}
		_, err := s.Members.CreateKey(t.Context(), s.Root(), member.CreateKeyParams{ServiceUserID: o.admin.ServiceUserID, Name: "again"})
		require.Error(t, err)
	})
}

func TestAnUploadThatIsSentAgainIsOneFile(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	const form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n"
	for _, path := range []string{"/v3/organizations/" + s.Org + "/attachments", "/v1/attachments?org_id=" + s.Org} {
		send := func(key string) string {
			a := s.Do(t, http.MethodPost, path, s.Admin.Token.Reveal(), form, "Content-Type", "multipart/form-data; boundary=b", "Idempotency-Key", key)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			return a.Body
		}
		first := send("one")
		require.Equal(t, first, send("one"))
		require.NotEqual(t, first, send("two"))
	}
}
