package v3

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerAttachments) }

// SessionAttachment is a file of a session.
type SessionAttachment struct {
	AttachmentID string  `json:"attachment_id"`
	Name         string  `json:"name"`
	URL          string  `json:"url"`
	Source       string  `json:"source" enum:"devin,user"`
	ContentType  *string `json:"content_type"`
}

// AttachmentUploadResponse is a file just taken in; its url goes into attachment_urls.
type AttachmentUploadResponse struct {
	AttachmentID string `json:"attachment_id"`
	Name         string `json:"name"`
	URL          string `json:"url"`
}

func (d sessionDoor) wireAttachment(a session.Attachment) SessionAttachment {
	return SessionAttachment{
		AttachmentID: a.ID, Name: a.Name, URL: d.s.AttachmentURL(a), Source: a.Source, ContentType: kit.NullText(a.ContentType),
	}
}

type uploadOutput struct{ Body AttachmentUploadResponse }

type redirectOutput struct {
	Status   int
	Location string `header:"Location"`
}

// multipartOverhead is what a multipart body may add to its file.
const multipartOverhead = 1 << 20

func registerAttachments(a *kit.API, rooms Rooms) {
	d := sessionDoor{rooms.Sessions}
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "uploadAttachment", Method: http.MethodPost, Path: "/v3/organizations/{org_id}/attachments",
			Summary: "Upload a file", Tags: []string{"attachments"}, DefaultStatus: http.StatusOK,
			MaxBodyBytes: session.MaxAttachment + multipartOverhead, Parameters: []*huma.Param{orgParam},
		},
		Any: []access.Permission{access.UseDevinSessions}, Upload: "file",
	}, func(ctx context.Context, s access.Subject, _ *struct{}) (*uploadOutput, error) {
		return d.upload(ctx, s)
	})
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "downloadAttachment", Method: http.MethodGet, Path: "/v3/organizations/{org_id}/attachments/{uuid}/{name}",
			Summary: "Get a file's short-lived address", Tags: []string{"attachments"}, DefaultStatus: http.StatusTemporaryRedirect,
			Parameters: []*huma.Param{orgParam},
		},
		Any: []access.Permission{access.ViewOrgSessions},
	}, func(ctx context.Context, s access.Subject, in *struct {
		UUID string `path:"uuid" maxLength:"64"`
		Name string `path:"name" maxLength:"1000"`
	},
	) (*redirectOutput, error) {
		u, err := d.s.DownloadURL(ctx, s, kit.Org(ctx), in.UUID)
		if err != nil {
			return nil, err
		}
		return &redirectOutput{Status: http.StatusTemporaryRedirect, Location: u}, nil
	})
}

// upload streams the first part named file; other parts are passed over.
func (d sessionDoor) upload(ctx context.Context, s access.Subject) (*uploadOutput, error) {
	parts, err := kit.Request(ctx).MultipartReader()
	if err != nil {
		return nil, fault.InvalidField("file", "the body must be multipart/form-data with a part named file")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, fault.InvalidField("file", "is missing: the body must have a part named file")
		}
		if err != nil {
			return nil, readFault(err)
		}
		if part.FormName() != "file" {
			continue
		}
		file, err := d.s.Upload(ctx, s, kit.Org(ctx), part.FileName(), part.Header.Get("Content-Type"), part)
		if err != nil {
			return nil, readFault(err)
		}
		return &uploadOutput{Body: AttachmentUploadResponse{AttachmentID: file.ID, Name: file.Name, URL: d.s.AttachmentURL(file)}}, nil
	}
}

// readFault names the file when the client's body is what broke; other errors pass.
func readFault(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.Wrap(err, fault.TooLarge, "file: at most %d MB", session.MaxAttachment>>20)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.InvalidField("file", "the body ended early")
	case fault.KindOf(err) == fault.Internal && !errors.As(err, new(*fault.Error)):
		return fault.Wrap(err, fault.Invalid, "file: the body can't be read as multipart/form-data")
	}
	return err
}
