package v2

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/forge"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerGitPermissions) }

// GitPermissionRequest names exactly one scope on a connection: a prefix, a group or a repository. Groups and repositories are lists of
// the names in their path, or an address.
type GitPermissionRequest struct {
	ConnectionID   string               `json:"connection_id" maxLength:"256"`
	PrefixPath     kit.Optional[string] `json:"prefix_path,omitempty"`
	GroupPrefix    []string             `json:"group_prefix,omitempty" nullable:"true" maxItems:"50"`
	GroupPrefixURL kit.Optional[string] `json:"group_prefix_url,omitempty"`
	RepoPath       []string             `json:"repo_path,omitempty" nullable:"true" maxItems:"50"`
	RepoURL        kit.Optional[string] `json:"repo_url,omitempty"`
}

// GitPermissionResponse is a permission; exactly one of the three scopes isn't null.
type GitPermissionResponse struct {
	PermissionID string  `json:"permission_id"`
	Host         string  `json:"host"`
	PrefixPath   *string `json:"prefix_path"`
	GroupPrefix  *string `json:"group_prefix"`
	RepoPath     *string `json:"repo_path"`
}

// PermissionsCreatedSuccessResponse names what was made.
type PermissionsCreatedSuccessResponse struct {
	Status          string            `json:"status"`
	PermissionIDs   []string          `json:"permission_ids"`
	PermissionNames map[string]string `json:"permission_names" doc:"Permission id to repository or group path."`
	Provider        *string           `json:"provider,omitempty"`
	Repository      *string           `json:"repository,omitempty"`
	Permission      *string           `json:"permission,omitempty"`
}

// QuickPermissionRequest is the quick examples' form: one repository of the only connection to a provider.
type QuickPermissionRequest struct {
	Provider   string               `json:"provider" minLength:"1" maxLength:"64"`
	Repository string               `json:"repository" minLength:"1" maxLength:"300"`
	Permission kit.Optional[string] `json:"permission,omitempty" enum:"read,write,admin"`
}

// params turns an entry of a request's list into the room's. hosts are those of the connections, which an address must be on; names
// learns which of the two members for a scope was sent.
func (r GitPermissionRequest) params(i int, hosts map[string]string, names older.Names) (forge.PermissionParams, error) {
	p := forge.PermissionParams{ConnectionID: r.ConnectionID, PrefixPath: r.PrefixPath.Ptr()}
	for _, s := range []struct {
		name, urlName string
		into          **string
		path          []string
		where         kit.Optional[string]
	}{
		{"group_prefix", "group_prefix_url", &p.GroupPrefix, r.GroupPrefix, r.GroupPrefixURL},
		{"repo_path", "repo_url", &p.RepoPath, r.RepoPath, r.RepoURL},
	} {
		switch {
		case s.path != nil && s.where.Has():
			return p, fault.InvalidField(fmt.Sprintf("%d.%s", i, s.name), "give the path or the address, not both")
		case s.path != nil:
			*s.into = new(strings.Join(s.path, "/"))
		case s.where.Has():
			host, path, ok := split(s.where.Value)
			if !ok {
				return p, fault.InvalidField(fmt.Sprintf("%d.%s", i, s.urlName), "must be an address with a path")
			}
			if known, ok := hosts[r.ConnectionID]; ok && host != hostname(known) {
				return p, fault.InvalidField(fmt.Sprintf("%d.%s", i, s.urlName), "must be on the connection's host %s", known)
			}
			*s.into = &path
			names[fmt.Sprintf("permissions.%d.%s", i, s.name)] = fmt.Sprintf("%d.%s", i, s.urlName)
		}
	}
	return p, nil
}

// split takes an address apart: its host, without a port, and the path below it.
func split(address string) (host, path string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return "", "", false
	}
	path = strings.Trim(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	return strings.ToLower(u.Hostname()), path, path != ""
}

func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

func created(list []forge.Permission) PermissionsCreatedSuccessResponse {
	out := PermissionsCreatedSuccessResponse{Status: "success", PermissionIDs: make([]string, len(list)), PermissionNames: map[string]string{}}
	for i, p := range list {
		out.PermissionIDs[i] = p.ID
		out.PermissionNames[p.ID] = p.Value
	}
	return out
}

type gitPermissionsOutput struct{ Body List[GitPermissionResponse] }

type createdOutput struct {
	Body PermissionsCreatedSuccessResponse
}

// connections gives every git connection.
func (r Rooms) connections(ctx context.Context, who access.Subject) ([]forge.Connection, error) {
	return older.All(func(p page.Request) (page.Page[forge.Connection], error) { return r.Forge.Connections(ctx, who, p) })
}

// hosts gives the host of every git connection that has one.
func (r Rooms) hosts(ctx context.Context, who access.Subject) (map[string]string, error) {
	connections, err := r.connections(ctx, who)
	out := make(map[string]string, len(connections))
	for _, c := range connections {
		if !c.BuiltIn {
			out[c.ID] = c.Host
		}
	}
	return out, err
}

