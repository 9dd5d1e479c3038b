package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDownloadWritesWhatTheSessionMadeAndNothingElsewhere(t *testing.T) {
	t.Parallel()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	f := serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/organizations/org-1/sessions/abc": says(`{"session_id":"abc","status":"exit"}`),
		"GET /v3/organizations/org-1/sessions/abc/attachments": says(`[
			{"attachment_id":"a","name":"log.txt","source":"devin"},{"attachment_id":"b","name":"log.txt","source":"devin"},
			{"attachment_id":"c","name":"../up.txt","source":"devin"},{"attachment_id":"d","name":"given.txt","source":"user"}]`),
		"GET /v3/organizations/org-1/attachments/a/log.txt":     text("first"),
		"GET /v3/organizations/org-1/attachments/b/log.txt":     text("second"),
		"GET /v3/organizations/org-1/attachments/d/given.txt":   text("given"),
		"GET /v3/organizations/org-1/attachments/c/..%2Fup.txt": text("up"),
		"GET /v3/organizations/org-1/attachments/c/../up.txt":   text("up"),
	})
	dir := filepath.Join(t.TempDir(), "out")
	code, out, errs := command(t, "", f.at("session", "download", "abc", "--to", dir)...)
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, filepath.Join(dir, "log.txt")+"\n"+filepath.Join(dir, "2-log.txt")+"\n"+filepath.Join(dir, "up.txt")+"\n", out)
	for name, want := range map[string]string{"log.txt": "first", "2-log.txt": "second", "up.txt": "up"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.NoFileExists(t, filepath.Join(dir, "..", "up.txt"))

	code, _, errs = command(t, "", f.at("session", "download", "abc", "log.txt", "--to", dir)...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--force")
	code, out, errs = command(t, "", f.at("session", "download", "abc", "given.txt", "--to", dir, "--json")...)
	require.Equal(t, exitOK, code, errs)
	require.JSONEq(t, `["given.txt"]`, out)
	code, _, errs = command(t, "", f.at("session", "download", "abc", "other", "--to", dir)...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "no file named other")
}
