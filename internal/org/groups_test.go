package org_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestGroupsAreReplacedWhole(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		a, b, c := newOrg(t, s, "a"), newOrg(t, s, "b"), newOrg(t, s, "c")
		got, err := s.Groups(ctx, boss)
		require.NoError(t, err)
		require.Equal(t, map[string]org.Group{}, got)
		want := map[string]org.Group{
			"one": {OrgIDs: []string{a, b}, MaxCycleACUs: new(int64(5))}, "none.yet": {OrgIDs: []string{}}, "ü": {OrgIDs: []string{c}, MaxCycleACUs: new(int64(0))},
		}
		got, err = s.ReplaceGroups(ctx, boss, map[string]org.Group{
			"one": {OrgIDs: []string{b, a}, MaxCycleACUs: new(int64(5))}, "none.yet": {}, "ü": {OrgIDs: []string{c}, MaxCycleACUs: new(int64(0))},
		})
		require.NoError(t, err)
		require.Equal(t, want, got)
		got, err = s.Groups(ctx, boss)
		require.NoError(t, err)
		require.Equal(t, want, got)
		budget, err := s.BudgetTx(ctx, d.Reader(), a)
		require.NoError(t, err)
		require.Equal(t, org.Budget{Group: &org.GroupLimit{Name: "one", Cycle: 5}}, budget)

		_, err = s.Delete(ctx, boss, b)
		require.NoError(t, err)
		got, err = s.Groups(ctx, boss)
		require.NoError(t, err)
		require.Equal(t, []string{a}, got["one"].OrgIDs, "a deleted organization leaves its group")

		got, err = s.ReplaceGroups(ctx, boss, map[string]org.Group{"two": {OrgIDs: []string{a}}})
		require.NoError(t, err)
		require.Equal(t, map[string]org.Group{"two": {OrgIDs: []string{a}}}, got, "groups that aren't named go")
		budget, err = s.BudgetTx(ctx, d.Reader(), a)
		require.NoError(t, err)
		require.Nil(t, budget.Group, "a group without a limit bounds nothing")
		logs, err := audit.New(d).List(ctx, boss, audit.ListParams{Action: audit.SetOrgGroupLimits, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 2)
		require.JSONEq(t, `{"groups":{"two":{"org_ids":["`+a+`"],"max_cycle_acus":null}}}`, string(logs.Items[0].Data))
	})
}

func TestGroupsThatCannotBeAreRefusedByName(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		a, b := newOrg(t, s, "a"), newOrg(t, s, "b")
		before := map[string]org.Group{"kept": {OrgIDs: []string{a}}}
		_, err := s.ReplaceGroups(ctx, boss, before)
		require.NoError(t, err)
		for name, bad := range map[string]struct {
			groups map[string]org.Group
			loc    []string
		}{
			"in two groups":  {map[string]org.Group{"x": {OrgIDs: []string{a}}, "y": {OrgIDs: []string{b, a}}}, []string{"body", "groups", "y", "org_ids", "1"}},
			"twice in one":   {map[string]org.Group{"x": {OrgIDs: []string{a, a}}}, []string{"body", "groups", "x", "org_ids", "1"}},
			"unknown":        {map[string]org.Group{"a.b": {OrgIDs: []string{b, "org-x"}}}, []string{"body", "groups", "a.b", "org_ids", "1"}},
			"not text":       {map[string]org.Group{"x": {OrgIDs: []string{"a\x00"}}}, []string{"body", "groups", "x", "org_ids", "0"}},
			"deleted":        {map[string]org.Group{"x": {OrgIDs: []string{deleted(t, s)}}}, []string{"body", "groups", "x", "org_ids", "0"}},
			"negative limit": {map[string]org.Group{"x": {MaxCycleACUs: new(int64(-1))}}, []string{"body", "groups", "x", "max_cycle_acus"}},
			"huge limit":     {map[string]org.Group{"x": {MaxCycleACUs: new(int64(1 << 60))}}, []string{"body", "groups", "x", "max_cycle_acus"}},
			"no name":        {map[string]org.Group{"": {}}, []string{"body", "groups"}},
			"long name":      {map[string]org.Group{strings.Repeat("x", 257): {}}, []string{"body", "groups"}},
			"blank name":     {map[string]org.Group{"  ": {}}, []string{"body", "groups"}},
			"line break":     {map[string]org.Group{"a\nb": {}}, []string{"body", "groups"}},
			"NUL in name":    {map[string]org.Group{"a\x00": {}}, []string{"body", "groups"}},
		} {
			_, err := s.ReplaceGroups(ctx, boss, bad.groups)
			require.Equal(t, bad.loc, loc(t, err), name)
		}
		got, err := s.Groups(ctx, boss)
		require.NoError(t, err)
		require.Equal(t, before, got, "nothing half done")

		other := access.As("test", access.ManageEnterpriseSettings, access.ManageBilling)
		_, err = s.Groups(ctx, other)
		isFault(t, err, fault.Forbidden)
		_, err = s.ReplaceGroups(ctx, other, map[string]org.Group{"": {}})
		isFault(t, err, fault.Forbidden)
	})
}

