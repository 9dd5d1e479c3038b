package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// listGitHub: GET /user/repos, pages by Link, a bearer. GitHub's own API has a host of its own, GitHub Enterprise's is below /api/v3.
func listGitHub(ctx context.Context, a *account, keep func([]found) error) error {
	type repository struct {
		ID          int64     `json:"id"`
		FullName    string    `json:"full_name"`
		Description string    `json:"description"`
		Language    string    `json:"language"`
		UpdatedAt   time.Time `json:"updated_at"`
	}
	api, authorise := a.github()
	return byLinks(ctx, a, api.JoinPath("user", "repos").String()+"?per_page=100&sort=full_name", authorise, func(r repository) found {
		return found{strconv.FormatInt(r.ID, 10), r.FullName, r.Description, r.Language, r.UpdatedAt}
	}, keep)
}

// github is where its API is, and how a request is authorised there.
func (a *account) github() (*url.URL, authoriser) {
	api := a.base().JoinPath("api", "v3")
	if a.Host == families[a.Provider].cloud {
		api = &url.URL{Scheme: "https", Host: "api." + a.Host}
	}
	return api, func(r *http.Request) {
		a.bearer(r)
		r.Header.Set("Accept", "application/vnd.github+json")
		r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	}
}

// listGitLab: GET /api/v4/projects by keyset, pages by Link; PRIVATE-TOKEN for a token, a bearer for OAuth.
func listGitLab(ctx context.Context, a *account, keep func([]found) error) error {
	type project struct {
		ID          int64     `json:"id"`
		Path        string    `json:"path_with_namespace"`
		Description string    `json:"description"`
		UpdatedAt   time.Time `json:"last_activity_at"`
	}
	api, authorise := a.gitlab()
	address := api.JoinPath("projects").String() + "?membership=true&simple=false&pagination=keyset&per_page=100&order_by=id&sort=asc"
	return byLinks(ctx, a, address, authorise, func(p project) found {
		return found{strconv.FormatInt(p.ID, 10), p.Path, p.Description, "", p.UpdatedAt}
	}, keep)
}

func (a *account) gitlab() (*url.URL, authoriser) {
	api := a.base().JoinPath("api", "v4")
	if a.Provider == GitLabToken {
		return api, func(r *http.Request) { r.Header.Set("PRIVATE-TOKEN", a.token.Reveal()) }
	}
	return api, a.bearer
}

// listGitea: GET /api/v1/user/repos, pages by Link, `token` in the header. Forgejo is the same.
func listGitea(ctx context.Context, a *account, keep func([]found) error) error {
	type repository struct {
		ID          int64     `json:"id"`
		FullName    string    `json:"full_name"`
		Description string    `json:"description"`
		Language    string    `json:"language"`
		UpdatedAt   time.Time `json:"updated_at"`
	}
	api, authorise := a.gitea()
	return byLinks(ctx, a, api.JoinPath("user", "repos").String()+"?limit=50&page=1", authorise, func(r repository) found {
		return found{strconv.FormatInt(r.ID, 10), r.FullName, r.Description, r.Language, r.UpdatedAt}
	}, keep)
}

func (a *account) gitea() (*url.URL, authoriser) {
	return a.base().JoinPath("api", "v1"), func(r *http.Request) { r.Header.Set("Authorization", "token "+a.token.Reveal()) }
}

