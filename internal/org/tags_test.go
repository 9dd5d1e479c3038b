package org_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func newOrg(t testing.TB, s *org.Service, name string) string {
	t.Helper()
	o, err := s.Create(t.Context(), boss, org.CreateParams{Name: name})
	require.NoError(t, err)
	return o.ID
}

func isFault(t testing.TB, err error, k fault.Kind) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

// loc is the path of the field that a refusal names.
func loc(t testing.TB, err error) []string {
	t.Helper()
	isFault(t, err, fault.Invalid)
	require.NotEmpty(t, fault.As(err).Fields)
	return fault.As(err).Fields[0].Loc
}

func TestTagsAreSortedMergedReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		id, other := newOrg(t, s, "a"), newOrg(t, s, "b")
		got, err := s.Tags(ctx, boss, id)
		require.NoError(t, err)
		require.Empty(t, got)
		got, err = s.AddTags(ctx, boss, id, []string{"b", "ä", "a", "B", "a"})
		require.NoError(t, err)
		require.Equal(t, []string{"B", "a", "b", "ä"}, got, "each once, in the order of their bytes on either engine")
		got, err = s.AddTags(ctx, boss, id, []string{"c", "a"})
		require.NoError(t, err)
		require.Equal(t, []string{"B", "a", "b", "c", "ä"}, got)

		_, err = s.SetDefaultTag(ctx, boss, id, "x")
		require.Equal(t, []string{"body", "tag"}, loc(t, err), "the default must be an allowed tag")
		def, err := s.SetDefaultTag(ctx, boss, id, "c")
		require.NoError(t, err)
		require.Equal(t, "c", def)
		got, err = s.RemoveTag(ctx, boss, id, "b")
		require.NoError(t, err)
		require.Equal(t, []string{"B", "a", "c", "ä"}, got)
		_, err = s.RemoveTag(ctx, boss, id, "b")
		isFault(t, err, fault.NotFound)
		requireDefault(t, s, id, "c")
		_, err = s.ReplaceTags(ctx, boss, id, []string{"c", "z"})
		require.NoError(t, err)
		requireDefault(t, s, id, "c")
		got, err = s.ReplaceTags(ctx, boss, id, []string{"z"})
		require.NoError(t, err)
		require.Equal(t, []string{"z"}, got)
		requireDefault(t, s, id, "") // gone with its tag

		for _, end := range []func() error{
			func() error { _, err := s.RemoveTag(ctx, boss, id, "z"); return err },
			func() error { _, err := s.ReplaceTags(ctx, boss, id, nil); return err },
			func() error { return s.ClearDefaultTag(ctx, boss, id) },
		} {
			_, err = s.ReplaceTags(ctx, boss, id, []string{"z"})
			require.NoError(t, err)
			_, err = s.SetDefaultTag(ctx, boss, id, "z")
			require.NoError(t, err)
			require.NoError(t, end())
			requireDefault(t, s, id, "")
		}
		got, err = s.Tags(ctx, boss, other)
		require.NoError(t, err)
		require.Empty(t, got, "another organization's list is its own")
		logs, err := audit.New(d).List(ctx, boss, audit.ListParams{OrgID: id, Action: audit.UpdateOrgSettings, Page: page.Request{First: 100}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 15, "every change, and nothing that was refused")
		require.True(t, slices.ContainsFunc(logs.Items, func(i audit.Log) bool {
			return string(i.Data) == `{"default_tag":null,"tags":[]}`
		}), "a list that was cleared is empty, and without a default")
	})
}

func requireDefault(t testing.TB, s *org.Service, orgID, want string) {
	t.Helper()
	got, err := s.DefaultTag(t.Context(), boss, orgID)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestTagsAreCheckedAndNeedTheirPermission(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		id := newOrg(t, s, "a")
		for _, bad := range []string{"", " ", "a\x00", "\xff", strings.Repeat("x", 257)} {
			_, err := s.AddTags(ctx, boss, id, []string{"good", bad})
			require.Equal(t, []string{"body", "tags", "1"}, loc(t, err))
			_, err = s.ReplaceTags(ctx, boss, id, []string{bad})
			require.Equal(t, []string{"body", "tags", "0"}, loc(t, err))
		}
		many := make([]string, org.MaxTags)
		for i := range many {
			many[i] = fmt.Sprint("t", i)
		}
		_, err := s.AddTags(ctx, boss, id, many)
		require.NoError(t, err)
		_, err = s.AddTags(ctx, boss, id, []string{"one more"})
		require.Equal(t, []string{"body", "tags"}, loc(t, err))

		other := access.As("test", access.ManageOrganizations, access.ManageBilling)
		_, err = s.Tags(ctx, other, id)
		isFault(t, err, fault.Forbidden)
		_, err = s.AddTags(ctx, other, id, []string{""})
		isFault(t, err, fault.Forbidden)
		isFault(t, s.ClearDefaultTag(ctx, other, id), fault.Forbidden)
		_, err = s.SetDefaultTag(ctx, other, "org-x", "x")
		isFault(t, err, fault.Forbidden)
		for _, unknown := range []string{"org-x", deleted(t, s)} {
			_, err = s.Tags(ctx, boss, unknown)
			isFault(t, err, fault.NotFound)
			_, err = s.ReplaceTags(ctx, boss, unknown, nil)
			isFault(t, err, fault.NotFound)
		}
	})
}

