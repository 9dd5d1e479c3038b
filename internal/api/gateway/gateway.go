// Package gateway is the door through which one worker works on one session: what to run, what to be told, what happened.
//
// Its credential is a claim's connect token, good for one session and fence. The types are wire's, which the worker shares.
package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// prefix of every path; {session_id} follows.
const prefix = "/gateway/sessions/"

// Rooms are the use cases behind the door.
type Rooms struct {
	Fleet    *fleet.Service
	Sessions *session.Service
}

// Address gives a claim's gateway_url below the public address. A worker on the unix socket dials that instead, whatever the host.
func Address(public *url.URL, sessionID string) string {
	return public.JoinPath(prefix, sessionID).String()
}

// New registers the gateway on the kit's router.
func New(k *kit.Kit, rooms Rooms) *kit.API {
	a := kit.NewAPI(k, kit.Version{
		Title: "Gantry gateway", Version: "1", Description: "What one worker says and hears about one session.",
		Prefixes: []string{prefix}, Form: kit.Detail, Authenticator: authenticator{rooms.Fleet},
	})
	d := door{rooms.Sessions}
	kit.Register(a, op("getSpec", http.MethodGet, "/spec", "Read what to run"), d.spec)
	kit.Register(a, op("takeSecrets", http.MethodPost, "/secrets", "Take the session's environment, once per claim"), d.secrets)
	batches := op("sendBatch", http.MethodPost, "/batches", "Report events")
	batches.Operation.MaxBodyBytes = wire.MaxBatchBytes
	kit.Register(a, batches, d.batch)
	kit.Register(a, op("heartbeat", http.MethodPost, "/heartbeat", "Renew the lease"), d.heartbeat)
	kit.RegisterStream(a, op("streamCommands", http.MethodGet, "/commands", "Hear commands as they come"), d.commands)
	upload := op("uploadFile", http.MethodPost, "/attachments", "Hand over a file of the agent's")
	upload.Operation.MaxBodyBytes = session.MaxAttachment + 1
	kit.Register(a, upload, d.upload)
	download := op("downloadFile", http.MethodGet, "/attachments/{attachment_id}", "Read a file the user handed over")
	download.Operation.Responses = map[string]*huma.Response{"200": {Description: "The file.", Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}}
	kit.Register(a, download, d.download)
	kit.Register(a, op("getCredential", http.MethodPost, "/credentials", "Ask for what git needs for one operation"), d.credential)
	return a
}

func op(name, method, path, summary string) kit.Op {
	return kit.Op{Operation: huma.Operation{
		OperationID: name, Method: method, Path: prefix + "{session_id}" + path, Summary: summary, DefaultStatus: http.StatusOK,
	}, Connect: true}
}

// authenticator turns a connect token into its claim.
type authenticator struct{ fleet *fleet.Service }

// Authenticate gives the claim's session as the subject; its fence is the key's id.
func (a authenticator) Authenticate(ctx context.Context, bearer string, remote netip.Addr) (access.Subject, error) {
	r, err := a.fleet.ByToken(ctx, bearer, remote)
	if err != nil {
		return access.Subject{}, err
	}
	return access.Subject{
		Kind: access.SessionToken, ID: r.SessionID, Name: r.AcceptorID, SessionID: r.SessionID, OrgID: r.OrgID,
		KeyID: strconv.FormatInt(r.Fence, 10),
	}, nil
}

// Path names the session, which must be the token's.
type Path struct {
	SessionID string `path:"session_id" maxLength:"64"`
}

// claim gives the row that the subject stands for.
func (p Path) claim(s access.Subject) (fleet.Row, error) {
	fence, err := strconv.ParseInt(s.KeyID, 10, 64)
	if err != nil || p.SessionID != s.SessionID {
		return fleet.Row{}, fleet.ErrStale()
	}
	return fleet.Row{SessionID: s.SessionID, OrgID: s.OrgID, Fence: fence, AcceptorID: s.Name}, nil
}

// rawInput is a body that is decoded once, by wire's types.
type rawInput struct {
	Path
	RawBody []byte
}

