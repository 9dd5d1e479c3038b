package session_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/fault"
	"gantry/internal/session"
)

// zeros is a file of n bytes that nobody has to hold.
type zeros struct {
	n    int64
	read int64
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.read >= z.n {
		return 0, io.EOF
	}
	k := min(int64(len(p)), z.n-z.read)
	clear(p[:k])
	z.read += k
	return int(k), nil
}

func TestAFileIsStreamedAndAtMost75MB(t *testing.T) { //nolint:paralleltest // it measures what the whole process allocates
	h := newHouse(t, "sqlite")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body := &zeros{n: session.MaxAttachment}
	a, err := h.Upload(t.Context(), h.ours, h.org, "disk.img", "application/x-raw; charset=x", body)
	require.NoError(t, err)
	require.EqualValues(t, session.MaxAttachment, a.Size)
	require.Equal(t, "application/x-raw", a.ContentType)
	_, err = h.Upload(t.Context(), h.ours, h.org, "disk.img", "", &zeros{n: session.MaxAttachment + 1})
	isFault(t, err, fault.TooLarge)
	endless := &zeros{n: 1 << 40}
	_, err = h.Upload(t.Context(), h.ours, h.org, "disk.img", "", endless)
	isFault(t, err, fault.TooLarge)
	require.LessOrEqual(t, endless.read, int64(session.MaxAttachment+(1<<20)), "nobody reads on")
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), "three files of 75 MB were never in memory")
	require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM attachments`))
}

func TestNamesOfFilesAreSafe(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "sqlite")
	for in, want := range map[string]string{
		"a.txt": "a.txt", "../../etc/passwd": "passwd", `C:\Users\x\b.doc`: "b.doc", "": "file", ".": "file", "..": "file", "/": "file", "a/..": "file",
		"a\x00b\nc\u0085.txt": "abc.txt", "gnp\u202egpj.exe": "gnpgpj.exe", "100%.txt": "100%.txt", "a?b#c d.txt": "a?b#c d.txt", "é\xff.txt": "é.txt",
		strings.Repeat("é", 300): strings.Repeat("é", 100), "%2e%2e%2fx": "%2e%2e%2fx",
	} {
		a, err := h.Upload(t.Context(), h.ours, h.org, in, "", strings.NewReader("x"))
		require.NoError(t, err)
		require.Equal(t, want, a.Name, "%q", in)
		// Whatever its name, a file is found again by its own address.
		u, err := url.Parse(h.AttachmentURL(a))
		require.NoError(t, err)
		require.Equal(t, "/base/v3/organizations/"+h.org+"/attachments/"+a.ID+"/"+a.Name, u.Path)
		require.Empty(t, u.RawQuery+u.Fragment)
		s := h.create(t, func(p *session.CreateParams) { p.AttachmentURLs = []string{h.AttachmentURL(a)} })
		files, err := h.Attachments(t.Context(), h.ours, h.org, s.ID)
		require.NoError(t, err)
		require.Len(t, files, 1)
		require.Equal(t, a.ID, files[0].ID)
	}
}

func TestAForeignFileIsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		theirs, err := h.Upload(t.Context(), h.theirs, h.other, "a.txt", "", strings.NewReader("secret"))
		require.NoError(t, err)
		s := h.create(t)
		own := h.AttachmentURL(theirs)
		for _, u := range []string{
			own, strings.Replace(own, h.other, h.org, 1), strings.Replace(own, "https://", "http://", 1),
			"https://gantry.example.com/attachments/" + theirs.ID + "/a.txt", "https://gantry.example.com/base/v3/organizations/" + h.org + "/attachments/0/x",
		} {
			_, err := h.Create(t.Context(), h.ours, session.CreateParams{OrgID: h.org, Prompt: "x", AttachmentURLs: []string{u}})
			require.Equal(t, "0", field(t, err), u)
			_, err = h.SendMessage(t.Context(), h.ours, session.MessageParams{OrgID: h.org, SessionID: s.ID, Message: "x", AttachmentURLs: []string{u}})
			require.Equal(t, "0", field(t, err), u)
		}
		require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM attachments WHERE session_id IS NULL`))
		_, _, err = h.DownloadByWorker(t.Context(), h.claim(t, "w1").row, theirs.ID)
		isFault(t, err, fault.NotFound)
	})
}