func TestGroupsReplacedAtTheSameTimeAreOneOfThem(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := service(d, org.Options{})
		a, b := newOrg(t, s, "a"), newOrg(t, s, "b")
		maps := []map[string]org.Group{
			{"x": {OrgIDs: []string{a}}, "y": {OrgIDs: []string{b}}}, {"y": {OrgIDs: []string{a}}, "x": {OrgIDs: []string{b}}}, {"z": {OrgIDs: sortedIDs(a, b)}},
		}
		for range 5 {
			var wg sync.WaitGroup
			for _, m := range maps {
				wg.Go(func() {
					if _, err := s.ReplaceGroups(context.Background(), boss, m); err != nil {
						panic(err)
					}
				})
			}
			wg.Wait()
			got, err := s.Groups(t.Context(), boss)
			require.NoError(t, err)
			require.Contains(t, maps, got)
		}
	})
}

func sortedIDs(a, b string) []string {
	if b < a {
		return []string{b, a}
	}
	return []string{a, b}
}

func TestCapsAreTheOrganizationsLimitByAnotherDoor(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		id := newOrg(t, s, "a")
		billing := access.As("test", access.ManageBilling)
		require.NoError(t, s.SetCaps(ctx, billing, org.CapParams{OrgID: id, Cloud: set(7), Local: set(3)}))
		o, err := s.Get(ctx, boss, id)
		require.NoError(t, err)
		require.Equal(t, org.Limits{Cycle: new(int64(7))}, o.Limits)
		_, err = s.Update(ctx, boss, org.UpdateParams{OrgID: id, CycleLimit: set(9)})
		require.NoError(t, err)
		require.NoError(t, s.SetCaps(ctx, billing, org.CapParams{OrgID: id, Local: null}))
		got, err := s.Caps(ctx, billing, id)
		require.NoError(t, err)
		require.Equal(t, org.Caps{Cloud: new(int64(9))}, got, "what isn't named is kept")
		capped, err := s.CappedAfter(ctx, d.Reader(), "", 10)
		require.NoError(t, err)
		require.Equal(t, []org.Capped{{OrgID: id, Cycle: 9}}, capped)
		require.NoError(t, s.SetCaps(ctx, billing, org.CapParams{OrgID: id, Cloud: null}))
		capped, err = s.CappedAfter(ctx, d.Reader(), "", 10)
		require.NoError(t, err)
		require.Empty(t, capped)

		require.Equal(t, []string{"body", "cycle_acu_limit"}, loc(t, s.SetCaps(ctx, billing, org.CapParams{OrgID: id, Cloud: set(-1)})))
		isFault(t, s.SetCaps(ctx, billing, org.CapParams{OrgID: "org-x"}), fault.NotFound)
		isFault(t, s.SetCaps(ctx, boss, org.CapParams{OrgID: id}), fault.Forbidden)
		_, err = s.Caps(ctx, boss, id)
		isFault(t, err, fault.Forbidden)
		_, err = s.Caps(ctx, access.As("test", access.ViewAccountConsumption), "org-x")
		isFault(t, err, fault.NotFound)
	})
}
