package session

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/pattern"
	"gantry/internal/platform/safehttp"
	"gantry/internal/wire"
)

// Attachment is a file that belongs to an organization and, once handed over, to a session.
type Attachment struct {
	ID          string // a bare UUID, the same as in its address
	OrgID       string
	SessionID   string
	Name        string
	ContentType string // empty for null
	Size        int64
	Source      string // user or devin
	CreatedAt   time.Time
	blob        string
}

const attachmentColumns = `attachment_id, org_id, session_id, name, content_type, size, blob, source, created_at`

func scanAttachment(r db.Scanner) (Attachment, error) {
	var a Attachment
	err := r.Scan(&a.ID, &a.OrgID, db.OrEmpty(&a.SessionID), &a.Name, db.OrEmpty(&a.ContentType), &a.Size, &a.blob, &a.Source, db.OrZero(&a.CreatedAt))
	a.ID = path.Base(a.blob) // of a file that several sessions have, each has a row
	return a, err
}

// Upload takes a file of at most 75 MB from a caller with UseDevinSessions (contract/behaviour.md §3.12). The body is streamed.
func (v *Service) Upload(ctx context.Context, who access.Subject, orgID, name, contentType string, body io.Reader) (Attachment, error) {
	if err := access.Require(who, access.UseDevinSessions, orgID); err != nil {
		return Attachment{}, err
	}
	return v.store(ctx, Attachment{OrgID: orgID, Name: name, ContentType: contentType, Source: "user"}, body)
}

// store streams a file into the blobs and then writes its row, so a row always has its file.
func (v *Service) store(ctx context.Context, a Attachment, body io.Reader) (Attachment, error) {
	a.Name = safeName(a.Name)
	a.ID, a.CreatedAt = id.UUID(), v.Clock.Now().UTC()
	if t, _, err := mime.ParseMediaType(a.ContentType); err == nil {
		a.ContentType = t
	} else {
		a.ContentType = mime.TypeByExtension(path.Ext(a.Name))
	}
	a.blob = "attachments/" + a.OrgID + "/" + a.ID
	limited := &io.LimitedReader{R: body, N: MaxAttachment + 1}
	if err := v.Blobs.Put(ctx, a.blob, limited, a.ContentType); err != nil {
		return Attachment{}, err
	}
	a.Size = MaxAttachment + 1 - limited.N
	if a.Size > MaxAttachment {
		_ = v.Blobs.Delete(ctx, a.blob) // the refusal is what counts; a leftover is unreachable
		return Attachment{}, fault.New(fault.TooLarge, "file: at most %d MB", MaxAttachment>>20)
	}
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO attachments (attachment_id, org_id, session_id, name, content_type, size, blob, source,
			created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			a.ID, a.OrgID, db.Null(a.SessionID), a.Name, db.Null(a.ContentType), a.Size, a.blob, a.Source, a.CreatedAt.UnixMilli())
		return err
	})
	if err != nil {
		_ = v.Blobs.Delete(context.WithoutCancel(ctx), a.blob) // the refusal is what counts; a leftover is unreachable
		return Attachment{}, err
	}
	return a, nil
}

// safeName keeps a file's last path element, at most 200 bytes, without control characters and those that turn the direction of
// writing, by which a name can show another ending than it has.
func safeName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, name)
	for len(name) > 200 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name == "" || name == "." || name == ".." || name == "/" {
		return "file"
	}
	return name
}

// AttachmentURL is the address of an attachment that clients keep and send back.
func (v *Service) AttachmentURL(a Attachment) string {
	return v.PublicURL.JoinPath("v3", "organizations", a.OrgID, "attachments", a.ID, url.PathEscape(a.Name)).String()
}

// Attachments lists a session's files, oldest first. It needs ViewOrgSessions or ViewAccountSessions.
func (v *Service) Attachments(ctx context.Context, who access.Subject, orgID, sessionID string) ([]Attachment, error) {
	s, err := v.Get(ctx, who, orgID, sessionID)
	if err != nil {
		return nil, err
	}
	return db.All(ctx, v.DB.Reader(), scanAttachment, `SELECT `+attachmentColumns+` FROM attachments
		WHERE session_id = $1 ORDER BY created_at, attachment_id LIMIT 1000`, s.ID)
}

