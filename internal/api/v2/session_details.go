package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerSessionDetails) }

// SessionDetailResponse is a session with its analysis, null until one was made. ID and Insight are the examples' names.
type SessionDetailResponse struct {
	SessionResponse
	InitialUserMessage *string              `json:"initial_user_message"`
	SessionAnalysis    *SessionAnalysisData `json:"session_analysis"`
	ID                 *string              `json:"id,omitempty"`
	Insight            kit.Optional[string] `json:"insight,omitempty,omitzero" doc:"The first issue, or else the first title of the timeline."`
}

// SessionAnalysisData is what was found in a session.
type SessionAnalysisData struct {
	_ struct{} `nullable:"true"`

	SuggestedPrompt *SuggestedPrompt        `json:"suggested_prompt"`
	ActionItems     []AnalysisActionItem    `json:"action_items"`
	Issues          []AnalysisIssue         `json:"issues"`
	Timeline        []AnalysisTimelineEntry `json:"timeline"`
}

// SuggestedPrompt is how the session could have been asked for.
type SuggestedPrompt struct {
	_ struct{} `nullable:"true"`

	OriginalPrompt  string           `json:"original_prompt"`
	SuggestedPrompt string           `json:"suggested_prompt"`
	FeedbackItems   []PromptFeedback `json:"feedback_items"`
}

// PromptFeedback is one thing about the prompt.
type PromptFeedback struct {
	Summary string  `json:"summary"`
	Details string  `json:"details"`
	Excerpt *string `json:"excerpt"`
	IssueID *string `json:"issue_id"`
}

// AnalysisActionItem is something to do.
type AnalysisActionItem struct {
	ActionItem string  `json:"action_item"`
	Type       string  `json:"type"`
	IssueID    *string `json:"issue_id"`
}

// AnalysisIssue is a problem.
type AnalysisIssue struct {
	ID     string `json:"id"`
	Issue  string `json:"issue"`
	Impact string `json:"impact"`
	Label  string `json:"label"`
}

// AnalysisTimelineEntry is one thing that happened.
type AnalysisTimelineEntry struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Color       string `json:"color"`
}

func analysisOf(a *insight.Analysis) *SessionAnalysisData {
	if a == nil {
		return nil
	}
	out := &SessionAnalysisData{
		ActionItems: make([]AnalysisActionItem, len(a.ActionItems)), Issues: make([]AnalysisIssue, len(a.Issues)),
		Timeline: make([]AnalysisTimelineEntry, len(a.Timeline)),
	}
	for i, x := range a.ActionItems {
		out.ActionItems[i] = AnalysisActionItem{ActionItem: x.Text, Type: x.Type, IssueID: kit.NullText(x.IssueID)}
	}
	for i, x := range a.Issues {
		out.Issues[i] = AnalysisIssue(x)
	}
	for i, x := range a.Timeline {
		out.Timeline[i] = AnalysisTimelineEntry{Title: x.Title, Description: x.Description, Color: x.Color}
	}
	if p := a.SuggestedPrompt; p != nil {
		better := &SuggestedPrompt{OriginalPrompt: p.Original, SuggestedPrompt: p.Suggested, FeedbackItems: make([]PromptFeedback, len(p.Feedback))}
		for i, f := range p.Feedback {
			better.FeedbackItems[i] = PromptFeedback{
				Summary: f.Summary, Details: f.Details, Excerpt: kit.NullText(f.Excerpt), IssueID: kit.NullText(f.IssueID),
			}
		}
		out.SuggestedPrompt = better
	}
	return out
}

// line is the examples' one line about a session (contract/legacy.md §7).
func line(a *insight.Analysis) kit.Optional[string] {
	switch {
	case a == nil:
	case len(a.Issues) > 0:
		return kit.Some(a.Issues[0].Issue)
	case len(a.Timeline) > 0:
		return kit.Some(a.Timeline[0].Title)
	}
	return kit.Optional[string]{Set: true, Null: true}
}

// BetaSession is a session as the retired beta wrote it.
type BetaSession struct {
	DevinID            string               `json:"devin_id"`
	DevinStatus        string               `json:"devin_status" doc:"As status, and completed for a finished one."`
	SessionURL         string               `json:"session_url"`
	UserID             *string              `json:"user_id"`
	OrgID              string               `json:"org_id"`
	CreatedAt          string               `json:"created_at"`
	UpdatedAt          string               `json:"updated_at"`
	ACUsConsumed       float64              `json:"acus_consumed"`
	PRs                []BetaPullRequest    `json:"prs"`
	SessionAnalysis    *SessionAnalysisData `json:"session_analysis"`
	InitialUserMessage *string              `json:"initial_user_message"`
}

// BetaPullRequest is a pull request as the retired beta wrote it.
type BetaPullRequest struct {
	PRURL string  `json:"pr_url"`
	State *string `json:"state"`
}

func (r Rooms) detailOf(in insight.Insights, prompts map[string]string, examples bool) SessionDetailResponse {
	out := SessionDetailResponse{
		SessionResponse: r.sessionOf(in.Session), InitialUserMessage: kit.NullText(prompts[in.Session.ID]), SessionAnalysis: analysisOf(in.Analysis),
	}
	if examples {
		out.ID, out.Insight = &in.Session.ID, line(in.Analysis)
	}
	return out
}

