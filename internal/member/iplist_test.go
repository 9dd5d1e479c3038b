package member_test

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func texts(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}

func TestRangesAreKeptInOneForm(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		got, err := h.ReplaceIPList(t.Context(), h.admin, []string{
			"192.0.2.7", "10.1.2.3/8", "2001:db8::1", "2001:DB8:0::5/32", "::ffff:198.51.100.9", "::ffff:203.0.113.77/120", "10.0.0.0/8", "0.0.0.0/0", "::/0",
		})
		require.NoError(t, err)
		want := []string{
			"0.0.0.0/0", "10.0.0.0/8", "192.0.2.7/32", "198.51.100.9/32", "203.0.113.0/24", "::/0", "2001:db8::/32", "2001:db8::1/128",
		}
		require.Empty(t, cmp.Diff(want, texts(got)))
		read, err := h.IPList(t.Context(), h.admin)
		require.NoError(t, err)
		require.Equal(t, got, read)
		for _, bad := range []string{"", "x", "10.0.0.0/33", "10.0.0.0/-1", "fe80::1%eth0", "1.2.3", "010.0.0.1", " 10.0.0.1", "10.0.0.0/8/8", "::/129"} {
			_, err := h.AddIPRanges(t.Context(), h.admin, []string{"10.0.0.0/8", bad})
			requireKind(t, err, fault.Invalid)
			require.Equal(t, []string{"body", "ip_ranges", "1"}, fault.As(err).Fields[0].Loc, bad)
		}
		read, err = h.IPList(t.Context(), h.admin)
		require.NoError(t, err)
		require.Equal(t, got, read, "nothing half done")
	})
}

func TestTheListMergesReplacesAndClears(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		got, err := h.IPList(ctx, h.admin)
		require.NoError(t, err)
		require.NotNil(t, got)
		require.Empty(t, got)
		before := len(h.actions(t, ""))
		step := func(got []netip.Prefix, err error) func(want ...string) {
			return func(want ...string) {
				t.Helper()
				require.NoError(t, err)
				require.NotNil(t, got, "an empty list is [], never null")
				require.Empty(t, cmp.Diff(append([]string{}, want...), texts(got)))
			}
		}
		step(h.AddIPRanges(ctx, h.admin, []string{}))()
		step(h.AddIPRanges(ctx, h.admin, []string{"10.0.0.0/8"}))("10.0.0.0/8")
		step(h.AddIPRanges(ctx, h.admin, []string{"10.0.0.0/8", "9.9.9.9"}))("9.9.9.9/32", "10.0.0.0/8")
		step(h.AddIPRanges(ctx, h.admin, []string{"9.9.9.9"}))("9.9.9.9/32", "10.0.0.0/8")
		step(h.ReplaceIPList(ctx, h.admin, []string{"127.0.0.1"}))("127.0.0.1/32")
		step(h.ClearIPList(ctx, h.admin))()
		step(h.ClearIPList(ctx, h.admin))()
		require.Equal(t, []audit.Action{
			audit.UpdateEnterpriseSettings, audit.UpdateEnterpriseSettings, audit.UpdateEnterpriseSettings, audit.UpdateEnterpriseSettings,
		}, h.actions(t, "")[before:], "what changes nothing is no decision")
		logs, err := h.audit.List(ctx, h.admin, audit.ListParams{Page: page.Request{First: 2}})
		require.NoError(t, err)
		require.JSONEq(t, `{"ip_ranges":[],"previous_ip_ranges":["127.0.0.1/32"]}`, string(logs.Items[0].Data))

		for _, p := range []access.Permission{access.ManageEnterpriseSettings, access.ManageIPWhitelist} {
			sub := access.As("test", p)
			step(h.AddIPRanges(ctx, sub, []string{"10.0.0.0/8"}))("10.0.0.0/8")
			step(h.ClearIPList(ctx, sub))()
			_, err = h.IPList(ctx, sub)
			require.NoError(t, err)
		}
		weak := access.As("test", access.ManageAccountMembership)
		_, err = h.IPList(ctx, weak)
		requireKind(t, err, fault.Forbidden)
		_, err = h.ReplaceIPList(ctx, weak, []string{"x"})
		requireKind(t, err, fault.Forbidden)

		many := make([]string, member.MaxIPRanges)
		for i := range many {
			many[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()
		}
		_, err = h.ReplaceIPList(ctx, h.admin, many)
		require.NoError(t, err)
		_, err = h.AddIPRanges(ctx, h.admin, []string{"9.9.9.9"})
		requireKind(t, err, fault.Invalid)
		_, err = h.ReplaceIPList(ctx, h.admin, slices.Concat(many, []string{"9.9.9.9"}))
		requireKind(t, err, fault.Invalid)
	})
}

func TestConcurrentChangesOfTheListLoseNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := h.AddIPRanges(t.Context(), h.admin, []string{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()})
				require.NoError(t, err)
			})
		}
		wg.Wait()
		got, err := h.IPList(t.Context(), h.admin)
		require.NoError(t, err)
		require.Len(t, got, 8)
		for _, l := range [][]string{{"1.1.1.1", "2.2.2.2"}, {"3.3.3.3", "4.4.4.4"}} {
			wg.Go(func() {
				_, err := h.ReplaceIPList(t.Context(), h.admin, l)
				require.NoError(t, err)
			})
		}
		wg.Wait()
		got, err = h.IPList(t.Context(), h.admin)
		require.NoError(t, err)
		require.Len(t, got, 2, "one of the two, not a mixture")
	})
}

func TestAKeyIsGoodFromAListedAddressOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, token := h.provision(t, "", access.RoleEnterpriseMember)
		try := func(token, addr string) error {
			a := netip.Addr{}
			if addr != "" {
				a = netip.MustParseAddr(addr)
			}
			_, err := h.Authenticator().Authenticate(t.Context(), token, a)
			return err
		}
		require.NoError(t, try(token, "203.0.113.9"), "an empty list is open")
		_, err := h.ReplaceIPList(t.Context(), h.admin, []string{"10.0.0.0/8", "2001:db8::/32"})
		require.NoError(t, err)
		for _, in := range []string{"10.255.0.1", "::ffff:10.0.0.1", "2001:db8:1::1", "2001:db8::1%eth0", ""} {
			require.NoError(t, try(token, in), in)
			require.NoError(t, h.AllowAddress(t.Context(), addrOf(in)), in)
		}
		for _, out := range []string{"203.0.113.9", "11.0.0.1", "2001:db9::1", "::1"} {
			requireKind(t, try(token, out), fault.Unauthenticated)
			requireKind(t, h.AllowAddress(t.Context(), addrOf(out)), fault.Unauthenticated)
			unknown := try(h.first.Token.Reveal()[:55]+"a", out)
			require.Equal(t, unknown, try(token, out), "the refusal doesn't tell whether the key is good")
		}
		_, worker, err := h.CreateWorkerKey(t.Context(), h.admin, member.WorkerKeyParams{Name: "w", Outposts: []string{"default"}})
		require.NoError(t, err)
		require.NoError(t, try(worker.Reveal(), "203.0.113.9"), "workers' keys have lists of their own")
		_, err = h.ClearIPList(t.Context(), h.admin)
		require.NoError(t, err)
		require.NoError(t, try(token, "203.0.113.9"), "from the next request on")
	})
}

func addrOf(text string) netip.Addr {
	a, _ := netip.ParseAddr(text)
	return a
}

func TestAWorkersKeyIsGoodFromItsOwnRanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		k, token, err := h.CreateWorkerKey(ctx, h.admin, member.WorkerKeyParams{Name: "w", Outposts: []string{"default"}, IPRanges: []string{"10.0.0.5", "192.0.2.9/24"}})
		require.NoError(t, err)
		require.Equal(t, []string{"10.0.0.5/32", "192.0.2.0/24"}, texts(k.IPRanges))
		p, err := h.ListWorkerKeys(ctx, h.admin, page.Request{First: 10})
		require.NoError(t, err)
		require.Equal(t, k.IPRanges, p.Items[0].IPRanges)
		for range 2 { // looked up, and from memory
			_, err = h.Authenticator().Authenticate(ctx, token.Reveal(), netip.MustParseAddr("192.0.2.200"))
			require.NoError(t, err)
			_, err = h.Authenticator().Authenticate(ctx, token.Reveal(), netip.MustParseAddr("10.0.0.6"))
			requireKind(t, err, fault.Unauthenticated)
		}
		_, _, err = h.CreateWorkerKey(ctx, h.admin, member.WorkerKeyParams{Name: "w", Outposts: []string{"default"}, IPRanges: []string{"x"}})
		requireKind(t, err, fault.Invalid)
		require.Equal(t, []string{"body", "ip_ranges", "0"}, fault.As(err).Fields[0].Loc)
	})
}

func TestAChangedListCountsEverywhereWithinTwoSeconds(t *testing.T) {
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
			from := netip.MustParseAddr("203.0.113.9")
			refused := func(s *member.Service) bool {
				_, err := s.Authenticator().Authenticate(ctx, first.Token.Reveal(), from)
				return fault.Is(err, fault.Unauthenticated)
			}
			require.False(t, refused(a) || refused(b))
			var real clock.Clock
			for _, c := range []struct {
				list []string
				want bool
			}{{[]string{"10.0.0.0/8"}, true}, {nil, false}} {
				_, err = a.ReplaceIPList(ctx, admin, c.list)
				require.NoError(t, err)
				require.Equal(t, c.want, refused(a), "at once where it was changed")
				begun := real.Now()
				require.Eventually(t, func() bool { return refused(b) == c.want }, 10*time.Second, 5*time.Millisecond)
				require.Less(t, real.Since(begun), 2*time.Second)
			}
		})
	}
}

func TestARangeHoldsTheAddressItWasMadeOf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a netip.Addr
		if rapid.Bool().Draw(t, "four") {
			a = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		} else {
			a = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
			if a.Is4In6() {
				t.Skip("an address has one form")
			}
		}
		bits := rapid.IntRange(0, a.BitLen()).Draw(t, "bits")
		p := netip.PrefixFrom(a, bits).Masked()
		require.True(t, access.From([]netip.Prefix{p}, a))
		require.True(t, access.From(nil, a))
		require.True(t, access.From([]netip.Prefix{p}, netip.Addr{}))
	})
}
