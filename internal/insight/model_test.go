package insight

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/platform/secret"
	"gantry/internal/session"
)

const goodAnswer = `{"action_items":[{"action_item":"Do it","type":"knowledge","issue_id":"issue-1"},{"action_item":"And this","type":"other","issue_id":"issue-9"}],
"classification":{"category":"bug_fixing","confidence":0.8,"programming_languages":["Go"],"tools_and_frameworks":[]},
"issues":[{"id":"issue-1","issue":"It broke","impact":"An hour","label":"bug"}],
"note_usage":{"good_usages":[{"note_id":"note-1","message":"m","reason":"r"},{"note_id":"note-made-up","message":"m","reason":"r"}],"bad_usages":[]},
"suggested_prompt":{"original_prompt":"something else","suggested_prompt":"Better","feedback_items":[{"summary":"s","details":"d","excerpt":"e","issue_id":null}]},
"timeline":[{"title":"Begin","description":"","color":"green","issue_id":"nothing"}]}`

// modelServer speaks the protocol of chat completions and answers with what the test says.
func modelServer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *Model {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // a server that answers before it has read may reset the connection
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	m, err := NewModel(s.URL+"/v1", "reviewer-1", secret.New("sk-test"))
	require.NoError(t, err)
	return m
}

func completion(w http.ResponseWriter, content string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{"message": map[string]any{"role": "assistant", "content": content}}}})
}

func TestAModelsAnswerBecomesTheAnalysis(t *testing.T) {
	t.Parallel()
	x := told(t, asked("Fix it", 1), turnEvent("started", 1), began("1", "make"), finished("1", 2))
	x.notes = []session.UsedNote{{ID: "note-1", Name: "n"}}
	for _, form := range []string{"%s", "```json\n%s\n```", "```\n%s```"} {
		m := modelServer(t, func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, "/v1/chat/completions", r.URL.Path)
			require.Equal(t, http.MethodPost, r.Method)
			require.Equal(t, "Bearer sk-test", r.Header.Get("Authorization"))
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			var q chatRequest
			require.NoError(t, json.Unmarshal(body, &q))
			require.Equal(t, "reviewer-1", q.Model)
			require.Contains(t, q.Messages[0].Content, "JSON Schema")
			require.Contains(t, q.Messages[1].Content, "execute: make: failed, exit status 2")
			require.NotContains(t, q.Messages[0].Content, "Fix it", "what the session says is no instruction")
			completion(w, fmt.Sprintf(form, goodAnswer))
		})
		a, err := m.analyse(t.Context(), x)
		require.NoError(t, err)
		require.Equal(t, ByModel, a.MadeBy)
		require.Equal(t, "issue-1", a.ActionItems[0].IssueID)
		require.Empty(t, a.ActionItems[1].IssueID, "an issue that isn't there")
		require.Empty(t, a.Timeline[0].IssueID)
		require.Equal(t, "Fix it", a.SuggestedPrompt.Original, "what was asked is known better here")
		require.Equal(t, []NoteUse{{"note-1", "m", "r"}}, a.NoteUsage.Good, "a note that the session wasn't given")
		follows(t, a)
	}
}

func TestAnAnswerThatIsNoAnalysisIsRefused(t *testing.T) {
	t.Parallel()
	x := told(t, asked("Fix it", 1))
	refused := func(name string, away bool, answer func(w http.ResponseWriter, r *http.Request)) {
		t.Helper()
		_, err := modelServer(t, answer).analyse(t.Context(), x)
		require.Error(t, err, name)
		if away {
			require.ErrorIs(t, err, errAway, name)
		} else {
			require.NotErrorIs(t, err, errAway, name)
		}
		require.NotContains(t, reasonOf(err), "127.0.0.1", name)
		require.NotContains(t, reasonOf(err), "sk-test", name)
	}
	for _, text := range []string{
		"", "I can't do that", "[]", "null", "{}", strings.Replace(goodAnswer, `"knowledge"`, `"sabotage"`, 1),
		strings.Replace(goodAnswer, "0.8", "8", 1), strings.Replace(goodAnswer, "It broke", strings.Repeat("x", 3000), 1), goodAnswer + "}",
	} {
		refused(text, false, func(w http.ResponseWriter, _ *http.Request) { completion(w, text) })
	}
	refused("no choice", false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[]}`)
	})
	refused("a page", false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	refused("too much", false, func(w http.ResponseWriter, _ *http.Request) { completion(w, strings.Repeat("x", maxAnswer)) })
	refused("a wrong key", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	refused("elsewhere", false, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
	})
	refused("busy", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	refused("broken", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	m, err := NewModel("http://127.0.0.1:1", "m", secret.New(""))
	require.NoError(t, err)
	_, err = m.analyse(t.Context(), x)
	require.ErrorIs(t, err, errAway, "nobody listens")
}

func TestTheModelsAddressIsHTTPAndItsNameIsGiven(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "models.example.com", "ftp://x", "http://", ":"} {
		_, err := NewModel(base, "m", secret.New(""))
		require.Error(t, err, base)
	}
	_, err := NewModel("https://models.example.com/v1", "", secret.New(""))
	require.Error(t, err)
	for base, want := range map[string]string{
		"https://models.example.com/v1": "https://models.example.com/v1/chat/completions", "http://h": "http://h/chat/completions",
		"https://h/x/chat/completions": "https://h/x/chat/completions",
	} {
		m, err := NewModel(base, "m", secret.New(""))
		require.NoError(t, err)
		require.Equal(t, want, m.url)
	}
}

func TestWhateverAModelSaysIsBoundedOrRefused(t *testing.T) {
	t.Parallel()
	x := told(t, asked("Fix it", 1))
	rapid.Check(t, func(t *rapid.T) {
		a, err := parse(rapid.OneOf(rapid.String(), rapid.Map(rapid.String(), func(s string) string {
			b, _ := json.Marshal(s)
			return strings.ReplaceAll(goodAnswer, `"It broke"`, string(b))
		})).Draw(t, "answer"), x)
		if err == nil {
			follows(t, a)
		}
	})
}