type door struct{ s *session.Service }

type answer[T any] struct{ Body *T }

func reply[T any](v *T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{Body: v}, nil
}

func (d door) spec(ctx context.Context, s access.Subject, in *Path) (*answer[wire.Spec], error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	return reply(d.s.Spec(ctx, r))
}

func (d door) secrets(ctx context.Context, s access.Subject, in *Path) (*answer[wire.SecretsReply], error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	return reply(d.s.Secrets(ctx, s, r))
}

func (d door) batch(ctx context.Context, s access.Subject, in *rawInput) (*answer[wire.Ack], error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	var b wire.Batch
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	return reply(d.s.Apply(ctx, r, b))
}

func (d door) heartbeat(ctx context.Context, s access.Subject, in *rawInput) (*answer[wire.Ack], error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	var h wire.Heartbeat
	if err := decode(in.RawBody, &h); err != nil {
		return nil, err
	}
	return reply(d.s.Beat(ctx, r, h))
}

// commandBatch is how many commands one read takes.
const commandBatch = 100

func (d door) commands(ctx context.Context, s access.Subject, in *struct {
	Path
	After int64 `query:"after" minimum:"0"`
},
) (kit.StreamFunc, error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, st *kit.Stream) error {
		wake, stop := d.s.WakeCommands(r.SessionID)
		defer stop()
		after := in.After
		for {
			list, err := d.s.CommandsAfter(ctx, r.SessionID, after, commandBatch)
			if err != nil {
				return err
			}
			for _, c := range list {
				after = c.Number
				if err := st.Send(kit.Event{ID: strconv.FormatInt(c.Number, 10), Data: c}); err != nil {
					return err
				}
			}
			if len(list) == commandBatch {
				continue
			}
			if err := st.Wait(wake, pollEvery); err != nil {
				return d.lastWord(ctx, r.SessionID, after, st, err)
			}
		}
	}, nil
}

// pollEvery is how often a reader looks that nobody wakes.
const pollEvery = 2 * time.Second

// lastWord tells a worker whose claim was ended why: the stream it opened is the only way left to it.
func (d door) lastWord(ctx context.Context, sessionID string, after int64, st *kit.Stream, over error) error {
	list, err := d.s.CommandsAfter(ctx, sessionID, after, commandBatch)
	if err != nil {
		return over
	}
	for _, c := range list {
		if c.Kind == wire.CommandSuspend || c.Kind == wire.CommandTerminate {
			_ = st.Send(kit.Event{ID: strconv.FormatInt(c.Number, 10), Data: c}) // it learns from its next report otherwise
			break
		}
	}
	return over
}

func (d door) upload(ctx context.Context, s access.Subject, in *struct {
	Path
	Name string `query:"name" minLength:"1" maxLength:"1000" required:"true"`
},
) (*answer[wire.AttachmentReply], error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	return reply(d.s.UploadByAgent(ctx, r, in.Name, kit.Request(ctx).Body))
}

func (d door) download(ctx context.Context, s access.Subject, in *struct {
	Path
	ID string `path:"attachment_id" maxLength:"64"`
},
) (*huma.StreamResponse, error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	a, body, err := d.s.DownloadByWorker(ctx, r, in.ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		defer func() { _ = body.Close() }() // it was only read
		h.SetHeader("Content-Type", "application/octet-stream")
		h.SetHeader("Content-Length", strconv.FormatInt(a.Size, 10))
		_, _ = io.Copy(h.BodyWriter(), body) // a broken connection shows at the worker
	}}, nil
}

func (d door) credential(ctx context.Context, s access.Subject, in *rawInput) (*answer[wire.CredentialReply], error) {
	r, err := in.claim(s)
	if err != nil {
		return nil, err
	}
	var c wire.CredentialRequest
	if err := decode(in.RawBody, &c); err != nil {
		return nil, err
	}
	return reply(d.s.Credential(ctx, r, c))
}

// decode reads a body of wire's.
func decode(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fault.Wrap(err, fault.Invalid, "body: not the JSON object that belongs here")
	}
	return nil
}