func TestADownloadAddressIsForOneFileAndOneMinute(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		a, err := h.Upload(ctx, h.ours, h.org, "ü 100%.html", "text/html", strings.NewReader("<b>"))
		require.NoError(t, err)
		b, err := h.Upload(ctx, h.ours, h.org, "b", "", strings.NewReader("b"))
		require.NoError(t, err)
		address, err := h.DownloadURL(ctx, h.ours, h.org, a.ID)
		require.NoError(t, err)
		u, err := url.Parse(address)
		require.NoError(t, err)
		require.Equal(t, "/base/downloads/"+h.org+"/"+a.ID+"/"+a.Name, u.Path)
		expires, signature := u.Query().Get("expires"), u.Query().Get("signature")
		open := func(org, id, expires, signature string) error {
			got, body, err := h.Download(ctx, org, id, expires, signature)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			require.Equal(t, "<b>", string(text))
			require.Contains(t, got.Disposition(), "attachment;")
			return nil
		}
		require.NoError(t, open(h.org, a.ID, expires, signature))
		for name, err := range map[string]error{
			"other file":         open(h.org, b.ID, expires, signature),
			"other organization": open(h.other, a.ID, expires, signature),
			"later expiry":       open(h.org, a.ID, fmt.Sprint(noon.Add(time.Hour).Unix()), signature),
			"no number":          open(h.org, a.ID, "soon", signature),
			"other signature":    open(h.org, a.ID, expires, strings.Repeat("A", len(signature))),
			"no signature":       open(h.org, a.ID, expires, ""),
		} {
			isFault(t, err, fault.NotFound)
			require.NotEmpty(t, name)
		}
		h.time.Advance(time.Minute)
		require.NoError(t, open(h.org, a.ID, expires, signature))
		h.time.Advance(time.Second)
		isFault(t, open(h.org, a.ID, expires, signature), fault.NotFound)
		_, err = h.DownloadURL(ctx, h.ours, h.org, "none")
		isFault(t, err, fault.NotFound)
	})
}

func TestAFileFromElsewhereIsFetchedThroughTheGuard(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "sqlite")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dir/notes.txt":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, "hello")
		case "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		case "/inside":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	s := h.create(t, func(p *session.CreateParams) { p.AttachmentURLs = []string{srv.URL + "/dir/notes.txt?x=1"} })
	files, err := h.Attachments(t.Context(), h.ours, h.org, s.ID)
	require.NoError(t, err)
	require.Equal(t, "notes.txt", files[0].Name)
	require.Equal(t, "text/plain", files[0].ContentType)
	require.EqualValues(t, 5, files[0].Size)
	for _, u := range []string{
		srv.URL + "/none", srv.URL + "/broken", srv.URL + "/inside", "http://10.0.0.1/x", "http://[::1]:1/x", "ftp://example.com/x", "file://host/etc/passwd",
	} {
		_, err := h.Create(t.Context(), h.ours, session.CreateParams{OrgID: h.org, Prompt: "x", AttachmentURLs: []string{srv.URL + "/dir/notes.txt", u}})
		isFault(t, err, fault.Invalid)
		require.Equal(t, []string{"body", "attachment_urls", "1"}, fault.As(err).Fields[0].Loc, u)
	}
	require.EqualValues(t, 1, h.count(t, `SELECT COUNT(*) FROM sessions`))
}

