package v2

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/forge"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/org"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/playbook"
	"gantry/internal/session"
)

var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

const noonText = "2026-02-03T12:00:00.000000+00:00"

// wire is what leaves, as a client reads it.
func wire(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

func rooms(t *testing.T) Rooms {
	t.Helper()
	public, err := url.Parse("https://gantry.example.com")
	require.NoError(t, err)
	k, err := keeper.Open(t.Context(), "", t.TempDir())
	require.NoError(t, err)
	return Rooms{Sessions: session.New(session.Options{PublicURL: public, Keeper: k})}
}

func TestASessionOnTheWire(t *testing.T) {
	t.Parallel()
	for _, status := range []session.Status{
		session.StatusNew, session.StatusClaimed, session.StatusRunning, session.StatusExit, session.StatusError, session.StatusSuspended, session.StatusResuming,
	} {
		require.Equal(t, string(status), rooms(t).sessionOf(&session.Session{State: session.State{Status: status}}).Status)
	}
	full := &session.Session{
		ID: "abc", OrgID: "org-1", State: session.State{Status: session.StatusRunning}, Title: "t", UserID: "u", CreatedAt: noon, UpdatedAt: noon,
		ACUMicros: 1_500_000, PullRequests: []session.PullRequest{{URL: "https://x/1", State: "open"}, {URL: "https://x/2"}},
	}
	require.Equal(t, map[string]any{
		"session_id": "abc", "url": "https://gantry.example.com/sessions/abc", "status": "running", "title": "t", "tags": []any{}, "org_id": "org-1",
		"user_id": "u", "created_at": noonText, "updated_at": noonText, "acus_consumed": 1.5, "pull_requests": []any{
			map[string]any{"url": "https://x/1", "pr_url": "https://x/1", "state": "open", "pr_state": "open"},
			map[string]any{"url": "https://x/2", "pr_url": "https://x/2", "state": nil, "pr_state": nil},
		},
	}, wire(t, rooms(t).sessionOf(full)), "pull requests have both published names")
}

func TestTheRetiredBetasSessionOnTheWire(t *testing.T) {
	t.Parallel()
	for state, want := range map[session.State]string{
		{Status: session.StatusRunning, Detail: session.Working}:  "running",
		{Status: session.StatusRunning, Detail: session.Finished}: "completed",
		{Status: session.StatusExit}:                              "completed",
		{Status: session.StatusSuspended}:                         "suspended",
		{Status: session.StatusError}:                             "error",
	} {
		s := &session.Session{ID: "abc", State: state, PullRequests: []session.PullRequest{{URL: "https://x/1", State: "open"}}}
		out := wire(t, rooms(t).betaOf(insight.Insights{Session: s}, map[string]string{"abc": "prompt"}))
		require.Equal(t, want, out["devin_status"], state)
		require.Equal(t, "devin-abc", out["devin_id"])
		require.Equal(t, "prompt", out["initial_user_message"])
		require.Equal(t, []any{map[string]any{"pr_url": "https://x/1", "state": "open"}}, out["prs"])
		require.Nil(t, out["session_analysis"])
	}
}

func TestAnAnalysisOnTheWire(t *testing.T) {
	t.Parallel()
	in := insight.Insights{Session: &session.Session{ID: "abc"}, Analysis: &insight.Analysis{
		ActionItems: []insight.ActionItem{{Text: "do", Type: "machine_setup"}},
		Issues:      []insight.Issue{{ID: "i", Issue: "broke", Impact: "high", Label: "l"}},
		Timeline:    []insight.TimelineItem{{Title: "began", Description: "d", Color: "green"}},
		SuggestedPrompt: &insight.SuggestedPrompt{
			Original: "a", Suggested: "b", Feedback: []insight.Feedback{{Summary: "s", Details: "d", IssueID: "i"}},
		},
	}}
	out := wire(t, rooms(t).detailOf(in, nil, true))
	require.Equal(t, "broke", out["insight"])
	require.Equal(t, map[string]any{
		"action_items": []any{map[string]any{"action_item": "do", "type": "machine_setup", "issue_id": nil}},
		"issues":       []any{map[string]any{"id": "i", "issue": "broke", "impact": "high", "label": "l"}},
		"timeline":     []any{map[string]any{"title": "began", "description": "d", "color": "green"}},
		"suggested_prompt": map[string]any{"original_prompt": "a", "suggested_prompt": "b", "feedback_items": []any{
			map[string]any{"summary": "s", "details": "d", "excerpt": nil, "issue_id": "i"},
		}},
	}, out["session_analysis"])
	out = wire(t, rooms(t).detailOf(in, nil, false))
	require.NotContains(t, out, "insight")
	require.NotContains(t, out, "id")
	in.Analysis = nil
	out = wire(t, rooms(t).detailOf(in, nil, true))
	require.Nil(t, out["session_analysis"])
	require.Contains(t, out, "insight")
	require.Nil(t, out["insight"])
}

func TestAPageCountsOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		skip, items int
		more        bool
		next        any
	}{{0, 2, true, 2.0}, {2, 2, true, 4.0}, {4, 1, false, nil}, {9, 0, false, nil}} {
		total := int64(5)
		p := page.Page[int]{Items: make([]int, c.items), More: c.more, Total: &total}
		out := wire(t, listOf(page.Request{First: 2, Skip: c.skip}, p, func(i int) int { return i }))
		require.Equal(t, c.next, out["next_cursor"])
		require.Equal(t, c.more, out["has_more"])
		require.Equal(t, []any{5.0, float64(c.skip), 2.0}, []any{out["total"], out["skip"], out["limit"]})
		require.Len(t, out["items"], c.items)
	}
	_, err := Paging{Limit: 201}.request(t.Context())
	require.True(t, fault.Is(err, fault.Invalid))
}

