package keeper_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/keeper"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func open(t *testing.T, dir string) *keeper.Keeper {
	t.Helper()
	k, err := keeper.Open(t.Context(), "", dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

func attached(t *testing.T, d *db.DB, dir string) *keeper.Keeper {
	t.Helper()
	k := open(t, dir)
	require.NoError(t, k.Attach(t.Context(), d))
	return k
}

func TestKeyFileIsPrivateAndMadeOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	var wg sync.WaitGroup
	keys := make([][]byte, 8)
	for i := range keys {
		wg.Go(func() {
			k, err := keeper.Open(context.Background(), "", dir)
			if err == nil {
				keys[i] = k.Derive("test")
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		require.Len(t, k, 32)
		require.Equal(t, keys[0], k, "every process that starts at once ends with the same key")
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(dir, "keeper.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.EqualValues(t, 32, info.Size())
	left, err := filepath.Glob(filepath.Join(dir, ".keeper-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestBadKeyFilesAreRefusedWithTheWayToMend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keeper.key")
	require.NoError(t, os.WriteFile(path, make([]byte, 32), 0o644))
	_, err := keeper.Open(t.Context(), "", dir)
	require.ErrorContains(t, err, "chmod 600 "+path)

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, make([]byte, 31), 0o600))
	_, err = keeper.Open(t.Context(), "", dir)
	require.ErrorContains(t, err, "backup")

	for _, u := range []string{"file://relative/path", "vault://x", "%zz"} {
		_, err = keeper.Open(t.Context(), u, dir)
		require.ErrorContains(t, err, "keeper:", u)
	}
}

func TestDerivedKeysDependOnPurposeAndKeeperOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, again, other := open(t, dir), open(t, dir), open(t, t.TempDir())
	require.Equal(t, a.Derive("cursors"), again.Derive("cursors"))
	require.NotEqual(t, a.Derive("cursors"), a.Derive("downloads"))
	require.NotEqual(t, a.Derive("cursors"), other.Derive("cursors"))
}

func TestSealedValuesOpenOnlyInTheirPlace(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir := t.TempDir()
		k := attached(t, d, dir)
		ctx := t.Context()
		at := keeper.Place{Table: "secrets", Row: "a/1", Column: "sealed"}
		sealed, err := k.Seal(ctx, "org-1", at, []byte("hunter2"))
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "hunter2")

		second, err := k.Seal(ctx, "org-1", at, []byte("hunter2"))
		require.NoError(t, err)
		require.NotEqual(t, sealed, second, "equal values look different")

		// Another process with the same key file reads it.
		plain, err := attached(t, d, dir).Open(ctx, "org-1", at, sealed)
		require.NoError(t, err)
		require.Equal(t, "hunter2", string(plain))

		for name, p := range map[string]keeper.Place{
			"table":  {Table: "secret", Row: "sa/1", Column: "sealed"},
			"row":    {Table: "secrets", Row: "a/2", Column: "sealed"},
			"column": {Table: "secrets", Row: "a/1", Column: "value"},
		} {
			_, err := k.Open(ctx, "org-1", p, sealed)
			require.ErrorIs(t, err, keeper.ErrSealed, name)
		}
		_, err = k.Open(ctx, "org-2", at, sealed)
		require.ErrorIs(t, err, keeper.ErrSealed)
		for _, bad := range [][]byte{nil, {}, {1}, {2, 3}, sealed[:len(sealed)-1], append([]byte{9}, sealed[1:]...)} {
			_, err = k.Open(ctx, "org-1", at, bad)
			require.ErrorIs(t, err, keeper.ErrSealed)
		}
	})
}

