package org_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

var boss = access.As("test", access.ManageOrganizations, access.ManageEnterpriseSettings)

func service(d *db.DB, o org.Options) *org.Service {
	return org.New(d, member.New(d, events.New(), slog.New(slog.DiscardHandler), member.AuthOptions{}), o)
}

func set(n int64) org.LimitChange { return org.LimitChange{Set: true, Value: &n} }

var null = org.LimitChange{Set: true}

func TestLimitsAreDefaultedKeptChangedAndCleared(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{SessionLimit: new(int64(20))})
		a, err := s.Create(ctx, boss, org.CreateParams{Name: "a"})
		require.NoError(t, err)
		require.Equal(t, org.Limits{Session: new(int64(20))}, a.Limits, "a missing session limit takes the server's default")
		b, err := s.Create(ctx, boss, org.CreateParams{Name: "a", SessionLimit: null, CycleLimit: set(0)})
		require.NoError(t, err, "names are not unique")
		require.Equal(t, org.Limits{Cycle: new(int64(0))}, b.Limits)

		got, err := s.Update(ctx, boss, org.UpdateParams{OrgID: b.ID, SessionLimit: set(5)})
		require.NoError(t, err)
		require.Equal(t, org.Limits{Session: new(int64(5)), Cycle: new(int64(0))}, got.Limits)
		require.Equal(t, "a", got.Name)
		got, err = s.Update(ctx, boss, org.UpdateParams{OrgID: b.ID, Name: new("b"), CycleLimit: null})
		require.NoError(t, err)
		require.Equal(t, org.Limits{Session: new(int64(5))}, got.Limits)
		read, err := s.Get(ctx, boss, b.ID)
		require.NoError(t, err)
		require.Equal(t, got, read)
		budget, err := s.BudgetTx(ctx, d.Reader(), b.ID)
		require.NoError(t, err)
		require.Equal(t, org.Budget{Limits: got.Limits}, budget)
	})
}

func TestADeletedOrganizationIsGone(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		o, err := s.Create(ctx, boss, org.CreateParams{Name: "a"})
		require.NoError(t, err)
		ok, err := s.Exists(ctx, o.ID)
		require.NoError(t, err)
		require.True(t, ok)
		gone, err := s.Delete(ctx, boss, o.ID)
		require.NoError(t, err)
		require.Equal(t, "a", gone.Name)
		require.False(t, gone.DeletedAt.IsZero())
		ok, err = s.Exists(ctx, o.ID)
		require.NoError(t, err)
		require.False(t, ok)
		_, err = s.Get(ctx, boss, o.ID)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		_, err = s.Delete(ctx, boss, o.ID)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		_, err = s.Update(ctx, boss, org.UpdateParams{OrgID: o.ID, Name: new("b")})
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		_, err = s.BudgetTx(ctx, d.Reader(), o.ID)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		p, err := s.List(ctx, boss, page.Request{First: 10})
		require.NoError(t, err)
		require.Empty(t, p.Items)

		logs, err := audit.New(d).List(ctx, boss, audit.ListParams{OrgID: o.ID, Order: audit.Asc, Page: page.Request{First: 10}})
		require.NoError(t, err)
		var actions []audit.Action
		for _, l := range logs.Items {
			actions = append(actions, l.Action)
		}
		require.Equal(t, []audit.Action{audit.CreateOrg, audit.DeleteOrg}, actions)
	})
}

func TestPermissionComesBeforeEverythingElse(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		for name, sub := range map[string]access.Subject{
			"nobody":         {},
			"other rights":   access.As("test", access.ManageBilling, access.ViewAccountSessions),
			"an org's admin": access.Subject{Kind: access.ServiceUser, OrgID: "org-1"}.WithGrants(access.Grant{Permissions: boss.In("")}),
		} {
			_, err := s.Create(ctx, sub, org.CreateParams{})
			require.True(t, fault.Is(err, fault.Forbidden), "%s: %v", name, err)
			_, err = s.List(ctx, sub, page.Request{First: 1})
			require.True(t, fault.Is(err, fault.Forbidden), "%s: %v", name, err)
			_, err = s.Get(ctx, sub, "org-x")
			require.True(t, fault.Is(err, fault.Forbidden), "%s: %v", name, err)
			_, err = s.Update(ctx, sub, org.UpdateParams{OrgID: "org-x", CycleLimit: set(-1)})
			require.True(t, fault.Is(err, fault.Forbidden), "%s: %v", name, err)
			_, err = s.Delete(ctx, sub, "org-x")
			require.True(t, fault.Is(err, fault.Forbidden), "%s: %v", name, err)
		}
	})
}

func TestBadFieldsAreNamed(t *testing.T) {
	t.Parallel()
	s := service(dbtest.Open(t, db.SQLite, clock.Clock{}), org.Options{})
	for want, p := range map[string]org.CreateParams{
		"name":                  {Name: strings.Repeat("x", 257)},
		"max_session_acu_limit": {Name: "x", SessionLimit: set(-1)},
		"max_cycle_acu_limit":   {Name: "x", CycleLimit: set(1 << 60)},
	} {
		_, err := s.Create(t.Context(), boss, p)
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		require.Equal(t, []string{"body", want}, fault.As(err).Fields[0].Loc)
	}
	_, err := s.Update(t.Context(), boss, org.UpdateParams{OrgID: "x", Name: new("")})
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
}

func TestChangesOfDifferentFieldsDoNotUndoOneAnother(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), service(d, org.Options{})
		o, err := s.Create(ctx, boss, org.CreateParams{Name: "a"})
		require.NoError(t, err)
		for i := range int64(10) {
			var wg sync.WaitGroup
			for _, p := range []org.UpdateParams{{OrgID: o.ID, SessionLimit: set(i)}, {OrgID: o.ID, CycleLimit: set(i)}} {
				wg.Go(func() { _, _ = s.Update(context.Background(), boss, p) })
			}
			wg.Wait()
			got, err := s.Get(ctx, boss, o.ID)
			require.NoError(t, err)
			require.Equal(t, org.Limits{Session: &i, Cycle: &i}, got.Limits)
		}
	})
}
