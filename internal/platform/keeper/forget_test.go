package keeper_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/keeper"
)

func TestWhatWasSealedWithAForgottenKeyOpensNoMore(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, dir := t.Context(), t.TempDir()
		k := attached(t, d, dir)
		place := keeper.Place{Table: "t", Row: "r", Column: "c"}
		sealed := map[string][]byte{}
		for _, org := range []string{"org-gone", "org-kept", ""} {
			var err error
			sealed[org], err = k.Seal(ctx, org, place, []byte("secret"))
			require.NoError(t, err)
		}
		for _, want := range []bool{true, false} {
			some, err := k.Forget(ctx, "org-gone")
			require.NoError(t, err)
			require.Equal(t, want, some)
		}
		_, err := k.Forget(ctx, "")
		require.Error(t, err)
		for _, who := range []*keeper.Keeper{k, attached(t, d, dir)} {
			_, err := who.Open(ctx, "org-gone", place, sealed["org-gone"])
			require.ErrorIs(t, err, keeper.ErrSealed)
			for _, org := range []string{"org-kept", ""} {
				plain, err := who.Open(ctx, org, place, sealed[org])
				require.NoError(t, err)
				require.Equal(t, "secret", string(plain))
			}
		}
	})
}
