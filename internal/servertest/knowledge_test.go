package servertest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/servertest"
)

// do makes a request of an admin's and gives the answer's object.
func do(t *testing.T, s *servertest.Server, method, path, body string) object {
	t.Helper()
	a := s.Do(t, method, path, s.Admin.Token.Reveal(), body)
	require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", method, path, a.Body)
	return a.JSON(t)
}

// body makes a JSON body.
func jsonOf(t *testing.T, v object) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestAPlaybooksBlocksRunBeforeThePromptsAndANotesNever(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Worker: true})
	v3 := "/v3/organizations/" + s.Org
	block := func(line string) string { return "```sh\n" + line + "\n```\n" }
	do(t, s, http.MethodPost, "/v3/enterprise/playbooks", jsonOf(t, object{
		"title": "Release", "macro": "!release", "body": "First the checks.\n\n" + block("echo playbook ran"),
		"structured_output_schema": object{"type": "object", "required": []string{"released"}},
	}))
	do(t, s, http.MethodPost, v3+"/knowledge/notes", jsonOf(t, object{
		"name": "Releases", "trigger": "releasing", "body": block("echo note ran"),
	}))
	made := do(t, s, http.MethodPost, v3+"/sessions", jsonOf(t, object{
		"prompt": "Please !release this, and !unknown stays.\n\n" + block("echo prompt ran") + block(`echo '{"released": true}'`),
	}))
	id := made["session_id"].(string)
	require.NotNil(t, made["playbook_id"], "the macro's playbook is the session's")
	finished := func(n int) (output string, got object) {
		require.Eventually(t, func() bool {
			got = do(t, s, http.MethodGet, v3+"/sessions/"+id, "")
			return got["status_detail"] == "finished" && strings.Count(s.Do(t, http.MethodGet, "/gantry/v1"+v3[len("/v3"):]+"/sessions/"+id+
				"/events?first=200", s.Admin.Token.Reveal(), "").Body, `"status":"ended"`) == n
		}, patience, 5*step)
		events := do(t, s, http.MethodGet, "/gantry/v1/organizations/"+s.Org+"/sessions/"+id+"/events?first=200", "")
		for _, e := range list[object](events["items"]) {
			if e["type"] == "tool_output" {
				output += e["data"].(object)["text"].(string)
			}
		}
		return output, got
	}
	output, got := finished(1)
	require.Equal(t, "playbook ran\nprompt ran\n{\"released\": true}\n", output)
	require.Equal(t, object{"released": true}, got["structured_output"], "the playbook's schema was asked for")

	events := do(t, s, http.MethodGet, "/gantry/v1/organizations/"+s.Org+"/sessions/"+id+"/events?first=200", "")
	var told object
	for _, e := range list[object](events["items"]) {
		if e["type"] == "context" {
			told = e["data"].(object)
		}
	}
	require.Equal(t, "Release", list[object](told["playbooks"])[0]["title"])
	require.Equal(t, "trigger", list[object](told["notes"])[0]["reason"])
	found := do(t, s, http.MethodGet, v3+"/sessions?playbook_id="+made["playbook_id"].(string), "")
	require.Len(t, list[object](found["items"]), 1)

	do(t, s, http.MethodPost, v3+"/sessions/"+id+"/messages", jsonOf(t, object{"message": "Once more: !release\n" + block(`echo '{"released": false}'`)}))
	output, got = finished(2)
	require.True(t, strings.HasSuffix(output, "playbook ran\n{\"released\": false}\n"), output)
	require.Equal(t, object{"released": false}, got["structured_output"])
}

