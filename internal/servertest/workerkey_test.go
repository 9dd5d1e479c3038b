package servertest_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/member"
	"gantry/internal/platform/db"
	"gantry/internal/servertest"
)

// underKey is a session in the hands of a worker that speaks for itself.
type underKey struct {
	s       *servertest.Server
	id      string
	keyID   string
	token   string
	gateway string
}

// claimFresh starts a session and claims it with a key of its own.
func claimFresh(t *testing.T, s *servertest.Server, p member.WorkerKeyParams) underKey {
	t.Helper()
	made := s.Do(t, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", s.Admin.Token.Reveal(), `{"prompt":"x"}`)
	require.Equal(t, http.StatusOK, made.Status, made.Body)
	p.Name, p.Outposts = "w", []string{fleet.DefaultOutpost}
	k, key, err := s.Members.CreateWorkerKey(t.Context(), s.Root(), p)
	require.NoError(t, err)
	a := s.Do(t, http.MethodPost, "/gantry/v1/outposts/default/claim-next", key.Reveal(), `{"worker_id":"w","wait_seconds":0}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	c := underKey{s: s, id: a.JSON(t)["session_id"].(string), keyID: k.ID, token: a.JSON(t)["connect_token"].(string)}
	c.gateway = "/gateway/sessions/" + c.id
	require.Equal(t, http.StatusOK, c.do(t, s, http.MethodPost, "/batches", `{"fence":1,"number":1,"command":1,"events":[{"type":"state","at":1,"data":{"state":"working"}}]}`))
	require.Equal(t, http.StatusOK, c.do(t, s, http.MethodPost, "/heartbeat", `{"fence":1}`))
	return c
}

func (c underKey) do(t *testing.T, s *servertest.Server, method, path, body string) int {
	t.Helper()
	return s.Do(t, method, c.gateway+path, c.token, body).Status
}

// refused asks everything that the gateway answers.
func (c underKey) refused(t *testing.T, s *servertest.Server) {
	t.Helper()
	for _, r := range [][3]string{
		{http.MethodGet, "/spec", ""},
		{http.MethodPost, "/secrets", ""},
		{http.MethodPost, "/batches", `{"fence":1,"number":2,"events":[]}`},
		{http.MethodPost, "/heartbeat", `{"fence":1}`},
		{http.MethodGet, "/commands", ""},
		{http.MethodPost, "/attachments?name=a", "x"},
		{http.MethodGet, "/attachments/0190f9d0-0000-7000-8000-000000000001", ""},
		{http.MethodPost, "/credentials", `{"fence":1,"repository":"r","operation":"fetch"}`},
	} {
		require.Equal(t, http.StatusUnauthorized, c.do(t, s, r[0], r[1], r[2]), "%s %s", r[0], r[1])
	}
}

// queuedAgain waits until the session is another worker's to have, which takes it over and finishes.
func (c underKey) queuedAgain(t *testing.T, within time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool {
		r, err := fleet.Get(t.Context(), c.s.DB.Reader(), c.id)
		return err == nil && r.Phase == fleet.Pending
	}, within, 10*time.Millisecond, "the session is queued again")
	a := c.s.Do(t, http.MethodPost, "/opbeta/outposts/devins/"+c.id+"/claim", c.s.WorkerKey(t), `{"acceptor_id":"other"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	next := c
	next.token = a.JSON(t)["status"].(map[string]any)["connect_token"].(string)
	for _, r := range [][3]string{
		{http.MethodGet, "/spec", ""},
		{http.MethodPost, "/secrets", ""},
		{http.MethodPost, "/batches", `{"fence":2,"number":1,"command":1,"events":[{"type":"state","at":1,"data":{"state":"working"}},{"type":"state","at":1,"data":{"state":"finished"}}]}`},
	} {
		require.Equal(t, http.StatusOK, next.do(t, c.s, r[0], r[1], r[2]), "%s %s", r[0], r[1])
	}
	got := c.s.Do(t, http.MethodGet, "/v3/organizations/"+c.s.Org+"/sessions/devin-"+c.id, c.s.Admin.Token.Reveal(), "")
	require.Equal(t, "finished", got.JSON(t)["status_detail"], got.Body)
}

func TestClaimsEndWithTheirWorkersKey(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{Listen: true}, func(t *testing.T, s *servertest.Server) {
		replica := servertest.New(t, servertest.Options{Engine: s.DB.Engine(), Of: s})
		t.Run("revoked here", func(t *testing.T) {
			c := claimFresh(t, s, member.WorkerKeyParams{})
			_, err := s.Members.RevokeWorkerKey(t.Context(), s.Root(), c.keyID)
			require.NoError(t, err)
			c.refused(t, s)
			c.refused(t, replica)
			c.queuedAgain(t, 2*time.Second)
			c.refused(t, s)
		})
		t.Run("revoked by another process", func(t *testing.T) {
			c := claimFresh(t, s, member.WorkerKeyParams{})
			_, err := replica.Members.RevokeWorkerKey(t.Context(), s.Root(), c.keyID)
			require.NoError(t, err)
			c.refused(t, s)
			c.queuedAgain(t, 2*time.Second)
		})
		for what, change := range map[string]string{
			"another outpost":      `UPDATE worker_keys SET outposts = '["outpost-other"]' WHERE worker_key_id = $1`,
			"another organization": `UPDATE worker_keys SET orgs = '["org-other"]' WHERE worker_key_id = $1`,
			"over":                 `UPDATE worker_keys SET expires_at = 5 WHERE worker_key_id = $1`,
		} {
			t.Run(what, func(t *testing.T) {
				c := claimFresh(t, s, member.WorkerKeyParams{Orgs: []string{s.Org}, ExpiresAt: s.DB.Clock().Now().Add(time.Hour)})
				require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
					_, err := db.Exec(ctx, tx, change, c.keyID)
					return err
				}))
				c.refused(t, s)
				c.queuedAgain(t, 2*time.Second)
			})
		}
	})
}

