package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/client"
	"gantry/internal/platform/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve gives a client of a server that answers with h.
func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	tr := &http.Transport{}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
	})
	c, err := client.New(client.Options{URL: s.URL + "/", Key: secret.New("cog_x"), Transport: tr, MaxWait: 5 * time.Second})
	require.NoError(t, err)
	return c
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "localhost:8080", "ftp://x", "http://"} {
		_, err := client.New(client.Options{URL: u})
		require.Error(t, err, u)
	}
}

func TestACreateSendsTheBodyTheKeyAndAnIdempotencyKey(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/v3/organizations/org-1/sessions" || r.Header.Get("Authorization") != "Bearer cog_x" ||
			len(r.Header.Get("Idempotency-Key")) != 36 || string(body) != `{"prompt":"p","repos":["a/b"]}` {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		fmt.Fprint(w, `{"session_id":"abc","status":"new","status_detail":null,"title":null,"acus_consumed":0.5,"structured_output":null,"tags":[]}`)
	})
	s, err := c.CreateSession(t.Context(), "org-1", client.CreateSession{Prompt: "p", Repos: []string{"a/b"}})
	require.NoError(t, err)
	require.Equal(t, "abc", s.SessionID)
	require.InDelta(t, 0.5, s.ACUsConsumed, 0)
}

func TestWhatWasNotProcessedIsSentAgainWithTheSameIdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		var mu sync.Mutex
		var keys []string
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			if len(keys) < 3 {
				w.Header().Set("Retry-After", "0.01")
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, `{"session_id":"abc"}`)
		})
		s, err := c.SendMessage(t.Context(), "o", "abc", client.SendMessage{Message: "m"})
		require.NoError(t, err)
		require.Equal(t, "abc", s.SessionID)
		require.Len(t, keys, 3)
		require.NotEmpty(t, keys[0])
		require.Equal(t, []string{keys[0], keys[0], keys[0]}, keys)
	}
}

func TestWhoeverWaitsIsToldWhyOnceUntilACallSucceeds(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%3 != 0 { // each call needs three tries
			w.Header().Set("Retry-After", "0.01")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(srv.Close)
	var told []int
	c, err := client.New(client.Options{URL: srv.URL, Waiting: func(err error) { told = append(told, client.StatusOf(err)) }})
	require.NoError(t, err)
	for range 2 {
		_, err = c.Self(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, []int{503, 503}, told)
}

func TestARetryThatWouldTakeTooLongIsLeftToTheCaller(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.Self(t.Context())
	require.Equal(t, http.StatusTooManyRequests, client.StatusOf(err))
	require.EqualValues(t, 1, n.Load())
}

func TestOtherRefusalsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 403, 404, 409, 422, 500} {
		var n atomic.Int32
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			w.WriteHeader(status)
		})
		_, err := c.CreateSession(t.Context(), "o", client.CreateSession{})
		require.Equal(t, status, client.StatusOf(err))
		require.EqualValues(t, 1, n.Load())
	}
}

func TestALostConnectionIsTriedAgainWhereThatDoesNoHarm(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"session_id":"abc"}`)
	})
	_, err := c.CreateSession(t.Context(), "o", client.CreateSession{})
	require.NoError(t, err)
	require.EqualValues(t, 2, n.Load())
	n.Store(0)
	err = c.Do(t.Context(), client.Request{Method: http.MethodPatch, Path: "/x"}, nil)
	require.ErrorAs(t, err, new(*client.ConnectError))
	require.EqualValues(t, 1, n.Load())
}

func TestErrorsOfEveryAPIVersionAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"v3 problem":     {`{"type":"about:blank","title":"Forbidden","status":403,"detail":"the credential lacks X","instance":"/x","errors":null}`, "the credential lacks X (422)"},
		"v3 fields":      {`{"title":"T","status":422,"detail":"2 fields are wrong","errors":[{"loc":["body","title"],"msg":"too long","type":"v"},{"loc":["body","tags",3],"msg":"empty","type":"v"}]}`, "2 fields are wrong (422)\n  body.title: too long\n  body.tags.3: empty"},
		"v3 one field":   {`{"title":"T","status":422,"detail":"title: too long","errors":[{"loc":["body","title"],"msg":"too long","type":"v"}]}`, "title: too long (422)"},
		"v3 null detail": {`{"title":"Conflict","status":409,"detail":null}`, "Conflict (422)"},
		"FastAPI text":   {`{"detail":"Not found"}`, "Not found (422)"},
		"FastAPI list":   {`{"detail":[{"loc":["query","first"],"msg":"too large","type":"v"}]}`, "Unprocessable Entity (422)\n  query.first: too large"},
		"not ours":       {"<html>\n<body>", "<html> (422)"},
		"empty":          {"", "Unprocessable Entity (422)"},
		"a bare list":    {"[1]", "[1] (422)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusUnprocessableEntity)
				fmt.Fprint(w, c.body)
			})
			_, err := cl.Self(t.Context())
			require.EqualError(t, err, c.want)
		})
	}
}

func TestA500NamesTheRequestForTheOperator(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-7")
		w.WriteHeader(http.StatusInternalServerError)
	})
	_, err := c.Self(t.Context())
	require.ErrorContains(t, err, "request id req-7")
}

func TestAttachmentsGoUpAndComeDownThroughARedirectWithoutTheKey(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("x", 1<<20)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, content)
	}))
	t.Cleanup(store.Close)
	// Another name of the same machine is another host to the HTTP client.
	other := strings.Replace(store.URL, "127.0.0.1", "localhost", 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			http.Redirect(w, r, other, http.StatusTemporaryRedirect)
			return
		}
		f, h, err := r.FormFile("file")
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		got, _ := io.ReadAll(f)
		_ = json.NewEncoder(w).Encode(map[string]string{"name": h.Filename, "url": fmt.Sprint(string(got) == content)})
	})
	a, err := c.Upload(t.Context(), "o", "notes.txt", strings.NewReader(content))
	require.NoError(t, err)
	require.Equal(t, client.Attachment{Name: "notes.txt", URL: "true"}, a)
	var down strings.Builder
	require.NoError(t, c.Download(t.Context(), "o", "id", "notes.txt", &down))
	require.Equal(t, content, down.String())
}

func TestAnUploadThatIsRefusedInMidStreamEnds(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	_, err := c.Upload(t.Context(), "o", "big", strings.NewReader(strings.Repeat("x", 32<<20)))
	require.Error(t, err)
}
