package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/server"
)

type adminCmd struct {
	Key       adminKeyCmd           `cmd:"" help:"Make a fresh enterprise-admin key."`
	Repo      adminRepoCmd          `cmd:"" help:"Repositories that sessions may name."`
	Git       adminGitConnectionCmd `cmd:"" name:"git-connection" help:"Connections to git providers and hosts, with their tokens."`
	Agent     adminAgentCmd         `cmd:"" help:"Agents that sessions may run with."`
	APIKey    adminAPIKeyCmd        `cmd:"" name:"api-key" help:"Keys of the older API versions, apk_ and apk_user_."`
	Person    adminPersonCmd        `cmd:"" help:"People and the groups they are in."`
	WorkerKey adminWorkerKeyCmd     `cmd:"" name:"worker-key" help:"Keys of workers on other machines."`
	IPList    adminIPListCmd        `cmd:"" name:"ip-list" help:"The list of addresses from which keys are good."`
	Rotate    adminRotateKeeperCmd  `cmd:"" name:"rotate-keeper" help:"Have another key wrap all keys."`
}

// adminOptions are what every admin command needs to reach the data.
type adminOptions struct {
	config.Storage `embed:""`
	JSON           bool `name:"json" help:"Print JSON for scripts."`
}

// admin are the rooms an operator reaches without a server.
type admin struct {
	*server.Ground
	member *member.Service
	agents *agents.Service
	fleet  *fleet.Service
	log    *slog.Logger
}

// find fills the options and refuses data that aren't there: a mistyped directory must not get a database.
func (o *adminOptions) find(src config.Sources) error {
	if err := o.Fill(src); err != nil {
		return err
	}
	if path := absent(o.Database); path != "" {
		return fmt.Errorf("there is no database at %s: --data or --database names another; `gantry serve` or `gantry admin key` makes a new one", path)
	}
	return nil
}

// with opens data that are there, runs f and closes again.
func (o *adminOptions) with(ctx context.Context, io *stdio, src config.Sources, f func(*admin) error) error {
	if err := o.find(src); err != nil {
		return err
	}
	return o.on(ctx, io, server.OpenUsed, f)
}

// making is with for commands that prepare a server before its first start.
func (o *adminOptions) making(ctx context.Context, io *stdio, src config.Sources, f func(*admin) error) error {
	if err := o.Fill(src); err != nil {
		return err
	}
	return o.on(ctx, io, server.OpenGround, f)
}

type opener func(context.Context, *config.Storage, clock.Clock) (*server.Ground, error)