func TestAnAgentsFilesBelongToItsSession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		mine, err := h.Upload(ctx, h.ours, h.org, "in.txt", "", strings.NewReader("in"))
		require.NoError(t, err)
		r := h.work(t, func(p *session.CreateParams) { p.AttachmentURLs = []string{h.AttachmentURL(mine)} })
		h.time.Advance(time.Second)
		reply, err := h.UploadByAgent(ctx, r.row, "../out.txt", strings.NewReader("out"))
		require.NoError(t, err)
		files, err := h.Attachments(ctx, h.ours, h.org, r.row.SessionID)
		require.NoError(t, err)
		require.Len(t, files, 2)
		require.Equal(t, []string{"in.txt", "user", "out.txt", "devin"}, []string{files[0].Name, files[0].Source, files[1].Name, files[1].Source})
		require.Equal(t, reply.URL, h.AttachmentURL(files[1]))
		_, body, err := h.DownloadByWorker(ctx, r.row, mine.ID)
		require.NoError(t, err)
		require.NoError(t, body.Close())

		// A file that one session has may be handed to another; it stays with the first, and the other has it once, by the same address.
		s := h.create(t, func(p *session.CreateParams) { p.AttachmentURLs = []string{reply.URL, reply.URL} })
		_, err = h.SendMessage(ctx, h.ours, session.MessageParams{OrgID: h.org, SessionID: s.ID, Message: "x", AttachmentURLs: []string{reply.URL}})
		require.NoError(t, err)
		theirs, err := h.Attachments(ctx, h.ours, h.org, s.ID)
		require.NoError(t, err)
		require.Len(t, theirs, 1)
		require.Equal(t, []string{reply.URL, "user"}, []string{h.AttachmentURL(theirs[0]), theirs[0].Source})
		files, err = h.Attachments(ctx, h.ours, h.org, r.row.SessionID)
		require.NoError(t, err)
		require.Len(t, files, 2)
		require.Equal(t, "devin", files[1].Source)
	})
}

func TestTheFilesThatATextNames(t *testing.T) {
	t.Parallel()
	public, err := url.Parse("https://gantry.example.com")
	require.NoError(t, err)
	v := session.Service{Options: session.Options{PublicURL: public}}
	const a, b = "https://gantry.example.com/v1/attachments/u1/a.txt", "https://gantry.example.com/v3/organizations/o/attachments/u2/b.txt"
	for text, want := range map[string][]string{
		"": nil, "no file": nil, a: nil,
		`ATTACHMENT:"` + a + `"`: {a},
		"do it\nATTACHMENT:\"" + a + "\"\r\n  ATTACHMENT: \"" + b + `" `: {a, b},
		"ATTACHMENT:\"" + a + "\"\nATTACHMENT:\"" + a + `"`:              {a},
		`see ATTACHMENT:"` + a + `"`:                                     nil,
		`ATTACHMENT:"` + a + `" and more`:                                nil,
		`ATTACHMENT:"https://example.com/attachments/u1/a.txt"`:          nil,
		`ATTACHMENT:"https://gantry.example.com/other"`:                  nil,
		"ATTACHMENT:\"https://gantry.example.com/\nattachments/u/a\"":    nil,
	} {
		require.Equal(t, want, v.Attached(nil, text), "%q", text)
	}
	require.Equal(t, []string{b, a}, v.Attached([]string{b, a}, `ATTACHMENT:"`+a+`"`), "once, though it is given twice")
}

func TestALineOfATextBringsItsFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "sqlite")
	upload := func(name string) string {
		a, err := h.Upload(t.Context(), h.ours, h.org, name, "", strings.NewReader("x"))
		require.NoError(t, err)
		return h.AttachmentURL(a)
	}
	s := h.create(t, func(p *session.CreateParams) { p.Prompt = "look\nATTACHMENT:\"" + upload("a.txt") + "\"" })
	_, err := h.SendMessage(t.Context(), h.ours, session.MessageParams{
		OrgID: h.org, SessionID: s.ID, Message: `ATTACHMENT:"` + upload("b.txt") + `"`,
	})
	require.NoError(t, err)
	files, err := h.Attachments(t.Context(), h.ours, h.org, s.ID)
	require.NoError(t, err)
	require.Len(t, files, 2)
}
