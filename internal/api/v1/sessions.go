package v1

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerSessions) }

// CreateSessionParams asks for a session.
type CreateSessionParams struct {
	Prompt                 string               `json:"prompt" minLength:"1"`
	Idempotent             kit.Optional[bool]   `json:"idempotent,omitempty" doc:"Gives the session that the same request got before, unless it has ended."`
	KnowledgeIDs           []string             `json:"knowledge_ids,omitempty" nullable:"true" doc:"Null for all notes, empty for none."`
	MaxACULimit            kit.Optional[int64]  `json:"max_acu_limit,omitempty"`
	PlaybookID             kit.Optional[string] `json:"playbook_id,omitempty"`
	SecretIDs              []string             `json:"secret_ids,omitempty" nullable:"true" doc:"Null for all secrets, empty for none."`
	SessionSecrets         []SessionSecretInput `json:"session_secrets,omitempty" nullable:"true"`
	SnapshotID             kit.Optional[string] `json:"snapshot_id,omitempty" doc:"Taken and noted in the session's first event; there are no such snapshots."`
	StructuredOutputSchema kit.Object           `json:"structured_output_schema,omitempty"`
	Tags                   []string             `json:"tags,omitempty" nullable:"true" maxItems:"50"`
	Title                  kit.Optional[string] `json:"title,omitempty"`
	Unlisted               kit.Optional[bool]   `json:"unlisted,omitempty" doc:"Taken and noted in the session's first event; sessions are listed."`
}

// SessionSecretInput is a secret of one session.
type SessionSecretInput struct {
	Key       string             `json:"key" minLength:"1" maxLength:"256"`
	Value     string             `json:"value" maxLength:"65536" writeOnly:"true"`
	Sensitive kit.Optional[bool] `json:"sensitive,omitempty"`
}

// CreateSessionResponse names the session.
type CreateSessionResponse struct {
	SessionID    string `json:"session_id"`
	URL          string `json:"url"`
	IsNewSession *bool  `json:"is_new_session"`
}

// PullRequestInfo is a pull request.
type PullRequestInfo struct {
	_ struct{} `nullable:"true"`

	URL string `json:"url"`
}

// SessionSummary is a session in a list. Times are ISO 8601.
type SessionSummary struct {
	SessionID           string           `json:"session_id"`
	Status              string           `json:"status"`
	StatusEnum          *string          `json:"status_enum" enum:"working,blocked,expired,finished,suspend_requested,suspend_requested_frontend,resume_requested,resume_requested_frontend,resumed"`
	Title               *string          `json:"title"`
	CreatedAt           string           `json:"created_at"`
	UpdatedAt           string           `json:"updated_at"`
	PlaybookID          *string          `json:"playbook_id"`
	SnapshotID          *string          `json:"snapshot_id"`
	PullRequest         *PullRequestInfo `json:"pull_request"`
	RequestingUserEmail *string          `json:"requesting_user_email"`
	StructuredOutput    kit.Object       `json:"structured_output"`
	Tags                []string         `json:"tags" nullable:"true"`
}

// SessionDetail is a session with its conversation.
type SessionDetail struct {
	SessionSummary
	Messages []SessionMessage `json:"messages"`
}

// SessionMessage is one message. Username and origin are on a user's only.
type SessionMessage struct {
	Type      string  `json:"type" doc:"initial_user_message, user_message or devin_message."`
	EventID   string  `json:"event_id"`
	Message   string  `json:"message"`
	Timestamp string  `json:"timestamp"`
	Username  *string `json:"username"`
	Origin    *string `json:"origin"`
}

// ListSessionsResponse is a page of sessions.
type ListSessionsResponse struct {
	Sessions []SessionSummary `json:"sessions"`
}

// PostMessageParams says something to a session.
type PostMessageParams struct {
	Message string `json:"message" minLength:"1"`
}

// UpdateSessionTagsParams replace a session's tags.
type UpdateSessionTagsParams struct {
	Tags []string `json:"tags" maxItems:"50"`
}

