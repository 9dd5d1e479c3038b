package v3

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerSessions) }

// SessionResponse is a session. Times are Unix seconds. session_id is bare; paths take it with any number of `devin-` in front
// (contract/behaviour.md §3.4 16b).
type SessionResponse struct {
	SessionID        string               `json:"session_id"`
	URL              string               `json:"url" doc:"The session's page in the console."`
	Status           string               `json:"status" enum:"new,creating,claimed,running,exit,error,suspended,resuming"`
	StatusDetail     *string              `json:"status_detail" enum:"working,waiting_for_user,waiting_for_approval,finished,inactivity,user_request,usage_limit_exceeded,out_of_credits,out_of_quota,no_quota_allocation,payment_declined,org_usage_limit_exceeded,user_usage_limit_exceeded,total_session_limit_exceeded,error" doc:"Null unless running or suspended."`
	Title            *string              `json:"title"`
	Tags             []string             `json:"tags"`
	OrgID            string               `json:"org_id"`
	CreatedAt        int64                `json:"created_at"`
	UpdatedAt        int64                `json:"updated_at"`
	ACUsConsumed     float64              `json:"acus_consumed"`
	PullRequests     []SessionPullRequest `json:"pull_requests"`
	UserID           *string              `json:"user_id"`
	ServiceUserID    *string              `json:"service_user_id"`
	PlaybookID       *string              `json:"playbook_id"`
	AutomationID     *string              `json:"automation_id"`
	ParentSessionID  *string              `json:"parent_session_id"`
	ChildSessionIDs  []string             `json:"child_session_ids" nullable:"true"`
	Origin           *string              `json:"origin" enum:"webapp,slack,teams,api,linear,jira,automation,scheduled,cli,desktop,code_scan,other"`
	Category         *string              `json:"category"`
	Subcategory      *string              `json:"subcategory"`
	DevinMode        *string              `json:"devin_mode" enum:"normal,fast,lite,ultra,fusion"`
	IsArchived       bool                 `json:"is_archived"`
	IsAdvanced       bool                 `json:"is_advanced"`
	StructuredOutput kit.Object           `json:"structured_output"`
}

// SessionPullRequest is one pull request of a session.
type SessionPullRequest struct {
	PRURL   string  `json:"pr_url"`
	PRState *string `json:"pr_state"`
}

// SessionCreateRequest asks for a session. Null and absent mean the same, except that an empty knowledge_ids or secret_ids means none.
type SessionCreateRequest struct {
	Prompt                   string               `json:"prompt" minLength:"1"`
	Title                    kit.Optional[string] `json:"title,omitempty"`
	Tags                     []string             `json:"tags,omitempty" nullable:"true" maxItems:"50"`
	PlaybookID               kit.Optional[string] `json:"playbook_id,omitempty"`
	ChildPlaybookID          kit.Optional[string] `json:"child_playbook_id,omitempty"`
	KnowledgeIDs             []string             `json:"knowledge_ids,omitempty" nullable:"true"`
	SecretIDs                []string             `json:"secret_ids,omitempty" nullable:"true"`
	SessionSecrets           []SessionSecretInput `json:"session_secrets,omitempty" nullable:"true"`
	Repos                    []string             `json:"repos,omitempty" nullable:"true"`
	AttachmentURLs           []string             `json:"attachment_urls,omitempty" nullable:"true"`
	SessionLinks             []string             `json:"session_links,omitempty" nullable:"true"`
	MaxACULimit              kit.Optional[int64]  `json:"max_acu_limit,omitempty"`
	DevinMode                kit.Optional[string] `json:"devin_mode,omitempty" enum:"normal,fast,lite,ultra,fusion"`
	Platform                 kit.Optional[string] `json:"platform,omitempty"`
	Resumable                kit.Optional[bool]   `json:"resumable,omitempty"`
	BypassApproval           kit.Optional[bool]   `json:"bypass_approval,omitempty"`
	CreateAsUserID           kit.Optional[string] `json:"create_as_user_id,omitempty"`
	StructuredOutputSchema   kit.Object           `json:"structured_output_schema,omitempty"`
	StructuredOutputRequired kit.Optional[bool]   `json:"structured_output_required,omitempty"`
	AdvancedMode             kit.Optional[string] `json:"advanced_mode,omitempty" deprecated:"true" doc:"Accepted and ignored: the older session kinds are gone."`
}

