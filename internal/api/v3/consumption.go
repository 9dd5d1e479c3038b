package v3

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/id"
	"gantry/internal/usage"
)

func init() { registrations = append(registrations, registerConsumption) }

// ConsumptionResponse is what was used, in all and by day. Days without use aren't listed.
type ConsumptionResponse struct {
	TotalACUs         float64             `json:"total_acus"`
	ConsumptionByDate []ConsumptionByDate `json:"consumption_by_date" doc:"Oldest first."`
}

// ConsumptionByDate is one day's use.
type ConsumptionByDate struct {
	Date          int64         `json:"date" doc:"Start of the day, Unix time in seconds: 08:00 UTC unless the server says otherwise."`
	ACUs          float64       `json:"acus"`
	ACUsByProduct ACUsByProduct `json:"acus_by_product"`
}

// ACUsByProduct is what each product used, 0 without use.
type ACUsByProduct struct {
	Devin    float64 `json:"devin"`
	Cascade  float64 `json:"cascade"`
	Terminal float64 `json:"terminal"`
	Review   float64 `json:"review"`
}

// ConsumptionCycle is a billing cycle: from after up to, but not including, before. Unix seconds.
type ConsumptionCycle struct {
	After  int64 `json:"after" doc:"Start of the cycle, Unix time in seconds (UTC)."`
	Before int64 `json:"before" doc:"End of the cycle (exclusive), Unix time in seconds (UTC)."`
}

// DaySpan is the query of what is answered by day.
type DaySpan struct {
	TimeAfter  kit.Optional[int64] `query:"time_after" minimum:"0" maximum:"253402300799" doc:"Days that begin at this Unix time in seconds or later."`
	TimeBefore kit.Optional[int64] `query:"time_before" minimum:"0" maximum:"253402300799" doc:"Days that begin before this Unix time in seconds."`
}

type consumptionOutput struct{ Body ConsumptionResponse }

// acus turns millionths into ACUs, unrounded (contract/behaviour.md §19.14).
func acus(micros int64) float64 { return float64(micros) / usage.Micros }

func consumptionOf(days []usage.Day) ConsumptionResponse {
	out := ConsumptionResponse{ConsumptionByDate: make([]ConsumptionByDate, len(days))}
	var total int64
	for i, d := range days {
		total += d.Total()
		out.ConsumptionByDate[i] = ConsumptionByDate{Date: d.Start.Unix(), ACUs: acus(d.Total()), ACUsByProduct: ACUsByProduct{
			Devin: acus(d.Of(usage.ProductDevin)), Cascade: acus(d.Of(usage.ProductCascade)),
			Terminal: acus(d.Of(usage.ProductTerminal)), Review: acus(d.Of(usage.ProductReview)),
		}}
	}
	out.TotalACUs = acus(total)
	return out
}

// plainPath gives a path parameter as the client meant it: one with an escaped slash reaches the handler still escaped.
func plainPath(ctx context.Context, value string) string {
	if kit.Request(ctx).URL.RawPath == "" {
		return value
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

// consumptionDoor answers each breakdown for the enterprise and for an organization.
type consumptionDoor struct{ u *usage.Service }

func (d consumptionDoor) answer(ctx context.Context, s access.Subject, span DaySpan, p usage.DailyParams) (*consumptionOutput, error) {
	for _, bound := range []struct {
		from kit.Optional[int64]
		into *time.Time
	}{{span.TimeAfter, &p.After}, {span.TimeBefore, &p.Before}} {
		if bound.from.Has() {
			*bound.into = time.Unix(bound.from.Value, 0)
		}
	}
	days, err := d.u.Daily(ctx, s, p)
	if err != nil {
		return nil, err
	}
	return &consumptionOutput{Body: consumptionOf(days)}, nil
}

const (
	enterpriseConsumption = "/v3/enterprise/consumption"
	orgConsumption        = "/v3/organizations/{org_id}/consumption"
)

func consumptionOp(id, path, summary string) kit.Op {
	return kit.Op{Operation: huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"consumption"}, Summary: summary, DefaultStatus: http.StatusOK,
		Description: "By day, oldest first. A day begins at 08:00 UTC unless the server says otherwise.",
	}}
}

// UserSpan, ServiceUserSpan and SessionSpan are the inputs of the breakdowns.
type (
	UserSpan struct {
		UserInput
		DaySpan
	}
	ServiceUserSpan struct {
		ServiceUserID string `path:"service_user_id" maxLength:"256"`
		DaySpan
	}
	SessionSpan struct {
		SessionID string `path:"session_id" maxLength:"300" doc:"With or without devin- in front."`
		DaySpan
	}
	OrgSpan struct {
		OrgInput
		DaySpan
	}
)

func (d consumptionDoor) org(ctx context.Context, s access.Subject, orgID string, span DaySpan) (*consumptionOutput, error) {
	return d.answer(ctx, s, span, usage.DailyParams{OrgID: orgID, Scope: usage.Organization, ID: kit.Org(ctx)})
}

func (d consumptionDoor) user(ctx context.Context, s access.Subject, orgID string, in UserSpan) (*consumptionOutput, error) {
	return d.answer(ctx, s, in.DaySpan, usage.DailyParams{OrgID: orgID, Scope: usage.User, ID: plainPath(ctx, in.UserID)})
}