func (v *Service) findAttachment(ctx context.Context, orgID, attachmentID string) (Attachment, error) {
	a, err := db.One(ctx, v.DB.Reader(), scanAttachment, `SELECT `+attachmentColumns+` FROM attachments
		WHERE attachment_id = $1 AND org_id = $2`, attachmentID, orgID)
	if errors.Is(err, db.ErrNone) {
		return a, fault.New(fault.NotFound, "attachment not found")
	}
	return a, err
}

// downloadTime is how long a download address lives (design: security.md).
const downloadTime = time.Minute

// DownloadURL gives an address that needs no key, for one file and one minute. It needs ViewOrgSessions.
func (v *Service) DownloadURL(ctx context.Context, who access.Subject, orgID, attachmentID string) (string, error) {
	if err := access.Require(who, access.ViewOrgSessions, orgID); err != nil {
		return "", err
	}
	a, err := v.findAttachment(ctx, orgID, attachmentID)
	if err != nil {
		return "", err
	}
	until := v.Clock.Now().Add(downloadTime).Unix()
	u := v.PublicURL.JoinPath("downloads", a.OrgID, a.ID, url.PathEscape(a.Name))
	u.RawQuery = url.Values{"expires": {strconv.FormatInt(until, 10)}, "signature": {v.sign(a.OrgID, a.ID, until)}}.Encode()
	return u.String(), nil
}

func (v *Service) sign(orgID, attachmentID string, until int64) string {
	m := hmac.New(sha256.New, v.downloads)
	fmt.Fprintf(m, "%s\x00%s\x00%d", orgID, attachmentID, until)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Download opens a file by its signed address. A wrong or old address answers like a missing file.
func (v *Service) Download(ctx context.Context, orgID, attachmentID, expires, signature string) (Attachment, io.ReadCloser, error) {
	until, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || !hmac.Equal([]byte(signature), []byte(v.sign(orgID, attachmentID, until))) || v.Clock.Now().Unix() > until {
		return Attachment{}, nil, fault.New(fault.NotFound, "this download address is wrong or has expired; ask for a new one")
	}
	a, err := v.findAttachment(ctx, orgID, attachmentID)
	if err != nil {
		return a, nil, err
	}
	body, err := v.Blobs.Get(ctx, a.blob)
	return a, body, err
}

func validURLs(field string, urls []string) error {
	if len(urls) > MaxListed {
		return fault.InvalidField(field, "at most %d entries", MaxListed)
	}
	for i, u := range urls {
		parsed, err := url.Parse(u)
		if err != nil || parsed.Scheme == "" || parsed.Host == "" || len(u) > MaxAttachmentID {
			return fault.InvalidField(fmt.Sprintf("%s.%d", field, i), "must be an absolute address of 1 to %d characters", MaxAttachmentID)
		}
	}
	return nil
}

// collect turns attachment_urls into files of the organization. Our own addresses resolve by id, never by fetch; any other is
// fetched through the guarded client.
func (v *Service) collect(ctx context.Context, orgID, field string, urls []string) ([]wire.Attachment, error) {
	if err := validURLs(field, urls); err != nil {
		return nil, err
	}
	var out []wire.Attachment
	for i, u := range urls {
		a, err := v.collectOne(ctx, orgID, u)
		if err != nil {
			if fault.Is(err, fault.Internal) || fault.Is(err, fault.Unavailable) {
				return nil, err
			}
			return nil, fault.InvalidField(fmt.Sprintf("%s.%d", field, i), "%s", fault.As(err).Message)
		}
		out = append(out, wire.Attachment{ID: a.ID, Name: a.Name, Size: a.Size})
	}
	return out, nil
}

func (v *Service) collectOne(ctx context.Context, orgID, address string) (Attachment, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Attachment{}, fault.New(fault.Invalid, "not an address")
	}
	if attachmentID, ok := v.ownAttachment(u); ok {
		return v.findAttachment(ctx, orgID, attachmentID)
	}
	return v.fetch(ctx, orgID, u)
}

