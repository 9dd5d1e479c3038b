package secrets_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/secrets"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const ours, theirs = "org-ours", "org-theirs"

var admin = access.As("test", access.ManageOrgSecrets, access.ManageEnterpriseSettings)

type house struct {
	*secrets.Service
	db   *db.DB
	time *clock.Fake
}

func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	t.Parallel()
	for _, e := range []db.Engine{db.SQLite, db.Postgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			fake := clock.NewFake(time.Unix(1_800_000_000, 0))
			d := dbtest.Open(t, e, fake.Clock())
			k, err := keeper.Open(t.Context(), "", t.TempDir())
			require.NoError(t, err)
			t.Cleanup(func() { _ = k.Close() })
			require.NoError(t, k.Attach(t.Context(), d))
			f(t, &house{secrets.New(d, k), d, fake})
		})
	}
}

func params(key, value string) secrets.CreateParams {
	return secrets.CreateParams{OrgID: ours, Type: secrets.KeyValue, Key: key, Value: secret.New(value), Sensitive: true}
}

func (h *house) add(t *testing.T, p secrets.CreateParams) secrets.Secret {
	t.Helper()
	s, err := h.Create(t.Context(), admin, p)
	require.NoError(t, err)
	h.time.Advance(time.Second)
	return s
}

func (h *house) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, query, args...)
		return err
	}))
}

// cookie is a cookie secret's value.
func cookie(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestAValueIsSealedForItsRowAndShownToNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		a := h.add(t, params("API_KEY", "hunter2hunter2"))
		b := h.add(t, params("OTHER", "hunter3hunter3"))
		list, err := h.List(ctx, admin, ours, page.Request{First: 10})
		require.NoError(t, err)
		require.Equal(t, []secrets.Secret{a, b}, list.Items)
		require.NotContains(t, fmt.Sprintf("%+v", list), "hunter2")
		require.NotContains(t, fmt.Sprintf("%+v", params("x", "hunter2")), "hunter2")
		given, err := h.Open(ctx, ours, []string{b.ID, a.ID, "secret-gone"})
		require.NoError(t, err)
		require.Len(t, given, 2)
		require.Equal(t, "hunter2hunter2", given[1].Value.Reveal())
		require.NotContains(t, fmt.Sprintf("%+v", given), "hunter2")
		logs, err := audit.New(h.db).List(ctx, admin, audit.ListParams{Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 2)
		require.Equal(t, audit.CreateSecret, logs.Items[0].Action)
		for _, l := range logs.Items {
			require.NotContains(t, string(l.Data), "hunter")
		}
		// A thief who moves a sealed value to another row or organization opens nothing.
		h.exec(t, `UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE secret_id = $1) WHERE secret_id = $2`, a.ID, b.ID)
		_, err = h.Open(ctx, ours, []string{b.ID})
		require.ErrorIs(t, err, keeper.ErrSealed)
		h.exec(t, `UPDATE secrets SET org_id = $1 WHERE secret_id = $2`, theirs, a.ID)
		_, err = h.Open(ctx, theirs, []string{a.ID})
		require.ErrorIs(t, err, keeper.ErrSealed)
	})
}

func TestAKeyIsUniqueInItsOrganizationAndFreeAgainAfterItsDeletion(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		a := h.add(t, params("TOKEN", "one"))
		_, err := h.Create(ctx, admin, params("TOKEN", "two"))
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		require.Contains(t, err.Error(), "key")
		h.add(t, params("token", "another key: letters count"))
		other := params("TOKEN", "theirs")
		other.OrgID = theirs
		h.add(t, other)

		_, err = h.Delete(ctx, admin, theirs, a.ID)
		require.True(t, fault.Is(err, fault.NotFound), "another organization's is as if it weren't there: %v", err)
		got, err := h.Delete(ctx, admin, ours, a.ID)
		require.NoError(t, err)
		require.Equal(t, a, got)
		_, err = h.Delete(ctx, admin, ours, a.ID)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		h.add(t, params("TOKEN", "three"))
		n, err := db.One(ctx, h.db.Reader(), db.Int, `SELECT COUNT(*) FROM secrets WHERE secret_id = $1`, a.ID)
		require.NoError(t, err)
		require.Zero(t, n, "the value is gone, not hidden")
	})
}

