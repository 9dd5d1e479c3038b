package v3

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/insight"
	"gantry/internal/kit"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerInsights) }

// SessionInsightsResponse is a session with counts and its analysis.
type SessionInsightsResponse struct {
	SessionResponse
	NumUserMessages  int64                    `json:"num_user_messages"`
	NumDevinMessages int64                    `json:"num_devin_messages"`
	SessionSize      string                   `json:"session_size" enum:"xs,s,m,l,xl" doc:"From ACUs and user messages, the larger of both classes."`
	Analysis         *SessionInsightsAnalysis `json:"analysis" doc:"Null until generated. While another one runs, and when that failed, it is the earlier one."`
	AnalysisState    string                   `json:"analysis_state" enum:"none,running,done,failed" doc:"How far the latest analysis is. Gantry's own."`
}

// SessionInsightsAnalysis is what was found.
type SessionInsightsAnalysis struct {
	_ struct{} `nullable:"true"`

	ActionItems     []SessionInsightsActionItem     `json:"action_items"`
	Classification  *SessionInsightsClassification  `json:"classification"`
	Issues          []SessionInsightsIssue          `json:"issues"`
	NoteUsage       *SessionInsightsNoteUsage       `json:"note_usage" doc:"Null when the session was given no notes."`
	SuggestedPrompt *SessionInsightsSuggestedPrompt `json:"suggested_prompt" doc:"Null when nothing shows that the prompt lacked anything."`
	Timeline        []SessionInsightsTimelineItem   `json:"timeline"`
	MadeBy          string                          `json:"made_by" enum:"model,rules" doc:"Who made it: the model that the operator named, or rules. Gantry's own."`
	FallbackReason  *string                         `json:"fallback_reason" doc:"Why rules made it although a model is named. Gantry's own."`
}

// SessionInsightsActionItem is a suggested follow-up.
type SessionInsightsActionItem struct {
	ActionItem string  `json:"action_item"`
	IssueID    *string `json:"issue_id"`
	Type       string  `json:"type" enum:"machine_setup,repo_config,knowledge,prompt_improvement,other"`
}

// SessionInsightsClassification is the detected kind of work.
type SessionInsightsClassification struct {
	_ struct{} `nullable:"true"`

	Category             string   `json:"category"`
	Confidence           float64  `json:"confidence" doc:"From 0 to 1."`
	ProgrammingLanguages []string `json:"programming_languages"`
	ToolsAndFrameworks   []string `json:"tools_and_frameworks"`
}

// SessionInsightsIssue is a problem seen in the session.
type SessionInsightsIssue struct {
	ID     string `json:"id"`
	Issue  string `json:"issue"`
	Impact string `json:"impact"`
	Label  string `json:"label"`
}

// SessionInsightsNoteUsage are good and bad uses of notes.
type SessionInsightsNoteUsage struct {
	_ struct{} `nullable:"true"`

	GoodUsages []SessionInsightsNoteUsageItem `json:"good_usages"`
	BadUsages  []SessionInsightsNoteUsageItem `json:"bad_usages"`
}

