package member_test

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

func TestAKnownKeyCostsNoQueryUntilTheCacheIsTooOldToTrust(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, token := h.provision(t, "", access.RoleEnterpriseMember)
		h.subject(t, token)
		require.NoError(t, h.db.Close())
		h.subject(t, token)
		h.time.Advance(2 * time.Second)
		h.subject(t, token)
		h.time.Advance(time.Millisecond)
		_, err := h.Authenticator().Authenticate(t.Context(), token, noAddr)
		requireKind(t, err, fault.Unavailable)
		require.Positive(t, fault.As(err).RetryAfter)
	})
}

func TestUnknownCredentialsAreRefusedAndNotRemembered(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, bad := range []string{
			"", "x", "cog_", "cog_short", id.NewKey(id.KeyService), id.NewKey(id.KeyWorker), id.NewKey(id.KeyConnect),
			h.first.Token.Reveal() + "a", "gwk_" + h.first.Token.Reveal()[4:],
		} {
			h.refused(t, bad)
		}
		// A key that becomes known after it was refused works at once.
		later := id.NewKey(id.KeyService)
		h.refused(t, later)
		require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at) VALUES ('k', $1, 'n', $2, 0)`,
				h.admin.ID, id.HashKey(later))
			return err
		}))
		require.Equal(t, h.admin.ID, h.subject(t, later).ID)
	})
}

func TestAPersonActsWithTheRolesTheyHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx, token := t.Context(), id.NewKey(id.KeyService)
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			for _, s := range []string{
				`INSERT INTO users (user_id, email, name, created_at) VALUES ('user-1', 'ada@example.com', 'Ada', 0)`,
				`INSERT INTO role_assignments (principal_id, org_id, principal_kind, role_id, created_at)
					VALUES ('user-1', '` + h.first.OrgID + `', 'user', 'org_member', 0)`,
			} {
				if _, err := db.Exec(ctx, tx, s); err != nil {
					return err
				}
			}
			_, err := db.Exec(ctx, tx, `INSERT INTO api_keys (api_key_id, principal_id, name, hash, created_at) VALUES ('k', 'user-1', 'laptop', $1, 0)`,
				id.HashKey(token))
			return err
		}))
		person, err := h.PersonSubject(ctx, "user-1")
		require.NoError(t, err)
		require.Equal(t, "ada@example.com", person.Email)
		withKey := h.subject(t, token)
		require.Equal(t, "laptop", withKey.KeyName)
		for _, s := range []access.Subject{person, withKey} {
			require.Equal(t, access.Person, s.Kind)
			require.True(t, s.Can(access.UseDevinSessions, h.first.OrgID))
			require.False(t, s.Can(access.UseDevinSessions, "org-other"))
			require.False(t, s.Can(access.ManageOrganizations, ""))
		}
		_, err = h.PersonSubject(ctx, "user-2")
		requireKind(t, err, fault.NotFound)
	})
}

func TestTheEmbeddedWorkersKeyNeedsNoRow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		key := id.NewKey(id.KeyWorker)
		h.refused(t, key)
		h.Authenticator().AddEmbedded(key, access.Subject{Kind: access.Worker, ID: "embedded", Outposts: []string{"default"}})
		require.Equal(t, "embedded", h.subject(t, key).ID)
	})
}

// process is another replica on the same database, with its own cache and a Run.
func process(t *testing.T, url string, hub *events.Hub) *member.Service {
	t.Helper()
	d, err := db.Open(t.Context(), url, db.Options{MaxReaders: 2})
	require.NoError(t, err)
	s := member.New(d, hub, slog.New(slog.DiscardHandler), member.AuthOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Authenticator().Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = d.Close()
	})
	return s
}

func TestARevokedKeyStopsEverywhereWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := dbtest.URL(t, e)
			a, b := process(t, url, events.New()), process(t, url, events.New()) // two hubs: no notice passes between them
			ctx := t.Context()
			first, err := a.Bootstrap(ctx, member.BootstrapOptions{})
			require.NoError(t, err)
			admin, err := a.Authenticator().Authenticate(ctx, first.Token.Reveal(), noAddr)
			require.NoError(t, err)
			u, k, err := a.Provision(ctx, admin, member.ProvisionParams{Name: "x", RoleID: access.RoleEnterpriseMember, TTLSeconds: 60})
			require.NoError(t, err)
			for _, s := range []*member.Service{a, b} {
				_, err = s.Authenticator().Authenticate(ctx, k.Token.Reveal(), noAddr)
				require.NoError(t, err)
			}
			_, err = a.RevokeKey(ctx, admin, u.ID, k.ID)
			require.NoError(t, err)
			_, err = a.Authenticator().Authenticate(ctx, k.Token.Reveal(), noAddr)
			require.True(t, fault.Is(err, fault.Unauthenticated), "at once where it was revoked: %v", err)
			var real clock.Clock
			begun := real.Now()
			require.Eventually(t, func() bool {
				_, err := b.Authenticator().Authenticate(ctx, k.Token.Reveal(), noAddr)
				return fault.Is(err, fault.Unauthenticated)
			}, 10*time.Second, 5*time.Millisecond)
			require.Less(t, real.Since(begun), 2*time.Second)
			// A person of the other process keeps working meanwhile.
			_, err = b.Authenticator().Authenticate(ctx, first.Token.Reveal(), noAddr)
			require.NoError(t, err)
		})
	}
}

func TestEveryChangeReachesAnotherProcessThatOnlyReads(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		other := newService(h.db) // no Run: it reads when it is asked after two seconds
		ctx, orgID := t.Context(), h.first.OrgID
		can := func(token string, p access.Permission) bool {
			h.time.Advance(2*time.Second + time.Millisecond)
			s, err := other.Authenticator().Authenticate(ctx, token, noAddr)
			require.NoError(t, err)
			return s.Can(p, orgID)
		}
		u, token := h.provision(t, "", access.RoleEnterpriseMember)
		require.False(t, can(token, access.UseDevinSessions))
		_, err := h.AssignRole(ctx, h.admin, member.RoleParams{OrgID: orgID, ServiceUserID: u.ID, RoleID: access.RoleOrgMember})
		require.NoError(t, err)
		require.True(t, can(token, access.UseDevinSessions))
		_, err = h.orgs.Delete(ctx, h.admin, orgID)
		require.NoError(t, err)
		require.False(t, can(token, access.UseDevinSessions))

		// After a gap longer than it can read back, it forgets everything: rows may have been swept meanwhile.
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `UPDATE api_keys SET revoked_at = 1 WHERE principal_id = $1`, u.ID)
			return err
		}))
		h.time.Advance(31 * time.Minute)
		_, err = other.Authenticator().Authenticate(ctx, token, noAddr)
		requireKind(t, err, fault.Unauthenticated)
	})
}

func TestAChangeDuringALookupIsNotOverlooked(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		u, _ := h.provision(t, "", access.RoleEnterpriseMember)
		for range 20 {
			k, err := h.CreateKey(ctx, h.admin, member.CreateKeyParams{ServiceUserID: u.ID, Name: "x"})
			require.NoError(t, err)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { _, _ = h.Authenticator().Authenticate(ctx, k.Token.Reveal(), noAddr) })
			}
			_, err = h.RevokeKey(ctx, h.admin, u.ID, k.ID)
			require.NoError(t, err)
			wg.Wait()
			h.refused(t, k.Token.Reveal())
		}
	})
}

func TestLastUseIsWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			s := process(t, dbtest.URL(t, e), events.New())
			ctx := t.Context()
			first, err := s.Bootstrap(ctx, member.BootstrapOptions{})
			require.NoError(t, err)
			admin, err := s.Authenticator().Authenticate(ctx, first.Token.Reveal(), noAddr)
			require.NoError(t, err)
			used := func() time.Time {
				keys, err := s.ListKeys(ctx, admin, first.ServiceUserID, member.KeysAll)
				require.NoError(t, err)
				return keys[0].LastUsedAt
			}
			require.Eventually(t, func() bool { return !used().IsZero() }, 10*time.Second, 20*time.Millisecond)
			at := used()
			for range 30 {
				_, err = s.Authenticator().Authenticate(ctx, first.Token.Reveal(), netip.MustParseAddr("192.0.2.1"))
				require.NoError(t, err)
			}
			clock.Sleep(ctx, 1500*time.Millisecond)
			require.Equal(t, at, used(), "a second use within the minute isn't written")
		})
	}
}

func BenchmarkAuthenticateKnown(b *testing.B) {
	d := dbtest.Open(b, db.SQLite, clock.Clock{})
	s := newService(d)
	first, err := s.Bootstrap(b.Context(), member.BootstrapOptions{})
	require.NoError(b, err)
	token := first.Token.Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticator().Authenticate(b.Context(), token, noAddr); err != nil {
			b.Fatal(err)
		}
	}
}
