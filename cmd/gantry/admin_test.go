package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
)

func TestOnlyWhatPreparesAServerMakesADatabase(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"repo", "list"},
		{"repo", "remove", "a/b"},
		{"git-connection", "list"},
		{"git-connection", "remove", "x"},
		{"agent", "list"},
		{"agent", "remove", "x"},
		{"agent", "default", "x"},
		{"api-key", "list"},
		{"api-key", "add"},
		{"api-key", "revoke", "x"},
		{"worker-key", "list"},
		{"worker-key", "revoke", "x"},
		{"person", "add", "a@example.com"},
		{"person", "remove", "a@example.com"},
		{"person", "groups", "a@example.com"},
		{"ip-list", "show"},
		{"ip-list", "clear"},
	} {
		data := filepath.Join(t.TempDir(), "typo")
		code, out, errs := command(t, "", append([]string{"admin"}, append(args, "--data", data)...)...)
		require.Equal(t, 1, code, "%v: %s", args, errs)
		require.Empty(t, out, "%v", args)
		require.Contains(t, errs, "there is no database at "+filepath.Join(data, "gantry.db"), "%v", args)
		require.Contains(t, errs, "--data", "%v", args)
		require.NoDirExists(t, data, "%v", args)
	}
	for _, args := range [][]string{
		{"key", "--json"},
		{"worker-key", "add", "side"},
		{"repo", "add", "a/b", "https://git.example.com/a/b"},
	} {
		data := filepath.Join(t.TempDir(), "new")
		code, _, errs := command(t, "", append([]string{"admin"}, append(args, "--data", data)...)...)
		require.Zero(t, code, "%v: %s", args, errs)
		require.FileExists(t, filepath.Join(data, "gantry.db"), "%v", args)
	}
}

func TestWhatIsNotThereNamesTheListThatIs(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	code, _, errs := command(t, "", "admin", "key", "--data", data)
	require.Zero(t, code, errs)
	for _, args := range [][]string{
		{"repo", "remove", "a/b"}, {"agent", "remove", "x"}, {"agent", "default", "x"}, {"api-key", "revoke", "x"}, {"worker-key", "revoke", "x"},
	} {
		code, _, errs := command(t, "", append([]string{"admin"}, append(args, "--data", data)...)...)
		require.Equal(t, 1, code, "%v: %s", args, errs)
		require.Contains(t, errs, "`gantry admin "+args[0]+" list` shows", "%v", args)
	}
	code, _, errs = command(t, "", "admin", "agent", "remove", "runbook", "--data", data)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "runbook is built in and stays")
}

func TestAnOperatorIsToldWhyTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	g := open(t, used(t))
	big := func(ctx context.Context, tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `PRAGMA max_page_count = 1`); err != nil { // as on a full disk
			return err
		}
		_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2)`, "big", strings.Repeat("x", 1<<20))
		return err
	}
	err := operatorError(g.DB.Write(t.Context(), big))
	require.ErrorContains(t, err, "the database is not available")
	require.ErrorContains(t, err, "disk is full")
}

func TestGroupsAreNamedOneByOneAsTheyAre(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, args := range [][]string{{"key"}, {"person", "add", "ada@example.com"}} {
		code, _, errs := command(t, "", append([]string{"admin"}, append(args, "--data", data)...)...)
		require.Zero(t, code, errs)
	}
	code, _, errs := command(t, "", "admin", "person", "groups", "ada@example.com", "CN=Devs,OU=x", "ops", "--data", data)
	require.Equal(t, 1, code, "a name that isn't registered takes nobody out of anything")
	require.Contains(t, errs, `the IdP group "CN=Devs,OU=x" isn't registered`)
}