// SessionInsightsNoteUsageItem is how a note was used.
type SessionInsightsNoteUsageItem struct {
	NoteID  string `json:"note_id"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
}

// SessionInsightsSuggestedPrompt is a proposal for a better prompt.
type SessionInsightsSuggestedPrompt struct {
	_ struct{} `nullable:"true"`

	OriginalPrompt  string                        `json:"original_prompt"`
	SuggestedPrompt string                        `json:"suggested_prompt"`
	FeedbackItems   []SessionInsightsFeedbackItem `json:"feedback_items"`
}

// SessionInsightsFeedbackItem is one thing about the prompt.
type SessionInsightsFeedbackItem struct {
	Summary string  `json:"summary"`
	Details string  `json:"details"`
	Excerpt string  `json:"excerpt"`
	IssueID *string `json:"issue_id"`
}

// SessionInsightsTimelineItem is one thing that happened.
type SessionInsightsTimelineItem struct {
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Color       string  `json:"color" enum:"green,blue,yellow,red,gray"`
	IssueID     *string `json:"issue_id"`
}

// SessionInsightsGenerateResponse says whether an analysis was started.
type SessionInsightsGenerateResponse struct {
	SessionID string `json:"session_id"`
	Status    string `json:"status" enum:"started,already_exists" doc:"already_exists also while one is being made."`
}

type (
	insightsOutput     struct{ Body SessionInsightsResponse }
	insightsPageOutput struct {
		Body kit.Page[SessionInsightsResponse]
	}
	insightsGenerateOutput struct {
		Body SessionInsightsGenerateResponse
	}
)

// insightDoor is the door of insights of both families of routes.
type insightDoor struct {
	sessions sessionDoor
	i        *insight.Service
}

func registerInsights(a *kit.API, rooms Rooms) {
	d := insightDoor{sessionDoor{rooms.Sessions}, rooms.Insights}
	for _, f := range families {
		d.register(a, f)
	}
}

func (d insightDoor) register(a *kit.API, f sessionRoutes) {
	list := f.op("listSessionInsights", http.MethodGet, "/insights", "List sessions with their insights, newest first", f.view)
	if f.enterprise {
		kit.Register(a, list, func(ctx context.Context, s access.Subject, in *struct {
			SessionFilter
			OrgIDs             []string `query:"org_ids,explode"`
			IncludeDeletedOrgs bool     `query:"include_deleted_orgs"`
		},
		) (*insightsPageOutput, error) {
			filter := in.filter("")
			filter.OrgIDs, filter.IncludeDeletedOrgs = in.OrgIDs, in.IncludeDeletedOrgs
			return d.list(ctx, s, &in.SessionFilter, filter)
		})
	} else {
		kit.Register(a, list, func(ctx context.Context, s access.Subject, in *SessionFilter) (*insightsPageOutput, error) {
			return d.list(ctx, s, in, in.filter(kit.Org(ctx)))
		})
	}
	kit.Register(a, f.op("getSessionInsights", http.MethodGet, "/{devin_id}/insights", "Read a session's insights", f.view),
		func(ctx context.Context, s access.Subject, in *SessionPath) (*insightsOutput, error) {
			found, err := d.i.Get(ctx, s, kit.Org(ctx), in.id())
			if err != nil {
				return nil, err
			}
			return &insightsOutput{Body: d.wire(found)}, nil
		})
	generate := f.op("generateSessionInsights", http.MethodPost, "/{devin_id}/insights/generate", "Analyse a session in the background", f.manage)
	generate.Operation.Description = "Poll the insights for analysis_state. A session whose conversation went on since its analysis, or whose " +
		"analysis failed, is analysed anew. 409 before the agent has said anything."
	kit.Register(a, generate, func(ctx context.Context, s access.Subject, in *SessionPath) (*insightsGenerateOutput, error) {
		started, err := d.i.Generate(ctx, s, kit.Org(ctx), in.id())
		if err != nil {
			return nil, err
		}
		out := SessionInsightsGenerateResponse{SessionID: in.id(), Status: "already_exists"}
		if started {
			out.Status = "started"
		}
		return &insightsGenerateOutput{Body: out}, nil
	})
}

func (d insightDoor) list(ctx context.Context, s access.Subject, in *SessionFilter, f session.Filter) (*insightsPageOutput, error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	p, err := d.i.List(ctx, s, f, r)
	if err != nil {
		return nil, err
	}
	return &insightsPageOutput{Body: kit.ClosePage(ctx, p, d.wire)}, nil
}

func (d insightDoor) wire(i insight.Insights) SessionInsightsResponse {
	out := SessionInsightsResponse{
		SessionResponse: d.sessions.wire(i.Session), NumUserMessages: i.Session.UserMessages, NumDevinMessages: i.Session.DevinMessages,
		SessionSize: i.Session.Size, AnalysisState: string(i.State),
	}
	if i.Analysis != nil {
		out.Analysis = wireAnalysis(i.Analysis)
	}
	return out
}

func wireAnalysis(a *insight.Analysis) *SessionInsightsAnalysis {
	out := &SessionInsightsAnalysis{
		ActionItems: make([]SessionInsightsActionItem, len(a.ActionItems)), Issues: make([]SessionInsightsIssue, len(a.Issues)),
		Timeline: make([]SessionInsightsTimelineItem, len(a.Timeline)), MadeBy: a.MadeBy, FallbackReason: kit.NullText(a.Fallback),
	}
	for i, x := range a.ActionItems {
		out.ActionItems[i] = SessionInsightsActionItem{ActionItem: x.Text, Type: x.Type, IssueID: kit.NullText(x.IssueID)}
	}
	for i, x := range a.Issues {
		out.Issues[i] = SessionInsightsIssue(x)
	}
	for i, x := range a.Timeline {
		out.Timeline[i] = SessionInsightsTimelineItem{Title: x.Title, Description: x.Description, Color: x.Color, IssueID: kit.NullText(x.IssueID)}
	}
	if c := a.Classification; c != nil {
		out.Classification = &SessionInsightsClassification{
			Category: c.Category, Confidence: c.Confidence, ProgrammingLanguages: kit.List(c.Languages), ToolsAndFrameworks: kit.List(c.Tools),
		}
	}
	if n := a.NoteUsage; n != nil {
		out.NoteUsage = &SessionInsightsNoteUsage{GoodUsages: wireNoteUses(n.Good), BadUsages: wireNoteUses(n.Bad)}
	}
	if p := a.SuggestedPrompt; p != nil {
		items := make([]SessionInsightsFeedbackItem, len(p.Feedback))
		for i, x := range p.Feedback {
			items[i] = SessionInsightsFeedbackItem{
				Summary: x.Summary, Details: x.Details, Excerpt: x.Excerpt, IssueID: kit.NullText(x.IssueID),
			}
		}
		out.SuggestedPrompt = &SessionInsightsSuggestedPrompt{
			OriginalPrompt: p.Original, SuggestedPrompt: p.Suggested, FeedbackItems: items,
		}
	}
	return out
}

func wireNoteUses(uses []insight.NoteUse) []SessionInsightsNoteUsageItem {
	out := make([]SessionInsightsNoteUsageItem, len(uses))
	for i, u := range uses {
		out[i] = SessionInsightsNoteUsageItem(u)
	}
	return out
}