// claimByName starts a session and claims it by the vendor's protocol with an API key.
func claimByName(t *testing.T, s *servertest.Server, key string) underKey {
	t.Helper()
	made := s.Do(t, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", s.Admin.Token.Reveal(), `{"prompt":"x"}`)
	require.Equal(t, http.StatusOK, made.Status, made.Body)
	c := underKey{s: s, id: strings.TrimPrefix(made.JSON(t)["session_id"].(string), "devin-")}
	a := s.Do(t, http.MethodPost, "/opbeta/outposts/devins/"+c.id+"/claim", key, `{"acceptor_id":"pod"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	c.token, c.gateway = a.JSON(t)["status"].(map[string]any)["connect_token"].(string), "/gateway/sessions/"+c.id
	require.Equal(t, http.StatusOK, c.do(t, s, http.MethodPost, "/batches", `{"fence":1,"number":1,"command":1,"events":[{"type":"state","at":1,"data":{"state":"working"}}]}`))
	require.Equal(t, http.StatusOK, c.do(t, s, http.MethodPost, "/heartbeat", `{"fence":1}`))
	return c
}

func TestClaimsEndWithTheirAPIKey(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{Listen: true}, func(t *testing.T, s *servertest.Server) {
		replica := servertest.New(t, servertest.Options{Engine: s.DB.Engine(), Of: s})
		machine := s.NewRole(t, access.Enterprise, access.UseOutpostsMachine)
		stays := claimByName(t, s, s.NewKey(t, "", machine).Token)
		exec := func(t *testing.T, query string, args ...any) {
			t.Helper()
			require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
				_, err := db.Exec(ctx, tx, query, args...)
				return err
			}))
		}
		for what, end := range map[string]func(t *testing.T, k servertest.Key){
			"revoked here": func(t *testing.T, k servertest.Key) {
				_, err := s.Members.RevokeKey(t.Context(), s.Root(), k.ServiceUserID, k.KeyID)
				require.NoError(t, err)
			},
			"revoked by another process": func(t *testing.T, k servertest.Key) {
				_, err := replica.Members.RevokeKey(t.Context(), s.Root(), k.ServiceUserID, k.KeyID)
				require.NoError(t, err)
			},
			"over": func(t *testing.T, k servertest.Key) {
				exec(t, `UPDATE api_keys SET expires_at = 5 WHERE api_key_id = $1`, k.KeyID)
			},
			"deleted": func(t *testing.T, k servertest.Key) {
				exec(t, `DELETE FROM api_keys WHERE api_key_id = $1`, k.KeyID)
			},
			"its service user over": func(t *testing.T, k servertest.Key) {
				exec(t, `UPDATE service_users SET expires_at = 5 WHERE service_user_id = $1`, k.ServiceUserID)
			},
			"its service user gone": func(t *testing.T, k servertest.Key) {
				exec(t, `UPDATE service_users SET deleted_at = 5 WHERE service_user_id = $1`, k.ServiceUserID)
			},
			"without the permission": func(t *testing.T, k servertest.Key) {
				_, err := s.Members.ChangeRole(t.Context(), s.Root(), member.RoleParams{ServiceUserID: k.ServiceUserID, RoleID: access.RoleEnterpriseMember})
				require.NoError(t, err)
			},
		} {
			t.Run(what, func(t *testing.T) {
				k := s.NewKey(t, "", machine)
				c := claimByName(t, s, k.Token)
				end(t, k)
				c.refused(t, s)
				c.refused(t, replica)
				c.queuedAgain(t, 2*time.Second)
			})
		}
		t.Run("a person's permission by a group", func(t *testing.T) {
			userID, token := s.NewPerson(t, "pod@example.com", "", access.RoleEnterpriseMember)
			_, err := s.Members.RegisterGroups(t.Context(), s.Root(), []string{"pods"})
			require.NoError(t, err)
			_, err = s.Members.AssignGroupRole(t.Context(), s.Root(), member.GroupRoleParams{Group: "pods", RoleID: machine})
			require.NoError(t, err)
			require.NoError(t, s.Members.SyncGroups(t.Context(), s.Root(), userID, []string{"pods"}))
			c := claimByName(t, s, token)
			require.NoError(t, s.Members.SyncGroups(t.Context(), s.Root(), userID, nil))
			c.refused(t, s)
			c.queuedAgain(t, 2*time.Second)
		})
		require.Equal(t, http.StatusOK, stays.do(t, s, http.MethodPost, "/heartbeat", `{"fence":1}`), "a claim whose key is good stays")
	})
}

// A request that waits for work is held open for up to 30 s, longer than a key may live after it was revoked.
func TestARequestThatIsHeldOpenClaimsNothingWithARevokedKey(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		k, key, err := s.Members.CreateWorkerKey(t.Context(), s.Root(), member.WorkerKeyParams{Name: "w", Outposts: []string{fleet.DefaultOutpost}})
		require.NoError(t, err)
		who, err := s.Members.Authenticator().Authenticate(t.Context(), key.Reveal(), netip.MustParseAddr("127.0.0.1"))
		require.NoError(t, err)
		_, err = s.Members.RevokeWorkerKey(t.Context(), s.Root(), k.ID)
		require.NoError(t, err)
		made := s.Do(t, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", s.Admin.Token.Reveal(), `{"prompt":"x"}`)
		require.Equal(t, http.StatusOK, made.Status, made.Body)
		_, ok, err := s.Sessions.ClaimNext(t.Context(), who, fleet.DefaultOutpost, "w")
		require.ErrorContains(t, err, "revoked")
		require.False(t, ok)
		r, err := fleet.Get(t.Context(), s.DB.Reader(), strings.TrimPrefix(made.JSON(t)["session_id"].(string), "devin-"))
		require.NoError(t, err)
		require.Equal(t, fleet.Pending, r.Phase)
	})
}
