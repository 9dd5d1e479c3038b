package v3

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerGitPermissions) }

// GitPermissionResponse lets an organization use part of a connection: exactly one of the three scopes isn't null.
type GitPermissionResponse struct {
	GitPermissionID string  `json:"git_permission_id"`
	GitConnectionID string  `json:"git_connection_id"`
	RepoPath        *string `json:"repo_path"`
	GroupPrefix     *string `json:"group_prefix"`
	PrefixPath      *string `json:"prefix_path"`
	ReadOnly        bool    `json:"read_only"`
	CreatedAt       *int64  `json:"created_at" doc:"Unix time in seconds (UTC)."`
}

// GitPermissionCreateRequest names exactly one scope (contract/behaviour.md §9.2).
type GitPermissionCreateRequest struct {
	GitConnectionID string               `json:"git_connection_id" maxLength:"64"`
	RepoPath        kit.Optional[string] `json:"repo_path,omitempty" doc:"One repository, by its whole path."`
	GroupPrefix     kit.Optional[string] `json:"group_prefix,omitempty" doc:"A namespace without a slash at its end: everything below it."`
	PrefixPath      kit.Optional[string] `json:"prefix_path,omitempty" doc:"Everything whose path begins so."`
	ReadOnly        bool                 `json:"read_only,omitempty" default:"false" doc:"Refuses pushes, unless another permission allows them."`
}

// GitPermissionBulkCreateRequest is a list of permissions: all are made, or none.
type GitPermissionBulkCreateRequest struct {
	Permissions []GitPermissionCreateRequest `json:"permissions" nullable:"false" maxItems:"200"`
}

// GitPermissionUpdateRequest changes read_only; absent or null keeps it.
type GitPermissionUpdateRequest struct {
	ReadOnly kit.Optional[bool] `json:"read_only,omitempty"`
}

func gitPermissionOf(p forge.Permission) GitPermissionResponse {
	at := p.CreatedAt.Unix()
	out := GitPermissionResponse{GitPermissionID: p.ID, GitConnectionID: p.ConnectionID, ReadOnly: p.ReadOnly, CreatedAt: &at}
	switch p.Scope {
	case forge.ScopeRepo:
		out.RepoPath = &p.Value
	case forge.ScopeGroup:
		out.GroupPrefix = &p.Value
	case forge.ScopePrefix:
		out.PrefixPath = &p.Value
	}
	return out
}

func (r GitPermissionBulkCreateRequest) params() []forge.PermissionParams {
	out := make([]forge.PermissionParams, len(r.Permissions))
	for i, p := range r.Permissions {
		out[i] = forge.PermissionParams{
			ConnectionID: p.GitConnectionID, RepoPath: p.RepoPath.Ptr(), GroupPrefix: p.GroupPrefix.Ptr(), PrefixPath: p.PrefixPath.Ptr(),
			ReadOnly: p.ReadOnly,
		}
	}
	return out
}

type gitPermissionsOutput struct {
	Body []GitPermissionResponse `nullable:"false"`
}

func gitPermissionsAnswer(list []forge.Permission, err error) (*gitPermissionsOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &gitPermissionsOutput{Body: make([]GitPermissionResponse, len(list))}
	for i, p := range list {
		out.Body[i] = gitPermissionOf(p)
	}
	return out, nil
}

type gitPermissionOutput struct{ Body GitPermissionResponse }

func gitPermissionAnswer(p forge.Permission, err error) (*gitPermissionOutput, error) {
	if err != nil {
		return nil, err
	}
	return &gitPermissionOutput{Body: gitPermissionOf(p)}, nil
}

// GitPermissionPath names a permission of an organization.
type GitPermissionPath struct {
	OrgInput
	GitPermissionID string `path:"git_permission_id" maxLength:"64"`
}

func registerGitPermissions(a *kit.API, rooms Rooms) {
	const path = "/v3/enterprise/organizations/{org_id}/git-providers/permissions"
	type listOutput struct {
		Body kit.Page[GitPermissionResponse]
	}
	type listInput struct {
		OrgInput
		kit.PageInput
	}
	type bulkInput struct {
		OrgInput
		Body GitPermissionBulkCreateRequest
	}
	kit.Register(a, gitOp("listOrgGitPermissions", http.MethodGet, path, "List an organization's git permissions", "Oldest first.", gitReads...),
		func(ctx context.Context, s access.Subject, in *listInput) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, in.PageInput)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Forge.Permissions(ctx, s, in.OrgID, r)
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, p, gitPermissionOf)}, nil
		})

	create := gitOp("createOrgGitPermissions", http.MethodPost, path, "Add git permissions",
		"Up to 200, all or none. One that the organization has already is a conflict.", access.ManageGitIntegrations)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *bulkInput) (*gitPermissionsOutput, error) {
		return gitPermissionsAnswer(rooms.Forge.AddPermissions(ctx, s, in.OrgID, in.Body.params()))
	})

	kit.Register(a, gitOp("replaceOrgGitPermissions", http.MethodPut, path, "Replace all git permissions",
		"The body becomes the whole set. What is in both keeps its id.", access.ManageGitIntegrations),
		func(ctx context.Context, s access.Subject, in *bulkInput) (*gitPermissionsOutput, error) {
			return gitPermissionsAnswer(rooms.Forge.ReplacePermissions(ctx, s, in.OrgID, in.Body.params()))
		})

	kit.Register(a, gitOp("clearOrgGitPermissions", http.MethodDelete, path, "Remove all git permissions", "Answers with those removed.",
		access.ManageGitIntegrations), func(ctx context.Context, s access.Subject, in *OrgInput) (*gitPermissionsOutput, error) {
		return gitPermissionsAnswer(rooms.Forge.ClearPermissions(ctx, s, in.OrgID))
	})

	type updateInput struct {
		GitPermissionPath
		Body GitPermissionUpdateRequest
	}
	kit.Register(a, gitOp("updateOrgGitPermission", http.MethodPatch, path+"/{git_permission_id}", "Change read_only of a git permission",
		"Nothing else of it can change.", access.ManageGitIntegrations),
		func(ctx context.Context, s access.Subject, in *updateInput) (*gitPermissionOutput, error) {
			return gitPermissionAnswer(rooms.Forge.UpdatePermission(ctx, s, in.OrgID, in.GitPermissionID, in.Body.ReadOnly.Ptr()))
		})

	kit.Register(a, gitOp("deleteOrgGitPermission", http.MethodDelete, path+"/{git_permission_id}", "Remove a git permission",
		"The next clone, fetch or push that needs it is refused. Answers with the permission.", access.ManageGitIntegrations),
		func(ctx context.Context, s access.Subject, in *GitPermissionPath) (*gitPermissionOutput, error) {
			return gitPermissionAnswer(rooms.Forge.DeletePermission(ctx, s, in.OrgID, in.GitPermissionID))
		})
}
