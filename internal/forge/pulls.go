package forge

import (
	"context"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/pullref"
)

// The states of a pull request, whatever its provider calls them (contract: SessionPullRequest).
const (
	PullOpen   = "open"
	PullMerged = "merged"
	PullClosed = "closed"
)

// Pull names a pull request by its address, and the session that it may be of with what that calls its repositories.
type Pull struct {
	OrgID, SessionID string
	Repos            []string
	URL              string
}

// PullRequest is what a provider says of one.
type PullRequest struct {
	State string
	// Branch is what it wants to bring in, empty where that is in another repository.
	Branch    string
	CreatedAt time.Time
}

// A puller asks a provider about one pull request of a repository.
type puller func(ctx context.Context, a *account, repository string, number int64) (PullRequest, error)

// AsksAbout reports whether a provider can be asked about a pull request: it is of one of the session's repositories, whose connection
// has a token and a provider.
func (s *Service) AsksAbout(ctx context.Context, p Pull) (bool, error) {
	u, _, ok, err := s.repositoryOf(ctx, p)
	return ok && u.connection.HasToken && u.connection.family().pull != nil, err
}

// AskAbout asks a provider about a pull request, with one request. It fails as Unavailable while the provider wants to be left alone, and
// with other kinds where it refuses or nobody can be asked any more.
func (s *Service) AskAbout(ctx context.Context, p Pull) (PullRequest, error) {
	u, ref, ok, err := s.repositoryOf(ctx, p)
	if err != nil {
		return PullRequest{}, err
	}
	c := u.connection
	f := c.family()
	switch {
	case !ok || !c.HasToken || f.pull == nil || f.form != ref.Form:
		return PullRequest{}, fault.New(fault.NotFound, "no provider can be asked about this pull request")
	case !u.may.allowed:
		return PullRequest{}, u.taken()
	}
	now := s.db.Clock().Now()
	if wait := c.quietUntil.Sub(now); wait > 0 {
		return PullRequest{}, &fault.Error{Kind: fault.Unavailable, Message: "the provider " + c.Host + " is left alone for a while", RetryAfter: wait}
	}
	token, err := s.token(ctx, c)
	if err != nil {
		return PullRequest{}, err
	}
	out, err := f.pull(ctx, &account{Connection: c, token: token, client: s.client, clock: s.db.Clock()}, u.Path, ref.Number)
	if wait := fault.As(err); err != nil && wait.Kind == fault.Unavailable && wait.RetryAfter > 0 {
		if err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			return quieten(ctx, tx, c.ID, now.Add(wait.RetryAfter).UnixMilli())
		}); err != nil {
			return PullRequest{}, err
		}
	}
	return out, err
}

// repositoryOf finds the session's repository that a pull request is of.
func (s *Service) repositoryOf(ctx context.Context, p Pull) (u used, ref pullref.Ref, ok bool, err error) {
	if ref, ok = pullref.Parse(p.URL); !ok {
		return u, ref, false, nil
	}
	bindings, err := boundOf(ctx, s.db.Reader(), p.SessionID)
	if err != nil {
		return u, ref, false, err
	}
	for _, name := range p.Repos {
		b, bound := bindings[name]
		if !bound || !strings.EqualFold(path.Base(b.path), path.Base(ref.Path)) {
			continue // a provider's path ends as its repository's addresses do
		}
		u, err = s.find(ctx, Use{p.OrgID, p.SessionID, name}, bindings)
		if fault.Is(err, fault.NotFound) {
			continue // it was removed meanwhile
		}
		if err != nil || ref.Of(u.URL) {
			return u, ref, err == nil, err
		}
	}
	return u, ref, false, nil
}

// inPath writes parts of a path so that each stays one.
func inPath(parts ...string) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = url.PathEscape(p)
	}
	return out
}

func numbered(n int64) string { return strconv.FormatInt(n, 10) }

// end is a repository at either end of a pull request.
type end struct {
	ID int64 `json:"id"`
}

// branchOf leaves a branch out that is in another repository.
func branchOf(name string, same bool) string {
	if !same {
		return ""
	}
	return strings.TrimPrefix(name, "refs/heads/")
}

// pullGitHub: GET /repos/OWNER/NAME/pulls/NUMBER, whose state is open or closed and has a merged_at.
func pullGitHub(ctx context.Context, a *account, repository string, number int64) (PullRequest, error) {
	type ref struct {
		Ref  string `json:"ref"`
		Repo *end   `json:"repo"` // null once a fork is deleted
	}
	var p struct {
		State     string     `json:"state"`
		MergedAt  *time.Time `json:"merged_at"`
		CreatedAt time.Time  `json:"created_at"`
		Head      ref        `json:"head"`
		Base      ref        `json:"base"`
	}
	api, authorise := a.github()
	address := api.JoinPath("repos").JoinPath(inPath(strings.Split(repository, "/")...)...).JoinPath("pulls", numbered(number))
	_, err := a.get(ctx, address.String(), authorise, &p)
	same := p.Head.Repo != nil && p.Base.Repo != nil && p.Head.Repo.ID == p.Base.Repo.ID
	return PullRequest{closedOr(p.State, p.MergedAt != nil), branchOf(p.Head.Ref, same), p.CreatedAt}, err
}