// SessionSecretInput is a secret of one session.
type SessionSecretInput struct {
	Key       string             `json:"key" minLength:"1" maxLength:"256"`
	Value     string             `json:"value" maxLength:"65536" writeOnly:"true"`
	Sensitive kit.Optional[bool] `json:"sensitive,omitempty"`
}

// SessionMessageCreateRequest says something to a session.
type SessionMessageCreateRequest struct {
	Message         string               `json:"message" minLength:"1"`
	AttachmentURLs  []string             `json:"attachment_urls,omitempty" nullable:"true"`
	MessageAsUserID kit.Optional[string] `json:"message_as_user_id,omitempty"`
}

// SessionMessage is one message of the conversation.
type SessionMessage struct {
	EventID   string `json:"event_id"`
	Source    string `json:"source" enum:"devin,user"`
	Message   string `json:"message"`
	CreatedAt int64  `json:"created_at"`
}

// SessionTags is a session's whole list of tags.
type SessionTags struct {
	Tags []string `json:"tags" maxItems:"50"`
}

// SessionPath names one session. On the enterprise's routes OrgID is empty, and the org_id query is accepted and not needed.
type SessionPath struct {
	DevinID string `path:"devin_id" maxLength:"300"`
}

func (p SessionPath) id() string { return id.BareSession(p.DevinID) }

type sessionOutput struct{ Body SessionResponse }

type tagsOutput struct{ Body SessionTags }