func TestKnowledgeRoutesAgreeOnWhatANoteIs(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		v3 := "/v3/organizations/" + s.Org + "/knowledge"
		folder := do(t, s, http.MethodPost, "/gantry/v1/organizations/"+s.Org+"/knowledge/folders", `{"path":"guides/go"}`)
		made := do(t, s, http.MethodPost, v3+"/notes", jsonOf(t, object{
			"name": "n", "body": "b", "trigger": "t", "folder_id": folder["folder_id"], "pinned_repo": "all", "is_enabled": false,
		}))
		require.Equal(t, "/guides/go", made["folder_path"])
		require.Equal(t, false, made["is_enabled"])
		require.Nil(t, made["macro"])
		require.Equal(t, made, do(t, s, http.MethodGet, v3+"/notes/"+made["note_id"].(string), ""))
		tree := do(t, s, http.MethodGet, v3+"/folders", "")
		require.Len(t, list[object](tree["folders"]), 2)
		put := do(t, s, http.MethodPut, v3+"/notes/"+made["note_id"].(string), `{"name":"n","body":"b","trigger":"t","pinned_repo":null}`)
		require.Nil(t, put["pinned_repo"])
		require.Nil(t, put["folder_id"])
		require.Equal(t, true, put["is_enabled"])
		require.EqualValues(t, 1, do(t, s, http.MethodGet, v3+"/folders", "")["root_note_count"])

		key := s.Admin.Token.Reveal()
		a := s.Do(t, http.MethodPost, "/v3/enterprise/knowledge/notes", key, `{"name":"n","body":"b","trigger":"t","folder_id":"folder-1"}`)
		require.Equal(t, http.StatusBadRequest, a.Status, a.Body)
		require.Contains(t, a.Body, "folder_id")
		a = s.Do(t, http.MethodGet, "/v3/enterprise/knowledge/notes?access_type=other", key, "")
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)

		shared := do(t, s, http.MethodPost, "/v3/enterprise/knowledge/notes", `{"name":"shared","body":"b","trigger":"t","folder_id":null}`)
		require.Equal(t, "enterprise", shared["access_type"])
		require.Nil(t, shared["org_id"])
		member := s.NewKey(t, s.Org, access.RoleOrgMember).Token
		a = s.Do(t, http.MethodGet, v3+"/notes/"+shared["note_id"].(string), member, "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		a = s.Do(t, http.MethodDelete, v3+"/notes/"+shared["note_id"].(string), member, "")
		require.Equal(t, http.StatusForbidden, a.Status, a.Body)
		top := do(t, s, http.MethodPost, "/gantry/v1/knowledge/folders", `{"path":"/shared"}`)
		moved := do(t, s, http.MethodPut, "/gantry/v1/knowledge/notes/"+shared["note_id"].(string)+"/folder", jsonOf(t, object{"folder_id": top["folder_id"]}))
		require.Equal(t, "/shared", moved["folder_path"])
	})
}

func TestAPlaybooksMacroAndSchemaAreClearedByNullAndKeptWhenLeftOut(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		for _, base := range []string{"/v3/organizations/" + s.Org + "/playbooks", "/v3/enterprise/playbooks"} {
			made := do(t, s, http.MethodPost, base, `{"title":"t","body":"b","macro":"!m","structured_output_schema":{"type":"object"}}`)
			path := base + "/" + made["playbook_id"].(string)
			got := do(t, s, http.MethodPut, path, `{"title":"t","body":"b"}`)
			require.Equal(t, "!m", got["macro"])
			require.Equal(t, object{"type": "object"}, got["structured_output_schema"])
			a := s.Do(t, http.MethodPost, base, s.Admin.Token.Reveal(), `{"title":"t","body":"b","macro":"!m"}`)
			require.Equal(t, http.StatusConflict, a.Status, a.Body)
			require.Contains(t, a.Body, "macro")
			got = do(t, s, http.MethodPut, path, `{"title":"t","body":"b","macro":null,"structured_output_schema":null}`)
			require.Nil(t, got["macro"])
			require.Nil(t, got["structured_output_schema"])
			require.Equal(t, got, do(t, s, http.MethodDelete, path, ""))
		}
	})
}