func TestSealAndOpenAreInverse(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.SQLite, clock.Clock{})
	k := attached(t, d, t.TempDir())
	rapid.Check(t, func(rt *rapid.T) {
		org := rapid.SampledFrom([]string{"", "org-a", "org-b"}).Draw(rt, "org")
		at := keeper.Place{Table: rapid.String().Draw(rt, "table"), Row: rapid.String().Draw(rt, "row"), Column: rapid.String().Draw(rt, "column")}
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		sealed, err := k.Seal(t.Context(), org, at, plain)
		require.NoError(rt, err)
		got, err := k.Open(t.Context(), org, at, sealed)
		require.NoError(rt, err)
		require.True(rt, bytes.Equal(plain, got))
		i := rapid.IntRange(0, len(sealed)-1).Draw(rt, "flipped byte")
		sealed[i] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		_, err = k.Open(t.Context(), org, at, sealed)
		require.ErrorIs(rt, err, keeper.ErrSealed)
	})
}

func TestAWrongKeeperIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		attached(t, d, t.TempDir())
		err := open(t, t.TempDir()).Attach(t.Context(), d)
		require.ErrorIs(t, err, keeper.ErrWrongKeeper)
		require.ErrorContains(t, err, "put the file that belongs to this database back")
		require.ErrorContains(t, err, "rotate-keeper")
	})
}

func TestAKeyFileIsMadeOnlyForADatabaseThatHasNoKeeper(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, dir := t.Context(), t.TempDir()
		path := filepath.Join(dir, "keeper.key")
		_, err := keeper.Of(ctx, d, "", dir, false)
		require.ErrorContains(t, err, "has none yet")
		require.NoFileExists(t, path)

		k, err := keeper.Of(ctx, d, "", dir, true)
		require.NoError(t, err)
		again, err := keeper.Of(ctx, d, "", dir, false)
		require.NoError(t, err)
		require.Equal(t, k.Derive("test"), again.Derive("test"))

		require.NoError(t, os.Remove(path))
		for _, first := range []bool{true, false} {
			_, err = keeper.Of(ctx, d, "", dir, first)
			require.ErrorContains(t, err, path+" isn't there, but the database is: put the file back from a backup")
			require.NoFileExists(t, path)
		}
	})
}

func TestNoKeyIsMadeInsideATransaction(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		k := attached(t, d, t.TempDir())
		at := keeper.Place{Table: "t", Row: "r", Column: "c"}
		seal := func() error {
			return d.Write(t.Context(), func(ctx context.Context, _ *db.Tx) error {
				_, err := k.Seal(ctx, "org-1", at, []byte("x"))
				return err
			})
		}
		require.ErrorContains(t, seal(), "not prepared")
		require.NoError(t, k.Prepare(t.Context(), "org-1"))
		require.NoError(t, seal())
	})
}

func TestReplicasAgreeOnOneDataKey(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir := t.TempDir()
		at := keeper.Place{Table: "t", Row: "r", Column: "c"}
		replicas := []*keeper.Keeper{attached(t, d, dir), attached(t, d, dir), attached(t, d, dir)}
		sealed := make([][]byte, len(replicas))
		var wg sync.WaitGroup
		for i, k := range replicas {
			wg.Go(func() { sealed[i], _ = k.Seal(context.Background(), "org-1", at, []byte("x")) })
		}
		wg.Wait()
		for _, k := range replicas {
			for _, s := range sealed {
				plain, err := k.Open(t.Context(), "org-1", at, s)
				require.NoError(t, err)
				require.Equal(t, "x", string(plain))
			}
		}
	})
}

func TestTheDatabaseHoldsOnlyWrappedKeys(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.SQLite, clock.Clock{})
	dir := t.TempDir()
	k := attached(t, d, dir)
	require.NoError(t, k.Prepare(t.Context(), ""))
	key, err := os.ReadFile(filepath.Join(dir, "keeper.key"))
	require.NoError(t, err)
	rows, err := db.All(t.Context(), d.Reader(), db.Text, `SELECT value FROM settings`)
	require.NoError(t, err)
	for _, r := range rows {
		b, err := base64.StdEncoding.DecodeString(r)
		require.NoError(t, err)
		require.False(t, bytes.Contains(b, key))
		require.False(t, bytes.Contains(b, []byte("canary")))
	}
}
