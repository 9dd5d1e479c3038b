package worker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestASlotGivenBackGoesToWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		require.NoError(t, s.free(t.Context()))
		require.NoError(t, s.take(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.take(ctx), context.DeadlineExceeded)
		got := make(chan error, 1)
		go func() { got <- s.take(t.Context()) }()
		synctest.Wait()
		s.put()
		require.NoError(t, <-got)
		s.force()
		require.Equal(t, 2, s.inUse(), "a claim that has come is worked on")
		s.put()
		s.put()
		require.NoError(t, s.free(t.Context()))
	})
}

func TestASafeNameIsOnePathElementAndNeverTaken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		taken := map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "files") {
			before := len(taken)
			name := safeName(rapid.OneOf(rapid.String(), rapid.Just("../../etc/passwd"), rapid.Just("..")).Draw(t, "name"), taken)
			require.NotContains(t, name, "/")
			require.NotContains(t, name, "\x00")
			require.NotEmpty(t, strings.Trim(name, "."))
			require.LessOrEqual(t, len(name), 210)
			require.Len(t, taken, before+1)
		}
	})
}

func TestTheSchemaOfAnOutputLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(srv.Close)
	for _, ref := range []string{srv.URL + "/s.json", "file:///etc/hostname", "other.json"} {
		err := validate(json.RawMessage(`{"$ref":"`+ref+`"}`), json.RawMessage(`{}`))
		require.ErrorContains(t, err, "the schema can't be used", ref)
	}
	require.False(t, asked.Load())

	schema := json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"n":{"type":"integer"}},"properties":{"n":{"$ref":"#/definitions/n"}}}`)
	require.NoError(t, validate(schema, json.RawMessage(`{"n":1}`)))
	require.Error(t, validate(schema, json.RawMessage(`{"n":"1"}`)))
	require.ErrorContains(t, validate(json.RawMessage(`{}`), json.RawMessage(`[1]`)), "must be a JSON object")
}
