package kit_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gantry/internal/kit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
)

// testCipher is AES-GCM under one key with the organization in the additional data.
func testCipher(t testing.TB) kit.Cipher {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	return kit.Cipher{
		Seal: func(_ context.Context, org, aad string, plain []byte) ([]byte, error) {
			return aead.Seal(nil, nil, plain, []byte(org+"|"+aad)), nil
		},
		Open: func(_ context.Context, org, aad string, sealed []byte) ([]byte, error) {
			return aead.Open(nil, nil, sealed, []byte(org+"|"+aad))
		},
	}
}

func eachIdempotent(t *testing.T, f func(t *testing.T, h *house, d *db.DB, fake *clock.Fake)) {
	t.Helper()
	fake := clock.NewFake(time.Unix(1_700_000_000, 0))
	dbtest.EachClock(t, fake.Clock(), func(t *testing.T, d *db.DB) {
		own := clock.NewFake(time.Unix(1_700_000_000, 0))
		h := newHouse(t, func(o *kit.Options) { o.DB, o.Cipher, o.Clock = d, testCipher(t), own.Clock() })
		f(t, h, d, own)
	})
}

const idem = "Idempotency-Key"

func TestARepeatedCreateAnswersLikeTheFirst(t *testing.T) {
	t.Parallel()
	eachIdempotent(t, func(t *testing.T, h *house, d *db.DB, fake *clock.Fake) {
		first := h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k1")
		require.Equal(t, 200, first.Status)
		again := h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k1")
		require.Equal(t, first.Body, again.Body)
		require.Equal(t, first.Header.Get("Content-Type"), again.Header.Get("Content-Type"))
		require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
		require.Equal(t, first.Body, h.do(t, "POST", "/v3/organizations/sessions", "a", `{"title":"x"}`, idem, "k1").Body, "the short form is the same path")
		require.Equal(t, 1, h.made)

		a := h.do(t, "POST", sessionsA, "a", `{"title":"y"}`, idem, "k1")
		require.Equal(t, 422, a.Status)
		require.Contains(t, a.Body, "idempotency-key")
		require.Equal(t, 422, h.do(t, "POST", sessionsA+"?devin_id=p", "a", `{"title":"x"}`, idem, "k1").Status, "a query makes it another request")
		require.Equal(t, 200, h.do(t, "POST", sessionsA, "enterprise", `{"title":"x"}`, idem, "k1").Status, "another principal's key is another")
		require.Equal(t, 200, h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k2").Status)
		require.Equal(t, 200, h.do(t, "POST", sessionsA, "a", `{"title":"x"}`).Status)
		require.Equal(t, 4, h.made)
		require.Equal(t, 422, h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, string(make([]byte, 256))).Status)

		stored, err := db.All(t.Context(), d.Reader(), db.Text, "SELECT name FROM idempotency_keys WHERE answer IS NOT NULL ORDER BY principal_id, name")
		require.NoError(t, err)
		require.Equal(t, []string{"k1", "k2", "k1"}, stored)
		fake.Advance(24*time.Hour + time.Second)
		require.Equal(t, 200, h.do(t, "POST", sessionsA, "a", `{"title":"new"}`, idem, "k1").Status, "a day later the key is free")
		require.NoError(t, h.kit.Sweep(t.Context()))
		n, err := db.One(t.Context(), d.Reader(), db.Int, "SELECT count(*) FROM idempotency_keys")
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
	})
}

func TestAnAnswerThatShowsASecretIsNotKept(t *testing.T) {
	t.Parallel()
	eachIdempotent(t, func(t *testing.T, h *house, d *db.DB, _ *clock.Fake) {
		mint := "/v3/organizations/" + orgA + "/secrets"
		require.Equal(t, 200, h.do(t, "POST", mint, "a", `{"title":"x"}`, idem, "k").Status)
		a := h.do(t, "POST", mint, "a", `{"title":"x"}`, idem, "k")
		require.Equal(t, 409, a.Status)
		require.Contains(t, a.Body, "the token was shown once; rotate it")
		n, err := db.One(t.Context(), d.Reader(), db.Int, "SELECT count(*) FROM idempotency_keys WHERE answer IS NOT NULL")
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestAFailureAndARefusalFreeTheKey(t *testing.T) {
	t.Parallel()
	eachIdempotent(t, func(t *testing.T, h *house, _ *db.DB, _ *clock.Fake) {
		for i, err := range []error{errors.New("broken"), fault.Away(nil, "it"), fault.New(fault.RateLimited, "slow")} {
			h.fail = err
			require.GreaterOrEqual(t, h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k").Status, 429)
			require.Equal(t, i+1, h.made, "it runs again each time")
		}
		h.fail = nil
		require.Equal(t, 200, h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k").Status)
		require.Equal(t, 409, h.do(t, "POST", sessionsA, "a", `{"title":"taken"}`, idem, "c").Status)
		require.Equal(t, 200, h.do(t, "POST", sessionsA, "a", `{"title":"free"}`, idem, "c").Status, "what stood in the way may be gone")
	})
}

func TestTheSameKeyAtTheSameTimeRunsOnce(t *testing.T) {
	t.Parallel()
	eachIdempotent(t, func(t *testing.T, h *house, d *db.DB, fake *clock.Fake) {
		status := make([]int, 8)
		var g errgroup.Group
		for i := range status {
			g.Go(func() error {
				status[i] = h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k").Status
				return nil
			})
		}
		require.NoError(t, g.Wait())
		require.Equal(t, 1, h.made)
		for _, s := range status {
			require.Contains(t, []int{200, 409}, s)
		}

		// A row whose server died keeps its key: nobody knows what happened.
		require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, "UPDATE idempotency_keys SET status = NULL, answer = NULL")
			return err
		}))
		require.Contains(t, h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k").Body, "still running")
		fake.Advance(11 * time.Minute)
		a := h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, idem, "k")
		require.Equal(t, 409, a.Status)
		require.Contains(t, a.Body, "outcome")
		require.Equal(t, 1, h.made)
	})
}