// closedOr reads a state that is open or closed, and merged besides.
func closedOr(state string, merged bool) string {
	switch {
	case merged:
		return PullMerged
	case state == PullClosed:
		return PullClosed
	}
	return PullOpen
}

// pullGitLab: GET /projects/PATH/merge_requests/NUMBER, whose state is opened, locked (while it merges), merged or closed.
func pullGitLab(ctx context.Context, a *account, repository string, number int64) (PullRequest, error) {
	var p struct {
		State     string    `json:"state"`
		CreatedAt time.Time `json:"created_at"`
		Branch    string    `json:"source_branch"`
		Source    int64     `json:"source_project_id"`
		Target    int64     `json:"target_project_id"`
	}
	api, authorise := a.gitlab()
	_, err := a.get(ctx, api.JoinPath("projects", url.PathEscape(repository), "merge_requests", numbered(number)).String(), authorise, &p)
	return PullRequest{closedOr(p.State, p.State == PullMerged), branchOf(p.Branch, p.Source == p.Target), p.CreatedAt}, err
}

// pullGitea: GET /repos/OWNER/NAME/pulls/NUMBER, whose state is open or closed and has a merged. Forgejo is the same.
func pullGitea(ctx context.Context, a *account, repository string, number int64) (PullRequest, error) {
	type ref struct {
		Ref  string `json:"ref"`
		Repo int64  `json:"repo_id"`
	}
	var p struct {
		State     string    `json:"state"`
		Merged    bool      `json:"merged"`
		CreatedAt time.Time `json:"created_at"`
		Head      ref       `json:"head"`
		Base      ref       `json:"base"`
	}
	api, authorise := a.gitea()
	address := api.JoinPath("repos").JoinPath(inPath(strings.Split(repository, "/")...)...).JoinPath("pulls", numbered(number))
	_, err := a.get(ctx, address.String(), authorise, &p)
	return PullRequest{closedOr(p.State, p.Merged), branchOf(p.Head.Ref, p.Head.Repo == p.Base.Repo), p.CreatedAt}, err
}

// pullBitbucket: OPEN, MERGED, DECLINED or SUPERSEDED, in the cloud and in the server edition.
func pullBitbucket(ctx context.Context, a *account, repository string, number int64) (PullRequest, error) {
	owner, name, _ := strings.Cut(repository, "/")
	api, authorise, cloud := a.bitbucket()
	if !cloud {
		return pullBitbucketServer(ctx, a, api.JoinPath("projects").JoinPath(inPath(owner, "repos", name, "pull-requests", numbered(number))...), authorise)
	}
	type ref struct {
		Branch struct {
			Name string `json:"name"`
		} `json:"branch"`
		Repository *struct {
			UUID string `json:"uuid"`
		} `json:"repository"` // null once a fork is deleted
	}
	var p struct {
		State     string    `json:"state"`
		CreatedOn time.Time `json:"created_on"`
		Source    ref       `json:"source"`
		To        ref       `json:"destination"`
	}
	address := api.JoinPath("repositories").JoinPath(inPath(owner, name, "pullrequests", numbered(number))...)
	_, err := a.get(ctx, address.String(), authorise, &p)
	same := p.Source.Repository != nil && p.To.Repository != nil && p.Source.Repository.UUID == p.To.Repository.UUID
	return PullRequest{bitbucketState(p.State), branchOf(p.Source.Branch.Name, same), p.CreatedOn}, err
}

func pullBitbucketServer(ctx context.Context, a *account, address *url.URL, authorise authoriser) (PullRequest, error) {
	type ref struct {
		ID         string `json:"id"`
		Repository end    `json:"repository"`
	}
	var p struct {
		State   string `json:"state"`
		Created int64  `json:"createdDate"` // in milliseconds
		From    ref    `json:"fromRef"`
		To      ref    `json:"toRef"`
	}
	_, err := a.get(ctx, address.String(), authorise, &p)
	return PullRequest{bitbucketState(p.State), branchOf(p.From.ID, p.From.Repository.ID == p.To.Repository.ID), db.Time(p.Created)}, err
}

func bitbucketState(s string) string {
	switch strings.ToUpper(s) {
	case "MERGED":
		return PullMerged
	case "DECLINED", "SUPERSEDED":
		return PullClosed
	}
	return PullOpen
}

// pullAzure: GET PROJECT/_apis/git/repositories/NAME/pullrequests/NUMBER, whose status is active, completed or abandoned.
func pullAzure(ctx context.Context, a *account, repository string, number int64) (PullRequest, error) {
	var p struct {
		Status  string    `json:"status"`
		Created time.Time `json:"creationDate"`
		Branch  string    `json:"sourceRefName"`
		Fork    *struct{} `json:"forkSource"`
	}
	project, name, _ := strings.Cut(repository, "/")
	address := a.base().JoinPath(inPath(project, "_apis", "git", "repositories", name, "pullrequests", numbered(number))...)
	_, err := a.get(ctx, address.String()+"?api-version=7.0", a.basic(""), &p)
	state := PullOpen
	switch p.Status {
	case "completed":
		state = PullMerged
	case "abandoned":
		state = PullClosed
	}
	return PullRequest{state, branchOf(p.Branch, p.Fork == nil), p.Created}, err
}