func (o *adminOptions) on(ctx context.Context, io *stdio, open opener, f func(*admin) error) (err error) {
	anew := absent(o.Database) != ""
	if _, err := makeDataDir(o.Data); err != nil {
		return err
	}
	g, err := open(ctx, &o.Storage, clock.Clock{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if anew {
		io.note("%s held no database: this made a new one; --data names another directory", o.Data)
	}
	log := newLogger(io, config.Log{LogLevel: "warn", LogFormat: "text"})
	a := &admin{
		Ground: g, log: log, member: g.MemberRoom(log), agents: agents.New(g.DB, g.Keeper),
		fleet: fleet.New(fleet.Options{DB: g.DB, Hub: g.Hub, Logger: log}),
	}
	if err := a.fleet.EnsureDefault(ctx); err != nil {
		return err
	}
	return operatorError(f(a))
}

// operatorError shows an operator the field's message; the rest of a fault is for programs. Why a part is away is for who runs the machine.
func operatorError(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Unavailable {
		return f
	}
	if errors.As(err, &f) && f.Kind != fault.Internal {
		return errors.New(f.Message)
	}
	return err
}

// orList adds to an error of something that isn't there which command of gantry admin lists what is.
func orList(err error, command string) error {
	if fault.Is(err, fault.NotFound) {
		return fmt.Errorf("%w\n  `gantry admin %s` shows what there is", operatorError(err), command)
	}
	return err
}

// operator is who acts: whoever may write the database may do this much.
func operator(what string, ps ...access.Permission) access.Subject {
	return access.As("gantry admin "+what, ps...)
}

// pages reads a list to its end.
func pages[T any](read func(page.Request) (page.Page[T], error)) ([]T, error) {
	all := []T{}
	for r := (page.Request{First: page.MaxFirst}); ; {
		p, err := read(r)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if !p.More {
			return all, nil
		}
		r.After = p.End
	}
}

type adminKeyCmd struct {
	adminOptions `embed:""`
}

// Run makes the key. On data that were never used it is the first start's.
func (k *adminKeyCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return k.making(ctx, io, src, func(a *admin) error {
		made, err := a.member.AdminKey(ctx, member.BootstrapOptions{})
		if err != nil {
			return err
		}
		if k.JSON {
			return io.json(adminKeyOf(made))
		}
		io.printf("key           %s   (shown this once)\nservice user  %s\norganization  %s\n", made.Token.Reveal(), made.ServiceUserID, made.OrgID)
		return nil
	})
}

type adminRepoCmd struct {
	Add    adminRepoAddCmd    `cmd:"" help:"List a repository: https, ssh, or a file path below a --repo-root."`
	List   adminRepoListCmd   `cmd:"" help:"Show the repositories."`
	Remove adminRepoRemoveCmd `cmd:"" help:"Take a repository off the list."`
}

type adminRepoAddCmd struct {
	adminOptions `embed:""`
	RepoRoot     []string `help:"Directory below which file repositories may lie; may be repeated." placeholder:"DIR" sep:"," type:"path" env:"GANTRY_REPO_ROOT"`
	Connection   string   `help:"Id or name of the git connection it belongs to. Default: none, and every organization may use it." placeholder:"CONNECTION"`
	Name         string   `arg:"" help:"Name that sessions use, like owner/name."`
	Address      string   `arg:"" name:"url" help:"https://…, ssh://…, git@host:path, file:///path, or a path."`
}

// Run lists a repository.
func (r *adminRepoAddCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	if isPath(r.Address) {
		root, err := worktree(r.Address)
		if err != nil {
			return err
		}
		r.Address = "file://" + root
	}
	return r.making(ctx, io, src, func(a *admin) error {
		connection, err := a.connection(ctx, r.Connection)
		if err != nil {
			return err
		}
		got, err := a.forge(r.RepoRoot...).Add(ctx, operator("repo add", access.ManageGitIntegrations), connection, r.Name, r.Address)
		if err != nil {
			return err
		}
		return printRepositories(io, r.JSON, []forge.Repository{got})
	})
}

type adminRepoListCmd struct {
	adminOptions `embed:""`
	Connection   string `help:"Id or name of the git connection whose repositories to show. Default: those that every organization may use." placeholder:"CONNECTION"`
}

// Run shows all repositories by name.
func (r *adminRepoListCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return r.with(ctx, io, src, func(a *admin) error {
		connection, err := a.connection(ctx, r.Connection)
		if err != nil {
			return err
		}
		all, err := pages(func(p page.Request) (page.Page[forge.Repository], error) {
			l, err := a.forge().ConnectionRepositories(ctx, operator("repo list", access.ViewGitIntegrations), forge.ListingParams{
				ConnectionID: connection, Page: p,
			})
			return l.Page, err
		})
		if err != nil {
			return err
		}
		return printRepositories(io, r.JSON, all)
	})
}

func printRepositories(io *stdio, asJSON bool, all []forge.Repository) error {
	if asJSON {
		type row struct {
			Name string `json:"name"`
			URL  string `json:"url"`
		}
		rows := make([]row, len(all))
		for i, r := range all {
			rows[i] = row{r.Name, r.URL}
		}
		return io.json(rows)
	}
	rows := make([][]string, len(all))
	for i, r := range all {
		rows[i] = []string{r.Name, r.URL}
	}
	return io.table([]string{"NAME", "URL"}, rows)
}

type adminRepoRemoveCmd struct {
	adminOptions `embed:""`
	Connection   string `help:"Id or name of the git connection it belongs to. Default: none." placeholder:"CONNECTION"`
	Name         string `arg:"" help:"Name of the repository."`
}

// Run takes a repository off the list.
func (r *adminRepoRemoveCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return r.with(ctx, io, src, func(a *admin) error {
		connection, err := a.connection(ctx, r.Connection)
		if err != nil {
			return err
		}
		list := "repo list"
		if r.Connection != "" {
			list += " --connection " + r.Connection
		}
		return orList(a.forge().Remove(ctx, operator("repo remove", access.ManageGitIntegrations), connection, r.Name), list)
	})
}
