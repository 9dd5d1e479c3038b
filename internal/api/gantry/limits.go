package gantry

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerLimits) }

// LimitAcknowledged answers that a session may go on.
type LimitAcknowledged struct {
	SessionID    string  `json:"session_id"`
	ACUsConsumed float64 `json:"acus_consumed" doc:"What the session has used; the limit counts from here."`
}

type acknowledgedOutput struct{ Body LimitAcknowledged }

func registerLimits(a *kit.API, rooms Rooms) {
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "acknowledgeSessionLimit", Method: http.MethodPost, Tags: []string{"sessions"}, DefaultStatus: http.StatusOK,
			Path:        "/gantry/v1/organizations/{org_id}/sessions/{devin_id}/acknowledge-limit",
			Summary:     "Let a session that reached the enterprise's limit for one session go on for as much again",
			Description: "The next message wakes it. 409 while the limit isn't reached.",
		},
		Any: []access.Permission{access.ManageOrgSessions},
	}, func(ctx context.Context, s access.Subject, in *SessionPath) (*acknowledgedOutput, error) {
		done, err := rooms.Sessions.Acknowledge(ctx, s, kit.Org(ctx), in.id())
		if err != nil {
			return nil, err
		}
		return &acknowledgedOutput{Body: LimitAcknowledged{SessionID: done.ID, ACUsConsumed: done.ACUs()}}, nil
	})
}
