package keeper_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/keeper"
)

// kmsServer speaks as much of the KMS protocol as wrapping needs: a ciphertext is the account's name and the turned text. Like the
// real one it finds the key by the ciphertext, so only another account can't open it.
func kmsServer(t *testing.T, account string, calls *atomic.Int64) string {
	t.Helper()
	turn := func(b []byte) []byte {
		out := bytes.Clone(b)
		for i := range out {
			out[i] ^= 0x5a
		}
		return out
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var in struct {
			KeyID          string `json:"KeyId"` //nolint:tagliatelle // the protocol's name
			Plaintext      []byte
			CiphertextBlob []byte
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out := map[string]any{"KeyId": in.KeyID}
		switch r.Header.Get("X-Amz-Target") {
		case "TrentService.Encrypt":
			out["CiphertextBlob"] = append([]byte(account), turn(in.Plaintext)...)
		case "TrentService.Decrypt":
			text, ok := bytes.CutPrefix(in.CiphertextBlob, []byte(account))
			if !ok {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"__type":"IncorrectKeyException"}`))
				return
			}
			out["Plaintext"] = turn(text)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAKMSWrapsDataKeysAndTheRootOfDerivedOnes(t *testing.T) { //nolint:paralleltest // it sets the environment
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	var calls atomic.Int64
	ours, theirs := kmsServer(t, "ours", &calls), kmsServer(t, "theirs", &calls)
	d := dbtest.Open(t, db.SQLite, clock.Clock{})
	attach := func(endpoint string) (*keeper.Keeper, error) {
		k, err := keeper.Open(t.Context(), "awskms:///alias/one?region=eu-west-1&endpoint="+url.QueryEscape(endpoint), t.TempDir())
		require.NoError(t, err)
		t.Cleanup(func() { _ = k.Close() })
		return k, k.Attach(t.Context(), d)
	}
	a, err := attach(ours)
	require.NoError(t, err)
	b, err := attach(ours)
	require.NoError(t, err)
	require.Equal(t, a.Derive("cursors"), b.Derive("cursors"), "every replica derives the same")
	require.NotEqual(t, a.Derive("cursors"), a.Derive("downloads"))

	at := keeper.Place{Table: "t", Row: "r", Column: "c"}
	sealed, err := a.Seal(t.Context(), "org-1", at, []byte("hunter2"))
	require.NoError(t, err)
	plain, err := b.Open(t.Context(), "org-1", at, sealed)
	require.NoError(t, err)
	require.Equal(t, "hunter2", string(plain))
	before := calls.Load()
	for range 10 {
		_, err = b.Seal(t.Context(), "org-1", at, []byte("x"))
		require.NoError(t, err)
	}
	require.Equal(t, before, calls.Load(), "the KMS is asked once per organization")

	_, err = attach(theirs)
	require.ErrorIs(t, err, keeper.ErrWrongKeeper)
	require.ErrorContains(t, err, "--keeper")
}