// TagsUpdated says that a session has new tags.
type TagsUpdated struct {
	Detail    string   `json:"detail"`
	SessionID string   `json:"session_id"`
	Tags      []string `json:"tags"`
}

// MessageSent is null, or says that the session slept.
type MessageSent struct{ detail string }

// Schema is an object or null.
func (MessageSent) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, Nullable: true, Required: []string{"detail"}, Properties: map[string]*huma.Schema{"detail": {Type: huma.TypeString}},
	}
}

// MarshalJSON writes null when there is nothing to say.
func (m MessageSent) MarshalJSON() ([]byte, error) {
	if m.detail == "" {
		return []byte("null"), nil
	}
	return json.Marshal(kit.ErrorDetail{Detail: m.detail})
}

// SessionPath names a session, with any number of `devin-` in front.
type SessionPath struct {
	SessionID string `path:"session_id" maxLength:"300"`
}

func (p SessionPath) id() string { return id.BareSession(p.SessionID) }

// detailOutput says what was done.
type detailOutput struct{ Body kit.ErrorDetail }

// op declares an operation on the credential's organization.
func op(name, method, path, summary, successor string, any ...access.Permission) kit.Op {
	return kit.Op{
		Operation: huma.Operation{OperationID: name, Method: method, Path: "/v1" + path, Summary: summary, DefaultStatus: http.StatusOK},
		Any:       any, Org: kit.OrgCredential, Successor: successor,
	}
}

const (
	sessionsSuccessor = "/v3/organizations/{org_id}/sessions"
	sessionSuccessor  = sessionsSuccessor + "/{devin_id}"
)

func registerSessions(a *kit.API, rooms Rooms) {
	d := sessionDoor{rooms}
	create := op("createSession", http.MethodPost, "/sessions", "Start a session", "POST "+sessionsSuccessor,
		access.UseDevinSessions, access.ManageOrgSessions)
	create.Creates = true
	create.Operation.MaxBodyBytes = 32 << 20
	kit.Register(a, create, d.create)
	kit.Register(a, op("listSessions", http.MethodGet, "/sessions", "List sessions, newest first", "GET "+sessionsSuccessor, access.ViewOrgSessions), d.list)
	kit.Register(a, op("getSession", http.MethodGet, "/sessions/{session_id}", "Read a session and its messages", "GET "+sessionSuccessor, access.ViewOrgSessions), d.get)
	kit.Register(a, op("terminateSession", http.MethodDelete, "/sessions/{session_id}", "End a session for good", "DELETE "+sessionSuccessor, access.ManageOrgSessions), d.terminate)
	message := op("sendMessage", http.MethodPost, "/sessions/{session_id}/message", "Say something to a session", "POST "+sessionSuccessor+"/messages", access.ManageOrgSessions)
	message.Creates = true
	message.Operation.MaxBodyBytes = 32 << 20
	kit.Register(a, message, d.message)
	kit.Register(a, op("updateSessionTags", http.MethodPut, "/sessions/{session_id}/tags", "Replace a session's tags", "PUT "+sessionSuccessor+"/tags", access.ManageOrgSessions), d.tags)
}

// sessionDoor turns wire forms into use cases of sessions and back.
type sessionDoor struct{ Rooms }

type createSessionOutput struct{ Body CreateSessionResponse }

