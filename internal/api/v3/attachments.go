package v3

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
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
		Any: []access.Permission{access.UseDevinSessions}, Upload: "file", Creates: true,
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

// upload streams the part named file.
func (d sessionDoor) upload(ctx context.Context, s access.Subject) (*uploadOutput, error) {
	var out *uploadOutput
	err := kit.File(ctx, "file", session.MaxAttachment, func(name, contentType string, body io.Reader) error {
		file, err := d.s.Upload(ctx, s, kit.Org(ctx), name, contentType, body)
		if err != nil {
			return err
		}
		out = &uploadOutput{Body: AttachmentUploadResponse{AttachmentID: file.ID, Name: file.Name, URL: d.s.AttachmentURL(file)}}
		return nil
	})
	return out, err
}