func deleted(t testing.TB, s *org.Service) string {
	t.Helper()
	id := newOrg(t, s, "deleted")
	_, err := s.Delete(t.Context(), boss, id)
	require.NoError(t, err)
	return id
}

func TestChangesOfTagsAtTheSameTimeAllCount(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := service(d, org.Options{})
		id := newOrg(t, s, "a")
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if _, err := s.AddTags(context.Background(), boss, id, []string{"same", fmt.Sprint("t", i)}); err != nil {
					panic(err)
				}
			})
		}
		wg.Wait()
		got, err := s.Tags(t.Context(), boss, id)
		require.NoError(t, err)
		require.Len(t, got, 11)
	})
}

func TestAnyHistoryKeepsTheDefaultAmongTheTags(t *testing.T) {
	t.Parallel()
	s := service(dbtest.Open(t, db.SQLite, clock.Clock{}), org.Options{})
	rapid.Check(t, func(rt *rapid.T) {
		ctx, id := t.Context(), newOrg(t, s, "a")
		names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		want, def := map[string]bool{}, ""
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			tags := rapid.SliceOfN(names, 0, 4).Draw(rt, "tags")
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				_, err := s.AddTags(ctx, boss, id, tags)
				require.NoError(rt, err)
				for _, n := range tags {
					want[n] = true
				}
			case 1:
				_, err := s.ReplaceTags(ctx, boss, id, tags)
				require.NoError(rt, err)
				want = map[string]bool{}
				for _, n := range tags {
					want[n] = true
				}
			case 2:
				n := names.Draw(rt, "tag")
				_, err := s.RemoveTag(ctx, boss, id, n)
				require.Equal(rt, want[n], err == nil)
				delete(want, n)
			case 3:
				n := names.Draw(rt, "default")
				_, err := s.SetDefaultTag(ctx, boss, id, n)
				require.Equal(rt, want[n], err == nil)
				if want[n] {
					def = n
				}
			case 4:
				require.NoError(rt, s.ClearDefaultTag(ctx, boss, id))
				def = ""
			}
			if !want[def] {
				def = ""
			}
			got, err := s.Tags(ctx, boss, id)
			require.NoError(rt, err)
			require.True(rt, slices.IsSorted(got))
			require.Len(rt, got, len(want))
			for _, n := range got {
				require.True(rt, want[n])
			}
			requireDefault(t, s, id, def)
		}
	})
}

func TestTagRulesAskOnlyWhatTheEnterpriseRequires(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		off, on := service(d, org.Options{}), service(d, org.Options{RequiredTags: true})
		id, none := newOrg(t, off, "a"), newOrg(t, off, "b")
		_, err := off.AddTags(ctx, boss, id, []string{"b", "a"})
		require.NoError(t, err)
		rules := func(s *org.Service, orgID string) org.TagRules {
			r, err := s.TagRulesTx(ctx, d.Reader(), orgID)
			require.NoError(t, err)
			return r
		}
		for name, r := range map[string]org.TagRules{"off": rules(off, id), "nothing listed": rules(on, none)} {
			require.NoError(t, r.Check([]string{"x"}), name)
			require.NoError(t, r.Require(nil), name)
			require.Empty(t, r.Fill(nil), name)
		}
		r := rules(on, id)
		require.NoError(t, r.Check([]string{"b", "a"}))
		err = r.Check([]string{"a", "x"})
		require.Equal(t, []string{"body", "tags", "1"}, loc(t, err))
		require.Contains(t, err.Error(), "it allows a, b")
		require.Equal(t, []string{"body", "tags"}, loc(t, r.Require(nil)), "no default to give")
		_, err = on.SetDefaultTag(ctx, boss, id, "b")
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, rules(on, id).Fill([]string{}))
		require.Equal(t, []string{"a"}, rules(on, id).Fill([]string{"a"}))
		require.Empty(t, rules(off, id).Fill(nil), "the default too counts only while tags are required")
	})
}
