package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
)

var here = keeper.Place{Table: "t", Row: "r", Column: "c"}

func nothing(context.Context, *db.Tx) error { return nil }

// at opens the keeper of a key file without attaching it.
func at(t *testing.T, dir, name string) *keeper.Keeper {
	t.Helper()
	k, err := keeper.Open(t.Context(), (&url.URL{Scheme: "file", Path: filepath.Join(dir, name)}).String(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

func attach(t *testing.T, d *db.DB, dir, name string) *keeper.Keeper {
	t.Helper()
	k := at(t, dir, name)
	require.NoError(t, k.Attach(t.Context(), d))
	return k
}

// sealFor seals a value for each of n organizations.
func sealFor(t *testing.T, k *keeper.Keeper, n int) [][]byte {
	t.Helper()
	sealed := make([][]byte, n)
	for i := range sealed {
		var err error
		sealed[i], err = k.Seal(t.Context(), fmt.Sprintf("org-%03d", i), here, []byte("hunter2"))
		require.NoError(t, err)
	}
	return sealed
}

func opensAll(t *testing.T, k *keeper.Keeper, sealed [][]byte) {
	t.Helper()
	for i, s := range sealed {
		plain, err := k.Open(t.Context(), fmt.Sprintf("org-%03d", i), here, s)
		require.NoError(t, err)
		require.Equal(t, "hunter2", string(plain))
	}
}

func TestARotatedKeeperOpensWhatTheOldOneSealedAndTheOldOneIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir, ctx := t.TempDir(), t.Context()
		old := attach(t, d, dir, "old.key")
		sealed := sealFor(t, old, 3)
		recorded := 0
		n, err := old.Rotate(ctx, at(t, dir, "new.key"), func(context.Context, *db.Tx) error { recorded++; return nil })
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.Equal(t, 1, recorded)

		after := attach(t, d, dir, "new.key")
		opensAll(t, after, sealed)
		require.Equal(t, old.Derive("cursors"), after.Derive("cursors"), "what was signed before stays good")
		require.ErrorIs(t, at(t, dir, "old.key").Attach(ctx, d), keeper.ErrWrongKeeper)

		n, err = after.Rotate(ctx, at(t, dir, "third.key"), nothing)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		third := attach(t, d, dir, "third.key")
		opensAll(t, third, sealed)
		require.Equal(t, old.Derive("cursors"), third.Derive("cursors"), "the root is handed on each time")
		_, err = third.Rotate(ctx, at(t, dir, "third.key"), nothing)
		require.ErrorIs(t, err, keeper.ErrSameKeeper)
	})
}

// A rotation that dies in its last transaction is the one that got furthest without being done.
func TestARotationThatIsBrokenOffLeavesTheOldKeeperWorkingAndGoesOn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir, ctx, boom := t.TempDir(), t.Context(), errors.New("killed")
		sealed := sealFor(t, attach(t, d, dir, "old.key"), 250)
		_, err := attach(t, d, dir, "old.key").Rotate(ctx, at(t, dir, "new.key"), func(context.Context, *db.Tx) error { return boom })
		require.ErrorIs(t, err, boom)

		old := attach(t, d, dir, "old.key")
		opensAll(t, old, sealed)
		require.ErrorIs(t, at(t, dir, "new.key").Attach(ctx, d), keeper.ErrWrongKeeper)
		_, err = old.Seal(ctx, "org-late", here, []byte("late"))
		require.NoError(t, err, "organizations come while it is half done")

		n, err := old.Rotate(ctx, at(t, dir, "new.key"), nothing)
		require.NoError(t, err)
		require.Equal(t, 1, n, "what was wrapped before isn't wrapped again")
		opensAll(t, attach(t, d, dir, "new.key"), sealed)
	})
}

func TestABrokenOffRotationMayGoToAnotherKeeperInstead(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir, ctx, boom := t.TempDir(), t.Context(), errors.New("killed")
		sealed := sealFor(t, attach(t, d, dir, "old.key"), 3)
		old := attach(t, d, dir, "old.key")
		_, err := old.Rotate(ctx, at(t, dir, "abandoned.key"), func(context.Context, *db.Tx) error { return boom })
		require.ErrorIs(t, err, boom)
		n, err := old.Rotate(ctx, at(t, dir, "new.key"), nothing)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		opensAll(t, attach(t, d, dir, "new.key"), sealed)
		require.ErrorIs(t, at(t, dir, "abandoned.key").Attach(ctx, d), keeper.ErrWrongKeeper)
	})
}

func TestAServerThatStillHasTheOldKeeperMakesNoKeyThatNobodyCouldOpen(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir, ctx := t.TempDir(), t.Context()
		running := attach(t, d, dir, "old.key")
		sealed := sealFor(t, running, 2)
		_, err := attach(t, d, dir, "old.key").Rotate(ctx, at(t, dir, "new.key"), nothing)
		require.NoError(t, err)

		opensAll(t, running, sealed) // from memory
		_, err = running.Seal(ctx, "org-fresh", here, []byte("x"))
		require.ErrorIs(t, err, keeper.ErrUnused)
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		_, err = attach(t, d, dir, "new.key").Seal(ctx, "org-fresh", here, []byte("x"))
		require.NoError(t, err)
	})
}

func TestKeysThatAreMadeWhileItRotatesAreWrappedToo(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir, ctx := t.TempDir(), t.Context()
		old, busy := attach(t, d, dir, "old.key"), attach(t, d, dir, "old.key")
		sealed := sealFor(t, old, 120)
		made := make(chan map[string][]byte)
		var stop atomic.Bool
		go func() {
			all := map[string][]byte{}
			for i := 0; !stop.Load(); i++ {
				name := fmt.Sprintf("org-during-%d", i)
				if s, err := busy.Seal(context.Background(), name, here, []byte("hunter2")); err == nil {
					all[name] = s
				}
			}
			made <- all
		}()
		_, err := old.Rotate(ctx, at(t, dir, "new.key"), nothing)
		stop.Store(true)
		all := <-made
		require.NoError(t, err)
		after := attach(t, d, dir, "new.key")
		opensAll(t, after, sealed)
		for name, s := range all {
			_, err := after.Open(ctx, name, here, s)
			require.NoError(t, err, name)
		}
	})
}

func TestAKeeperMovesFromAFileIntoAKMSAndBack(t *testing.T) { //nolint:paralleltest // it sets the environment
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	var calls atomic.Int64
	kms := "awskms:///alias/one?region=eu-west-1&endpoint=" + url.QueryEscape(kmsServer(t, "ours", &calls))
	d, dir, ctx := dbtest.Open(t, db.SQLite, clock.Clock{}), t.TempDir(), t.Context()
	old := attach(t, d, dir, "old.key")
	sealed := sealFor(t, old, 2)
	remote := func() *keeper.Keeper {
		k, err := keeper.Open(ctx, kms, dir)
		require.NoError(t, err)
		t.Cleanup(func() { _ = k.Close() })
		return k
	}
	_, err := old.Rotate(ctx, remote(), nothing)
	require.NoError(t, err)
	inKMS := remote()
	require.NoError(t, inKMS.Attach(ctx, d))
	opensAll(t, inKMS, sealed)
	require.Equal(t, old.Derive("cursors"), inKMS.Derive("cursors"))
	_, err = inKMS.Rotate(ctx, at(t, dir, "back.key"), nothing)
	require.NoError(t, err)
	back := attach(t, d, dir, "back.key")
	opensAll(t, back, sealed)
	require.Equal(t, old.Derive("cursors"), back.Derive("cursors"))
}