func TestMembersGroupsAndOrganizationsOnTheWire(t *testing.T) {
	t.Parallel()
	admin, orgRole := access.Role{ID: access.RoleEnterpriseAdmin}, access.Role{ID: "role-1", Name: "Reader"}
	p := member.Person{ID: "u", Email: "u@example.com", Name: "U", Roles: []member.RoleAssignment{{Role: admin}, {OrgID: "org-1", Role: orgRole}}}
	require.Equal(t, map[string]any{
		"user_id": "u", "email": "u@example.com", "name": "U", "org_id": "org-1", "org_name": "One", "org_role": "role-1", "org_role_name": "Reader",
		"enterprise_role": "account_admin",
	}, wire(t, userOrgOf(p, p.Roles[1], "One")))
	require.Nil(t, wire(t, userOrgOf(member.Person{}, member.RoleAssignment{}, ""))["enterprise_role"])

	g := member.Group{Name: "devs", Roles: []member.RoleAssignment{{Role: admin}, {OrgID: "org-1", Role: orgRole}}}
	require.Equal(t, map[string]any{"group_name": "devs", "org_count": 1.0, "role_by_org_id": map[string]any{"org-1": "role-1"}}, wire(t, groupOf(g)))
	require.Equal(t, map[string]any{"group_name": "devs", "org_id": "org-1", "role": "role-1"}, wire(t, orgGroupOf("org-1")(g)))

	o := org.Org{ID: "org-1", Name: "One", CreatedAt: noon, Limits: org.Limits{Cycle: new(int64(5))}}
	require.Equal(t, map[string]any{
		"org_id": "org-1", "org_name": "One", "created_at": noonText, "max_cycle_acu_limit": 5.0, "max_session_acu_limit": nil,
		"org_admin_count": 1.0, "org_member_count": 3.0, "org_user_count": 3.0, "id": "org-1", "name": "One",
	}, wire(t, Rooms{}.organizationOf(o, member.OrgCounts{Members: 3, Admins: 1}, true)))

	key := wire(t, apiKeyOf(member.OlderKey{ID: "apk-1", OrgID: "org-1", OrgName: "One", CreatedAt: noon}))
	require.Equal(t, map[string]any{
		"id": "apk-1", "created_at": noonText, "is_service_key": true, "org_id": "org-1", "org_name": "One", "user_id": nil, "user_email": nil, "api_key_value": nil,
	}, key)
	require.Equal(t, false, wire(t, apiKeyOf(member.OlderKey{UserID: "u"}))["is_service_key"])
}

