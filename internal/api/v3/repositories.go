package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerOrgRepositories) }

// RepositoryResponse is a repository that an organization may use.
type RepositoryResponse struct {
	GitConnectionRepositoryResponse
	IndexingStatus *RepoIndexingStatus `json:"indexing_status" doc:"Filled only when load_indexing_status is true."`
}

// RepoIndexingStatus says that nothing is indexed: this release has no index.
type RepoIndexingStatus struct {
	_ struct{} `nullable:"true"`

	IndexingEnabled               bool                `json:"indexing_enabled"`
	LatestIndexes                 []RepoIndexJob      `json:"latest_indexes" nullable:"false"`
	LatestCompletedSearchIndexJob *RepoLatestIndexJob `json:"latest_completed_search_index_job"`
	LatestCompletedWikiIndexJob   *RepoLatestIndexJob `json:"latest_completed_wiki_index_job"`
}

// RepoIndexJob is one run of an index.
type RepoIndexJob struct {
	JobID      string  `json:"job_id"`
	Status     string  `json:"status" enum:"in_progress,completed,failed"`
	BranchName *string `json:"branch_name"`
	Commit     string  `json:"commit"`
	CreatedAt  int64   `json:"created_at"`
}

// RepoLatestIndexJob is a run of an index, or null.
type RepoLatestIndexJob struct {
	_ struct{} `nullable:"true"`

	RepoIndexJob
}

// OrgRepositoriesInput is the query of the list.
type OrgRepositoriesInput struct {
	OrgInput
	ShortPage
	FilterName         kit.Optional[string] `query:"filter_name" maxLength:"256" doc:"Part of the path, case ignored."`
	OnlyRepoPaths      []string             `query:"only_repo_paths,explode" doc:"Only these paths."`
	ExcludeRepoPaths   []string             `query:"exclude_repo_paths,explode" doc:"Not these paths."`
	LoadIndexingStatus bool                 `query:"load_indexing_status" default:"true"`
}

func registerOrgRepositories(a *kit.API, rooms Rooms) {
	type listOutput struct {
		Body kit.Page[RepositoryResponse]
	}
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "listRepositories", Method: http.MethodGet, Path: "/v3beta1/organizations/{org_id}/repositories",
			Tags: []string{"repositories"}, Summary: "List the repositories an organization may use",
			Description: "What operators list for everybody, and what the organization's git permissions cover, by connection and path.",
		},
		Any: []access.Permission{access.ViewOrgRepositories},
	}, func(ctx context.Context, s access.Subject, in *OrgRepositoriesInput) (*listOutput, error) {
		r, err := kit.OpenPage(ctx, in.page())
		if err != nil {
			return nil, err
		}
		p, err := rooms.Forge.Usable(ctx, s, forge.UsableParams{
			OrgID: in.OrgID, Page: r, Name: in.FilterName.Or(""), Only: in.OnlyRepoPaths, Exclude: in.ExcludeRepoPaths,
		})
		if err != nil {
			return nil, err
		}
		return &listOutput{Body: kit.ClosePage(ctx, p, func(r forge.UsableRepository) RepositoryResponse {
			out := RepositoryResponse{GitConnectionRepositoryResponse: gitRepositoryOf(r.Repository, r.Host)}
			if in.LoadIndexingStatus {
				out.IndexingStatus = &RepoIndexingStatus{LatestIndexes: []RepoIndexJob{}}
			}
			return out
		})}, nil
	})
}