func (d consumptionDoor) serviceUser(ctx context.Context, s access.Subject, orgID string, in ServiceUserSpan) (*consumptionOutput, error) {
	return d.answer(ctx, s, in.DaySpan, usage.DailyParams{OrgID: orgID, Scope: usage.ServiceUser, ID: in.ServiceUserID})
}

func (d consumptionDoor) session(ctx context.Context, s access.Subject, orgID string, in SessionSpan) (*consumptionOutput, error) {
	return d.answer(ctx, s, in.DaySpan, usage.DailyParams{OrgID: orgID, Scope: usage.Session, ID: id.BareSession(in.SessionID)})
}

func registerConsumption(a *kit.API, rooms Rooms) {
	d := consumptionDoor{rooms.Usage}
	d.enterprise(a, func(id, path, summary string) kit.Op {
		op := consumptionOp(id, enterpriseConsumption+path, summary)
		op.Any, op.Enterprise, op.OfDeleted = []access.Permission{access.ManageBilling, access.ViewAccountConsumption}, true, true
		return op
	})
	d.inOrg(a, func(id, path, summary string) kit.Op {
		op := consumptionOp(id, orgConsumption+path, summary)
		op.Any = []access.Permission{access.ViewOrgConsumption, access.ManageBilling}
		return op
	})
}

func (d consumptionDoor) enterprise(a *kit.API, op func(id, path, summary string) kit.Op) {
	type cyclePage struct{ Body kit.Page[ConsumptionCycle] }
	cycles := op("listConsumptionCycles", "/cycles", "List billing cycles")
	cycles.Operation.Description = "Newest first, back to the first in which anything was used. Calendar months that begin with their first day."
	kit.Register(a, cycles, func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*cyclePage, error) {
		r, err := kit.OpenPage(ctx, in.PageInput)
		if err != nil {
			return nil, err
		}
		p, err := d.u.Cycles(ctx, s, r)
		if err != nil {
			return nil, err
		}
		return &cyclePage{Body: kit.ClosePage(ctx, p, func(c usage.Span) ConsumptionCycle {
			return ConsumptionCycle{After: c.After.Unix(), Before: c.Before.Unix()}
		})}, nil
	})
	kit.Register(a, op("getEnterpriseDailyConsumption", "/daily", "Daily ACUs of the enterprise"),
		func(ctx context.Context, s access.Subject, in *DaySpan) (*consumptionOutput, error) {
			return d.answer(ctx, s, *in, usage.DailyParams{})
		})
	kit.Register(a, op("getOrgDailyConsumptionByEnterprise", "/daily/organizations/{org_id}", "Daily ACUs of an organization"),
		func(ctx context.Context, s access.Subject, in *OrgSpan) (*consumptionOutput, error) {
			return d.org(ctx, s, "", in.DaySpan)
		})
	kit.Register(a, op("getUserDailyConsumptionByEnterprise", "/daily/users/{user_id}", "Daily ACUs of a user"),
		func(ctx context.Context, s access.Subject, in *UserSpan) (*consumptionOutput, error) {
			return d.user(ctx, s, "", *in)
		})
	kit.Register(a, op("getServiceUserDailyConsumptionByEnterprise", "/daily/service-users/{service_user_id}", "Daily ACUs of a service user"),
		func(ctx context.Context, s access.Subject, in *ServiceUserSpan) (*consumptionOutput, error) {
			return d.serviceUser(ctx, s, "", *in)
		})
	kit.Register(a, op("getSessionDailyConsumptionByEnterprise", "/daily/sessions/{session_id}", "Daily ACUs of a session"),
		func(ctx context.Context, s access.Subject, in *SessionSpan) (*consumptionOutput, error) {
			return d.session(ctx, s, "", *in)
		})
}

func (d consumptionDoor) inOrg(a *kit.API, op func(id, path, summary string) kit.Op) {
	kit.Register(a, op("getOrgDailyConsumption", "/daily", "Daily ACUs of the organization"),
		func(ctx context.Context, s access.Subject, in *OrgSpan) (*consumptionOutput, error) {
			return d.org(ctx, s, kit.Org(ctx), in.DaySpan)
		})
	kit.Register(a, op("getUserDailyConsumption", "/daily/users/{user_id}", "Daily ACUs of a user in the organization"),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			UserSpan
		},
		) (*consumptionOutput, error) {
			return d.user(ctx, s, kit.Org(ctx), in.UserSpan)
		})
	kit.Register(a, op("getServiceUserDailyConsumption", "/daily/service-users/{service_user_id}", "Daily ACUs of a service user in the organization"),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			ServiceUserSpan
		},
		) (*consumptionOutput, error) {
			return d.serviceUser(ctx, s, kit.Org(ctx), in.ServiceUserSpan)
		})
	kit.Register(a, op("getSessionDailyConsumption", "/daily/sessions/{session_id}", "Daily ACUs of a session of the organization"),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			SessionSpan
		},
		) (*consumptionOutput, error) {
			return d.session(ctx, s, kit.Org(ctx), in.SessionSpan)
		})
}
