package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
)

// Attachment is a file of a session. Source is user or devin.
type Attachment struct {
	AttachmentID string `json:"attachment_id"`
	Name         string `json:"name"`
	URL          string `json:"url"`
	Source       string `json:"source"`
	ContentType  string `json:"content_type"`
}

// ListAttachments gives all files of a session.
func (c *Client) ListAttachments(ctx context.Context, org, session string) ([]Attachment, error) {
	var as []Attachment
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: sessionPath(org, session) + "/attachments"}, &as)
	return as, err
}

// Upload streams a file to the server; its URL goes into a session's AttachmentURLs. A stream can't be sent again, so there is no
// second try.
func (c *Client) Upload(ctx context.Context, org, name string, r io.Reader) (Attachment, error) {
	var a Attachment
	body, w := io.Pipe()
	form := multipart.NewWriter(w)
	done := make(chan struct{})
	go func() {
		defer close(done)
		part, err := form.CreateFormFile("file", name)
		if err == nil {
			_, err = io.Copy(part, r)
		}
		if err == nil {
			err = form.Close()
		}
		_ = w.CloseWithError(err) // always nil
	}()
	defer func() {
		_ = body.Close() // lets the writer go if the server didn't read to the end
		<-done
	}()
	u := c.base + "/v3/organizations/" + url.PathEscape(org) + "/attachments"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, body)
	if err != nil {
		return a, fmt.Errorf("upload %s: %w", name, err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := c.send(req, "")
	if err != nil {
		return a, err
	}
	defer func() { _ = res.Body.Close() }() // read by the decoder
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("upload %s: the answer is not the JSON that was expected: %w", name, err)
	}
	return a, nil
}

// Download writes an attachment's content to w. The server answers with a redirect to a short-lived address.
func (c *Client) Download(ctx context.Context, org, attachmentID, name string, w io.Writer) error {
	path := "/v3/organizations/" + url.PathEscape(org) + "/attachments/" + url.PathEscape(attachmentID) + "/" + url.PathEscape(name)
	res, err := c.Send(ctx, Request{Method: http.MethodGet, Path: path, Accept: "*/*"})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read by the copy
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("download %s: %w", name, err)
	}
	return nil
}
