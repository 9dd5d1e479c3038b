package agents_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/wire"
)

var operator = access.As("test", access.ManageEnterpriseSettings)

func each(t *testing.T, f func(t *testing.T, d *db.DB, s *agents.Service)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		k, err := keeper.Open(t.Context(), "", t.TempDir())
		require.NoError(t, err)
		t.Cleanup(func() { _ = k.Close() })
		require.NoError(t, k.Attach(t.Context(), d))
		f(t, d, agents.New(d, k))
	})
}

func add(t *testing.T, s *agents.Service, a agents.Agent) {
	t.Helper()
	if a.Command == nil {
		a.Command = []string{"/opt/" + a.Name, "acp"}
	}
	_, err := s.Add(t.Context(), operator, a)
	require.NoError(t, err)
}

func TestTheRunbookIsTheDefaultUntilAnotherIs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ *db.DB, s *agents.Service) {
		ctx := t.Context()
		chosen := func(org, mode string) string {
			a, err := s.Choose(ctx, org, mode)
			require.NoError(t, err)
			return a.Name
		}
		require.Equal(t, agents.Runbook, chosen("org-1", ""))
		require.Equal(t, agents.Runbook, chosen("org-1", "fast"))
		add(t, s, agents.Agent{Name: "plain"})
		require.Equal(t, agents.Runbook, chosen("org-1", ""), "configured is not yet the default")
		add(t, s, agents.Agent{Name: "main", Default: true, Modes: []string{"normal"}})
		add(t, s, agents.Agent{Name: "quick", Modes: []string{"fast", "normal"}})
		add(t, s, agents.Agent{Name: "own", Modes: []string{"ultra"}, Orgs: []string{"org-2"}})
		require.Equal(t, "main", chosen("org-1", ""))
		require.Equal(t, "quick", chosen("org-1", "fast"))
		require.Equal(t, "main", chosen("org-1", "normal"), "of several, the default comes first")
		require.Equal(t, "main", chosen("org-1", "ultra"), "not allowed for this organization")
		require.Equal(t, "own", chosen("org-2", "ultra"))

		require.NoError(t, s.SetDefault(ctx, operator, "own"))
		require.Equal(t, "own", chosen("org-2", ""))
		require.Equal(t, agents.Runbook, chosen("org-1", ""), "a default that the organization may not use isn't its default")
		list, err := s.List(ctx, operator)
		require.NoError(t, err)
		require.Len(t, list, 5)
		require.Equal(t, agents.Agent{Name: agents.Runbook}, list[0])

		require.NoError(t, s.SetDefault(ctx, operator, agents.Runbook))
		list, err = s.List(ctx, operator)
		require.NoError(t, err)
		require.True(t, list[0].Default)
		require.True(t, fault.Is(s.SetDefault(ctx, operator, "nobody"), fault.NotFound))
		require.NoError(t, s.Remove(ctx, operator, "quick"))
		require.Equal(t, agents.Runbook, chosen("org-1", "fast"))
		require.True(t, fault.Is(s.Remove(ctx, operator, agents.Runbook), fault.Conflict))
	})
}

func TestAnEnvironmentIsSealedAndGivenToWorkersOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB, s *agents.Service) {
		ctx := t.Context()
		add(t, s, agents.Agent{
			Name: "main", Env: map[string]secret.String{"API_KEY": secret.New("hunter2")}, Binds: []string{"/opt/agent"},
		})
		add(t, s, agents.Agent{Name: "bare"})
		row, err := db.One(ctx, d.Reader(), func(r db.Scanner) ([]byte, error) {
			var b []byte
			return b, r.Scan(&b)
		}, `SELECT sealed_env FROM agents WHERE name = 'main'`)
		require.NoError(t, err)
		require.NotEmpty(t, row)
		require.NotContains(t, string(row), "hunter2")
		list, err := s.List(ctx, operator)
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprintf("%+v", list), "hunter2")

		spec, err := s.Spec(ctx, "main")
		require.NoError(t, err)
		require.Equal(t, wire.Agent{
			Name: "main", Command: []string{"/opt/main", "acp"}, Env: map[string]string{"API_KEY": "hunter2"}, Binds: []string{"/opt/agent"}, ResumesTurns: true,
		}, spec)
		spec, err = s.Spec(ctx, "bare")
		require.NoError(t, err)
		require.Empty(t, spec.Env)
		spec, err = s.Spec(ctx, agents.Runbook)
		require.NoError(t, err)
		require.Equal(t, wire.Agent{Name: agents.Runbook}, spec)
		_, err = s.Spec(ctx, "gone")
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	})
}

func TestBadAgentsAreRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB, s *agents.Service) {
		ctx := t.Context()
		cmd := []string{"agent"}
		for want, a := range map[string]agents.Agent{
			"name":    {Name: "a b", Command: cmd},
			"command": {Name: "a"},
			"env":     {Name: "a", Command: cmd, Env: map[string]secret.String{"A-B": secret.New("x")}},
			"binds":   {Name: "a", Command: cmd, Binds: []string{"opt"}},
			"modes":   {Name: "a", Command: cmd, Modes: []string{"slow"}},
			"orgs":    {Name: "a", Command: cmd, Orgs: []string{}},
		} {
			_, err := s.Add(ctx, operator, a)
			require.True(t, fault.Is(err, fault.Invalid), "%s: %v", want, err)
			require.Equal(t, []string{"body", want}, fault.As(err).Fields[0].Loc)
		}
		for _, b := range []string{"/tmp/agent", "/opt:/work/agent", "/opt:/run", "/opt:agent", "/opt:/opt/../tmp", "/"} {
			_, err := s.Add(ctx, operator, agents.Agent{Name: "a", Command: cmd, Binds: []string{b}})
			require.True(t, fault.Is(err, fault.Invalid), "%s: %v", b, err)
		}
		_, err := s.Add(ctx, operator, agents.Agent{Name: agents.Runbook, Command: cmd})
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		add(t, s, agents.Agent{Name: "main", Default: true})
		_, err = s.Add(ctx, operator, agents.Agent{Name: "main", Command: cmd, Default: true})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		list, err := s.List(ctx, operator)
		require.NoError(t, err)
		require.True(t, list[1].Default, "a refused one leaves the default alone")

		stranger := access.As("test", access.ManageOrganizations)
		_, err = s.Add(ctx, stranger, agents.Agent{})
		require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
		_, err = s.List(ctx, stranger)
		require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
		require.True(t, fault.Is(s.Remove(ctx, stranger, "main"), fault.Forbidden))
		require.True(t, fault.Is(s.SetDefault(ctx, stranger, "main"), fault.Forbidden))
		logs, err := audit.New(d).List(ctx, operator, audit.ListParams{Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 1)
	})
}
