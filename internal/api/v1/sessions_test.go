package v1

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/session"
)

func TestEveryStateHasItsWordInStatusEnum(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status session.Status
		detail session.Detail
		want   string
	}{
		{session.StatusNew, "", "working"},
		{session.StatusClaimed, "", "working"},
		{session.StatusRunning, session.Working, "working"},
		{session.StatusRunning, session.WaitingForUser, "blocked"},
		{session.StatusRunning, session.WaitingForApproval, "blocked"},
		{session.StatusRunning, session.Finished, "finished"},
		{session.StatusSuspended, session.Inactivity, "blocked"},
		{session.StatusSuspended, session.UserRequest, "blocked"},
		{session.StatusSuspended, session.UsageLimitExceeded, "blocked"},
		{session.StatusResuming, "", "resume_requested"},
		{session.StatusExit, "", "finished"},
		{session.StatusError, "", "expired"},
	} {
		require.Equal(t, c.want, *statusEnum(session.State{Status: c.status, Detail: c.detail}), "%s/%s", c.status, c.detail)
	}
}

func TestOlderPathsAreRewritten(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/session/a":             "/v1/sessions/a",
		"/v1/session/a/message":     "/v1/sessions/a/message",
		"/v1/session/a/tags":        "/v1/sessions/a/tags",
		"/v1/sessions/a/messages":   "/v1/sessions/a/message",
		"/v1/session/a/messages":    "/v1/sessions/a/message",
		"/v1/enterprise/audit-logs": "/v1/audit-logs",
		"/v1/sessions/":             "/v1/sessions",
		"/v1/sessions/messages":     "/v1/sessions/messages",
		"/v3/session/a":             "/v3/session/a",
		"/v1/sessions":              "/v1/sessions",
	} {
		require.Equal(t, want, rewrite("GET", path), path)
	}
	require.Equal(t, "/v1/sessions/a", rewrite("DELETE", "/sessions/a"))
	require.Equal(t, "/sessions/a", rewrite("GET", "/sessions/a"), "a page of the web application")
}
