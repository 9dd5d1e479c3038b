package usage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/usage"
)

func (h *house) reached(t testing.TB, orgID, userID string) *usage.Reached {
	t.Helper()
	b, err := h.orgs.BudgetTx(t.Context(), h.db.Reader(), orgID)
	require.NoError(t, err)
	r, err := h.ReachedTx(t.Context(), h.db.Reader(), orgID, b, userID, h.time.Clock().Now())
	require.NoError(t, err)
	return r
}

func (h *house) capOrg(t testing.TB, orgID string, c org.LimitChange) {
	t.Helper()
	require.NoError(t, h.orgs.SetCaps(t.Context(), billing, org.CapParams{OrgID: orgID, Cloud: c}))
}

func (h *house) capUser(t testing.TB, userID string, c org.LimitChange) {
	t.Helper()
	require.NoError(t, h.SetUserLimits(t.Context(), billing, usage.UserLimitParams{UserID: userID, Cycle: c}))
}

func (h *house) group(t testing.TB, n *int64, orgs ...string) {
	t.Helper()
	_, err := h.orgs.ReplaceGroups(t.Context(), billing, map[string]org.Group{"g": {OrgIDs: orgs, MaxCycleACUs: n}})
	require.NoError(t, err)
}

var none = org.LimitChange{Set: true}

func TestEachLevelIsReachedByItselfAndLiftedByItself(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{CycleLimit: new(int64(10))}, func(t *testing.T, h *house) {
		h.person(t, "u", h.a, h.b)
		h.person(t, "v", h.a)
		h.worked(t, usage.Work{SessionID: "s1", OrgID: h.a, UserID: "u"}, noon, 30*time.Minute)
		h.worked(t, usage.Work{SessionID: "s2", OrgID: h.b, UserID: "u"}, noon, 45*time.Minute)
		require.Nil(t, h.reached(t, h.a, "u"))

		h.capOrg(t, h.a, limit(2))
		require.Equal(t, &usage.Reached{Level: usage.OfOrg, Limit: 2}, h.reached(t, h.a, "v"))
		require.Nil(t, h.reached(t, h.b, "u"))
		h.capOrg(t, h.a, limit(3))
		require.Nil(t, h.reached(t, h.a, "u"))

		h.group(t, new(int64(5)), h.a, h.b)
		require.Equal(t, &usage.Reached{Level: usage.OfGroup, Limit: 5}, h.reached(t, h.a, ""))
		require.Equal(t, &usage.Reached{Level: usage.OfGroup, Limit: 5}, h.reached(t, h.b, ""))
		h.group(t, new(int64(6)), h.a, h.b)
		require.Nil(t, h.reached(t, h.a, ""))
		h.group(t, new(int64(3)), h.b)
		require.Nil(t, h.reached(t, h.a, ""))
		require.Equal(t, usage.OfGroup, h.reached(t, h.b, "").Level)
		h.group(t, nil, h.b)
		require.Nil(t, h.reached(t, h.b, ""))

		h.capUser(t, "", limit(5))
		require.Equal(t, &usage.Reached{Level: usage.OfUser, Limit: 5}, h.reached(t, h.b, "u"), "the default, over all organizations")
		require.Nil(t, h.reached(t, h.a, "v"), "somebody else has used nothing")
		require.Nil(t, h.reached(t, h.a, ""), "a service user has no such limit")
		h.capUser(t, "u", limit(6))
		require.Nil(t, h.reached(t, h.b, "u"), "one's own replaces the default")
		h.capUser(t, "v", limit(0))
		require.Equal(t, &usage.Reached{Level: usage.OfUser}, h.reached(t, h.a, "v"), "0 blocks")
		h.exec(t, `UPDATE usage_daily SET product = 'review' WHERE scope = 'user' AND org_id = ''`)
		h.capUser(t, "u", limit(1))
		require.Nil(t, h.reached(t, h.a, "u"), "reviews don't count toward a user's limit")

		h.worked(t, usage.Work{SessionID: "s3", OrgID: h.b, ServiceUserID: "su"}, noon, 75*time.Minute)
		r := h.reached(t, h.a, "")
		require.Equal(t, &usage.Reached{Level: usage.OfEnterprise, Limit: 10}, r)
		isFault(t, r.Refusal(), fault.Conflict)
		h.time.Advance(23 * 24 * time.Hour)
		h.capUser(t, "", none)
		require.Nil(t, h.reached(t, h.a, "u"), "a new cycle")
		h.capOrg(t, h.b, limit(0))
		require.Equal(t, &usage.Reached{Level: usage.OfOrg}, h.reached(t, h.b, "u"))
	})
}

func TestAGroupsUseFromBeforeAnUpgradeCounts(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		h.worked(t, usage.Work{SessionID: "s0", OrgID: h.a, ServiceUserID: "su"}, noon.AddDate(0, -2, 0), 300*time.Minute)
		h.worked(t, usage.Work{SessionID: "s1", OrgID: h.a, ServiceUserID: "su"}, noon, 30*time.Minute)
		h.worked(t, usage.Work{SessionID: "s2", OrgID: h.b, ServiceUserID: "su"}, noon, 45*time.Minute)
		h.exec(t, `DELETE FROM usage_cycles`) // an older release kept none
		h.group(t, new(int64(6)), h.a, h.b)
		require.Nil(t, h.reached(t, h.a, ""), "5 of this cycle")
		h.group(t, new(int64(5)), h.a, h.b)
		want := &usage.Reached{Level: usage.OfGroup, Limit: 5}
		require.Equal(t, want, h.reached(t, h.a, ""))
		h.worked(t, usage.Work{SessionID: "s3", OrgID: h.b, ServiceUserID: "su"}, noon.Add(time.Hour), 15*time.Minute)
		h.group(t, new(int64(7)), h.a, h.b)
		require.Nil(t, h.reached(t, h.a, ""), "6, of which one organization's are kept now")
		h.group(t, new(int64(6)), h.a, h.b)
		require.NotNil(t, h.reached(t, h.a, ""))
	})
}

