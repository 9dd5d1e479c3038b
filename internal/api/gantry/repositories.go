package gantry

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerRepositories) }

// Repository is one that sessions may name in repos. It belongs to a git connection of the type git, or to the operator's list, which
// every organization may use.
type Repository struct {
	Name            string `json:"name" minLength:"1" maxLength:"300"`
	URL             string `json:"url" minLength:"1" maxLength:"2083"`
	GitConnectionID string `json:"git_connection_id,omitempty" maxLength:"64" doc:"Left out for the operator's list."`
}

type repositoryOutput struct{ Body Repository }

type repositoriesOutput struct{ Body kit.Page[Repository] }

func registerRepositories(a *kit.API, rooms Rooms) {
	op := func(name, method, path, summary string, p access.Permission) kit.Op {
		return kit.Op{Operation: huma.Operation{
			OperationID: name, Method: method, Path: "/gantry/v1/repositories" + path, Summary: summary, Tags: []string{"repositories"},
			DefaultStatus: http.StatusOK,
		}, Any: []access.Permission{p}, Enterprise: true}
	}
	add := op("addRepository", http.MethodPost, "", "Add a repository that sessions may use", access.ManageGitIntegrations)
	add.Creates = true
	kit.Register(a, add, func(ctx context.Context, s access.Subject, in *struct{ Body Repository }) (*repositoryOutput, error) {
		connection := forge.Listed
		if in.Body.GitConnectionID != "" {
			connection = in.Body.GitConnectionID
		}
		r, err := rooms.Forge.Add(ctx, s, connection, in.Body.Name, in.Body.URL)
		if err != nil {
			return nil, err
		}
		return &repositoryOutput{Body: wireRepository(r)}, nil
	})
	kit.Register(a, op("listRepositories", http.MethodGet, "", "List the repositories that every organization may use", access.ViewGitIntegrations),
		func(ctx context.Context, s access.Subject, in *kit.PageInput) (*repositoriesOutput, error) {
			r, err := kit.OpenPage(ctx, *in)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Forge.List(ctx, s, r)
			if err != nil {
				return nil, err
			}
			return &repositoriesOutput{Body: kit.ClosePage(ctx, p, wireRepository)}, nil
		})
}

func wireRepository(r forge.Repository) Repository {
	out := Repository{Name: r.Name, URL: r.URL}
	if r.ConnectionID != forge.Listed {
		out.GitConnectionID = r.ConnectionID
	}
	return out
}
