package servertest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/platform/config"
	"gantry/internal/platform/secret"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

// published is where the vendor's examples say the service is. What they leave to the reader is filled in, and nothing else.
const published = "https://api.devin.ai"

// hidden is what stands where the page had an address.
const hidden = "[email\u00a0protected]"

// example runs a published code example with its own tool against a server and gives what it prints.
func example(t *testing.T, host, key, org, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "seeds", name))
	require.NoError(t, err)
	filled := strings.NewReplacer(published, host, "your_org_id", org, "YOUR_API_KEY", key).Replace(string(text))
	for _, address := range []string{"ann@example.com", "bob@example.com"} {
		filled = strings.Replace(filled, hidden, address, 1)
	}
	tool, args := "python3", []string{"-c", filled}
	if strings.HasSuffix(name, ".sh") {
		tool, args = "bash", []string{"-c", strings.ReplaceAll(filled, "curl ", "curl -sS ")} // the progress bar is for terminals
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("curl is not installed")
		}
	} else if _, err := exec.LookPath(tool); err != nil {
		t.Skip("python3 is not installed")
	}
	here, err := filepath.Abs("testdata/seeds")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Env = append(os.Environ(), "DEVIN_API_KEY="+key, "DEVIN_ORG_ID="+org, "PYTHONPATH="+here, "PYTHONDONTWRITEBYTECODE=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s: %s", name, errs.String())
	return out.String()
}

// seeded is a server with something of everything that the examples print.
func seeded(t *testing.T) *servertest.Server {
	t.Helper()
	s := servertest.New(t, servertest.Options{Listen: true})
	person, _ := s.NewPerson(t, "member@example.com", s.Org, access.RoleOrgMember)
	require.NotEmpty(t, person)
	_, err := s.Sessions.Create(t.Context(), s.Root(), session.CreateParams{OrgID: s.Org, Prompt: "a session"})
	require.NoError(t, err)
	_, err = s.Forge.CreateConnection(t.Context(), s.Root(), forge.ConnectionParams{
		Name: "hub", Provider: forge.GitHubToken, Host: "github.com", Token: secret.New("ghp_x"),
	})
	require.NoError(t, err)
	return s
}

func TestThePublishedPythonExamplesRunWordForWord(t *testing.T) {
	t.Parallel()
	s := seeded(t)
	run := func(name string) string { return example(t, s.URL, s.Admin.Token.Reveal(), s.Org, name) }
	require.Equal(t, "member@example.com - account_member\n", run("002_members.py"))
	require.Regexp(t, `^Created organization: org-[0-9a-f]{32}\n$`, run("002_create_organization.py"))
	require.Regexp(t, `^Current cycle: \d{4}-\d\d-\d\dT.* to \d{4}-\d\d-\d\dT.*\nACUs used: 0(\.0)?\n$`, run("002_cycles.py"))
	require.Regexp(t, `^Session [0-9a-f]{32}: None\n$`, run("002_insights.py"))
	require.Equal(t, "Invited 2 members\n", run("002_invite.py"))
	require.Equal(t, "Invited 0 members\n", run("002_invite.py"), "they are members now")
	logs := run("002_audit_logs.py")
	require.Regexp(t, `(?m)^\d{4}-\d\d-\d\dT\S+ - create_org by admin$`, logs)
	require.Regexp(t, `^Permission added: \{.*'status': 'success'.*'repository': 'org/repo-name'.*\}\n$`, run("002_permissions.py"))
}

func TestThePublishedErrorExampleTakesEachOfItsBranches(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Listen: true, Configure: func(c *config.Serve) { c.UnknownKeyLimit = 1 }})
	run := func(host, key string) string { return example(t, host, key, s.Org, "002_errors.py") }
	require.Empty(t, run(s.URL, s.Admin.Token.Reveal()), "no error, no word")
	require.Equal(t, "Insufficient permissions - Enterprise Admin required\n", run(s.URL, s.NewKey(t, s.Org, access.RoleOrgAdmin).Token))
	require.Regexp(t, "^API error: 404 .*\n$", run(s.URL+"/elsewhere", s.Admin.Token.Reveal()))
	require.Equal(t, "Invalid API key\n", run(s.URL, "cog_unknown"))
	for range 5 {
		s.Do(t, "GET", "/v2/enterprise/members", "cog_unknown", "")
	}
	require.Equal(t, "Rate limit exceeded - wait and retry\n", run(s.URL, "cog_unknown"), "so many unknown keys from one address")
}

func TestThePublishedCurlExamplesRunWordForWord(t *testing.T) {
	t.Parallel()
	s := seeded(t)
	run := func(name string) []map[string]any {
		var out []map[string]any
		dec := json.NewDecoder(strings.NewReader(example(t, s.URL, s.Admin.Token.Reveal(), s.Org, name)))
		for dec.More() {
			var m map[string]any
			require.NoError(t, dec.Decode(&m))
			out = append(out, m)
		}
		return out
	}
	for _, name := range []string{"001_list_organizations.sh", "001_audit_logs.sh", "001_users.sh"} {
		for _, m := range run(name) {
			require.NotEmpty(t, m["items"], name)
		}
	}
	require.Len(t, run("001_users.sh"), 2)
	made := run("001_create_session.sh")[0]
	require.Equal(t, "new", made["status"])
	require.Equal(t, s.Org, made["org_id"])
	daily := run("001_consumption.sh")[0]
	require.EqualValues(t, 0, daily["total_acus"])
	require.Empty(t, daily["consumption_by_date"], "nothing was used in January 2025")

	org := run("003_create_organization.sh")[0]
	require.Equal(t, "Engineering Team", org["org_name"])
	require.EqualValues(t, 1000, org["max_cycle_acu_limit"])
	require.Contains(t, org, "max_session_acu_limit")
	require.Contains(t, org, "org_user_count")
	orgs := run("004_list_organizations.sh")[0]
	require.Len(t, orgs["items"], 2)
	require.EqualValues(t, 2, orgs["total"])
	require.EqualValues(t, 0, orgs["skip"])
	require.EqualValues(t, 100, orgs["limit"])
	require.Equal(t, false, orgs["has_more"])
	require.Nil(t, orgs["next_cursor"])
}
