package gantry

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/kit"
	"gantry/internal/platform/secret"
)

func init() { registrations = append(registrations, registerGitConnections) }

// GitProviderType says what a connection is.
type GitProviderType string

// Schema lists every kind.
func (GitProviderType) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "github_app can't be made: its key isn't a token. gitea_token is for Gitea and Forgejo, git for repositories that an operator lists."}
	for _, p := range forge.Providers() {
		s.Enum = append(s.Enum, string(p))
	}
	s.PrecomputeMessages()
	return s
}

// GitConnection is a git connection. Its token is never shown.
type GitConnection struct {
	GitConnectionID string          `json:"git_connection_id"`
	Name            string          `json:"name"`
	GitProviderType GitProviderType `json:"git_provider_type"`
	Host            string          `json:"host"`
	URL             *string         `json:"url" doc:"Where the provider is; null for plain git."`
	Username        *string         `json:"username"`
	KnownHosts      *string         `json:"known_hosts"`
	HasToken        bool            `json:"has_token"`
	BuiltIn         bool            `json:"built_in" doc:"The operator's list, which every organization may use."`
	CreatedAt       int64           `json:"created_at" doc:"Unix time in seconds (UTC)."`
	UpdatedAt       int64           `json:"updated_at" doc:"Unix time in seconds (UTC)."`
	ListedAt        *int64          `json:"listed_at" doc:"When the provider last told all its repositories; Unix time in seconds (UTC)."`
	ListError       *string         `json:"list_error" doc:"Why it couldn't be asked the last time; null when it could."`
}

// GitConnectionCreate makes a connection.
type GitConnectionCreate struct {
	Name            string               `json:"name" minLength:"1" maxLength:"256"`
	GitProviderType GitProviderType      `json:"git_provider_type"`
	Host            string               `json:"host" minLength:"1" maxLength:"253" doc:"As in github.com, with a port if need be."`
	URL             kit.Optional[string] `json:"url,omitempty" maxLength:"2048" doc:"Where the provider is, when that isn't https://HOST. Azure DevOps needs its organization in it; Bitbucket Cloud may have a workspace."`
	Token           kit.Optional[string] `json:"token,omitempty" maxLength:"16384" doc:"A token; for git a password, or an ssh private key in PEM. It is kept encrypted and never shown."`
	Username        kit.Optional[string] `json:"username,omitempty" maxLength:"256" doc:"What goes with the token as git's user name, where the provider wants one of its own."`
	KnownHosts      kit.Optional[string] `json:"known_hosts,omitempty" maxLength:"65536" doc:"The host's ssh keys as in OpenSSH's known_hosts file; a private key needs them."`
}

// GitConnectionUpdate is a merge patch: absent keeps, null clears. A name can't be cleared, so null keeps it.
type GitConnectionUpdate struct {
	Name       kit.Optional[string] `json:"name,omitempty" minLength:"1" maxLength:"256"`
	Token      kit.Optional[string] `json:"token,omitempty" maxLength:"16384"`
	Username   kit.Optional[string] `json:"username,omitempty" maxLength:"256"`
	KnownHosts kit.Optional[string] `json:"known_hosts,omitempty" maxLength:"65536"`
}

func wireConnection(c forge.Connection) GitConnection {
	out := GitConnection{
		GitConnectionID: c.ID, Name: c.Name, GitProviderType: GitProviderType(c.Provider), Host: c.Host, URL: kit.NullText(c.URL),
		Username: kit.NullText(c.Username), KnownHosts: kit.NullText(c.KnownHosts), HasToken: c.HasToken, BuiltIn: c.BuiltIn,
		CreatedAt: c.CreatedAt.Unix(), UpdatedAt: c.UpdatedAt.Unix(), ListError: kit.NullText(c.ListError),
	}
	if !c.ListedAt.IsZero() {
		at := c.ListedAt.Unix()
		out.ListedAt = &at
	}
	return out
}

type gitConnectionOutput struct{ Body GitConnection }

func gitConnectionAnswer(c forge.Connection, err error) (*gitConnectionOutput, error) {
	if err != nil {
		return nil, err
	}
	return &gitConnectionOutput{Body: wireConnection(c)}, nil
}

