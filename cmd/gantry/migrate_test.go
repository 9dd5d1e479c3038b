package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
)

// briefly is command for one that may begin to serve where it should refuse.
func briefly(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var o, e bytes.Buffer
	code = run(ctx, args, &stdio{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

func TestADatabaseOfANewerReleaseIsRefusedByEveryCommand(t *testing.T) {
	t.Parallel()
	data := used(t)
	require.NoError(t, open(t, data).DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
		return err
	}))
	for _, args := range [][]string{
		{"migrate"},
		{"migrate", "--check"},
		{"serve", "--listen", "127.0.0.1:0", "--no-worker"},
		{"admin", "key"},
		{"admin", "repo", "add", "a/b", "https://git.example.com/a/b"},
		{"admin", "rotate-keeper", "file://" + t.TempDir() + "/next.key"},
		{"audit", "verify"},
	} {
		code, out, errs := briefly(t, append(args, "--data", data)...)
		require.Equal(t, exitUsage, code, "%v", args)
		require.Empty(t, out, "%v", args)
		require.Contains(t, errs, "a newer release made it", "%v", args)
		require.Contains(t, errs, "restore a backup", "%v", args)
	}
	found := examine(t, data)
	require.False(t, found["schema"].OK)
	require.Contains(t, found["schema"].Found, "a newer release made it")
}
