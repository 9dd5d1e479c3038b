package blob_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/blob"
	"gantry/internal/platform/fault"
)

// bucketServer speaks as much of the S3 protocol as one small object needs.
func bucketServer(t *testing.T) string {
	t.Helper()
	var mu sync.Mutex
	objects := map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		key := r.URL.Path
		body, ok := objects[key]
		switch r.Method {
		case http.MethodPut:
			b, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			objects[key] = string(b)
		case http.MethodDelete:
			delete(objects, key)
			w.WriteHeader(http.StatusNoContent)
		case http.MethodGet, http.MethodHead:
			if !ok && !strings.HasSuffix(strings.TrimSuffix(key, "/"), "bucket") {
				w.WriteHeader(http.StatusNotFound)
				if r.Method == http.MethodGet {
					_, _ = w.Write([]byte(`<Error><Code>NoSuchKey</Code></Error>`))
				}
				return
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestABucketServesAsWellAsADirectory(t *testing.T) { //nolint:paralleltest // it sets the environment
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	s, err := blob.Open(t.Context(), "s3://bucket?region=eu-west-1&use_path_style=true&request_checksum_calculation=when_required&endpoint="+
		url.QueryEscape(bucketServer(t)), t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, s.Check(t.Context()))
	require.NoError(t, s.Put(t.Context(), "attachments/a", strings.NewReader("hello"), "text/plain"))
	require.Equal(t, "hello", read(t, s, "attachments/a"))
	ok, err := s.Exists(t.Context(), "attachments/a")
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, s.Delete(t.Context(), "attachments/a"))
	ok, err = s.Exists(t.Context(), "attachments/a")
	require.NoError(t, err)
	require.False(t, ok)
	_, err = s.Get(t.Context(), "attachments/a")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)

	gone, err := blob.Open(t.Context(), "s3://bucket?region=eu-west-1&use_path_style=true&endpoint=http://127.0.0.1:1", t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, gone.Close()) }()
	_, err = gone.Get(t.Context(), "attachments/a")
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}

func TestAParameterThatNobodyKnowsIsRefused(t *testing.T) {
	t.Parallel()
	for _, q := range []string{"regoin=eu-west-1", "use_path_style=maybe", "fips=maybe", "role=me", "ssetype=rot13", "request_checksum_calculation=never"} {
		_, err := blob.Open(t.Context(), "s3://bucket?region=eu-west-1&"+q, t.TempDir())
		name, _, _ := strings.Cut(q, "=")
		require.ErrorContains(t, err, "parameter "+name+":")
	}
}