func TestValuesHaveTheFormOfTheirType(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		good := []struct {
			typ   secrets.Type
			value string
			kept  string
		}{
			{secrets.KeyValue, "anything\nat all ü", ""},
			{secrets.KeyValue, "", ""},
			{secrets.Cookie, cookie(`[{"name":"sid","value":"abc123def","domain":"example.com"}]`), ""},
			{secrets.Cookie, cookie(` [] `), ""},
			{secrets.Cookie, base64.RawURLEncoding.EncodeToString([]byte(`[{"value":"??>>~~"}]`)), ""},
			{secrets.TOTP, "JBSWY3DPEHPK3PXP", ""},
			{secrets.TOTP, "jbsw y3dp-ehpk 3pxp", "JBSWY3DPEHPK3PXP"},
			{secrets.TOTP, "GEZDGNBVGY======", "GEZDGNBVGY"},
		}
		for i, c := range good {
			p := params(fmt.Sprint("key", i), c.value)
			p.Type = c.typ
			s := h.add(t, p)
			given, err := h.Open(t.Context(), ours, []string{s.ID})
			require.NoError(t, err)
			want := c.kept
			if want == "" {
				want = c.value
			}
			require.Equal(t, want, given[0].Value.Reveal())
		}
		bad := []struct {
			field string
			p     secrets.CreateParams
		}{
			{"key", params("", "x")},
			{"key", params("  ", "x")},
			{"key", params(strings.Repeat("k", 257), "x")},
			{"key", params("a\x00b", "x")},
			{"value", params("k", strings.Repeat("v", secrets.MaxValue+1))},
			{"value", params("k", strings.Repeat("ü", secrets.MaxValue))},
			{"value", params("k", "a\x00b")},
			{"value", params("k", "a\xff")},
			{"note", secrets.CreateParams{OrgID: ours, Type: secrets.KeyValue, Key: "k", Note: strings.Repeat("n", secrets.MaxNote+1)}},
			{"type", secrets.CreateParams{OrgID: ours, Type: "password", Key: "k"}},
		}
		for _, v := range []string{"", "{}", "not base64!", cookie(`{"a":1}`), cookie(`[1]`), cookie(`[{}`), cookie(`null`), cookie(`[] []`)} {
			p := params("k", v)
			p.Type = secrets.Cookie
			bad = append(bad, struct {
				field string
				p     secrets.CreateParams
			}{"value", p})
		}
		for _, v := range []string{"", " ", "JBSW1", "hunter2!", "A", "===="} {
			p := params("k", v)
			p.Type = secrets.TOTP
			bad = append(bad, struct {
				field string
				p     secrets.CreateParams
			}{"value", p})
		}
		for _, c := range bad {
			_, err := h.Create(t.Context(), admin, c.p)
			require.True(t, fault.Is(err, fault.Invalid), "%s %q: %v", c.p.Type, c.p.Value.Reveal(), err)
			require.Equal(t, []string{"body", c.field}, fault.As(err).Fields[0].Loc)
			require.NotContains(t, err.Error(), "hunter2", "a refusal doesn't repeat the value")
		}
	})
}

func TestACookiesValuesAreSecretsByThemselves(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		p := params("JAR", cookie(`[{"name":"a","value":"first-value"},{"name":"b","value":7},null,{"value":"second-value"}]`))
		p.Type = secrets.Cookie
		s := h.add(t, p)
		given, err := h.Open(t.Context(), ours, []string{s.ID})
		require.NoError(t, err)
		var within []string
		for _, w := range given[0].Within {
			within = append(within, w.Reveal())
		}
		require.Equal(t, []string{"first-value", "second-value"}, within)
	})
}

