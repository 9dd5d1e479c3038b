package console_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestMain(m *testing.M) { servertest.Main(m) }

const (
	patience = 20 * time.Second
	step     = 10 * time.Millisecond
)

// browser is what a person looks through: it keeps cookies and goes where it is sent.
type browser struct {
	t *testing.T
	s *servertest.Server
	c *http.Client
}

// answer is what a browser got.
type answer struct {
	status int
	body   string
	header http.Header
	path   string // where it ended up, with the query
}

func open(t *testing.T, s *servertest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, s: s, c: &http.Client{Jar: jar, Transport: transport}}
}

// signedIn is a browser that is signed in with a key.
func signedIn(t *testing.T, s *servertest.Server, key string) *browser {
	t.Helper()
	b := open(t, s)
	p := b.post("/login", url.Values{"key": {key}})
	require.Equal(t, http.StatusOK, p.status, p.body)
	require.NotContains(t, p.path, "/login", p.body)
	return b
}

func (b *browser) do(r *http.Request) answer {
	b.t.Helper()
	res, err := b.c.Do(r)
	require.NoError(b.t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return answer{res.StatusCode, string(body), res.Header, res.Request.URL.RequestURI()}
}

func (b *browser) request(method, path string, form url.Values, header ...string) *http.Request {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.s.URL+path, body)
	require.NoError(b.t, err)
	r.Header.Set("Accept", "text/html,*/*")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.s.URL)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (b *browser) get(path string, header ...string) answer {
	b.t.Helper()
	return b.do(b.request(http.MethodGet, path, nil, header...))
}

func (b *browser) post(path string, form url.Values, header ...string) answer {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	return b.do(b.request(http.MethodPost, path, form, header...))
}

// upload posts a form with files, names and contents in turn.
func (b *browser) upload(path string, form url.Values, files ...string) answer {
	b.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, values := range form {
		require.NoError(b.t, w.WriteField(name, values[0]))
	}
	for i := 0; i+1 < len(files); i += 2 {
		part, err := w.CreateFormFile("files", files[i])
		require.NoError(b.t, err)
		_, err = io.WriteString(part, files[i+1])
		require.NoError(b.t, err)
	}
	require.NoError(b.t, w.Close())
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.s.URL+path, &body)
	require.NoError(b.t, err)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

// asScript has a request look like the script's.
var asScript = []string{"HX-Request", "true"}

// subject is who a key is.
func subject(t *testing.T, s *servertest.Server, key string) access.Subject {
	t.Helper()
	who, err := s.Members.Authenticator().Authenticate(t.Context(), key, noAddr)
	require.NoError(t, err)
	return who
}

// start begins a session with a key.
func start(t *testing.T, s *servertest.Server, key string, p session.CreateParams) *session.Session {
	t.Helper()
	made, err := s.Sessions.Create(t.Context(), subject(t, s, key), p)
	require.NoError(t, err)
	return made
}

// worker is a worker that reports what a test says.
type worker struct {
	t *testing.T
	s *servertest.Server
	c fleet.Claim
	n int64
}

// claim takes the session that waits in the queue of an organization.
func claim(t *testing.T, s *servertest.Server, org string) *worker {
	t.Helper()
	who := access.Subject{Kind: access.Worker, ID: "worker", Outposts: []string{fleet.DefaultOutpost}, WorkerOrgs: []string{org}}
	c, ok, err := s.Sessions.ClaimNext(t.Context(), who, fleet.DefaultOutpost, "worker-of-the-test")
	require.NoError(t, err)
	require.True(t, ok, "nothing is in the queue")
	return &worker{t: t, s: s, c: c}
}

// report sends a batch: types and data in turn.
func (w *worker) report(typesAndData ...string) {
	w.t.Helper()
	w.n++
	b := wire.Batch{Fence: w.c.Fence, Number: w.n, Command: 1}
	for i := 0; i+1 < len(typesAndData); i += 2 {
		b.Events = append(b.Events, wire.Event{Type: typesAndData[i], At: w.s.DB.Clock().Millis(), Data: []byte(typesAndData[i+1])})
	}
	_, err := w.s.Sessions.Apply(w.t.Context(), w.c.Row, b)
	require.NoError(w.t, err)
}

// shows fails unless a page has a text in it.
func shows(t *testing.T, body, text string, name ...any) {
	t.Helper()
	if !strings.Contains(body, text) {
		require.Fail(t, "the page doesn't have "+text, fmt.Sprint(append(name, kept(t, body))...))
	}
}

// hides fails when a page has a text in it.
func hides(t *testing.T, body, text string, name ...any) {
	t.Helper()
	if strings.Contains(body, text) {
		require.Fail(t, "the page has "+text, fmt.Sprint(append(name, kept(t, body))...))
	}
}

// kept gives the beginning of a page, or with GANTRY_TEST_PAGES the file that has all of it.
func kept(t *testing.T, body string) string {
	dir := os.Getenv("GANTRY_TEST_PAGES")
	if dir == "" {
		return body[:min(len(body), 300)]
	}
	f, err := os.CreateTemp(dir, "page*.html")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	_, err = f.WriteString(body)
	require.NoError(t, err)
	return f.Name()
}