// GitConnectionPath names a connection.
type GitConnectionPath struct {
	GitConnectionID string `path:"git_connection_id" maxLength:"64"`
}

// cleared gives a member's value, empty for null, and nil when it was absent.
func cleared(o kit.Optional[string]) *string {
	if !o.Set {
		return nil
	}
	v := o.Or("")
	return &v
}

func registerGitConnections(a *kit.API, rooms Rooms) {
	op := func(name, method, path, summary, description string, p access.Permission) kit.Op {
		return kit.Op{Operation: huma.Operation{
			OperationID: name, Method: method, Path: "/gantry/v1/git-connections" + path, Summary: summary, Description: description,
			Tags: []string{"git"}, DefaultStatus: http.StatusOK,
		}, Any: []access.Permission{p}, Enterprise: true}
	}
	const one = "/{git_connection_id}"
	create := op("createGitConnection", http.MethodPost, "", "Make a git connection", "Grant it to organizations with git permissions of v3.",
		access.ManageGitIntegrations)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body GitConnectionCreate }) (*gitConnectionOutput, error) {
		b := in.Body
		return gitConnectionAnswer(rooms.Forge.CreateConnection(ctx, s, forge.ConnectionParams{
			Name: b.Name, Provider: forge.Provider(b.GitProviderType), Host: b.Host, URL: b.URL.Or(""), Username: b.Username.Or(""),
			KnownHosts: b.KnownHosts.Or(""), Token: secret.New(b.Token.Or("")),
		}))
	})

	type listOutput struct{ Body kit.Page[GitConnection] }
	kit.Register(a, op("listGitConnections", http.MethodGet, "", "List git connections", "Oldest first.", access.ViewGitIntegrations),
		func(ctx context.Context, s access.Subject, in *kit.PageInput) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, *in)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Forge.Connections(ctx, s, r)
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, p, wireConnection)}, nil
		})

	kit.Register(a, op("getGitConnection", http.MethodGet, one, "Read a git connection", "", access.ViewGitIntegrations),
		func(ctx context.Context, s access.Subject, in *GitConnectionPath) (*gitConnectionOutput, error) {
			return gitConnectionAnswer(rooms.Forge.Connection(ctx, s, in.GitConnectionID))
		})

	type updateInput struct {
		GitConnectionPath
		Body GitConnectionUpdate
	}
	kit.Register(a, op("updateGitConnection", http.MethodPatch, one, "Change a git connection's name or token",
		"Merge patch: absent members stay, null clears a token.", access.ManageGitIntegrations),
		func(ctx context.Context, s access.Subject, in *updateInput) (*gitConnectionOutput, error) {
			p := forge.ConnectionUpdate{
				ID: in.GitConnectionID, Name: in.Body.Name.Ptr(), Username: cleared(in.Body.Username), KnownHosts: cleared(in.Body.KnownHosts),
			}
			if t := cleared(in.Body.Token); t != nil {
				token := secret.New(*t)
				p.Token = &token
			}
			return gitConnectionAnswer(rooms.Forge.UpdateConnection(ctx, s, p))
		})

	kit.Register(a, op("refreshGitConnection", http.MethodPost, one+"/refresh", "Ask a provider for its repositories now",
		"Answers when they are listed; 503 when the provider is away or that takes long, 409 when it refuses.", access.ManageGitIntegrations),
		func(ctx context.Context, s access.Subject, in *GitConnectionPath) (*gitConnectionOutput, error) {
			return gitConnectionAnswer(rooms.Forge.RefreshConnection(ctx, s, in.GitConnectionID))
		})

	kit.Register(a, op("deleteGitConnection", http.MethodDelete, one, "Delete a git connection",
		"Its permissions go with it. Answers with the connection.", access.ManageGitIntegrations),
		func(ctx context.Context, s access.Subject, in *GitConnectionPath) (*gitConnectionOutput, error) {
			return gitConnectionAnswer(rooms.Forge.DeleteConnection(ctx, s, in.GitConnectionID))
		})
}
