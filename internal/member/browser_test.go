package member_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// signIn signs a browser in and gives its token.
func (h *house) signIn(t *testing.T, key string) string {
	t.Helper()
	sub, err := h.Authenticator().BrowserKey(t.Context(), key, noAddr)
	require.NoError(t, err)
	token, err := h.SignIn(t.Context(), sub, key)
	require.NoError(t, err)
	return token.Reveal()
}

// browses says who a browser is.
func (h *house) browses(t *testing.T, token string) (access.Subject, error) {
	t.Helper()
	b, err := h.Browser(t.Context(), token)
	if err != nil {
		require.False(t, b.SignedIn() && fault.Is(err, fault.Internal))
		return access.Subject{}, err
	}
	return h.Authenticator().BrowserSubject(t.Context(), b, noAddr)
}

func TestABrowserIsWhatItsKeyIs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		u, key := h.provision(t, h.first.OrgID, access.RoleOrgMember)
		token := h.signIn(t, key)
		require.NotContains(t, token, key)
		sub, err := h.browses(t, token)
		require.NoError(t, err)
		require.Equal(t, h.subject(t, key), sub)
		require.Contains(t, h.actions(t, h.first.OrgID), audit.Login)
		_, err = h.ChangeRole(t.Context(), h.admin, member.RoleParams{OrgID: h.first.OrgID, ServiceUserID: u.ID, RoleID: access.RoleOrgAdmin})
		require.NoError(t, err)
		sub, err = h.browses(t, token)
		require.NoError(t, err)
		require.True(t, sub.Can(access.ManageOrgServiceUsers, h.first.OrgID))
		_, err = h.Delete(t.Context(), h.admin, u.ID)
		require.NoError(t, err)
		_, err = h.browses(t, token)
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestABrowserIsSignedOutByTime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		token := h.signIn(t, h.first.Token.Reveal())
		idle := h.signIn(t, h.first.Token.Reveal())
		for range 20 { // ten hours at a time: 200 hours, more than seven days
			h.time.Advance(10 * time.Hour)
			if _, err := h.browses(t, token); err != nil {
				break
			}
		}
		_, err := h.browses(t, token)
		requireKind(t, err, fault.Unauthenticated)
		_, err = h.browses(t, idle)
		requireKind(t, err, fault.Unauthenticated)

		brief := h.signIn(t, h.first.Token.Reveal())
		h.time.Advance(11*time.Hour + 59*time.Minute)
		_, err = h.browses(t, brief)
		require.NoError(t, err)
		h.time.Advance(11*time.Hour + 59*time.Minute)
		_, err = h.browses(t, brief)
		require.NoError(t, err, "it was used in between")
		h.time.Advance(12 * time.Hour)
		_, err = h.browses(t, brief)
		requireKind(t, err, fault.Unauthenticated)
		require.NoError(t, h.SweepBrowsers(t.Context()))
		n, err := db.One(t.Context(), h.db.Reader(), db.Int, `SELECT COUNT(*) FROM browser_sessions`)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestABrowserLivesSevenDaysAtMost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		token := h.signIn(t, h.first.Token.Reveal())
		for range 16 {
			h.time.Advance(10 * time.Hour)
			_, err := h.browses(t, token)
			require.NoError(t, err)
		}
		h.time.Advance(8*time.Hour - time.Second) // 168 hours less a second
		_, err := h.browses(t, token)
		require.NoError(t, err)
		h.time.Advance(time.Second)
		_, err = h.browses(t, token)
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestSigningOutEndsOneBrowser(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		one, two := h.signIn(t, h.first.Token.Reveal()), h.signIn(t, h.first.Token.Reveal())
		require.NoError(t, h.SignOut(t.Context(), one))
		require.NoError(t, h.SignOut(t.Context(), one))
		_, err := h.browses(t, one)
		requireKind(t, err, fault.Unauthenticated)
		_, err = h.browses(t, two)
		require.NoError(t, err)
		_, err = h.browses(t, "")
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestOnlyKeysOfSomebodySignIn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		orgKey, err := h.CreateOrgKey(t.Context(), h.admin, h.first.OrgID)
		require.NoError(t, err)
		for _, key := range []string{"", "x", orgKey.Token.Reveal(), id.NewKey(id.KeyService), id.NewKey(id.KeyWorker), id.NewKey(id.KeyPerson), id.NewKey(id.KeyConnect)} {
			_, err := h.Authenticator().BrowserKey(t.Context(), key, noAddr)
			requireKind(t, err, fault.Unauthenticated)
		}
		// Not even a row that somebody wrote by hand makes an organization's key a browser's.
		token := id.NewKey("")
		require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO browser_sessions (token_hash, key_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
				id.HashKey(token), id.HashKey(orgKey.Token.Reveal()), h.time.Clock().Millis(), h.time.Clock().Millis()+1000)
			return err
		}))
		_, err = h.browses(t, token)
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestTheIPListHoldsForBrowsers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		token := h.signIn(t, h.first.Token.Reveal())
		_, err := h.ReplaceIPList(t.Context(), h.admin, []string{"192.0.2.0/24"})
		require.NoError(t, err)
		b, err := h.Browser(t.Context(), token)
		require.NoError(t, err)
		_, err = h.Authenticator().BrowserSubject(t.Context(), b, netip.MustParseAddr("192.0.2.7"))
		require.NoError(t, err)
		_, err = h.Authenticator().BrowserSubject(t.Context(), b, netip.MustParseAddr("198.51.100.7"))
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestOwnKeysAreAPersonsOwn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, err := h.OwnKeys(t.Context(), h.admin)
		requireKind(t, err, fault.Forbidden)
		requireKind(t, h.RevokeOwnKey(t.Context(), h.admin, "k"), fault.Forbidden)
		ada := access.Subject{Kind: access.Person, ID: "user-ada"}
		require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			for _, k := range [][]any{{"k1", "user-ada", nil, nil}, {"k2", "user-ada", 1, nil}, {"k3", "user-ada", nil, 1}, {"k4", "user-bob", nil, nil}} {
				if _, err := db.Exec(ctx, tx, `INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at, revoked_at, expires_at) VALUES ($1, $2, $1, $3, 0, $4, $5)`,
					k[0], k[1], id.HashKey(k[0].(string)), k[2], k[3]); err != nil {
					return err
				}
			}
			return nil
		}))
		list, err := h.OwnKeys(t.Context(), ada)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "k1", list[0].ID)
		requireKind(t, h.RevokeOwnKey(t.Context(), ada, "k4"), fault.NotFound)
		requireKind(t, h.RevokeOwnKey(t.Context(), ada, "k2"), fault.Conflict)
		require.NoError(t, h.RevokeOwnKey(t.Context(), ada, "k1"))
		list, err = h.OwnKeys(t.Context(), ada)
		require.NoError(t, err)
		require.Empty(t, list)
	})
}
