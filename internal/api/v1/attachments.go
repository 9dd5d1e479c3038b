package v1

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerAttachments) }

// multipartOverhead is what a multipart body may add to its file.
const multipartOverhead = 1 << 20

type uploadOutput struct{ Body string }

type redirectOutput struct {
	Status   int
	Location string `header:"Location"`
}

type attachmentPath struct {
	UUID string `path:"uuid" maxLength:"64"`
	Name string `path:"name" maxLength:"1000"`
}

const attachmentsSuccessor = "/v3/organizations/{org_id}/attachments"

func registerAttachments(a *kit.API, rooms Rooms) {
	upload := op("uploadAttachment", http.MethodPost, "/attachments", "Upload a file and get its address", "POST "+attachmentsSuccessor, access.UseDevinSessions)
	upload.Upload, upload.Creates = "file", true
	upload.Operation.MaxBodyBytes = session.MaxAttachment + multipartOverhead
	kit.Register(a, upload, func(ctx context.Context, who access.Subject, _ *struct{}) (*uploadOutput, error) {
		out := &uploadOutput{}
		err := kit.File(ctx, "file", session.MaxAttachment, func(name, contentType string, body io.Reader) error {
			file, err := rooms.Sessions.Upload(ctx, who, kit.Org(ctx), name, contentType, body)
			if err == nil {
				out.Body = rooms.Sessions.PublicURL.JoinPath("v1", "attachments", file.ID, url.PathEscape(file.Name)).String()
			}
			return err
		})
		return out, err
	})
	download := op("downloadAttachment", http.MethodGet, "/attachments/{uuid}/{name}", "Get a file's short-lived address",
		"GET "+attachmentsSuccessor+"/{uuid}/{name}", access.ViewOrgSessions)
	download.Operation.DefaultStatus = http.StatusTemporaryRedirect
	kit.Register(a, download, func(ctx context.Context, who access.Subject, in *attachmentPath) (*redirectOutput, error) {
		u, err := rooms.Sessions.DownloadURL(ctx, who, kit.Org(ctx), in.UUID)
		if err != nil {
			return nil, err
		}
		return &redirectOutput{Status: http.StatusTemporaryRedirect, Location: u}, nil
	})
}