func (r Rooms) betaOf(in insight.Insights, prompts map[string]string) BetaSession {
	s := r.sessionOf(in.Session)
	out := BetaSession{
		DevinID: "devin-" + s.SessionID, DevinStatus: s.Status, SessionURL: s.URL, UserID: s.UserID, OrgID: s.OrgID, CreatedAt: s.CreatedAt,
		UpdatedAt: s.UpdatedAt, ACUsConsumed: s.ACUsConsumed, PRs: make([]BetaPullRequest, len(s.PullRequests)),
		SessionAnalysis: analysisOf(in.Analysis), InitialUserMessage: kit.NullText(prompts[s.SessionID]),
	}
	if st := in.Session.State; st.Status == session.StatusExit || st.Detail == session.Finished {
		out.DevinStatus = "completed"
	}
	for i, p := range s.PullRequests {
		out.PRs[i] = BetaPullRequest{PRURL: p.URL, State: p.State}
	}
	return out
}

// details gives a page of sessions with their analyses, and the first message of each.
func (r Rooms) details(ctx context.Context, who access.Subject, f session.Filter, req page.Request) (page.Page[insight.Insights], map[string]string, error) {
	p, err := r.Insights.List(ctx, who, f, req)
	if err != nil {
		return p, nil, err
	}
	ids := make([]string, len(p.Items))
	for i, in := range p.Items {
		ids[i] = in.Session.ID
	}
	prompts, err := r.Sessions.Prompts(ctx, ids)
	return p, prompts, err
}

func (r Rooms) detail(ctx context.Context, who access.Subject, sessionID string) (insight.Insights, map[string]string, error) {
	in, err := r.Insights.Get(ctx, who, "", id.BareSession(sessionID))
	if err != nil {
		return in, nil, err
	}
	prompts, err := r.Sessions.Prompts(ctx, []string{in.Session.ID})
	return in, prompts, err
}

// SessionDetailList is a page of sessions with their analyses. Sessions are the examples' copies of the items.
type SessionDetailList struct {
	List[SessionDetailResponse]
	Sessions []SessionDetailResponse `json:"sessions,omitempty"`
}

type insightsInput struct {
	SessionFilter
	Offset kit.Optional[int] `query:"offset" minimum:"0" maximum:"1000000000" doc:"The same as skip, which wins when both are sent."`
	Shape
}

type insightsOutput struct{ Body SessionDetailList }

type detailOutput struct{ Body SessionDetailResponse }

type betaListOutput struct{ Body List[BetaSession] }

type betaOutput struct{ Body BetaSession }

func registerSessionDetails(a *kit.API, rooms Rooms) {
	const tag, successor = "sessions", "GET /v3/enterprise/sessions"
	kit.Register(a, op("listSessionInsights", http.MethodGet, prefix+"/sessions/insights", "List sessions with their insights", tag, successor+"/insights"),
		func(ctx context.Context, who access.Subject, in *insightsInput) (*insightsOutput, error) {
			if !kit.Request(ctx).URL.Query().Has("skip") {
				in.Skip = in.Offset.Or(0)
			}
			req, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			f, err := in.filter()
			if err != nil {
				return nil, err
			}
			p, prompts, err := rooms.details(ctx, who, f, req)
			if err != nil {
				return nil, err
			}
			examples := rooms.examples(in.Shape)
			out := &insightsOutput{Body: SessionDetailList{List: listOf(req, p, func(x insight.Insights) SessionDetailResponse {
				return rooms.detailOf(x, prompts, examples)
			})}}
			if examples {
				out.Body.Sessions = out.Body.Items
			}
			return out, nil
		})

	type detailInput struct {
		SessionID string `path:"session_id" maxLength:"300"`
		Shape
	}
	kit.Register(a, op("getSession", http.MethodGet, prefix+"/sessions/{session_id}", "Read a session with its insights", tag, successor+"/{devin_id}"),
		func(ctx context.Context, who access.Subject, in *detailInput) (*detailOutput, error) {
			x, prompts, err := rooms.detail(ctx, who, in.SessionID)
			if err != nil {
				return nil, err
			}
			return &detailOutput{Body: rooms.detailOf(x, prompts, rooms.examples(in.Shape))}, nil
		})

	kit.Register(a, op("listBetaSessions", http.MethodGet, betaPrefix+"/sessions", "List sessions, newest first", tag, successor),
		func(ctx context.Context, who access.Subject, in *Paging) (*betaListOutput, error) {
			req, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			p, prompts, err := rooms.details(ctx, who, session.Filter{}, req)
			if err != nil {
				return nil, err
			}
			return &betaListOutput{Body: listOf(req, p, func(x insight.Insights) BetaSession { return rooms.betaOf(x, prompts) })}, nil
		})

	type betaInput struct {
		DevinID string `path:"devin_id" maxLength:"300"`
	}
	kit.Register(a, op("getBetaSession", http.MethodGet, betaPrefix+"/sessions/{devin_id}", "Read a session", tag, successor+"/{devin_id}"),
		func(ctx context.Context, who access.Subject, in *betaInput) (*betaOutput, error) {
			x, prompts, err := rooms.detail(ctx, who, in.DevinID)
			if err != nil {
				return nil, err
			}
			return &betaOutput{Body: rooms.betaOf(x, prompts)}, nil
		})
}