// fetch takes a file from elsewhere in, through the guarded client. What went wrong there is told, for the caller named the address.
func (v *Service) fetch(ctx context.Context, orgID string, u *url.URL) (Attachment, error) {
	if u.Scheme != "https" && u.Scheme != "http" {
		return Attachment{}, fault.New(fault.Invalid, "must be an http or https address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Attachment{}, fault.Wrap(err, fault.Invalid, "not an address")
	}
	resp, err := v.Fetch.Do(req)
	if err != nil {
		if errors.Is(err, safehttp.ErrRefused) {
			return Attachment{}, fault.Wrap(err, fault.Invalid, "the address is not allowed: it isn't on the public internet")
		}
		return Attachment{}, fault.Wrap(err, fault.Invalid, "the address can't be fetched")
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return Attachment{}, fault.New(fault.Invalid, "the address answered %d", resp.StatusCode)
	}
	return v.store(ctx, Attachment{
		OrgID: orgID, Name: path.Base(u.Path), ContentType: resp.Header.Get("Content-Type"), Source: "user",
	}, remoteBody{resp.Body})
}

// remoteBody tells a file that broke off elsewhere from our own store being away.
type remoteBody struct{ r io.Reader }

func (b remoteBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fault.Wrap(err, fault.Invalid, "the address can't be fetched: the file broke off")
	}
	return n, err
}

// ownAttachment takes the id out of …/attachments/<uuid>/<name>.
func (v *Service) ownAttachment(u *url.URL) (string, bool) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if u.Host != v.PublicURL.Host || len(parts) < 3 || parts[len(parts)-3] != "attachments" {
		return "", false
	}
	return parts[len(parts)-2], true
}

// attachTx hands files to a session. One that another session has stays there, and this session gets a row of its own for it.
func attachTx(ctx context.Context, tx *db.Tx, sessionID string, files []wire.Attachment) error {
	for _, f := range files {
		n, err := db.Exec(ctx, tx, `UPDATE attachments SET session_id = $1 WHERE attachment_id = $2 AND session_id IS NULL`, sessionID, f.ID)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if _, err := db.Exec(ctx, tx, `INSERT INTO attachments (attachment_id, org_id, session_id, name, content_type, size, blob, source,
			created_at) SELECT $1, org_id, $2, name, content_type, size, blob, 'user', created_at FROM attachments a
			WHERE attachment_id = $3 AND NOT EXISTS (SELECT 1 FROM attachments b WHERE b.session_id = $4 AND b.blob = a.blob)`,
			id.UUID(), sessionID, f.ID, sessionID); err != nil {
			return err
		}
	}
	return nil
}

// attachmentLine is how a text refers to a file, on a line of its own (contract/behaviour.md §3.12).
var attachmentLine = pattern.Of(`(?m)^[ \t]*ATTACHMENT:[ \t]*"([^"\r\n]+)"[ \t]*\r?$`)

// attached adds to a request's addresses those in the attachment lines of its text that are our own files'. The text keeps its lines, and
// what an agent is to make of any other address is the agent's business.
func (v *Service) attached(urls []string, text string) []string {
	for _, m := range attachmentLine().FindAllStringSubmatch(text, -1) {
		u, err := url.Parse(m[1])
		if err != nil || slices.Contains(urls, m[1]) {
			continue
		}
		if _, ok := v.ownAttachment(u); ok {
			urls = append(urls, m[1])
		}
	}
	return urls
}

// UploadByAgent takes a file that a session's agent hands over.
func (v *Service) UploadByAgent(ctx context.Context, r fleet.Row, name string, body io.Reader) (*wire.AttachmentReply, error) {
	n, err := db.One(ctx, v.DB.Reader(), db.Int, `SELECT COUNT(*) FROM attachments WHERE session_id = $1`, r.SessionID)
	if err != nil {
		return nil, err
	}
	if n >= maxSessionFiles {
		return nil, fault.New(fault.Invalid, "a session keeps at most %d files", maxSessionFiles)
	}
	a, err := v.store(ctx, Attachment{OrgID: r.OrgID, SessionID: r.SessionID, Name: name, Source: "devin"}, body)
	if err != nil {
		return nil, err
	}
	return &wire.AttachmentReply{ID: a.ID, URL: v.AttachmentURL(a)}, nil
}

// maxSessionFiles bounds what an agent may hand over.
const maxSessionFiles = 1000

// DownloadByWorker opens a file of the organization whose session the worker holds.
func (v *Service) DownloadByWorker(ctx context.Context, r fleet.Row, attachmentID string) (Attachment, io.ReadCloser, error) {
	a, err := v.findAttachment(ctx, r.OrgID, attachmentID)
	if err != nil {
		return a, nil, err
	}
	body, err := v.Blobs.Get(ctx, a.blob)
	return a, body, err
}

// Disposition is the header that makes a browser save a file instead of showing it.
func (a Attachment) Disposition() string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": a.Name})
}
