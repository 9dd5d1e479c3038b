package v2

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/api/older"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
)

func TestOlderPathsAreRewritten(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/api/v2/enterprise/organizations":           "/v2/enterprise/organizations",
		"/api/v2/enterprise/organizations/a/members": "/v2/enterprise/organizations/a/members",
		"/v2/audit-logs":                             "/v2/enterprise/audit-logs",
		"/v2/enterprise/api-keys/":                   "/v2/enterprise/api-keys",
		"/v2/enterprise/repositories/bulk-index":     "/beta/v2/enterprise/repositories/bulk-index",
		"/api/v2/enterprise/repositories/o":          "/beta/v2/enterprise/repositories/o",
		"/beta/v2/enterprise/sessions/":              "/beta/v2/enterprise/sessions",
		"/api/v3/enterprise":                         "/api/v3/enterprise",
		"/v3/enterprise/organizations/":              "/v3/enterprise/organizations/",
	} {
		require.Equal(t, want, rewrite("GET", path), path)
	}
}

func TestTheExamplesLineAboutASession(t *testing.T) {
	t.Parallel()
	require.True(t, line(nil).Null)
	require.True(t, line(&insight.Analysis{}).Null)
	timeline := []insight.TimelineItem{{Title: "began"}}
	require.Equal(t, "began", line(&insight.Analysis{Timeline: timeline}).Value)
	require.Equal(t, "broke", line(&insight.Analysis{Timeline: timeline, Issues: []insight.Issue{{Issue: "broke"}}}).Value)
}

func TestTheExamplesMembersComeAndGoWithTheShape(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		off   bool
		shape string
		want  bool
	}{{false, "", true}, {true, "", false}, {true, "examples", true}, {true, "both", true}, {false, "reference", false}} {
		require.Equal(t, c.want, Options{ReferenceOnly: c.off}.examples(Shape{c.shape}), "%v", c)
	}
}

func TestAGitPermissionIsReadFromEachOfItsForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    GitPermissionRequest
		repo  string
		group string
		bad   string
	}{
		{in: GitPermissionRequest{RepoPath: []string{"owner", "name"}}, repo: "owner/name"},
		{in: GitPermissionRequest{RepoURL: kit.Some("https://github.com/owner/name.git")}, repo: "owner/name"},
		{in: GitPermissionRequest{GroupPrefix: []string{"a", "b"}}, group: "a/b"},
		{in: GitPermissionRequest{GroupPrefixURL: kit.Some("https://gitlab.com/a/b/")}, group: "a/b"},
		{in: GitPermissionRequest{GroupPrefixURL: kit.Some("nowhere")}, bad: "3.group_prefix_url"},
		{in: GitPermissionRequest{RepoURL: kit.Some("https://github.com/")}, bad: "3.repo_url"},
		{in: GitPermissionRequest{RepoURL: kit.Some("https://x/y"), RepoPath: []string{"a"}}, bad: "3.repo_path"},
		{in: GitPermissionRequest{ConnectionID: "git-1", RepoURL: kit.Some("https://GitHub.com/owner/name")}, repo: "owner/name"},
		{in: GitPermissionRequest{ConnectionID: "git-1", RepoURL: kit.Some("https://gitlab.com/owner/name")}, bad: "3.repo_url"},
	} {
		p, err := c.in.params(3, map[string]string{"git-1": "github.com:8443"}, older.Names{})
		if c.bad != "" {
			require.True(t, fault.Is(err, fault.Invalid))
			require.ErrorContains(t, err, c.bad)
			continue
		}
		require.NoError(t, err)
		if c.repo != "" {
			require.Equal(t, c.repo, *p.RepoPath)
			require.Nil(t, p.GroupPrefix)
		} else {
			require.Equal(t, c.group, *p.GroupPrefix)
			require.Nil(t, p.RepoPath)
		}
	}
}

func TestTheExamplesWordsForRoles(t *testing.T) {
	t.Parallel()
	require.Equal(t, "org_admin", orgRole("admin"))
	require.Equal(t, "org_member", orgRole("member"))
	require.Equal(t, "role-x", orgRole("role-x"))
}
