package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// examine runs doctor without a sandbox: this process isn't the program that goes into one.
func examine(t *testing.T, data string) map[string]finding {
	t.Helper()
	_, out, errs := command(t, "", "doctor", "--data", data, "--sandbox", "none", "--json")
	var all []finding
	require.NoError(t, json.Unmarshal([]byte(out), &all), errs)
	by := map[string]finding{}
	for _, f := range all {
		by[f.Check] = f
	}
	return by
}

func TestDoctorMakesNothingWhereThereIsNothing(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "a new place")
	found := examine(t, data)
	require.NoDirExists(t, data)
	for _, check := range []string{"data directory", "database", "keeper", "blobs"} {
		require.True(t, found[check].OK, check)
		require.Contains(t, found[check].Found, "isn't there yet", check)
	}
	require.NotContains(t, found, "agents")

	code, _, errs := command(t, "", "migrate", "--check", "--data", data)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "there is no database")
	require.NoDirExists(t, data)
}

func TestDoctorMissesADatabaseOrAKeyThatWentAway(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "a place")
	code, _, errs := command(t, "", "admin", "key", "--data", data)
	require.Equal(t, exitOK, code)
	require.Contains(t, errs, "held no database: this made a new one")
	_, _, errs = command(t, "", "admin", "key", "--data", data)
	require.Empty(t, errs, "nothing to tell the second time")
	found := examine(t, data)
	require.True(t, found["database"].OK)
	require.Contains(t, found["keeper"].Found, "opens this database's secrets")
	require.True(t, found["agent runbook"].OK)

	key, database := filepath.Join(data, "keeper.key"), filepath.Join(data, "gantry.db")
	require.NoError(t, os.Rename(key, key+".away"))
	found = examine(t, data)
	require.False(t, found["keeper"].OK)
	require.Contains(t, found["keeper"].Mend, "backup")
	require.NoFileExists(t, key, "another key would open nothing")

	require.NoError(t, os.Rename(key+".away", key))
	require.NoError(t, os.Rename(database, database+".away"))
	found = examine(t, data)
	require.False(t, found["database"].OK)
	require.Contains(t, found["database"].Mend, "backup")
	require.NoFileExists(t, database, "an empty one would hide that it went away")
}