func (d sessionDoor) create(ctx context.Context, who access.Subject, in *struct{ Body CreateSessionParams }) (*createSessionOutput, error) {
	b := &in.Body
	p := session.CreateParams{
		OrgID: kit.Org(ctx), Prompt: b.Prompt, Title: b.Title.Value, Tags: b.Tags, PlaybookID: b.PlaybookID.Value,
		KnowledgeIDs: b.KnowledgeIDs, SecretIDs: b.SecretIDs, MaxACU: b.MaxACULimit.Ptr(), OutputSchema: b.StructuredOutputSchema.RawMessage,
		SnapshotID: b.SnapshotID.Value, Unlisted: b.Unlisted.Or(false),
	}
	for _, s := range b.SessionSecrets {
		p.Secrets = append(p.Secrets, session.SecretParam{Key: s.Key, Value: secret.New(s.Value), Sensitive: s.Sensitive.Or(true)})
	}
	var s *session.Session
	var err error
	fresh := true
	if b.Idempotent.Or(false) {
		s, fresh, err = d.Sessions.CreateOnce(ctx, who, p)
	} else {
		s, err = d.Sessions.Create(ctx, who, p)
	}
	if err != nil {
		return nil, older.Names{"attachment_urls": "prompt", "attachment_urls.*": "prompt"}.Fault(err)
	}
	return &createSessionOutput{Body: CreateSessionResponse{SessionID: idOf(s), URL: d.Sessions.URL(s.ID), IsNewSession: &fresh}}, nil
}

// idOf is a session's id as v1 writes it.
func idOf(s *session.Session) string { return "devin-" + s.ID }

