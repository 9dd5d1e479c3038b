package forge

import (
	"net/url"
	"slices"
	"strings"

	"gantry/internal/audit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/pullref"
)

// Provider is what git_provider_type says of a connection (contract/behaviour.md §9.1).
type Provider string

// The contract's providers, and two of our own: the contract has no name for Gitea and Forgejo, nor for git without a provider.
const (
	GitHubToken      Provider = "github_token"
	GitHubIndividual Provider = "github_individual_token"
	GitHubApp        Provider = "github_app"
	GitLabToken      Provider = "gitlab_token"
	GitLabOAuth      Provider = "gitlab_oauth"
	AzureDevOps      Provider = "azure_devops_oauth"
	BitbucketOAuth   Provider = "bitbucket_oauth"
	BitbucketToken   Provider = "bitbucket_token"
	GiteaToken       Provider = "gitea_token"
	Plain            Provider = "git"
)

// Providers lists every name that git_provider_type may have, the contract's first.
func Providers() []Provider {
	return []Provider{
		GitHubToken, GitHubIndividual, GitHubApp, GitLabToken, GitLabOAuth, AzureDevOps, BitbucketOAuth, BitbucketToken, GiteaToken, Plain,
	}
}

// CloudHost is a provider's own host, empty where there is none.
func CloudHost(p Provider) string { return families[p].cloud }

// family is what a provider's kinds of connection have in common.
type family struct {
	// cloud is the provider's own host, whose API is elsewhere; empty when there is none.
	cloud string
	// list asks the provider for every repository; nil where an operator lists them.
	list lister
	// clone gives a repository's address below a connection's.
	clone func(base *url.URL, path string) string
	// user is the name that goes with a token as git's password.
	user string
	// pull asks about a pull request, whose address has this form; nil where nobody can be asked.
	pull puller
	form pullref.Form
	// integration names the connection's audit actions; empty for those that the contract has no name for.
	integration string
}

var families = map[Provider]family{}

func init() {
	github := family{
		cloud: "github.com", list: listGitHub, clone: cloneBelow, user: "x-access-token", integration: "github",
		pull: pullGitHub, form: pullref.GitHub,
	}
	gitlab := family{
		cloud: "gitlab.com", list: listGitLab, clone: cloneBelow, user: "oauth2", integration: "gitlab",
		pull: pullGitLab, form: pullref.GitLab,
	}
	bitbucket := family{
		cloud: "bitbucket.org", list: listBitbucket, clone: cloneBitbucket, user: "x-token-auth", integration: "bitbucket",
		pull: pullBitbucket, form: pullref.Bitbucket,
	}
	families[GitHubToken], families[GitHubIndividual] = github, github
	families[GitLabToken], families[GitLabOAuth] = gitlab, gitlab
	families[BitbucketOAuth], families[BitbucketToken] = bitbucket, bitbucket
	families[AzureDevOps] = family{
		cloud: "dev.azure.com", list: listAzure, clone: cloneAzure, user: "gantry", integration: "azure_devops",
		pull: pullAzure, form: pullref.Azure,
	}
	families[GiteaToken] = family{list: listGitea, clone: cloneBelow, user: "oauth2", pull: pullGitea, form: pullref.Gitea}
	families[Plain] = family{user: "git"}
}

// cloneBelow is how most providers lay their repositories out.
func cloneBelow(base *url.URL, path string) string { return base.JoinPath(path + ".git").String() }

// cloneBitbucket: the server edition serves git below /scm.
func cloneBitbucket(base *url.URL, path string) string {
	if base.Host == families[BitbucketToken].cloud {
		return cloneBelow(&url.URL{Scheme: base.Scheme, Host: base.Host}, path) // base may name a workspace
	}
	return base.JoinPath("scm", path+".git").String()
}

// cloneAzure: project/name is served as project/_git/name.
func cloneAzure(base *url.URL, path string) string {
	project, name, _ := strings.Cut(path, "/")
	return base.JoinPath(project, "_git", name).String()
}

// What is done to a connection.
const (
	verbCreate    = "create"
	verbUpdate    = "update"
	verbReconnect = "reconnect"
	verbDelete    = "delete"
	verbRefresh   = "refresh"
)

// action names what was done to a connection: as the contract does where it has a name, else by a name of our own.
func (p Provider) action(verb string) audit.Action {
	if name := families[p].integration; name != "" {
		a := audit.Action(verb + "_" + name + "_integration")
		if slices.Contains(audit.Actions(), a) {
			return a
		}
	}
	switch verb {
	case verbCreate:
		return audit.CreateGitConnection
	case verbDelete:
		return audit.DeleteGitConnection
	}
	return audit.UpdateGitConnection
}

// fold gives a path in the form that is compared. Providers don't tell cases apart; plain git does.
func (p Provider) fold(path string) string {
	if p == Plain {
		return path
	}
	return strings.ToLower(path)
}

// checkBase checks a connection's address and gives what is kept; an empty one is the host itself.
func (p Provider) checkBase(host, raw string) (string, error) {
	if p == Plain {
		if raw != "" {
			return "", fault.InvalidField("url", "plain git has none: list its repositories with their own addresses")
		}
		return "", nil
	}
	if raw == "" {
		raw = "https://" + host
	}
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxURL || strings.ContainsAny(raw, "\x00\r\n\t ") {
		return "", fault.InvalidField("url", "is no address")
	}
	switch {
	case u.Scheme != "https":
		return "", fault.InvalidField("url", "must begin with https://: a token goes there")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return "", fault.InvalidField("url", "must name a host and a path, and nothing else")
	case strings.ToLower(u.Host) != host:
		return "", fault.InvalidField("url", "must be on the host %s", host)
	}
	u.Host, u.Path, u.RawPath = host, strings.TrimRight(u.Path, "/"), ""
	if p == AzureDevOps && u.Path == "" && !strings.HasSuffix(host, ".visualstudio.com") {
		return "", fault.InvalidField("url", "must name the organization, as in https://dev.azure.com/ORGANIZATION")
	}
	return u.String(), nil
}