func registerGitPermissions(a *kit.API, rooms Rooms) {
	const tag, path, successor = "git permissions", organizationPath + "/git/permissions", " /v3/enterprise/organizations/{org_id}/git-providers/permissions"
	type listInput struct {
		OrgPath
		Paging
	}
	kit.Register(a, op("listGitPermissions", http.MethodGet, path, "List an organization's git permissions", tag, "GET"+successor),
		func(ctx context.Context, who access.Subject, in *listInput) (*gitPermissionsOutput, error) {
			return rooms.gitPermissions(ctx, who, in.OrgID, in.Paging)
		})
	type createInput struct {
		OrgPath
		Body []GitPermissionRequest `nullable:"false" minItems:"1" maxItems:"200"`
	}
	create := op("createGitPermissions", http.MethodPost, path, "Add git permissions, all or none", tag, "POST"+successor)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, who access.Subject, in *createInput) (*createdOutput, error) {
		hosts, err := rooms.hosts(ctx, who)
		if err != nil {
			return nil, err
		}
		names := older.Names{"permissions": "", "git_connection_id": "connection_id"}
		params := make([]forge.PermissionParams, len(in.Body))
		for i, b := range in.Body {
			if params[i], err = b.params(i, hosts, names); err != nil {
				return nil, err
			}
		}
		made, err := rooms.Forge.AddPermissions(ctx, who, in.OrgID, params)
		if err != nil {
			return nil, names.Fault(err)
		}
		return &createdOutput{Body: created(made)}, nil
	})
	type permissionPath struct {
		OrgPath
		PermissionID string `path:"permission_id" maxLength:"256"`
	}
	kit.Register(a, op("deleteGitPermission", http.MethodDelete, path+"/{permission_id}", "Remove a git permission", tag, "DELETE"+successor+"/{git_permission_id}"),
		func(ctx context.Context, who access.Subject, in *permissionPath) (*successOutput, error) {
			_, err := rooms.Forge.DeletePermission(ctx, who, in.OrgID, in.PermissionID)
			return success(err)
		})
	type quickInput struct {
		OrgPath
		Body QuickPermissionRequest
	}
	quick := op("createQuickPermission", http.MethodPost, organizationPath+"/permissions", "Let an organization use one repository", tag, "POST"+successor)
	quick.Creates = true
	kit.Register(a, quick, func(ctx context.Context, who access.Subject, in *quickInput) (*createdOutput, error) {
		return rooms.quickPermission(ctx, who, in.OrgID, in.Body)
	})
}

func (r Rooms) gitPermissions(ctx context.Context, who access.Subject, orgID string, in Paging) (*gitPermissionsOutput, error) {
	req, err := in.request(ctx)
	if err != nil {
		return nil, err
	}
	hosts, err := r.hosts(ctx, who)
	if err != nil {
		return nil, err
	}
	all, err := older.All(func(p page.Request) (page.Page[forge.Permission], error) {
		return r.Forge.Permissions(ctx, who, orgID, p)
	})
	if err != nil {
		return nil, err
	}
	return &gitPermissionsOutput{Body: listOf(req, older.Slice(all, req), func(p forge.Permission) GitPermissionResponse {
		out := GitPermissionResponse{PermissionID: p.ID, Host: hosts[p.ConnectionID]}
		switch p.Scope {
		case forge.ScopeRepo:
			out.RepoPath = &p.Value
		case forge.ScopeGroup:
			out.GroupPrefix = &p.Value
		case forge.ScopePrefix:
			out.PrefixPath = &p.Value
		}
		return out
	})}, nil
}

// quickNames are the quick examples' names of a permission's fields.
var quickNames = older.Names{"permissions.*": "repository", "permissions.*.repo_path": "repository", "permissions.*.git_connection_id": "provider"}

// quickPermission finds the provider's only connection, on the host when the repository is an address (contract/v2.json x-rule).
func (r Rooms) quickPermission(ctx context.Context, who access.Subject, orgID string, b QuickPermissionRequest) (*createdOutput, error) {
	connections, err := r.connections(ctx, who)
	if err != nil {
		return nil, err
	}
	host, repository, isURL := split(b.Repository)
	if !isURL {
		repository = b.Repository
	}
	var found []forge.Connection
	for _, c := range connections {
		p := string(c.Provider)
		if !c.BuiltIn && (p == b.Provider || strings.HasPrefix(p, b.Provider+"_")) && (!isURL || hostname(c.Host) == host) {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		return nil, fault.InvalidField("provider", "the enterprise has %d such connections; this needs exactly one", len(found))
	}
	made, err := r.Forge.AddPermissions(ctx, who, orgID, []forge.PermissionParams{{
		ConnectionID: found[0].ID, RepoPath: &repository, ReadOnly: b.Permission.Or("read") == "read",
	}})
	if err != nil {
		return nil, quickNames.Fault(err)
	}
	out := &createdOutput{Body: created(made)}
	out.Body.Provider, out.Body.Repository, out.Body.Permission = &b.Provider, &b.Repository, new(b.Permission.Or("read"))
	return out, nil
}