func TestARefusalSaysWhomToAsk(t *testing.T) {
	t.Parallel()
	for _, l := range []usage.Level{usage.OfOrg, usage.OfGroup, usage.OfEnterprise, usage.OfUser} {
		text := usage.Reached{Level: l, Limit: 7}.Reason()
		require.Contains(t, text, "7 ACUs of this billing cycle")
		require.Contains(t, text, "contact your enterprise admin")
		require.True(t, strings.HasPrefix(text, "the "+string(l)) || l == usage.OfGroup, text)
	}
}

func TestLimitsAreListedInPages(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{CycleLimit: new(int64(100))}, func(t *testing.T, h *house) {
		for _, u := range []string{"u1", "u2", "u3", "u4"} {
			h.person(t, u)
		}
		h.capOrg(t, h.a, limit(1))
		h.capOrg(t, h.b, limit(0))
		h.capUser(t, "u2", limit(4))
		h.capUser(t, "u1", limit(3))
		h.capUser(t, "u3", limit(9))
		h.capUser(t, "", limit(8))
		h.exec(t, `UPDATE users SET deleted_at = 1 WHERE user_id = 'u3'`)
		require.NoError(t, h.SetUserLimits(t.Context(), billing, usage.UserLimitParams{UserID: "u4", BillingOrg: usage.TextChange{Set: true, Value: &h.a}}))
		want := []usage.Limit{
			{Level: usage.OfEnterprise, Cycle: 100},
			{Level: usage.OfOrg, OrgID: h.a, Cycle: 1},
			{Level: usage.OfOrg, OrgID: h.b},
			{Level: usage.OfUser, UserID: "u1", Cycle: 3},
			{Level: usage.OfUser, UserID: "u2", Cycle: 4},
		}
		for first := 1; first <= 6; first++ {
			var got []usage.Limit
			r := page.Request{First: first}
			for {
				p, err := h.Limits(t.Context(), viewer, r)
				require.NoError(t, err)
				got = append(got, p.Items...)
				if !p.More {
					break
				}
				r.After = p.End
			}
			require.Equal(t, want, got, "%d a page", first)
		}
		_, err := h.Limits(t.Context(), access.As("test", access.ManageOrganizations), page.Request{First: 1})
		isFault(t, err, fault.Forbidden)
	})
}

func TestAUsersLimitIsKeptChangedAndCleared(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.person(t, "u")
		is := func(userID string, want usage.UserLimits) {
			t.Helper()
			got, err := h.UserLimits(ctx, viewer, userID)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		is("u", usage.UserLimits{})
		h.capUser(t, "", limit(3))
		is("", usage.UserLimits{Cycle: new(int64(3))})
		is("u", usage.UserLimits{}) // a default isn't shown
		h.capUser(t, "u", limit(5))
		require.NoError(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "u", BillingOrg: usage.TextChange{Set: true, Value: &h.b}}))
		is("u", usage.UserLimits{Cycle: new(int64(5)), BillingOrgID: h.b})
		logs, err := audit.New(h.db).List(ctx, access.As("auditor", access.ManageEnterpriseSettings), audit.ListParams{
			Action: audit.UpdateEnterpriseSettings, Page: page.Request{First: 10},
		})
		require.NoError(t, err)
		var told []string
		for _, l := range logs.Items {
			told = append(told, string(l.Data))
		}
		require.Contains(t, told, `{"billing_org_id":null,"user_cycle_acu_limit":5,"user_id":"u"}`, "null, where nobody else pays")
		require.Contains(t, told, `{"billing_org_id":"`+h.b+`","user_cycle_acu_limit":5,"user_id":"u"}`)
		h.capUser(t, "u", none)
		is("u", usage.UserLimits{BillingOrgID: h.b})
		require.NoError(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "u"}))
		is("u", usage.UserLimits{BillingOrgID: h.b})
		require.NoError(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "u", Cycle: none, BillingOrg: usage.TextChange{Set: true}}))
		is("u", usage.UserLimits{})
		require.EqualValues(t, 1, sum(t, h.db, `SELECT COUNT(*) FROM user_acu_limits`), "an empty row is none")

		require.NoError(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "u", BillingOrg: usage.TextChange{Set: true, Value: &h.b}}))
		_, err = h.orgs.Delete(ctx, billing, h.b)
		require.NoError(t, err)
		is("u", usage.UserLimits{}) // nobody pays from a deleted organization

		_, err = h.UserLimits(ctx, viewer, "stranger")
		isFault(t, err, fault.NotFound)
		isFault(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "stranger", Cycle: limit(1)}), fault.NotFound)
		isFault(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "u", Cycle: limit(-1)}), fault.Invalid)
		for _, bad := range []string{"org-x", "a\x00", "\xff", ""} {
			isFault(t, h.SetUserLimits(ctx, billing, usage.UserLimitParams{UserID: "u", BillingOrg: usage.TextChange{Set: true, Value: &bad}}), fault.Invalid)
		}
		isFault(t, h.SetUserLimits(ctx, viewer, usage.UserLimitParams{UserID: "u"}), fault.Forbidden)
		_, err = h.UserLimits(ctx, access.As("test", access.ViewAccountMetrics), "u")
		isFault(t, err, fault.Forbidden)
	})
}