func TestAnOrganizationsNameHasTwoNames(t *testing.T) {
	t.Parallel()
	some, none := kit.Some("a"), kit.Optional[string]{}
	null := kit.Optional[string]{Set: true, Null: true}
	for _, c := range []struct {
		display, name kit.Optional[string]
		want          *string
		called        string
	}{
		{some, kit.Some("b"), new("a"), "display_name"}, {none, some, new("a"), "name"}, {null, some, new("a"), "name"}, {null, null, nil, "name"},
	} {
		require.Equal(t, c.want, named(c.display, c.name))
		err := orgNames(c.display, "acu_limit").Fault(fault.InvalidField("name", "x"))
		require.Equal(t, c.called, fault.As(err).Fields[0].Loc[1])
	}
}

func TestAPlaybookOnTheWire(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]any{
		"playbook_id": "playbook-1", "account_id": account, "title": "t", "body": "b", "macro": "!m", "access": "enterprise", "status": "published",
		"created_at": noonText, "updated_at": nil, "created_by_user_id": nil, "created_by_user_name": nil, "updated_by_user_id": nil, "updated_by_user_name": nil,
	}, wire(t, playbookOf(playbook.Playbook{ID: "playbook-1", Title: "t", Body: "b", Macro: "!m", CreatedAt: noon}, older.PlaybookAuthors{})))
	require.Regexp(t, `^account-[0-9a-f]{32}$`, account)
}

func TestPermissionsMadeAreNamedByTheirPath(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]any{
		"status": "success", "permission_ids": []any{"p2", "p1"}, "permission_names": map[string]any{"p1": "a/b", "p2": "c"},
	}, wire(t, created([]forge.Permission{{ID: "p2", Value: "c"}, {ID: "p1", Value: "a/b"}})))
}

func FuzzGitPermissionParams(f *testing.F) {
	f.Add("git-1", "", "owner", "name", "", "https://github.com/owner/name.git")
	f.Add("", "a/", "", "", "https://gitlab.com/a/b/", "")
	f.Add("git-1", "", "", "", "//", "ssh://git@GITHUB.com:22/.git/..")
	hosts := map[string]string{"git-1": "github.com", "git-2": "[::1]:8443"}
	f.Fuzz(func(t *testing.T, connection, prefixPath, first, second, groupURL, repoURL string) {
		in := GitPermissionRequest{ConnectionID: connection}
		set := func(into *kit.Optional[string], v string) {
			if v != "" {
				*into = kit.Some(v)
			}
		}
		set(&in.PrefixPath, prefixPath)
		set(&in.GroupPrefixURL, groupURL)
		set(&in.RepoURL, repoURL)
		if first != "" {
			in.RepoPath = []string{first, second}
		}
		names := older.Names{}
		p, err := in.params(7, hosts, names)
		if err != nil {
			require.True(t, fault.Is(err, fault.Invalid))
			require.Equal(t, []string{"body", "7"}, fault.As(err).Fields[0].Loc[:2], "it names the entry")
			return
		}
		require.Equal(t, connection, p.ConnectionID)
		require.Equal(t, repoURL != "" || first != "", p.RepoPath != nil)
		require.Equal(t, groupURL != "", p.GroupPrefix != nil)
		require.Equal(t, prefixPath != "", p.PrefixPath != nil)
		require.Equal(t, repoURL != "", names["permissions.7.repo_path"] == "7.repo_url")
		require.Equal(t, groupURL != "", names["permissions.7.group_prefix"] == "7.group_prefix_url")
		if repoURL == "" {
			return
		}
		require.NotEmpty(t, *p.RepoPath)
		require.False(t, strings.HasPrefix(*p.RepoPath, "/") || strings.HasSuffix(*p.RepoPath, "/"), *p.RepoPath)
		host, _, ok := split(repoURL)
		require.True(t, ok)
		if known, ok := hosts[connection]; ok {
			require.Equal(t, hostname(known), host, "no address of another host")
		}
	})
}
