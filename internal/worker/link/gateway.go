package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"gantry/internal/wire"
)

// transferTimeout bounds one attachment; 75 MB at a poor 1 Mbit/s take ten minutes.
const transferTimeout = 15 * time.Minute

// Gateway is one session's door under one claim.
type Gateway struct {
	caller
}

// Gateway opens the door a claim names. Over a Unix socket the host in the URL means nothing: the socket is dialled.
func (s *Server) Gateway(address, connectToken string) (*Gateway, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("gateway address: %w", ErrAddress)
	}
	if s.unix {
		u.Scheme, u.Host = s.base.Scheme, s.base.Host
	} else if err := allowed(u); err != nil {
		return nil, fmt.Errorf("gateway address %q: %w", u.Redacted(), err)
	}
	u.RawQuery, u.Fragment = "", ""
	return &Gateway{caller{server: s, base: u, bearer: bearer(connectToken)}}, nil
}

// Spec asks what to run.
func (g *Gateway) Spec(ctx context.Context) (wire.Spec, error) {
	var spec wire.Spec
	_, err := g.exchange(ctx, exchangeTimeout, http.MethodGet, "spec", nil, &spec)
	return spec, err
}

// Secrets asks for the session's environment. The server answers once per claim; later it says 409.
func (g *Gateway) Secrets(ctx context.Context) (wire.SecretsReply, error) {
	var reply wire.SecretsReply
	_, err := g.exchange(ctx, exchangeTimeout, http.MethodPost, "secrets", struct{}{}, &reply)
	return reply, err
}

// Batch sends one encoded wire.Batch. The same bytes may be sent again: the number makes it the same batch.
func (g *Gateway) Batch(ctx context.Context, body []byte) (wire.Ack, error) {
	var ack wire.Ack
	_, err := g.send(ctx, exchangeTimeout, http.MethodPost, "batches", body, &ack)
	return ack, err
}

// Heartbeat renews the lease.
func (g *Gateway) Heartbeat(ctx context.Context, h wire.Heartbeat) (wire.Ack, error) {
	var ack wire.Ack
	_, err := g.exchange(ctx, exchangeTimeout, http.MethodPost, "heartbeat", h, &ack)
	return ack, err
}

// Credential asks for what git needs for one operation on one repository of the session.
func (g *Gateway) Credential(ctx context.Context, r wire.CredentialRequest) (wire.CredentialReply, error) {
	var reply wire.CredentialReply
	_, err := g.exchange(ctx, exchangeTimeout, http.MethodPost, "credentials", r, &reply)
	return reply, err
}

// Upload streams one file the agent handed over.
func (g *Gateway) Upload(ctx context.Context, name string, body io.Reader) (wire.AttachmentReply, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	var reply wire.AttachmentReply
	resp, err := g.do(ctx, http.MethodPost, "attachments", url.Values{"name": {name}}, body, "application/octet-stream")
	if err != nil {
		return reply, err
	}
	defer drain(resp.Body)
	if err := decode(resp.Body, &reply); err != nil {
		return reply, fmt.Errorf("attachments: %w", err)
	}
	return reply, nil
}

// Download opens one file the user handed over. The caller closes it.
func (g *Gateway) Download(ctx context.Context, id string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	resp, err := g.do(ctx, http.MethodGet, "attachments/"+url.PathEscape(id), nil, nil, "")
	if err != nil {
		cancel()
		return nil, err
	}
	return &download{ReadCloser: resp.Body, cancel: cancel}, nil
}

// download is a body whose context ends with it.
type download struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Read tells a broken connection from what the reader of the file may meet on its own side.
func (d *download) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return n, err
}

// Close ends the transfer.
func (d *download) Close() error {
	defer d.cancel()
	return d.ReadCloser.Close()
}
