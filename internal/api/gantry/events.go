package gantry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerEvents) }

// SessionEvent is one numbered event (docs/events.md). CreatedAt is Unix milliseconds: events of one session come faster than seconds.
type SessionEvent struct {
	Seq       int64      `json:"seq"`
	Type      string     `json:"type"`
	CreatedAt int64      `json:"created_at"`
	Data      ObjectData `json:"data"`
}

// ObjectData is the documented object of an event's type, as it was stored.
type ObjectData struct{ json.RawMessage }

// Schema says that the members depend on the type.
func (ObjectData) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// StreamEnd is the data of the event `end`, after which the server closes the stream.
type StreamEnd struct {
	Status       string  `json:"status"`
	StatusDetail *string `json:"status_detail"`
}

type SessionPath struct {
	OrgID   string `path:"org_id"`
	DevinID string `path:"devin_id" maxLength:"300"`
}

func (p SessionPath) id() string { return id.BareSession(p.DevinID) }

type eventsInput struct {
	SessionPath
	kit.PageInput
}

func registerEvents(a *kit.API, rooms Rooms) {
	d := eventDoor{rooms.Sessions, rooms.Members}
	op := func(name, method, path, summary string, p access.Permission) kit.Op {
		return kit.Op{Operation: huma.Operation{
			OperationID: name, Method: method, Path: "/gantry/v1/organizations/{org_id}/sessions/{devin_id}" + path, Summary: summary,
			Tags: []string{"sessions"}, DefaultStatus: http.StatusOK,
		}, Any: []access.Permission{p}}
	}
	kit.RegisterPageOrStream(a, op("listSessionEvents", http.MethodGet, "/events", "Read a session's events, or follow them", access.ViewOrgSessions),
		d.page, d.follow)
	payload := op("getEventPayload", http.MethodGet, "/events/{seq}/payload", "Read an event's data that was too large for the list",
		access.ViewOrgSessions)
	payload.Operation.Responses = content("The event's data.", "application/json", &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true})
	kit.Register(a, payload, d.payload)
	kit.Register(a, op("approveSession", http.MethodPost, "/approve", "Answer the permission request a session waits for",
		access.ManageOrgSessions), d.approve)
	kit.Register(a, kit.Op{Operation: huma.Operation{
		OperationID: "download", Method: http.MethodGet, Path: "/downloads/{org_id}/{attachment_id}/{name}", Tags: []string{"attachments"},
		Summary:   "Read a file by its signed, short-lived address",
		Responses: content("The file, of whatever type it is.", "*/*", &huma.Schema{Type: huma.TypeString, Format: "binary"}),
	}, Public: true}, d.download)
}

// content describes an answer that is streamed as it lies there.
func content(description, kind string, schema *huma.Schema) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{kind: {Schema: schema}}}}
}

type eventDoor struct {
	s       *session.Service
	members *member.Service
}

func (d eventDoor) page(ctx context.Context, s access.Subject, in *eventsInput) (*kit.Page[SessionEvent], error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	p, err := d.s.Events(ctx, s, kit.Org(ctx), in.id(), r)
	if err != nil {
		return nil, err
	}
	out := kit.ClosePage(ctx, p, func(e session.Event) SessionEvent {
		return SessionEvent{Seq: e.Seq, Type: e.Type, CreatedAt: e.CreatedAt, Data: ObjectData{e.Data}}
	})
	return &out, nil
}

// followBatch is how many events one read of a stream takes.
const followBatch = 200

// followMost is how long a stream that nobody wakes leaves it to others to look.
const followMost = time.Minute

// follow streams events from Last-Event-ID on, without gap or repeat, until the session is over or sleeps.
func (d eventDoor) follow(ctx context.Context, s access.Subject, in *eventsInput) (kit.StreamFunc, error) {
	found, err := d.s.Get(ctx, s, kit.Org(ctx), in.id())
	if err != nil {
		return nil, err
	}
	sessionID, known, begun := found.ID, found.LastSeq, found.State // a stream is long: it keeps no more than it needs
	return func(ctx context.Context, st *kit.Stream) error {
		after := int64(0)
		if st.LastID != "" {
			if after, err = strconv.ParseInt(st.LastID, 10, 64); err != nil {
				after = 0
			}
			after = min(after, known) // a number from elsewhere leaves out nothing that is still to come
		}
		wake, stop := d.s.Follow(sessionID, known)
		defer stop()
		var state session.State
		for {
			list, err := kit.Apart(func() ([]session.Event, error) { return d.s.EventsAfter(ctx, sessionID, after, followBatch) })
			if err != nil {
				return err
			}
			for _, e := range list {
				after = e.Seq
				if state, err = send(st, e, state); err != nil {
					return err
				}
			}
			if err := st.Flush(); err != nil {
				return err
			}
			if len(list) == followBatch {
				if err := st.Wait(wake, 0); err != nil { // a key that is revoked doesn't read on, however much there is
					return err
				}
				continue
			}
			if state.Status == "" {
				state = begun
			}
			if ends(state) {
				return st.Send(kit.Event{Type: "end", Data: StreamEnd{string(state.Status), kit.NullText(string(state.Detail))}})
			}
			if err := st.Wait(wake, followMost); err != nil {
				return err
			}
		}
	}, nil
}

