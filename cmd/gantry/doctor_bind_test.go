package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
)

func TestABindThatTheSandboxRefusesIsRefusedWhenTheAgentIsAddedAndNamedByDoctor(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	add := func(bind string) (int, string) {
		code, _, errs := command(t, "", strings.Fields("admin agent add --data "+data+" --bind "+bind+" helper /bin/true")...)
		return code, errs
	}
	code, errs := add("/tmp/agent")
	require.NotEqual(t, exitOK, code)
	require.Contains(t, errs, "/tmp/agent belongs to the sandbox; show it under another name with PATH:INSIDE")
	code, errs = add("/tmp/agent:/opt/agent")
	require.Equal(t, exitOK, code, errs)
	require.True(t, examine(t, data)["agent helper"].OK)

	// One that an earlier release took.
	d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(data, "gantry.db"), db.Options{})
	require.NoError(t, err)
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE agents SET binds = '["/tmp/agent"]' WHERE name = 'helper'`)
		return err
	}))
	require.NoError(t, d.Close())
	found := examine(t, data)["agent helper"]
	require.False(t, found.OK)
	require.Contains(t, found.Found, "/tmp/agent belongs to the sandbox")
}
