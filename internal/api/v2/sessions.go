package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/id"
	"gantry/internal/session"
)

func init() { registrations = append(registrations, registerSessions) }

// SessionResponse is a session. Times are ISO 8601.
type SessionResponse struct {
	SessionID    string               `json:"session_id"`
	URL          string               `json:"url"`
	Status       string               `json:"status" enum:"new,claimed,running,exit,error,suspended,resuming"`
	Title        *string              `json:"title"`
	Tags         []string             `json:"tags"`
	OrgID        string               `json:"org_id"`
	UserID       *string              `json:"user_id"`
	CreatedAt    string               `json:"created_at"`
	UpdatedAt    string               `json:"updated_at"`
	ACUsConsumed float64              `json:"acus_consumed"`
	PullRequests []SessionPullRequest `json:"pull_requests"`
}

// SessionPullRequest is a pull request under both published names.
type SessionPullRequest struct {
	URL     string  `json:"url"`
	State   *string `json:"state"`
	PRURL   string  `json:"pr_url"`
	PRState *string `json:"pr_state"`
}

func (r Rooms) sessionOf(s *session.Session) SessionResponse {
	out := SessionResponse{
		SessionID: s.ID, URL: r.Sessions.URL(s.ID), Status: string(s.State.Status), Title: kit.NullText(s.Title), Tags: kit.List(s.Tags),
		OrgID: s.OrgID, UserID: kit.NullText(s.UserID), CreatedAt: older.Time(s.CreatedAt), UpdatedAt: older.Time(s.UpdatedAt),
		ACUsConsumed: s.ACUs(), PullRequests: make([]SessionPullRequest, len(s.PullRequests)),
	}
	for i, p := range s.PullRequests {
		state := kit.NullText(p.State)
		out.PullRequests[i] = SessionPullRequest{URL: p.URL, State: state, PRURL: p.URL, PRState: state}
	}
	return out
}

// SessionFilter is the query of a list of sessions.
type SessionFilter struct {
	Paging
	CreatedFrom string   `query:"created_date_from" maxLength:"64"`
	CreatedTo   string   `query:"created_date_to" maxLength:"64"`
	UpdatedFrom string   `query:"updated_date_from" maxLength:"64"`
	UpdatedTo   string   `query:"updated_date_to" maxLength:"64"`
	OrgIDs      []string `query:"org_ids,explode"`
	UserIDs     []string `query:"user_ids,explode"`
	SessionIDs  []string `query:"session_ids,explode"`
}

// filter gives the room's filter. v2 knows no archive, so it shows what v3 shows by default.
func (in *SessionFilter) filter() (session.Filter, error) {
	f := session.Filter{OrgIDs: in.OrgIDs, UserIDs: in.UserIDs}
	for _, s := range in.SessionIDs {
		f.SessionIDs = append(f.SessionIDs, id.BareSession(s))
	}
	var err error
	if f.CreatedAfter, err = older.Instant("created_date_from", in.CreatedFrom); err != nil {
		return f, err
	}
	if f.CreatedBefore, err = older.Instant("created_date_to", in.CreatedTo); err != nil {
		return f, err
	}
	if f.UpdatedAfter, err = older.Instant("updated_date_from", in.UpdatedFrom); err != nil {
		return f, err
	}
	f.UpdatedBefore, err = older.Instant("updated_date_to", in.UpdatedTo)
	return f, err
}

type sessionListOutput struct{ Body List[SessionResponse] }

func registerSessions(a *kit.API, rooms Rooms) {
	kit.Register(a, op("listSessions", http.MethodGet, prefix+"/sessions", "List sessions, newest first", "sessions", "GET /v3/enterprise/sessions"),
		func(ctx context.Context, who access.Subject, in *SessionFilter) (*sessionListOutput, error) {
			r, err := in.request(ctx)
			if err != nil {
				return nil, err
			}
			f, err := in.filter()
			if err != nil {
				return nil, err
			}
			p, err := rooms.Sessions.List(ctx, who, f, r)
			if err != nil {
				return nil, err
			}
			return &sessionListOutput{Body: listOf(r, p, rooms.sessionOf)}, nil
		})
}