// orgParam declares the organization in the path; handlers have it resolved from kit.Org.
var orgParam = &huma.Param{Name: "org_id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}

// orgQuery declares the optional organization of the enterprise's routes.
var orgQuery = &huma.Param{Name: "org_id", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "The session's organization, if known."}

// sessionRoutes are the two families of session routes: an organization's, and the enterprise's twins.
type sessionRoutes struct {
	prefix       string
	suffix       string // of operation ids
	view, manage access.Permission
	enterprise   bool
}

var families = []sessionRoutes{
	{"/v3/organizations/{org_id}/sessions", "", access.ViewOrgSessions, access.ManageOrgSessions, false},
	{"/v3/enterprise/sessions", "Enterprise", access.ViewAccountSessions, access.ManageAccountSessions, true},
}

func (f sessionRoutes) op(name, method, path, summary string, p access.Permission) kit.Op {
	op := kit.Op{
		Operation: huma.Operation{
			OperationID: name + f.suffix, Method: method, Path: f.prefix + path, Summary: summary, Tags: []string{"sessions"},
			DefaultStatus: http.StatusOK,
		},
		Any: []access.Permission{p}, Enterprise: f.enterprise,
	}
	switch {
	case !f.enterprise:
		op.Operation.Parameters = []*huma.Param{orgParam}
	case strings.Contains(path, "{devin_id}"):
		op.Operation.Parameters = []*huma.Param{orgQuery}
		op.Org = kit.OrgQuery
	}
	return op
}

func registerSessions(a *kit.API, rooms Rooms) {
	d := sessionDoor{rooms.Sessions}
	d.registerCreate(a)
	for _, f := range families {
		d.registerReads(a, f)
		d.registerWrites(a, f)
	}
	f := families[0]
	for _, r := range []struct {
		name, method, path, summary string
		do                          func(context.Context, access.Subject, string, string) (*session.Session, error)
	}{
		{"archiveSession", http.MethodPost, "/{devin_id}/archive", "Hide a session and put it to sleep", d.s.Archive},
		{"unarchiveSession", http.MethodPost, "/{devin_id}/unarchive", "Show an archived session again", d.s.Unarchive},
	} {
		kit.Register(a, f.op(r.name, r.method, r.path, r.summary, f.manage),
			func(ctx context.Context, s access.Subject, in *SessionPath) (*sessionOutput, error) {
				return d.answer(r.do(ctx, s, kit.Org(ctx), in.id()))
			})
	}
	kit.Register(a, f.op("terminateSession", http.MethodDelete, "/{devin_id}", "End a session for good", f.manage),
		func(ctx context.Context, s access.Subject, in *struct {
			SessionPath
			Archive bool `query:"archive" doc:"Also archive it."`
		},
		) (*sessionOutput, error) {
			return d.answer(d.s.Terminate(ctx, s, kit.Org(ctx), in.id(), in.Archive))
		})
}

// sessionDoor turns wire forms into use cases of sessions and back.
type sessionDoor struct{ s *session.Service }

func (d sessionDoor) answer(s *session.Session, err error) (*sessionOutput, error) {
	if err != nil {
		return nil, err
	}
	return &sessionOutput{Body: d.wire(s)}, nil
}

func (d sessionDoor) wire(s *session.Session) SessionResponse {
	out := SessionResponse{
		SessionID: s.ID, URL: d.s.URL(s.ID), Status: string(s.State.Status), StatusDetail: kit.NullText(string(s.State.Detail)),
		Title: kit.NullText(s.Title), Tags: kit.List(s.Tags), OrgID: s.OrgID, CreatedAt: s.CreatedAt.Unix(), UpdatedAt: s.UpdatedAt.Unix(),
		ACUsConsumed: s.ACUs(), PullRequests: make([]SessionPullRequest, len(s.PullRequests)), UserID: kit.NullText(s.UserID),
		ServiceUserID: kit.NullText(s.ServiceUserID), PlaybookID: kit.NullText(s.PlaybookID), AutomationID: kit.NullText(s.AutomationID),
		ParentSessionID: kit.NullText(s.ParentID), ChildSessionIDs: kit.List(s.ChildIDs), Origin: kit.NullText(s.Origin),
		Category: kit.NullText(s.Category), Subcategory: kit.NullText(s.Subcategory), DevinMode: kit.NullText(s.Mode),
		IsArchived: s.Archived, StructuredOutput: kit.Object{RawMessage: s.Output},
	}
	for i, p := range s.PullRequests {
		out.PullRequests[i] = SessionPullRequest{PRURL: p.URL, PRState: kit.NullText(p.State)}
	}
	return out
}

// commandLine is how the command line's User-Agent begins. Its sessions have the origin cli (contract/behaviour.md §3.15 34). Others may
// say the same of themselves; no other origin can be asked for.
const commandLine = "gantry/"

func (d sessionDoor) registerCreate(a *kit.API) {
	op := families[0].op("createSession", http.MethodPost, "", "Start a session", access.UseDevinSessions)
	op.Any = []access.Permission{access.UseDevinSessions, access.ManageOrgSessions}
	op.Creates = true
	op.Operation.MaxBodyBytes = 32 << 20
	kit.Register(a, op, func(ctx context.Context, s access.Subject, in *struct {
		DevinID string `query:"devin_id" maxLength:"300" doc:"Makes the new session a child of this one."`
		Body    SessionCreateRequest
	},
	) (*sessionOutput, error) {
		p, err := in.Body.params()
		if err != nil {
			return nil, err
		}
		p.OrgID, p.ParentID = kit.Org(ctx), in.DevinID
		if strings.HasPrefix(kit.Request(ctx).UserAgent(), commandLine) {
			p.Origin = "cli"
		}
		return d.answer(d.s.Create(ctx, s, p))
	})
}

func (r *SessionCreateRequest) params() (session.CreateParams, error) {
	p := session.CreateParams{
		Prompt: r.Prompt, Title: r.Title.Value, Tags: r.Tags, PlaybookID: r.PlaybookID.Value, ChildPlaybookID: r.ChildPlaybookID.Value,
		KnowledgeIDs: r.KnowledgeIDs, SecretIDs: r.SecretIDs, Repos: r.Repos, AttachmentURLs: r.AttachmentURLs, Links: r.SessionLinks,
		MaxACU: r.MaxACULimit.Ptr(), Mode: r.DevinMode.Value, Platform: r.Platform.Value, Resumable: r.Resumable.Ptr(),
		BypassApproval: r.BypassApproval.Or(false), CreateAsUserID: r.CreateAsUserID.Value,
		OutputSchema: r.StructuredOutputSchema.RawMessage, OutputRequired: r.StructuredOutputRequired.Ptr(),
	}
	for i, s := range r.SessionSecrets {
		if s.Key == "" {
			return p, fault.InvalidField(fmt.Sprintf("session_secrets.%d.key", i), "must not be empty")
		}
		p.Secrets = append(p.Secrets, session.SecretParam{Key: s.Key, Value: secret.New(s.Value), Sensitive: s.Sensitive.Or(true)})
	}
	return p, nil
}

// filterTime turns a Unix time of a filter into a time, the zero time when it is absent.
func filterTime(o kit.Optional[int64]) time.Time {
	if !o.Has() {
		return time.Time{}
	}
	return time.Unix(o.Value, 0)
}
