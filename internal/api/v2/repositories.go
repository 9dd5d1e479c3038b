package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
)

func init() { registrations = append(registrations, registerRepositories) }

// BulkIndexRequest names the repositories to be indexed.
type BulkIndexRequest struct {
	OrgID     string   `json:"org_id" maxLength:"256"`
	RepoNames []string `json:"repo_names"`
}

// IndexJob is a run of the index.
type IndexJob struct {
	_ struct{} `nullable:"true"`

	JobID     string `json:"job_id"`
	CreatedAt string `json:"created_at"`
	Commit    string `json:"commit"`
	Status    string `json:"status"`
}

// RepositoryIndexStatus is how far a repository is indexed. Gantry keeps which repositories are to be indexed and has no index yet, so
// its jobs are null.
type RepositoryIndexStatus struct {
	Name                          string    `json:"name"`
	IndexingEnabled               bool      `json:"indexing_enabled"`
	LatestIndex                   *IndexJob `json:"latest_index"`
	LatestCompletedSearchIndexJob *IndexJob `json:"latest_completed_search_index_job"`
	LatestCompletedWikiIndexJob   *IndexJob `json:"latest_completed_wiki_index_job"`
}

type indexStatusOutput struct{ Body []RepositoryIndexStatus }

func registerRepositories(a *kit.API, rooms Rooms) {
	const tag, path = "repositories", betaPrefix + "/repositories"
	type indexInput struct{ Body BulkIndexRequest }
	kit.Register(a, op("bulkIndexRepositories", http.MethodPost, path+"/bulk-index", "Have repositories indexed", tag, ""),
		func(ctx context.Context, who access.Subject, in *indexInput) (*successOutput, error) {
			there, err := rooms.Orgs.Exists(ctx, in.Body.OrgID)
			if err != nil {
				return nil, err
			}
			if in.Body.OrgID == "" || !there {
				return nil, fault.New(fault.BadRequest, "org_id: no such organization")
			}
			err = rooms.Forge.EnableIndexing(ctx, who, in.Body.OrgID, in.Body.RepoNames)
			return success(older.Names{"repos": "repo_names"}.Fault(err))
		})
	kit.Register(a, op("listIndexedRepositories", http.MethodGet, path+"/{org_id}", "Read how far an organization's repositories are indexed", tag, ""),
		func(ctx context.Context, who access.Subject, in *OrgPath) (*indexStatusOutput, error) {
			all, err := rooms.Forge.Indexed(ctx, who, in.OrgID)
			if err != nil {
				return nil, err
			}
			out := &indexStatusOutput{Body: make([]RepositoryIndexStatus, len(all))}
			for i, r := range all {
				out.Body[i] = RepositoryIndexStatus{Name: r.Name, IndexingEnabled: true}
			}
			return out, nil
		})
}
