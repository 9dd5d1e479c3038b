package console

import (
	"mime"
	"mime/multipart"
	"net/http"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
	"gantry/internal/session"
)

// Files come with the form that they belong to. The form is read once it is known who sends it and that they may; what is larger than
// inMemory waits on the disk meanwhile.
const (
	maxUpload  = session.MaxAttachment + maxForm
	uploadWait = 15 * time.Minute
	inMemory   = 256 << 10
)

// isUpload reports whether a form has files in it.
func isUpload(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "multipart/form-data"
}

// uploads reports whether files may be handed over here.
func (v *visit) uploads() bool { return v.can(access.UseDevinSessions) }

// readUpload reads a form with files. done throws away what was put on the disk.
func (v *visit) readUpload() (done func(), err error) {
	if !isUpload(v.r) {
		return func() {}, nil
	}
	rc := http.NewResponseController(v.w)
	_ = rc.SetReadDeadline(clock.Clock{}.Now().Add(uploadWait)) // not every connection has deadlines
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxUpload)
	if err := v.r.ParseMultipartForm(inMemory); err != nil {
		return func() {}, fault.Wrap(err, fault.TooLarge, "the form can't be read; all its files together may have %d MB", session.MaxAttachment>>20)
	}
	_ = rc.SetReadDeadline(time.Time{})
	done = func() { _ = v.r.MultipartForm.RemoveAll() } // what is left is the system's to clean up
	if !areTexts(v.r.MultipartForm.Value) {
		done()
		return done, errNoText
	}
	return done, nil
}

// attach hands the form's files over, and gives the addresses that name them.
func (v *visit) attach() ([]string, error) {
	if v.r.MultipartForm == nil {
		return nil, nil
	}
	var out []string
	for _, h := range v.r.MultipartForm.File["files"] {
		if h.Filename == "" && h.Size == 0 {
			continue // a field that nothing was chosen in
		}
		if err := v.attachOne(h, &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (v *visit) attachOne(h *multipart.FileHeader, out *[]string) error {
	f, err := h.Open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	a, err := v.Sessions.Upload(v.ctx(), v.who, v.org, h.Filename, h.Header.Get("Content-Type"), f)
	if err != nil {
		return err
	}
	*out = append(*out, v.Sessions.AttachmentURL(a))
	return nil
}
