package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/platform/config"
	"gantry/internal/platform/secret"
)

type adminAgentCmd struct {
	Add     adminAgentAddCmd     `cmd:"" help:"Configure an agent that speaks ACP on standard input and output."`
	List    adminAgentListCmd    `cmd:"" help:"Show the agents."`
	Remove  adminAgentRemoveCmd  `cmd:"" help:"Take an agent away."`
	Default adminAgentDefaultCmd `cmd:"" help:"Choose the agent of sessions that ask for none."`
}

type adminAgentAddCmd struct {
	adminOptions `embed:""`
	Env          []string `help:"Variable of the agent, kept encrypted: NAME takes its value from this environment, NAME=VALUE gives it; may be repeated." sep:"none" placeholder:"NAME[=VALUE]"`
	Bind         []string `help:"Host path the agent may read, its installation for example, and where it is inside when that is elsewhere; may be repeated." sep:"none" placeholder:"PATH[:INSIDE]"`
	Mode         []string `help:"devin_mode that this agent serves; may be repeated." placeholder:"MODE"`
	Org          []string `help:"Organization that may use it; may be repeated. Default: every one." placeholder:"ORG_ID"`
	Default      bool     `help:"Make it the default."`
	Name         string   `arg:"" help:"Name of the agent."`
	Command      []string `arg:"" passthrough:"" help:"Command and arguments, after --."`
}

// Run configures an agent.
func (c *adminAgentAddCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	env, err := agentEnv(c.Env)
	if err != nil {
		return err
	}
	return c.making(ctx, io, src, func(a *admin) error {
		_, err := a.agents.Add(ctx, operator("agent add", access.ManageEnterpriseSettings), agents.Agent{
			Name: c.Name, Command: c.Command, Env: env, Binds: c.Bind, Modes: c.Mode, Orgs: c.Org, Default: c.Default,
		})
		if err != nil {
			return err
		}
		return listAgents(ctx, io, a, c.JSON)
	})
}

func agentEnv(given []string) (map[string]secret.String, error) {
	env := map[string]secret.String{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return nil, fmt.Errorf("--env %s: there is no such variable in this environment; give %s=VALUE", name, name)
			}
		}
		env[name] = secret.New(value)
	}
	return env, nil
}

type adminAgentListCmd struct {
	adminOptions `embed:""`
}

// Run shows the agents, the built-in one first.
func (c *adminAgentListCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error { return listAgents(ctx, io, a, c.JSON) })
}

func listAgents(ctx context.Context, io *stdio, a *admin, asJSON bool) error {
	all, err := a.agents.List(ctx, operator("agent list", access.ManageEnterpriseSettings))
	if err != nil {
		return err
	}
	type row struct {
		Name    string   `json:"name"`
		Default bool     `json:"default"`
		Command []string `json:"command"`
		Modes   []string `json:"modes"`
		Orgs    []string `json:"org_ids"`
	}
	rows, lines := make([]row, len(all)), make([][]string, len(all))
	for i, g := range all {
		rows[i] = row{g.Name, g.Default, g.Command, g.Modes, g.Orgs}
		mark := ""
		if g.Default {
			mark = "default"
		}
		lines[i] = []string{
			g.Name, mark, orText(strings.Join(g.Modes, ","), "-"), orText(strings.Join(g.Orgs, ","), "all"),
			orText(strings.Join(g.Command, " "), "built in"),
		}
	}
	if asJSON {
		return io.json(rows)
	}
	return io.table([]string{"NAME", "", "MODES", "ORGANIZATIONS", "COMMAND"}, lines)
}

type adminAgentRemoveCmd struct {
	adminOptions `embed:""`
	Name         string `arg:"" help:"Name of the agent."`
}

// Run takes an agent away.
func (c *adminAgentRemoveCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		return orList(a.agents.Remove(ctx, operator("agent remove", access.ManageEnterpriseSettings), c.Name), "agent list")
	})
}

type adminAgentDefaultCmd struct {
	adminOptions `embed:""`
	Name         string `arg:"" help:"Name of the agent; runbook is the built-in one."`
}

// Run chooses the default agent.
func (c *adminAgentDefaultCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		return orList(a.agents.SetDefault(ctx, operator("agent default", access.ManageEnterpriseSettings), c.Name), "agent list")
	})
}