func TestASessionChoosesAllNoneOrExactlyThoseThatItNames(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		a, b := h.add(t, params("A", "1")), h.add(t, params("B", "2"))
		foreign := params("C", "3")
		foreign.OrgID = theirs
		c := h.add(t, foreign)
		choose := func(ids []string) []string {
			got, err := h.ChooseTx(ctx, h.db.Reader(), ours, ids)
			require.NoError(t, err)
			return got
		}
		require.Equal(t, []string{a.ID, b.ID}, choose(nil))
		require.Empty(t, choose([]string{}))
		require.Equal(t, []string{b.ID}, choose([]string{b.ID, b.ID}))
		require.Equal(t, []string{a.ID, b.ID}, choose([]string{b.ID, a.ID}), "oldest first, however they are named")
		for _, unknown := range []string{c.ID, "secret-none", ""} {
			_, err := h.ChooseTx(ctx, h.db.Reader(), ours, []string{a.ID, unknown})
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
			require.Contains(t, err.Error(), "secret_ids.1")
		}
	})
}

func TestAnOrganizationHoldsNoMoreThanFitsAnEnvironment(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		var err error
		n := 0
		for ; err == nil && n < 100; n++ {
			_, err = h.Create(t.Context(), admin, params(fmt.Sprint("KEY", n), strings.Repeat("x", secrets.MaxValue)))
		}
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		require.Equal(t, 16, n, "the sixteenth of 64 KiB each is too much")
		h.exec(t, `DELETE FROM secrets`)
		for i := range secrets.MaxPerOrg {
			h.exec(t, `INSERT INTO secrets (secret_id, org_id, name, secret_type, is_sensitive, sealed, created_by, created_at)
				VALUES ($1, $2, $1, 'totp', 1, $3, 'x', 1)`, fmt.Sprint("secret-", i), ours, []byte{1})
		}
		_, err = h.Create(t.Context(), admin, params("ONE_MORE", "x"))
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	})
}

func TestPermissionComesFirst(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		s := h.add(t, params("A", "1"))
		stranger := access.Subject{Kind: access.ServiceUser, ID: "su", OrgID: theirs}.
			WithGrants(access.Grant{OrgID: theirs, Permissions: access.SetOf(access.ManageOrgSecrets)})
		for _, who := range []access.Subject{{}, stranger, access.As("test", access.ManageOrgSessions)} {
			_, err := h.Create(t.Context(), who, secrets.CreateParams{OrgID: ours})
			require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
			_, err = h.List(t.Context(), who, ours, page.Request{First: 1})
			require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
			_, err = h.Delete(t.Context(), who, ours, s.ID)
			require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
		}
	})
}

func TestPagesHoldEverySecretOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		var want []string
		for i := range 5 {
			s, err := h.Create(t.Context(), admin, params(fmt.Sprint("KEY", i), "x")) // all in one millisecond
			require.NoError(t, err)
			want = append(want, s.ID)
		}
		var got []string
		r := page.Request{First: 2}
		for {
			p, err := h.List(t.Context(), admin, ours, r)
			require.NoError(t, err)
			for _, s := range p.Items {
				got = append(got, s.ID)
			}
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.ElementsMatch(t, want, got)
		require.Len(t, got, 5)
	})
}

func TestTheSecretsOfADeletedOrganizationAreForgotten(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		left := func() []string {
			orgs, err := db.All(t.Context(), h.db.Reader(), db.Text, `SELECT org_id FROM secrets`)
			require.NoError(t, err)
			return orgs
		}
		for _, how := range []func() error{
			func() error {
				return h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error { return h.EndOrgTx(ctx, tx, theirs) })
			},
			func() error {
				some, err := h.PurgeOrg(t.Context(), theirs)
				require.True(t, some)
				return err
			},
		} {
			for _, o := range []string{ours, theirs} {
				p := params(fmt.Sprint("A", h.time.Clock().Millis()), "1")
				p.OrgID = o
				h.add(t, p)
			}
			require.Contains(t, left(), theirs)
			require.NoError(t, how())
			require.NotContains(t, left(), theirs)
			require.Contains(t, left(), ours)
		}
		some, err := h.PurgeOrg(t.Context(), theirs)
		require.NoError(t, err)
		require.False(t, some)
	})
}
