package contracttest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// difference is where an operation of v1 or v2 does other than its published pages say, or what it does where they say nothing.
type difference struct{ operation, what, why string }

const (
	noArchive  = "v1 and v2 know no archive, so an archived session is left out of lists as in v3; it can still be read"
	authorless = "`created_by` is null; a folder's `description` is its path"
	auditSays  = "the audit log says who made a note"
	wishOnly   = "there is no index yet, so the wish is kept for it and every job is null"
	noSearches = "there are no searches yet"
	daysBegin  = "`consumption_by_user` is of people only; days begin at the operator's day offset, 08:00 UTC unless it is changed"
)

var differences = []difference{
	{"POST /v1/sessions", "`snapshot_id` and `unlisted` are taken and noted in the session's first event", "there are no such snapshots, and an organization's sessions are listed"},
	{"POST /v1/sessions", "`idempotent` gives the session that the same request of the same caller got before, until that one ends", "the pages don't say for how long"},
	{"POST /v1/sessions", "of the `ATTACHMENT:\"…\"` lines, those with this server's own files hand them to the session", "any other address stays text for the agent"},
	{"GET /v1/sessions", "newest first; `tags` asks for any of them; archived sessions are left out", noArchive},
	{"GET /v1/sessions/{session_id}", "`snapshot_id` is null; `status_enum` is never suspend_requested, resumed or one of the _frontend words", "sessions fall asleep in one step, and the word for a session that wakes is resume_requested until its agent works"},
	{"DELETE /v1/sessions/{session_id}", "400 for a session that has ended", "the pages name no status"},
	{"POST /v1/sessions/{session_id}/message", "409 for a session that has ended", "a new session goes on"},
	{"POST /v1/attachments", "the address is below /v1 and asks for a key", "it answers 307 with an address that is good for a minute without one"},
	{"POST /v1/secrets", "a secret of the type dictionary is kept as key-value", "its value is a text all the same"},
	{"GET /v1/knowledge", authorless, auditSays},
	{"POST /v1/knowledge", authorless, auditSays},
	{"PUT /v1/knowledge/{note_id}", authorless + "; what the body leaves out is cleared", auditSays},
	{"GET /v1/playbooks", "`access_type` is team or enterprise, `status` published, and an enterprise's playbook has an empty `org_id`; names of people are their e-mail addresses", "there are no drafts and no community"},
	{"PUT /v1/playbooks/{playbook_id}", "a `macro` that is left out stays, null clears it", "the pages don't tell the two apart"},
	{"GET /v1/audit-logs", "takes an enterprise admin's `cog_` key; a personal key is bound to its organization on v1 and gets 403", "such a key reads them at /v2/enterprise/audit-logs"},
	{"GET /v1/enterprise/consumption", "answers v2's daily consumption with `period_start` and `period_end`; `period` is not known", "no shape was ever published"},
	{"GET /v2/enterprise/api-keys", "`api_key_value` is always null", "a key is kept hashed and shown once"},
	{"GET /v2/enterprise/consumption/cycles", "an object with `cycles`, newest first; `?shape=reference`, `--v2-cycles=array` or `--v2-examples=off` give the bare array", "the quick examples read it so"},
	{"GET /v2/enterprise/consumption/daily", daysBegin, "service users have no place in the published shape"},
	{"GET /v2/enterprise/metrics/prs", "a pull request counts once its provider confirms that it brings in a branch that the session pushed ([git.md](git.md#pull-requests)); those of somebody else are left out", "the pages don't say what makes one a session's, and have no place for those taken over"},
	{"GET /v2/enterprise/metrics/searches", "0", noSearches},
	{"GET /v2/enterprise/metrics/usage", "`searches_count` is 0", noSearches},
	{"GET /v2/enterprise/members", "`last_login`, `login_count` and `saml_id` are null, `name` is empty until the first sign-in, `searches_created_count` is 0, and `enterprise_role` is empty for who has roles through groups only", "what nobody keeps can't be told"},
	{"GET /v2/enterprise/members/{user_id}/organizations", "roles through groups are left out", "the shape has one role for each organization"},
	{"POST /v2/enterprise/members/invite", "400 for wrong, too many or no addresses, 422 for anything else", "as the old page names them"},
	{"PUT /v2/enterprise/groups", "at most 100 names at once", "as in v3"},
	{"GET /v2/enterprise/groups/{group_name}", "only roles in organizations are shown", "the shape has no place for an enterprise role"},
	{"POST /v2/enterprise/organizations", "`add_creator_as_member` makes a person the organization's admin; a service user becomes no member", "a service user's role is its own"},
	{"DELETE /v2/enterprise/organizations/{org_id}", "the primary organization, which stays, is the oldest one", "the pages don't say which it is"},
	{"POST /v2/enterprise/organizations/{org_id}/members", "the organization of the path is added to `org_ids`; who is a member already keeps their role; all or nothing, at most 2000 roles at once", "the pages leave it open"},
	{"POST /v2/enterprise/organizations/{org_id}/git/permissions", "`repo_url` and `group_prefix_url` must be on the connection's host; all or none are made", "a path of another host would be another repository"},
	{"POST /v2/enterprise/organizations/{org_id}/permissions", "422 unless the provider has exactly one connection; with an address as `repository`, one on its host", "the request names no connection"},
	{"GET /v2/enterprise/sessions", "archived sessions are left out", noArchive},
	{"GET /v2/enterprise/sessions/insights", "archived sessions are left out", noArchive},
	{"GET /v2/enterprise/playbooks", "`access` is enterprise, `status` published, `account_id` the same for all", "one deployment is one enterprise"},
	{"GET /v2/enterprise/hypervisors/health", "lists the workers", "they are what runs sessions"},
	{"POST /beta/v2/enterprise/repositories/bulk-index", "every name must be of a repository that the organization may use; nothing is indexed", wishOnly},
	{"GET /beta/v2/enterprise/repositories/{org_id}", "lists what is to be indexed", wishOnly},
	{"GET /beta/v2/enterprise/sessions", "v2's envelope; `devin_status` is v2's status, and completed for a finished session", "only one sample was published"},
}

// differ is the page's section about v1 and v2.
func differ(t *testing.T, known map[string]bool) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n## Where Gantry differs\n\nIn v1 and v2, what is other than the published pages say, or decided where they say nothing. Both of v2's published shapes are" +
		" answered at\nonce; `?shape=reference` leaves the quick examples' names out, as `--v2-examples=off` does for all requests.\n\n| operation | what | why |\n|---|---|---|\n")
	rows := make([]string, len(differences))
	for i, d := range differences {
		require.True(t, known[d.operation], "%s is no operation of v1 or v2", d.operation)
		method, path, _ := strings.Cut(d.operation, " ")
		rows[i] = fmt.Sprintf("| `%s` `%s` | %s | %s |\n", method, path, d.what, d.why)
	}
	require.True(t, slices.Equal(slices.Compact(slices.Sorted(slices.Values(rows))), slices.Sorted(slices.Values(rows))), "a row is there twice")
	b.WriteString(strings.Join(rows, ""))
	return b.String()
}
