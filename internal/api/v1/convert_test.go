package v1

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
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

func TestASessionOnTheWire(t *testing.T) {
	t.Parallel()
	bare := &session.Session{ID: "abc", State: session.State{Status: session.StatusNew}, CreatedAt: noon, UpdatedAt: noon}
	require.Equal(t, map[string]any{
		"session_id": "devin-abc", "status": "new", "status_enum": "working", "title": nil, "created_at": noonText, "updated_at": noonText,
		"playbook_id": nil, "snapshot_id": nil, "pull_request": nil, "requesting_user_email": nil, "structured_output": nil, "tags": []any{},
	}, wire(t, summaryOf(bare, nil)))
	full := &session.Session{
		ID: "abc", State: session.State{Status: session.StatusExit}, CreatedAt: noon, UpdatedAt: noon, Title: "t", PlaybookID: "playbook-1",
		Tags: []string{"a"}, UserID: "u", Output: json.RawMessage(`{"x":1}`),
		PullRequests: []session.PullRequest{{URL: "https://x/1"}, {URL: "https://x/2"}},
	}
	require.Equal(t, map[string]any{
		"session_id": "devin-abc", "status": "exit", "status_enum": "finished", "title": "t", "created_at": noonText, "updated_at": noonText,
		"playbook_id": "playbook-1", "snapshot_id": nil, "pull_request": map[string]any{"url": "https://x/2"}, "requesting_user_email": "u@example.com",
		"structured_output": map[string]any{"x": 1.0}, "tags": []any{"a"},
	}, wire(t, summaryOf(full, map[string]string{"u": "u@example.com"})), "of several pull requests the last one")
}

func TestAMessageOnTheWire(t *testing.T) {
	t.Parallel()
	people := map[string]string{"u": "u@example.com"}
	for _, c := range []struct {
		m     session.SessionMessage
		first bool
		want  map[string]any
	}{
		{session.SessionMessage{Source: "user", UserID: "u"}, true, map[string]any{"type": "initial_user_message", "username": "u@example.com", "origin": "slack"}},
		{session.SessionMessage{Source: "user", UserID: "gone"}, false, map[string]any{"type": "user_message", "username": nil, "origin": nil}},
		{session.SessionMessage{Source: "devin", UserID: "u"}, true, map[string]any{"type": "devin_message", "username": nil, "origin": nil}},
	} {
		c.m.EventID, c.m.Text, c.m.CreatedAt = "e", "text", noon
		c.want["event_id"], c.want["message"], c.want["timestamp"] = "e", "text", noonText
		require.Equal(t, c.want, wire(t, messageOf(c.m, c.first, "slack", people)))
	}
	text, err := json.Marshal(MessageSent{})
	require.NoError(t, err)
	require.Equal(t, "null", string(text))
	require.Equal(t, map[string]any{"detail": "asleep"}, wire(t, MessageSent{"asleep"}))
}

func TestANoteOnTheWire(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]any{
		"id": "note-1", "name": "n", "body": "b", "trigger_description": "t", "created_at": noonText, "created_by": nil, "macro": nil,
		"parent_folder_id": nil, "pinned_repo": nil,
	}, wire(t, entryOf(knowledge.Note{ID: "note-1", Name: "n", Body: "b", Trigger: "t", CreatedAt: noon})))
	full := wire(t, entryOf(knowledge.Note{Macro: "!m", FolderID: "folder-1", PinnedRepo: "a/b"}))
	require.Equal(t, []any{"!m", "folder-1", "a/b"}, []any{full["macro"], full["parent_folder_id"], full["pinned_repo"]})

	p := KnowledgeParams{Name: "n", Body: "b", TriggerDescription: "t", ParentFolderID: kit.Some("folder-1"), PinnedRepo: kit.Some("all")}.params(t.Context(), "note-1")
	require.Equal(t, knowledge.NoteParams{NoteID: "note-1", Name: "n", Body: "b", Trigger: "t", FolderID: "folder-1", PinnedRepo: "all", Macro: new("")}, p,
		"a note is written whole: a macro that is left out is cleared")
}

func TestAPlaybookOnTheWire(t *testing.T) {
	t.Parallel()
	by := older.PlaybookAuthors{CreatedByUserID: new("u"), CreatedByUserName: new("u@example.com")}
	ours := wire(t, playbookOf(playbook.Playbook{ID: "playbook-1", OrgID: "org-1", Title: "t", Body: "b", CreatedAt: noon}, by))
	require.Equal(t, map[string]any{
		"playbook_id": "playbook-1", "org_id": "org-1", "title": "t", "body": "b", "macro": nil, "access_type": "team", "status": "published",
		"created_at": noonText, "updated_at": nil, "created_by_user_id": "u", "created_by_user_name": "u@example.com",
		"updated_by_user_id": nil, "updated_by_user_name": nil,
	}, ours)
	require.Equal(t, "enterprise", wire(t, playbookOf(playbook.Playbook{}, by))["access_type"])
	for _, c := range []struct {
		macro kit.Optional[string]
		want  *string
	}{{kit.Optional[string]{}, nil}, {kit.Optional[string]{Set: true, Null: true}, new("")}, {kit.Some("!m"), new("!m")}} {
		require.Equal(t, c.want, PlaybookParams{Macro: c.macro}.params(t.Context(), "").Macro, "absent keeps, null clears")
	}
}
