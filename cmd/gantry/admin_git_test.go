package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGitConnectionsAreMadeListedAndRemovedWithoutShowingTheirTokens(t *testing.T) {
	t.Parallel()
	data := used(t)
	do := func(input string, args ...string) string {
		t.Helper()
		code, out, errs := command(t, input, append(append([]string{"admin"}, args...), "--data", data)...)
		require.Equal(t, exitOK, code, errs)
		require.NotContains(t, out+errs, "hunter2")
		return out
	}
	fails := func(args ...string) string {
		t.Helper()
		code, _, errs := command(t, "", append(append([]string{"admin"}, args...), "--data", data)...)
		require.NotEqual(t, exitOK, code)
		return errs
	}
	require.Contains(t, do("hunter2\n", "git-connection", "add", "ours", "--token-file", "-"), "git-connection-")
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("hunter2"), 0o600))
	var made struct {
		ID   string `json:"git_connection_id"`
		Type string `json:"git_provider_type"`
		Host string `json:"host"`
		Has  bool   `json:"has_token"`
	}
	text := do("", "git-connection", "add", "az", "--provider", "azure", "--url", "https://dev.azure.com/acme", "--token-file", token, "--json")
	require.NoError(t, json.Unmarshal([]byte(text), &made))
	require.Equal(t, []any{"azure_devops_oauth", "dev.azure.com", true}, []any{made.Type, made.Host, made.Has})
	require.Contains(t, do("", "git-connection", "add", "plain", "--provider", "git", "--host", "git.example.com"), "admin repo add --connection")
	do("", "repo", "add", "--connection", "plain", "acme/shop", "https://git.example.com/acme/shop")
	require.Contains(t, do("", "repo", "list", "--connection", "plain"), "acme/shop")
	require.NotContains(t, do("", "repo", "list"), "acme/shop", "it isn't everybody's")

	require.Contains(t, fails("git-connection", "add", "x", "--provider", "gitea"), "--host")
	require.Contains(t, fails("git-connection", "add", "x", "--provider", "sourceforge", "--host", "a"), "git_provider_type")
	require.Contains(t, fails("git-connection", "add", "x", "--token-file", token+"-not"), "no such file")
	require.Contains(t, fails("git-connection", "remove", "nobody"), "0 git connections are named")
	require.Contains(t, fails("repo", "add", "--connection", "plain", "evil", "https://evil.example.com/x"), "must be on the connection's host")

	list := do("", "git-connection", "list")
	require.Contains(t, list, "github_token")
	require.Contains(t, list, made.ID)
	do("", "git-connection", "remove", made.ID)
	do("", "repo", "remove", "--connection", "plain", "acme/shop")
	do("", "git-connection", "remove", "plain")
	require.NotContains(t, do("", "git-connection", "list", "--json"), made.ID)
}
