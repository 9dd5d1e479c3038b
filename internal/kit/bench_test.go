package kit_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSelf compares an authenticated operation with an empty handler on the same router. Over loopback it has to reach 0.8x.
func BenchmarkSelf(b *testing.B) {
	h := newHouse(b)
	h.kit.Router().Get("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	srv := httptest.NewServer(h.kit.Router())
	defer srv.Close()
	for _, path := range []string{"/empty", "/v3/self"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer a")
		b.Run("handler"+path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.kit.Router().ServeHTTP(httptest.NewRecorder(), r.Clone(b.Context()))
			}
		})
		b.Run("loopback"+path, func(b *testing.B) {
			req, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
			require.NoError(b, err)
			req.Header.Set("Authorization", "Bearer a")
			for b.Loop() {
				res, err := http.DefaultClient.Do(req)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(err, res)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
