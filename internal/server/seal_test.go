package server_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/server"
)

// Whatever process writes an audit entry signs it, and the signature outlives the keeper that it was made under.
func TestTheSealOutlivesARotationOfTheKeeper(t *testing.T) {
	t.Parallel()
	s := &config.Storage{Data: t.TempDir()}
	require.NoError(t, s.Fill(config.Sources{}))
	auditor := access.As("test", access.ManageEnterpriseSettings)
	look := func(want int64) audit.Anchor {
		t.Helper()
		g, err := server.OpenGround(t.Context(), s, clock.Clock{})
		require.NoError(t, err)
		defer func() { require.NoError(t, g.Close()) }()
		_, err = g.MemberRoom(nil).Bootstrap(t.Context(), member.BootstrapOptions{})
		require.NoError(t, err)
		log := audit.New(g.DB)
		a, err := log.Head(t.Context(), auditor)
		require.NoError(t, err)
		r, err := log.Verify(t.Context(), auditor, a)
		require.NoError(t, err)
		require.Empty(t, r.Findings)
		require.Equal(t, want, r.Sealed)
		return a
	}
	before := look(3) // the first start's
	next := "file://" + filepath.Join(s.Data, "next.key")
	_, err := server.RotateKeeper(t.Context(), s, next, clock.Clock{})
	require.NoError(t, err)
	s.Keeper = next
	require.NotEqual(t, before, look(4), "the rotation's own entry is signed too")
}
