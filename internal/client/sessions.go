package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// Session is a session as v3 answers it. Times are Unix seconds.
type Session struct {
	SessionID        string          `json:"session_id"`
	URL              string          `json:"url"`
	Status           string          `json:"status"`
	StatusDetail     string          `json:"status_detail"`
	Title            string          `json:"title"`
	Tags             []string        `json:"tags"`
	OrgID            string          `json:"org_id"`
	CreatedAt        int64           `json:"created_at"`
	UpdatedAt        int64           `json:"updated_at"`
	ACUsConsumed     float64         `json:"acus_consumed"`
	PullRequests     []PullRequest   `json:"pull_requests"`
	UserID           string          `json:"user_id"`
	ServiceUserID    string          `json:"service_user_id"`
	PlaybookID       string          `json:"playbook_id"`
	ParentSessionID  string          `json:"parent_session_id"`
	ChildSessionIDs  []string        `json:"child_session_ids"`
	Origin           string          `json:"origin"`
	Category         string          `json:"category"`
	Subcategory      string          `json:"subcategory"`
	DevinMode        string          `json:"devin_mode"`
	IsArchived       bool            `json:"is_archived"`
	StructuredOutput json.RawMessage `json:"structured_output"`

	raw json.RawMessage
}

// UnmarshalJSON keeps the answer as it came beside its fields.
func (s *Session) UnmarshalJSON(text []byte) error {
	type fields Session
	if err := json.Unmarshal(text, (*fields)(s)); err != nil {
		return err
	}
	s.raw = append(json.RawMessage(nil), text...)
	return nil
}

// MarshalJSON gives the answer as it came: null stays null, and fields that this client doesn't know are kept.
func (s Session) MarshalJSON() ([]byte, error) {
	type fields Session
	if s.raw == nil {
		return json.Marshal(fields(s))
	}
	return s.raw, nil
}

// PullRequest is one pull request of a session.
type PullRequest struct {
	URL   string `json:"pr_url"`
	State string `json:"pr_state"`
}

// CreateSession is the body of a create. Zero fields are left out, which means the server's default.
type CreateSession struct {
	Prompt                   string          `json:"prompt"`
	Title                    string          `json:"title,omitempty"`
	Tags                     []string        `json:"tags,omitempty"`
	Repos                    []string        `json:"repos,omitempty"`
	PlaybookID               string          `json:"playbook_id,omitempty"`
	AttachmentURLs           []string        `json:"attachment_urls,omitempty"`
	SessionSecrets           []SessionSecret `json:"session_secrets,omitempty"`
	MaxACULimit              int             `json:"max_acu_limit,omitempty"`
	DevinMode                string          `json:"devin_mode,omitempty"`
	Platform                 string          `json:"platform,omitempty"`
	StructuredOutputSchema   json.RawMessage `json:"structured_output_schema,omitempty"`
	StructuredOutputRequired *bool           `json:"structured_output_required,omitempty"`
	BypassApproval           bool            `json:"bypass_approval,omitempty"`
	Resumable                *bool           `json:"resumable,omitempty"`
}

// SessionSecret is a secret of one session. It is sensitive unless Sensitive points to false.
type SessionSecret struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Sensitive *bool  `json:"sensitive,omitempty"`
}

// ListSessions filters a list; zero fields don't filter.
type ListSessions struct {
	First    int
	After    string
	Tags     []string
	Archived *bool
}

func sessionsPath(org string) string { return "/v3/organizations/" + url.PathEscape(org) + "/sessions" }

func sessionPath(org, session string) string {
	return sessionsPath(org) + "/" + url.PathEscape(session)
}

// CreateSession starts a session.
func (c *Client) CreateSession(ctx context.Context, org string, body CreateSession) (Session, error) {
	return c.post(ctx, sessionsPath(org), body)
}

// GetSession gives one session with its status detail and structured output.
func (c *Client) GetSession(ctx context.Context, org, session string) (Session, error) {
	var s Session
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: sessionPath(org, session)}, &s)
	return s, err
}

// ListSessions gives one page, newest first.
func (c *Client) ListSessions(ctx context.Context, org string, f ListSessions) (Page[Session], error) {
	q := url.Values{}
	if f.First > 0 {
		q.Set("first", strconv.Itoa(f.First))
	}
	if f.After != "" {
		q.Set("after", f.After)
	}
	for _, t := range f.Tags {
		q.Add("tags", t)
	}
	if f.Archived != nil {
		q.Set("is_archived", strconv.FormatBool(*f.Archived))
	}
	var p Page[Session]
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: sessionsPath(org), Query: q}, &p)
	return p, err
}

// TerminateSession ends a session for good and archives it if asked to.
func (c *Client) TerminateSession(ctx context.Context, org, session string, archive bool) (Session, error) {
	q := url.Values{}
	if archive {
		q.Set("archive", "true")
	}
	var s Session
	err := c.Do(ctx, Request{Method: http.MethodDelete, Path: sessionPath(org, session), Query: q}, &s)
	return s, err
}

// Message is one message of a conversation. Source is user or devin; CreatedAt is in Unix seconds.
type Message struct {
	EventID   string `json:"event_id"`
	Source    string `json:"source"`
	Message   string `json:"message"`
	CreatedAt int64  `json:"created_at"`
}

// SendMessage is the body of a message.
type SendMessage struct {
	Message        string   `json:"message"`
	AttachmentURLs []string `json:"attachment_urls,omitempty"`
}

// SendMessage sends a message, which wakes a suspended session.
func (c *Client) SendMessage(ctx context.Context, org, session string, m SendMessage) (Session, error) {
	return c.post(ctx, sessionPath(org, session)+"/messages", m)
}

func (c *Client) post(ctx context.Context, path string, body any) (Session, error) {
	var s Session
	b, err := encode(body)
	if err != nil {
		return s, err
	}
	err = c.Do(ctx, Request{Method: http.MethodPost, Path: path, Body: b, Create: true}, &s)
	return s, err
}
