package blob_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
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
			if r.URL.Query().Get("list-type") == "2" {
				list(w, objects, strings.TrimSuffix(key, "/")+"/", r.URL.Query().Get("prefix"), r.URL.Query().Get("continuation-token"))
				return
			}
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

// list answers with two keys a page, in their order.
func list(w io.Writer, objects map[string]string, bucket, prefix, after string) {
	var keys []string
	for path := range objects {
		if key := strings.TrimPrefix(path, bucket); strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	more := len(keys) > 2
	_, _ = fmt.Fprintf(w, `<ListBucketResult><IsTruncated>%t</IsTruncated>`, more)
	if more {
		keys = keys[:2]
		_, _ = fmt.Fprintf(w, `<NextContinuationToken>%s</NextContinuationToken>`, keys[1])
	}
	for _, k := range keys {
		_, _ = fmt.Fprintf(w, `<Contents><Key>%s</Key></Contents>`, k)
	}
	_, _ = io.WriteString(w, `</ListBucketResult>`)
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
	require.NoError(t, s.Delete(t.Context(), "attachments/a"))
	_, err = s.Get(t.Context(), "attachments/a")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	deletesBelow(t, s)

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