type listSessionsInput struct {
	Limit     int               `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	Offset    int               `query:"offset" default:"0" minimum:"0" maximum:"1000000000"`
	Skip      kit.Optional[int] `query:"skip" minimum:"0" maximum:"1000000000" doc:"The same as offset; wins over it."`
	Tags      []string          `query:"tags,explode" doc:"Sessions with any of these."`
	UserEmail string            `query:"user_email" maxLength:"320" doc:"Sessions of the person with this address."`
}

type listSessionsOutput struct{ Body ListSessionsResponse }

func (d sessionDoor) list(ctx context.Context, who access.Subject, in *listSessionsInput) (*listSessionsOutput, error) {
	f := session.Filter{OrgID: kit.Org(ctx), Tags: in.Tags}
	out := &listSessionsOutput{Body: ListSessionsResponse{Sessions: []SessionSummary{}}}
	if in.UserEmail != "" {
		userID, err := d.Members.UserIDOf(ctx, in.UserEmail)
		if err != nil {
			return nil, err
		}
		f.UserIDs = []string{userID} // nobody has the empty id
	}
	p, err := d.Sessions.List(ctx, who, f, page.Request{First: in.Limit, Skip: in.Skip.Or(in.Offset)})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(p.Items))
	for i, s := range p.Items {
		ids[i] = s.UserID
	}
	people, err := d.Members.Emails(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Items {
		out.Body.Sessions = append(out.Body.Sessions, summaryOf(s, people))
	}
	return out, nil
}

// summaryOf writes a session; people are the addresses of those who may be named.
func summaryOf(s *session.Session, people map[string]string) SessionSummary {
	out := SessionSummary{
		SessionID: idOf(s), Status: string(s.State.Status), StatusEnum: statusEnum(s.State), Title: kit.NullText(s.Title),
		CreatedAt: older.Time(s.CreatedAt), UpdatedAt: older.Time(s.UpdatedAt), PlaybookID: kit.NullText(s.PlaybookID),
		RequestingUserEmail: kit.NullText(people[s.UserID]), StructuredOutput: kit.Object{RawMessage: s.Output}, Tags: kit.List(s.Tags),
	}
	if n := len(s.PullRequests); n > 0 {
		out.PullRequest = &PullRequestInfo{URL: s.PullRequests[n-1].URL}
	}
	return out
}

// statusEnum is the table of contract/legacy.md §5: old clients poll until they read blocked, finished or expired, so every state that
// ends or waits is one of these. A session is put to sleep in one step, and nobody is told when a worker has taken one up again before
// its agent works: suspend_requested and resumed never come up.
func statusEnum(s session.State) *string {
	out := "working"
	switch s.Status {
	case session.StatusNew, session.StatusClaimed:
	case session.StatusRunning:
		switch s.Detail {
		case session.WaitingForUser, session.WaitingForApproval:
			out = "blocked"
		case session.Finished:
			out = "finished"
		default:
		}
	case session.StatusResuming:
		out = "resume_requested"
	case session.StatusSuspended:
		out = "blocked"
	case session.StatusExit:
		out = "finished"
	case session.StatusError:
		out = "expired"
	}
	return &out
}

type getSessionOutput struct{ Body SessionDetail }

func (d sessionDoor) get(ctx context.Context, who access.Subject, in *SessionPath) (*getSessionOutput, error) {
	s, err := d.Sessions.Get(ctx, who, kit.Org(ctx), in.id())
	if err != nil {
		return nil, err
	}
	messages, err := older.All(func(r page.Request) (page.Page[session.SessionMessage], error) {
		return d.Sessions.Messages(ctx, who, kit.Org(ctx), s.ID, r)
	})
	if err != nil {
		return nil, err
	}
	ids := []string{s.UserID}
	for _, m := range messages {
		ids = append(ids, m.UserID)
	}
	people, err := d.Members.Emails(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := &getSessionOutput{Body: SessionDetail{SessionSummary: summaryOf(s, people), Messages: make([]SessionMessage, len(messages))}}
	for i, m := range messages {
		out.Body.Messages[i] = messageOf(m, i == 0, s.Origin, people)
	}
	return out, nil
}

func messageOf(m session.SessionMessage, first bool, origin string, people map[string]string) SessionMessage {
	out := SessionMessage{Type: "devin_message", EventID: m.EventID, Message: m.Text, Timestamp: older.Time(m.CreatedAt)}
	if m.Source == "devin" {
		return out
	}
	out.Type = "user_message"
	if first {
		out.Type = "initial_user_message"
		out.Origin = kit.NullText(origin)
	}
	out.Username = kit.NullText(people[m.UserID])
	return out
}

func (d sessionDoor) terminate(ctx context.Context, who access.Subject, in *SessionPath) (*detailOutput, error) {
	s, err := d.Sessions.GetToChange(ctx, who, kit.Org(ctx), in.id())
	if err != nil {
		return nil, err
	}
	if s.State.Over() {
		return nil, fault.New(fault.BadRequest, "the session has ended already")
	}
	if _, err := d.Sessions.Terminate(ctx, who, kit.Org(ctx), s.ID, false); err != nil {
		return nil, err
	}
	return &detailOutput{Body: kit.ErrorDetail{Detail: "Session terminated successfully"}}, nil
}

type messageInput struct {
	SessionPath
	Body PostMessageParams
}

type messageOutput struct{ Body MessageSent }

func (d sessionDoor) message(ctx context.Context, who access.Subject, in *messageInput) (*messageOutput, error) {
	orgID := kit.Org(ctx)
	before, err := d.Sessions.GetToChange(ctx, who, orgID, in.id())
	if err != nil {
		return nil, err
	}
	_, err = d.Sessions.SendMessage(ctx, who, session.MessageParams{OrgID: orgID, SessionID: before.ID, Message: in.Body.Message})
	if err != nil {
		return nil, older.Names{"attachment_urls": "message", "attachment_urls.*": "message"}.Fault(err)
	}
	out := &messageOutput{}
	if before.State.Status == session.StatusSuspended {
		out.Body.detail = "The session was suspended; the message wakes it"
	}
	return out, nil
}

type tagsInput struct {
	SessionPath
	Body UpdateSessionTagsParams
}

type tagsOutput struct{ Body TagsUpdated }

func (d sessionDoor) tags(ctx context.Context, who access.Subject, in *tagsInput) (*tagsOutput, error) {
	tags, err := d.Sessions.SetTags(ctx, who, kit.Org(ctx), in.id(), in.Body.Tags, false)
	if err != nil {
		return nil, err
	}
	return &tagsOutput{Body: TagsUpdated{Detail: "Tags updated", SessionID: "devin-" + in.id(), Tags: kit.List(tags)}}, nil
}
