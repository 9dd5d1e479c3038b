package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
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

func TestDoctorSaysWhatIsFreeOnTheDisks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	found := examine(t, filepath.Join(dir, "a new place"))
	require.Regexp(t, `^\d+ MiB free$`, found["disk of "+dir].Found, "the disk of a place that isn't there yet is the one it will be on")

	var disks []finding
	for _, free := range []uint64{0, noRoom - 1, noRoom, littleRoom - 1, littleRoom} {
		disks = append(disks, roomOf("disk", free))
	}
	var out, errs bytes.Buffer
	err := report(&stdio{out: &out, err: &errs}, false, disks)
	require.Equal(t, exitCode(exitUsage), err)
	var marks []string
	for line := range strings.Lines(out.String()) {
		marks = append(marks, strings.Fields(line)[0])
	}
	require.Equal(t, []string{"CHECK", "FAIL", "FAIL", "warn", "warn", "ok"}, marks)
	require.NoError(t, report(&stdio{out: &out, err: &errs}, false, disks[2:]), "a warning is no failure")
}

func TestOnlyAFirstStartMakesTheKeeper(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	code, _, errs := command(t, "", "migrate", "--data", data)
	require.Equal(t, exitOK, code, errs)
	found := examine(t, data)
	require.True(t, found["keeper"].OK)
	require.Contains(t, found["keeper"].Found, "isn't there yet", "nothing went away")
	for _, args := range [][]string{{"audit", "verify"}, {"admin", "agent", "list"}} {
		code, _, errs := command(t, "", append(args, "--data", data)...)
		require.Equal(t, exitUsage, code, "%v", args)
		require.Contains(t, errs, "`gantry serve` or `gantry admin key` makes it", "%v", args)
	}
	key := filepath.Join(data, "keeper.key")
	require.NoFileExists(t, key)
	code, _, errs = command(t, "", "admin", "key", "--data", data)
	require.Equal(t, exitOK, code, errs)
	require.FileExists(t, key)
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
	require.Contains(t, found["keeper"].Mend, "rotate-keeper")
	for _, args := range [][]string{
		{"serve", "--listen", "127.0.0.1:0", "--no-worker"},
		{"admin", "key"},
		{"admin", "agent", "list"},
		{"audit", "verify"},
		{"audit", "verify", "--keeper", "file://" + filepath.Join(data, "typo.key")},
		{"admin", "rotate-keeper", "file://" + filepath.Join(data, "next.key")},
	} {
		code, _, errs := briefly(t, append(args, "--data", data)...)
		require.Equal(t, exitUsage, code, "%v", args)
		require.Contains(t, errs, "isn't there, but the database is: put the file back from a backup", "%v", args)
		require.Contains(t, errs, "rotate-keeper", "%v", args)
	}
	left, err := filepath.Glob(filepath.Join(data, "*.key"))
	require.NoError(t, err)
	require.Empty(t, left, "another key would open nothing, and be in the next backup")

	require.NoError(t, os.Rename(key+".away", key))
	require.NoError(t, os.Rename(database, database+".away"))
	found = examine(t, data)
	require.False(t, found["database"].OK)
	require.Contains(t, found["database"].Mend, "backup")
	require.NoFileExists(t, database, "an empty one would hide that it went away")
}
