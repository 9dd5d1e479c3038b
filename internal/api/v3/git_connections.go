package v3

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerGitConnections) }

// GitProviderType says what a connection is: the contract's kinds, and two of Gantry's own (gitea_token for Gitea and Forgejo, git for
// repositories that an operator lists).
type GitProviderType string

// Schema lists every kind.
func (GitProviderType) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "The kind of connection. gitea_token (Gitea, Forgejo) and git (repositories that an operator lists) are Gantry's own."}
	for _, p := range forge.Providers() {
		s.Enum = append(s.Enum, string(p))
	}
	s.PrecomputeMessages()
	return s
}

// GitConnectionResponse is a git connection (contract/behaviour.md §9.1).
type GitConnectionResponse struct {
	GitConnectionID string          `json:"git_connection_id"`
	GitProviderType GitProviderType `json:"git_provider_type"`
	Host            string          `json:"host" doc:"The provider's host; * for the operator's list, which has many."`
	Name            *string         `json:"name"`
	CreatedAt       int64           `json:"created_at" doc:"Unix time in seconds (UTC)."`
}

// GitConnectionRepositoryResponse is a repository that a connection shows.
type GitConnectionRepositoryResponse struct {
	ProviderRepositoryID string  `json:"provider_repository_id"`
	GitConnectionID      string  `json:"git_connection_id"`
	GitConnectionHost    string  `json:"git_connection_host"`
	RepoName             string  `json:"repo_name"`
	RepoPath             string  `json:"repo_path"`
	RepoDescription      *string `json:"repo_description"`
	RepoLanguage         *string `json:"repo_language"`
	LastUpdatedAt        *int64  `json:"last_updated_at" doc:"Unix time in seconds (UTC), as the provider says."`
}

func gitConnectionOf(c forge.Connection) GitConnectionResponse {
	return GitConnectionResponse{
		GitConnectionID: c.ID, GitProviderType: GitProviderType(c.Provider), Host: c.Host, Name: &c.Name, CreatedAt: c.CreatedAt.Unix(),
	}
}

func gitRepositoryOf(r forge.Repository, host string) GitConnectionRepositoryResponse {
	out := GitConnectionRepositoryResponse{
		ProviderRepositoryID: r.ProviderID, GitConnectionID: r.ConnectionID, GitConnectionHost: host, RepoName: r.Base(), RepoPath: r.Path,
		RepoDescription: kit.NullText(r.Description), RepoLanguage: kit.NullText(r.Language),
	}
	if !r.UpdatedAt.IsZero() {
		at := r.UpdatedAt.Unix()
		out.LastUpdatedAt = &at
	}
	return out
}

// gitReads may read connections and permissions (contract/behaviour.md §2.2).
var gitReads = []access.Permission{access.ManageGitIntegrations, access.ViewGitIntegrations}

func gitOp(id, method, path, summary, description string, any ...access.Permission) kit.Op {
	return kit.Op{
		Operation: huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{"git"}, Summary: summary, Description: description},
		Any:       any, Enterprise: true,
	}
}

// ShortPage is kit.PageInput on the lists of at most 100 (contract/v3-rules.md, lists).
type ShortPage struct {
	First int    `query:"first" minimum:"1" maximum:"100" default:"100" doc:"How many items at most."`
	After string `query:"after" maxLength:"2048" doc:"The end_cursor of the page before."`
}

func (p ShortPage) page() kit.PageInput { return kit.PageInput{First: p.First, After: p.After} }

// GitConnectionRepositoriesPage is a page with how sure it is.
type GitConnectionRepositoriesPage struct {
	Age   string `header:"Age" doc:"How many seconds ago the provider said so; left out where an operator lists the repositories."`
	Error string `header:"X-Gantry-Provider-Error" doc:"Why the provider couldn't be asked since; left out when it could."`
	Body  kit.Page[GitConnectionRepositoryResponse]
}

func registerGitConnections(a *kit.API, rooms Rooms) {
	type listOutput struct {
		Body kit.Page[GitConnectionResponse]
	}
	kit.Register(a, gitOp("listGitConnections", http.MethodGet, "/v3/enterprise/git-providers/connections", "List git connections", "Oldest first.",
		gitReads...), func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*listOutput, error) {
		r, err := kit.OpenPage(ctx, in.PageInput)
		if err != nil {
			return nil, err
		}
		p, err := rooms.Forge.Connections(ctx, s, r)
		if err != nil {
			return nil, err
		}
		return &listOutput{Body: kit.ClosePage(ctx, p, gitConnectionOf)}, nil
	})

	type repositoriesInput struct {
		ShortPage
		ConnectionID string               `path:"connection_id" maxLength:"64"`
		FilterName   kit.Optional[string] `query:"filter_name" maxLength:"256" doc:"Part of the path, case ignored."`
	}
	repositories := gitOp("listGitConnectionRepositories", http.MethodGet, "/v3/enterprise/git-providers/connections/{connection_id}/repositories",
		"List a git connection's repositories",
		"By path. What the provider said is kept and asked again when it is older than five minutes; while it is away the kept answer stands.",
		gitReads...)
	kit.Register(a, repositories, func(ctx context.Context, s access.Subject, in *repositoriesInput) (*GitConnectionRepositoriesPage, error) {
		r, err := kit.OpenPage(ctx, in.page())
		if err != nil {
			return nil, err
		}
		l, err := rooms.Forge.ConnectionRepositories(ctx, s, forge.ListingParams{ConnectionID: in.ConnectionID, Page: r, Name: in.FilterName.Or("")})
		if err != nil {
			return nil, err
		}
		out := &GitConnectionRepositoriesPage{
			Error: l.Failed,
			Body: kit.ClosePage(ctx, l.Page, func(r forge.Repository) GitConnectionRepositoryResponse {
				return gitRepositoryOf(r, l.ShownHost(r))
			}),
		}
		if !l.Connection.ListedAt.IsZero() {
			out.Age = strconv.FormatInt(int64(l.Age/time.Second), 10)
		}
		return out, nil
	})
}
