package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/platform/config"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

type adminGitConnectionCmd struct {
	Add    adminGitConnectionAddCmd    `cmd:"" help:"Make a connection to a git provider or host. Organizations get at it by git permissions."`
	List   adminGitConnectionListCmd   `cmd:"" help:"Show the connections, without their tokens."`
	Remove adminGitConnectionRemoveCmd `cmd:"" help:"End a connection and the permissions on it."`
}

type adminGitConnectionAddCmd struct {
	adminOptions `embed:""`
	Provider     string `help:"github, gitlab, bitbucket, azure, gitea (Forgejo too), git for a host without an API, or one of the API's names for git_provider_type." default:"github" placeholder:"PROVIDER"`
	Host         string `help:"Host of the provider. Default: that of --url, or the provider's own." placeholder:"HOST"`
	URL          string `name:"url" help:"Where the provider is, when that isn't https://HOST; for azure https://dev.azure.com/ORGANIZATION." placeholder:"URL"`
	TokenFile    string `help:"File with the token, or for git the password or ssh private key; - for standard input." placeholder:"FILE"`
	Username     string `help:"User name that goes with the token, where the provider wants one of its own." placeholder:"NAME"`
	KnownHosts   string `help:"File with the host's ssh keys, as ssh-keyscan shows them; a private key needs it." placeholder:"FILE" type:"existingfile"`
	Name         string `arg:"" help:"Name of the connection."`
}

// shortProviders are the names that people know the providers by.
var shortProviders = map[string]forge.Provider{
	"github": forge.GitHubToken, "gitlab": forge.GitLabToken, "bitbucket": forge.BitbucketToken, "azure": forge.AzureDevOps,
	"gitea": forge.GiteaToken, "forgejo": forge.GiteaToken,
}

// Run makes a connection.
func (c *adminGitConnectionAddCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	p := forge.ConnectionParams{Name: c.Name, Provider: forge.Provider(c.Provider), Host: c.Host, URL: c.URL, Username: c.Username}
	if known, ok := shortProviders[c.Provider]; ok {
		p.Provider = known
	}
	if p.Host == "" {
		p.Host = hostOf(p.Provider, c.URL)
	}
	if p.Host == "" {
		return fmt.Errorf("--host names the host of a %s connection", c.Provider)
	}
	var err error
	if p.Token, err = readToken(io, c.TokenFile); err != nil {
		return err
	}
	if c.KnownHosts != "" {
		text, err := os.ReadFile(c.KnownHosts)
		if err != nil {
			return err
		}
		p.KnownHosts = string(text)
	}
	return c.making(ctx, io, src, func(a *admin) error {
		made, err := a.forge().CreateConnection(ctx, operator("git-connection add", access.ManageGitIntegrations), p)
		if err != nil {
			return err
		}
		if c.JSON {
			return io.json(connectionRow(made))
		}
		io.printf("connection  %s\n\nGrant it: POST /v3/enterprise/organizations/ORG_ID/git-providers/permissions\n", made.ID)
		if made.Provider == forge.Plain {
			io.printf("List what is there: gantry admin repo add --connection %s NAME URL\n", made.ID)
		}
		return nil
	})
}

// forge is the room with what an operator needs of it.
func (a *admin) forge(roots ...string) *forge.Service {
	return forge.New(a.DB, forge.Options{Keeper: a.Keeper, FileRoots: roots})
}

func hostOf(p forge.Provider, address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return forge.CloudHost(p)
}

// readToken reads a token from where no process list and no shell's history shows it.
func readToken(s *stdio, file string) (secret.String, error) {
	const most = 64 << 10
	in := s.in
	switch file {
	case "":
		return secret.String{}, nil
	case "-":
	default:
		f, err := os.Open(file)
		if err != nil {
			return secret.String{}, err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	return secret.New(strings.TrimSpace(string(text))), err
}

// connectionLine is a connection as scripts read it.
type connectionLine struct {
	ID       string         `json:"git_connection_id"`
	Name     string         `json:"name"`
	Provider forge.Provider `json:"git_provider_type"`
	Host     string         `json:"host"`
	HasToken bool           `json:"has_token"`
	ListedAt *int64         `json:"listed_at"`
	Error    string         `json:"list_error,omitempty"`
}

func connectionRow(c forge.Connection) connectionLine {
	return connectionLine{c.ID, c.Name, c.Provider, c.Host, c.HasToken, unixOrNull(c.ListedAt), c.ListError}
}

type adminGitConnectionListCmd struct {
	adminOptions `embed:""`
}

// Run shows the connections, oldest first.
func (c *adminGitConnectionListCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		all, err := a.connections(ctx)
		if err != nil {
			return err
		}
		rows, lines := make([]connectionLine, len(all)), make([][]string, len(all))
		for i, con := range all {
			rows[i] = connectionRow(con)
			token := "no"
			if con.HasToken {
				token = "yes"
			}
			lines[i] = []string{con.ID, con.Name, string(con.Provider), con.Host, token, dateOr(con.ListedAt, "-"), orText(con.ListError, "-")}
		}
		if c.JSON {
			return io.json(rows)
		}
		return io.table([]string{"ID", "NAME", "TYPE", "HOST", "TOKEN", "LISTED", "LAST ERROR"}, lines)
	})
}

func (a *admin) connections(ctx context.Context) ([]forge.Connection, error) {
	return pages(func(r page.Request) (page.Page[forge.Connection], error) {
		return a.forge().Connections(ctx, operator("git-connection list", access.ViewGitIntegrations), r)
	})
}

// connection finds the connection that was named or given by id; none is the operator's own list.
func (a *admin) connection(ctx context.Context, given string) (string, error) {
	if given == "" {
		return forge.Listed, nil
	}
	all, err := a.connections(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, c := range all {
		if c.ID == given {
			return c.ID, nil
		}
		if c.Name == given {
			found = append(found, c.ID)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d git connections are named %q; `gantry admin git-connection list` shows all", len(found), given)
	}
	return found[0], nil
}

type adminGitConnectionRemoveCmd struct {
	adminOptions `embed:""`
	Connection   string `arg:"" help:"Id or name of the connection."`
}

// Run ends a connection.
func (c *adminGitConnectionRemoveCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.with(ctx, io, src, func(a *admin) error {
		id, err := a.connection(ctx, c.Connection)
		if err != nil {
			return err
		}
		_, err = a.forge().DeleteConnection(ctx, operator("git-connection remove", access.ManageGitIntegrations), id)
		return err
	})
}