// ends reports whether nothing more comes unless somebody acts: the stream's reader is told so instead of being left to wait.
func ends(s session.State) bool { return s.Over() || s.Status == session.StatusSuspended }

// send writes an event and notes the state that it tells of.
func send(st *kit.Stream, e session.Event, state session.State) (session.State, error) {
	data, err := json.Marshal(SessionEvent{Seq: e.Seq, Type: e.Type, CreatedAt: e.CreatedAt, Data: ObjectData{e.Data}})
	if err != nil {
		return state, err
	}
	st.SendRaw(strconv.FormatInt(e.Seq, 10), e.Type, data)
	if e.Type != session.EventStatus {
		return state, nil
	}
	var c session.StatusChange
	if err := json.Unmarshal(e.Data, &c); err != nil {
		return state, err
	}
	return session.State{Status: c.Status, Detail: c.Detail}, nil
}

func (d eventDoor) payload(ctx context.Context, s access.Subject, in *struct {
	SessionPath
	Seq int64 `path:"seq" minimum:"1"`
},
) (*huma.StreamResponse, error) {
	body, err := d.s.Payload(ctx, s, kit.Org(ctx), in.id(), in.Seq)
	if err != nil {
		return nil, err
	}
	return stream(body, map[string]string{"Content-Type": "application/json"}), nil
}

func stream(body io.ReadCloser, headers map[string]string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(h huma.Context) {
		defer func() { _ = body.Close() }() // it was only read
		for name, value := range headers {
			h.SetHeader(name, value)
		}
		_, _ = io.Copy(h.BodyWriter(), body) // a broken connection shows at the client
	}}
}

// ApproveRequest answers a permission request: the event's request and the chosen option's id.
type ApproveRequest struct {
	Request string `json:"request" maxLength:"300"`
	Option  string `json:"option" maxLength:"300"`
}

// SessionStatusResponse is a session's state.
type SessionStatusResponse struct {
	SessionID    string  `json:"session_id"`
	Status       string  `json:"status"`
	StatusDetail *string `json:"status_detail"`
}

type statusOutput struct{ Body SessionStatusResponse }

func (d eventDoor) approve(ctx context.Context, s access.Subject, in *struct {
	SessionPath
	Body ApproveRequest
},
) (*statusOutput, error) {
	v, err := d.s.Approve(ctx, s, kit.Org(ctx), in.id(), in.Body.Request, in.Body.Option)
	if err != nil {
		return nil, err
	}
	return &statusOutput{Body: SessionStatusResponse{v.ID, string(v.State.Status), kit.NullText(string(v.State.Detail))}}, nil
}

func (d eventDoor) download(ctx context.Context, _ access.Subject, in *struct {
	OrgID        string `path:"org_id" maxLength:"100"`
	AttachmentID string `path:"attachment_id" maxLength:"100"`
	Name         string `path:"name" maxLength:"1000"`
	Expires      string `query:"expires"`
	Signature    string `query:"signature"`
},
) (*huma.StreamResponse, error) {
	// The address holds no key, but whoever uses it must come from where a key would be good (contract/v3-rules.md, attachments).
	if err := d.members.AllowAddress(ctx, kit.RemoteAddr(ctx)); err != nil {
		return nil, err
	}
	a, body, err := d.s.Download(ctx, in.OrgID, in.AttachmentID, in.Expires, in.Signature)
	if err != nil {
		return nil, err
	}
	if a.ID != in.AttachmentID {
		_ = body.Close() // it was only opened
		return nil, fault.New(fault.NotFound, "attachment not found")
	}
	return stream(body, downloadHeaders(a)), nil
}

// downloadHeaders keep a stored file from running as a page of the console's origin (design: security.md).
func downloadHeaders(a session.Attachment) map[string]string {
	contentType := a.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return map[string]string{
		"Content-Type":            contentType,
		"Content-Length":          strconv.FormatInt(a.Size, 10),
		"Content-Disposition":     a.Disposition(),
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'",
		"Cache-Control":           "private, no-store",
		"Referrer-Policy":         "no-referrer",
	}
}