// listBitbucket: the cloud and the server edition have little in common but the name.
func listBitbucket(ctx context.Context, a *account, keep func([]found) error) error {
	api, authorise, cloud := a.bitbucket()
	if !cloud {
		return listBitbucketServer(ctx, a, api, authorise, keep)
	}
	if workspace := strings.Trim(a.base().Path, "/"); workspace != "" {
		return listWorkspace(ctx, a, api, authorise, workspace, keep)
	}
	type membership struct {
		Workspace struct {
			Slug string `json:"slug"`
		} `json:"workspace"`
	}
	// A list of all workspaces' repositories is no more; a token of one workspace can't list workspaces, so the connection's address
	// may name it.
	return bitbucketPages(ctx, a, api.JoinPath("user", "workspaces").String()+"?pagelen=100", authorise, func(rows []membership) error {
		for _, m := range rows {
			if err := listWorkspace(ctx, a, api, authorise, m.Workspace.Slug, keep); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *account) bitbucket() (api *url.URL, authorise authoriser, cloud bool) {
	authorise = a.bearer
	if a.Username != "" {
		authorise = a.basic(a.Username)
	}
	if a.Host != families[a.Provider].cloud {
		return a.base().JoinPath("rest", "api", "1.0"), authorise, false
	}
	return &url.URL{Scheme: "https", Host: "api." + a.Host, Path: "/2.0"}, authorise, true
}

func listWorkspace(ctx context.Context, a *account, api *url.URL, authorise func(*http.Request), workspace string, keep func([]found) error) error {
	type repository struct {
		UUID        string    `json:"uuid"`
		FullName    string    `json:"full_name"`
		Description string    `json:"description"`
		Language    string    `json:"language"`
		UpdatedOn   time.Time `json:"updated_on"`
	}
	address := api.JoinPath("repositories", url.PathEscape(workspace)).String() + "?role=member&pagelen=100"
	return bitbucketPages(ctx, a, address, authorise, func(rows []repository) error {
		return keep(each(rows, func(r repository) found { return found{r.UUID, r.FullName, r.Description, r.Language, r.UpdatedOn} }))
	})
}

// bitbucketPages walks pages that name the next in their body.
func bitbucketPages[T any](ctx context.Context, a *account, address string, authorise func(*http.Request), take func([]T) error) error {
	for address != "" {
		var page struct {
			Values []T    `json:"values"`
			Next   string `json:"next"`
		}
		if _, err := a.get(ctx, address, authorise, &page); err != nil {
			return err
		}
		if err := take(page.Values); err != nil {
			return err
		}
		var err error
		if address, err = a.following(address, page.Next); err != nil {
			return err
		}
	}
	return nil
}

// listBitbucketServer: GET /rest/api/1.0/repos, pages by start.
func listBitbucketServer(ctx context.Context, a *account, api *url.URL, authorise authoriser, keep func([]found) error) error {
	type repository struct {
		ID          int64  `json:"id"`
		Slug        string `json:"slug"`
		Description string `json:"description"`
		Project     struct {
			Key string `json:"key"`
		} `json:"project"`
	}
	list := api.JoinPath("repos").String()
	for start := int64(0); ; {
		var page struct {
			Values []repository `json:"values"`
			Last   bool         `json:"isLastPage"`
			Next   int64        `json:"nextPageStart"`
		}
		if _, err := a.get(ctx, fmt.Sprintf("%s?limit=100&start=%d", list, start), authorise, &page); err != nil {
			return err
		}
		err := keep(each(page.Values, func(r repository) found {
			return found{ID: strconv.FormatInt(r.ID, 10), Path: r.Project.Key + "/" + r.Slug, Description: r.Description}
		}))
		if err != nil || page.Last || page.Next <= start {
			return err
		}
		start = page.Next
	}
}

// listAzure: GET /_apis/git/repositories of an organization, in pages only where the answer says so. A token goes as a password, which
// serves personal and OAuth tokens alike.
func listAzure(ctx context.Context, a *account, keep func([]found) error) error {
	type repository struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Disabled bool   `json:"isDisabled"`
		Project  struct {
			Name        string    `json:"name"`
			Description string    `json:"description"`
			UpdatedAt   time.Time `json:"lastUpdateTime"`
		} `json:"project"`
	}
	list := a.base().JoinPath("_apis", "git", "repositories").String() + "?api-version=7.0"
	for token := ""; ; {
		address := list
		if token != "" {
			address += "&continuationToken=" + url.QueryEscape(token)
		}
		var page struct {
			Value []repository `json:"value"`
		}
		h, err := a.get(ctx, address, a.basic(""), &page)
		if err != nil {
			return err
		}
		rows := make([]found, 0, len(page.Value))
		for _, r := range page.Value {
			if !r.Disabled {
				rows = append(rows, found{ID: r.ID, Path: r.Project.Name + "/" + r.Name, Description: r.Project.Description, UpdatedAt: r.Project.UpdatedAt})
			}
		}
		if err := keep(rows); err != nil {
			return err
		}
		next := h.Get("X-Ms-Continuationtoken")
		if next == "" || next == token {
			return nil
		}
		token = next
	}
}
