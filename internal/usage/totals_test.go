package usage_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/usage"
)

func TestTotalsAreWhatTheDaysOfEachComeTo(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		for i, w := range []usage.Work{
			{SessionID: "s1", OrgID: h.a, UserID: "ada"},
			{SessionID: "s2", OrgID: h.b, UserID: "ada"},
			{SessionID: "s3", OrgID: h.a, UserID: "bob"},
			{SessionID: "s4", OrgID: h.a, ServiceUserID: "robot"},
			{SessionID: "s5", OrgID: h.b, ServiceUserID: "robot"},
		} {
			for day := range 3 {
				h.worked(t, w, noon.AddDate(0, 0, -day), time.Duration(1+i+day)*15*time.Minute)
			}
		}
		who := access.As("test", access.ViewAccountConsumption)
		ids := []string{"ada", "bob", "robot", "nobody", h.a, h.b}
		for _, orgID := range []string{"", h.a, h.b} {
			for _, scope := range []usage.Scope{usage.User, usage.ServiceUser, usage.Organization} {
				if scope == usage.Organization && orgID != "" {
					continue
				}
				for _, span := range [][2]time.Time{{}, {h.Day(noon), {}}, {h.Day(noon.AddDate(0, 0, -1)), h.Day(noon)}} {
					want := map[string]int64{}
					for _, id := range ids {
						days, err := h.Daily(t.Context(), who, usage.DailyParams{OrgID: orgID, Scope: scope, ID: id, After: span[0], Before: span[1]})
						if err != nil {
							isFault(t, err, fault.NotFound)
						}
						for _, d := range days {
							want[id] += d.Total()
						}
					}
					got, err := h.Totals(t.Context(), who, usage.TotalsParams{OrgID: orgID, Scope: scope, IDs: ids, After: span[0], Before: span[1]})
					require.NoError(t, err)
					require.Equal(t, want, got, "%s in %q", scope, orgID)
				}
			}
		}
	})
}

func TestTotalsNeedWhatDaysNeed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, usage.Options{})
	h.worked(t, usage.Work{SessionID: "s1", OrgID: h.a, UserID: "ada"}, noon, time.Hour)
	ours := access.Subject{Kind: access.ServiceUser, ID: "x"}.WithGrants(access.Grant{OrgID: h.a, Permissions: access.SetOf(access.ViewOrgConsumption)})
	ask := func(who access.Subject, orgID string, ids ...string) error {
		_, err := h.Totals(t.Context(), who, usage.TotalsParams{OrgID: orgID, Scope: usage.User, IDs: ids})
		return err
	}
	require.NoError(t, ask(ours, h.a, "ada"))
	isFault(t, ask(ours, h.b, "ada"), fault.Forbidden)
	isFault(t, ask(ours, "", "ada"), fault.Forbidden)
	isFault(t, ask(access.As("test", access.ViewOrgMetrics), h.a, "ada"), fault.Forbidden)
	many := make([]string, usage.MaxTotals+1)
	isFault(t, ask(viewer, "", many...), fault.Invalid)
	_, err := h.Totals(t.Context(), ours, usage.TotalsParams{OrgID: h.a, Scope: usage.Organization, IDs: []string{h.b}})
	isFault(t, err, fault.Invalid)
}

func TestTotalsReadTheDaysOfEachByTheKey(t *testing.T) {
	t.Parallel()
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		for name, c := range map[string]struct {
			p      usage.TotalsParams
			sqlite string
		}{
			"people":        {usage.TotalsParams{OrgID: h.a, Scope: usage.User, IDs: ids}, "scope=? AND scope_id=? AND org_id=? AND day>? AND day<?"},
			"in all":        {usage.TotalsParams{Scope: usage.ServiceUser, IDs: ids}, "scope=? AND scope_id=? AND org_id=? AND day>? AND day<?"},
			"organizations": {usage.TotalsParams{Scope: usage.Organization, IDs: ids}, "scope=? AND scope_id=? AND org_id=? AND day>? AND day<?"},
		} {
			query, args := usage.TotalsQuery(c.p)
			plan := dbtest.Plan(t, h.db, query, args...)
			if h.db.Engine() == db.SQLite {
				require.Contains(t, plan, "("+c.sqlite+")", "%s\n%s", name, plan)
			}
			require.Contains(t, plan, "usage_daily", name)
			for _, bad := range []string{"TEMP B-TREE", "Sort", "Seq Scan", "SCAN "} {
				require.NotContains(t, plan, bad, "%s\n%s", name, plan)
			}
		}
	})
}
