package contracttest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/server"
)

// guide lists the successor of every operation of v1 and v2.
const guide = "../../docs/migration.md"

const guideIntro = `# From v1 and v2 to v3

Gantry answers v1 and v2 as it answers v3, from the same data, so programs move one call at a time. Every answer of an older version
says that it is deprecated (` + "`Deprecation`" + `) and where its successor is (` + "`Link: <…>; rel=\"successor-version\"`" + `).

What is different everywhere:

| | v1 | v2 | v3 |
|---|---|---|---|
| Keys | ` + "`apk_user_`, `apk_`, `cog_`" + ` | an enterprise admin's ` + "`apk_user_` or `cog_`" + ` | ` + "`cog_`" + ` |
| Organization | the key's own | named in paths and filters | in the path, or the key's own: ` + "`/v3/organizations/sessions`" + ` |
| Pages | ` + "`limit`, `offset`" + ` | ` + "`skip`, `limit`; `total`, `has_more`, `next_cursor`" + ` | ` + "`first`, `after`; `end_cursor`, `has_next_page`" + ` |
| Times | ISO 8601 | ISO 8601; audit logs in milliseconds | Unix seconds |
| Errors | ` + "`{\"detail\": …}`" + ` | ` + "`{\"detail\": …}`" + ` | problem details; ` + "`detail`" + ` stays a text |
| Writes answer | a few words | ` + "`{\"status\": \"success\"}`" + ` | the object |
| Session ids | with ` + "`devin-`" + ` | bare | bare; any number of ` + "`devin-`" + ` is understood |

A v1 ` + "`status_enum`" + ` is read off v3's pair: working is new, claimed and running/working; blocked is running/waiting_for_user, running/waiting_for_approval
and suspended; finished is running/finished and exit; expired is error; resume_requested is resuming.

Paths that are served as well: ` + "`/v1/session/{id}`" + ` with its message and tags, ` + "`/v1/enterprise/audit-logs`, `/v2/audit-logs`, `/api/v2/enterprise/…`" + ` (pages of up to
1,000), ` + "`DELETE /sessions/{id}`, `POST /v1/sessions/{id}/messages`, `/v2/enterprise/repositories/…`" + `, and any of them with a slash at the end.

` + "`/v1/audit-logs`" + ` and ` + "`/v1/enterprise/consumption`" + ` are the enterprise's and take an enterprise admin's keys, ` + "`cog_`" + ` and ` + "`apk_user_`" + `. With ` + "`--strict-older-keys`" + `,
which refuses ` + "`cog_`" + ` on v1 and v2, the latter alone reads them. An ` + "`apk_user_`" + ` key ends for good when its person loses their access to its organization: whoever
comes back needs a new one.

This page is written by ` + "`go test ./internal/contracttest -update`" + ` from what the operations themselves declare.
`

func TestTheMigrationGuideNamesEverySuccessor(t *testing.T) {
	t.Parallel()
	text, err := server.OpenAPI("v3")
	require.NoError(t, err)
	v3 := parseDocument(t, text)
	var b strings.Builder
	b.WriteString(guideIntro)
	for _, version := range []string{"v1", "v2"} {
		text, err := server.OpenAPI(version)
		require.NoError(t, err)
		var rows []string
		for _, o := range parseDocument(t, text).operations {
			require.Equal(t, true, o.spec["deprecated"], o.name())
			to := "none"
			if successor, ok := o.spec["x-v3-equivalent"].(string); ok {
				method, path, _ := strings.Cut(successor, " ")
				_, there := v3.operations[strings.ToLower(method)+" "+anonymous(path)]
				require.True(t, there, "%s names %s, which v3 doesn't have", o.name(), successor)
				to = "`" + successor + "`"
			}
			rows = append(rows, fmt.Sprintf("| `%s` | `%s` | %s |", o.path, strings.ToUpper(o.method), to))
		}
		slices.Sort(rows)
		fmt.Fprintf(&b, "\n## %s\n\n| path | method | in v3 |\n|---|---|---|\n%s\n", version, strings.Join(rows, "\n"))
	}
	if *update {
		require.NoError(t, os.WriteFile(guide, []byte(b.String()), 0o644))
		return
	}
	now, err := os.ReadFile(guide)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(now), "run this test with -update")
}
