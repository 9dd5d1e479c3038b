package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/org"
	"gantry/internal/usage"
)

func init() { registrations = append(registrations, registerACULimits, registerBetaACULimits) }

// ACULimitResponse is one limit of the billing cycle and what it bounds.
type ACULimitResponse struct {
	Scope         string  `json:"scope" enum:"enterprise,org,user"`
	OrgID         *string `json:"org_id"`
	UserID        *string `json:"user_id"`
	CycleACULimit int64   `json:"cycle_acu_limit" doc:"ACUs per billing cycle; 0 blocks."`
}

// UpdateACULimitRequest sets a limit of the billing cycle.
type UpdateACULimitRequest struct {
	CycleACULimit int64 `json:"cycle_acu_limit" minimum:"0" maximum:"1000000000000" doc:"ACUs per billing cycle; 0 blocks."`
}

// CycleACULimit is a limit of the billing cycle.
type CycleACULimit struct {
	CycleACULimit int64 `json:"cycle_acu_limit" minimum:"0" maximum:"1000000000000" doc:"ACUs per billing cycle; 0 blocks."`
}

// CycleACULimitPatch sets a limit of the billing cycle. Null clears it, as null does everywhere in a patch; it must not be read as 0.
type CycleACULimitPatch struct {
	CycleACULimit kit.Optional[int64] `json:"cycle_acu_limit" minimum:"0" maximum:"1000000000000" doc:"ACUs per billing cycle; 0 blocks."`
}

// OrgACUSettings are an organization's limits; unset ones are left out.
type OrgACUSettings struct {
	CloudAgent *CycleACULimit `json:"cloud_agent,omitempty" doc:"What sessions may use: the organization's max_cycle_acu_limit."`
	LocalAgent *CycleACULimit `json:"local_agent,omitempty" doc:"What local agents may use; Gantry runs none."`
}

// OrgACUSettingsPatch changes them: absent keeps, null clears.
type OrgACUSettingsPatch struct {
	CloudAgent kit.Optional[CycleACULimitPatch] `json:"cloud_agent,omitempty"`
	LocalAgent kit.Optional[CycleACULimitPatch] `json:"local_agent,omitempty"`
}

// DefaultUserACUSettings is the limit of everybody who has none of their own; left out when unset.
type DefaultUserACUSettings struct {
	LocalAgent *CycleACULimit `json:"local_agent,omitempty" doc:"Counts for sessions as well."`
}

// DefaultUserACUSettingsPatch changes it: absent keeps, null clears.
type DefaultUserACUSettingsPatch struct {
	LocalAgent kit.Optional[CycleACULimitPatch] `json:"local_agent,omitempty"`
}

// UserACUSettings are what is set for one user; what is unset is left out, and a default isn't shown.
type UserACUSettings struct {
	LocalAgent *UserACULimit `json:"local_agent,omitempty" doc:"Counts for sessions as well."`
}

// UserACULimit is a user's limit and the organization that pays.
type UserACULimit struct {
	CycleACULimit *int64  `json:"cycle_acu_limit,omitempty" doc:"ACUs per billing cycle; 0 blocks."`
	BillingOrgID  *string `json:"billing_org_id,omitempty"`
}

// UserACUSettingsPatch changes them: absent keeps, null clears.
type UserACUSettingsPatch struct {
	LocalAgent kit.Optional[UserACULimitPatch] `json:"local_agent,omitempty"`
}

// UserACULimitPatch changes a user's limit: absent keeps, null clears.
type UserACULimitPatch struct {
	CycleACULimit kit.Optional[int64]  `json:"cycle_acu_limit,omitempty" minimum:"0" maximum:"1000000000000"`
	BillingOrgID  kit.Optional[string] `json:"billing_org_id,omitempty"`
}

// done is the answer without a body.
type done struct{}

func doneAnswer(err error) (*done, error) {
	if err != nil {
		return nil, err
	}
	return &done{}, nil
}

func acuLimitOf(l usage.Limit) ACULimitResponse {
	scopes := map[usage.Level]string{usage.OfEnterprise: "enterprise", usage.OfOrg: "org", usage.OfUser: "user"}
	return ACULimitResponse{
		Scope: scopes[l.Level], OrgID: kit.NullText(l.OrgID), UserID: kit.NullText(l.UserID), CycleACULimit: l.Cycle,
	}
}

// limitOp declares an operation on limits: reads take read, writes ManageBilling and answer 204.
func limitOp(id, method, path, summary string, read ...access.Permission) kit.Op {
	op := kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"consumption"}, Summary: summary, DefaultStatus: http.StatusOK,
		},
		Any: read, Enterprise: true,
	}
	if method != http.MethodGet {
		op.Any, op.Operation.DefaultStatus = []access.Permission{access.ManageBilling}, http.StatusNoContent
	}
	return op
}

func registerACULimits(a *kit.API, rooms Rooms) {
	const path = enterpriseConsumption + "/acu-limits/devin"
	type limitPage struct{ Body kit.Page[ACULimitResponse] }
	list := limitOp("listDevinAcuLimits", http.MethodGet, path, "List the limits that sessions are held against",
		access.ManageBilling, access.ViewAccountConsumption)
	list.Operation.Description = "The enterprise's, then the organizations', then the users' own."
	kit.Register(a, list, func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*limitPage, error) {
		r, err := kit.OpenPage(ctx, in.PageInput)
		if err != nil {
			return nil, err
		}
		p, err := rooms.Usage.Limits(ctx, s, r)
		if err != nil {
			return nil, err
		}
		return &limitPage{Body: kit.ClosePage(ctx, p, acuLimitOf)}, nil
	})
	kit.Register(a, limitOp("setOrgDevinAcuLimit", http.MethodPut, path+"/organizations/{org_id}", "Set an organization's limit"),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			Body UpdateACULimitRequest
		},
		) (*done, error) {
			return doneAnswer(rooms.Orgs.SetCaps(ctx, s, org.CapParams{
				OrgID: in.OrgID, Cloud: org.LimitChange{Set: true, Value: &in.Body.CycleACULimit},
			}))
		})
	kit.Register(a, limitOp("deleteOrgDevinAcuLimit", http.MethodDelete, path+"/organizations/{org_id}", "Remove an organization's limit"),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*done, error) {
			return doneAnswer(rooms.Orgs.SetCaps(ctx, s, org.CapParams{OrgID: in.OrgID, Cloud: org.LimitChange{Set: true}}))
		})
}

// capOf makes a limit of the wire, nil for none.
func capOf(acus *int64) *CycleACULimit {
	if acus == nil {
		return nil
	}
	return &CycleACULimit{CycleACULimit: *acus}
}

func capChange(o kit.Optional[CycleACULimitPatch]) org.LimitChange {
	return org.LimitChange{Set: o.Set, Value: o.Value.CycleACULimit.Ptr()}
}

func registerBetaACULimits(a *kit.API, rooms Rooms) {
	registerOrgACULimits(a, rooms, "/v3beta1/enterprise/organizations/{org_id}/consumption/acu-limits")
	registerDefaultACULimits(a, rooms, "/v3beta1/enterprise/users/consumption/acu-limits")
	registerUserACULimits(a, rooms, "/v3beta1/enterprise/users/{user_id}/consumption/acu-limits")
}

func registerOrgACULimits(a *kit.API, rooms Rooms, path string) {
	type output struct{ Body OrgACUSettings }
	kit.Register(a, limitOp("getOrgAcuLimits", http.MethodGet, path, "Read an organization's limits", access.ViewAccountConsumption),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*output, error) {
			c, err := rooms.Orgs.Caps(ctx, s, in.OrgID)
			if err != nil {
				return nil, err
			}
			return &output{Body: OrgACUSettings{CloudAgent: capOf(c.Cloud), LocalAgent: capOf(c.Local)}}, nil
		})
	kit.Register(a, limitOp("patchOrgAcuLimits", http.MethodPatch, path, "Change an organization's limits"),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			Body OrgACUSettingsPatch
		},
		) (*done, error) {
			return doneAnswer(rooms.Orgs.SetCaps(ctx, s, org.CapParams{
				OrgID: in.OrgID, Cloud: capChange(in.Body.CloudAgent), Local: capChange(in.Body.LocalAgent),
			}))
		})
	kit.Register(a, limitOp("deleteOrgAcuLimits", http.MethodDelete, path, "Clear an organization's limits"),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*done, error) {
			clear := org.LimitChange{Set: true}
			return doneAnswer(rooms.Orgs.SetCaps(ctx, s, org.CapParams{OrgID: in.OrgID, Cloud: clear, Local: clear}))
		})
}

func registerDefaultACULimits(a *kit.API, rooms Rooms, path string) {
	type output struct{ Body DefaultUserACUSettings }
	kit.Register(a, limitOp("getDefaultUserAcuLimits", http.MethodGet, path, "Read the limit of users without one of their own",
		access.ViewAccountConsumption),
		func(ctx context.Context, s access.Subject, _ *struct{}) (*output, error) {
			l, err := rooms.Usage.UserLimits(ctx, s, "")
			if err != nil {
				return nil, err
			}
			return &output{Body: DefaultUserACUSettings{LocalAgent: capOf(l.Cycle)}}, nil
		})
	kit.Register(a, limitOp("patchDefaultUserAcuLimits", http.MethodPatch, path, "Change the limit of users without one of their own"),
		func(ctx context.Context, s access.Subject, in *struct{ Body DefaultUserACUSettingsPatch }) (*done, error) {
			return doneAnswer(rooms.Usage.SetUserLimits(ctx, s, usage.UserLimitParams{Cycle: capChange(in.Body.LocalAgent)}))
		})
	kit.Register(a, limitOp("deleteDefaultUserAcuLimits", http.MethodDelete, path, "Clear the limit of users without one of their own"),
		func(ctx context.Context, s access.Subject, _ *struct{}) (*done, error) {
			return doneAnswer(rooms.Usage.SetUserLimits(ctx, s, usage.UserLimitParams{Cycle: org.LimitChange{Set: true}}))
		})
}

func registerUserACULimits(a *kit.API, rooms Rooms, path string) {
	type output struct{ Body UserACUSettings }
	kit.Register(a, limitOp("getUserAcuLimits", http.MethodGet, path, "Read a user's own limit", access.ViewAccountConsumption),
		func(ctx context.Context, s access.Subject, in *UserInput) (*output, error) {
			l, err := rooms.Usage.UserLimits(ctx, s, plainPath(ctx, in.UserID))
			if err != nil {
				return nil, err
			}
			out := &output{}
			if l.Cycle != nil || l.BillingOrgID != "" {
				out.Body.LocalAgent = &UserACULimit{CycleACULimit: l.Cycle, BillingOrgID: kit.NullText(l.BillingOrgID)}
			}
			return out, nil
		})
	kit.Register(a, limitOp("patchUserAcuLimits", http.MethodPatch, path, "Change a user's own limit"),
		func(ctx context.Context, s access.Subject, in *struct {
			UserInput
			Body UserACUSettingsPatch
		},
		) (*done, error) {
			p := usage.UserLimitParams{UserID: plainPath(ctx, in.UserID)}
			switch l := in.Body.LocalAgent; {
			case l.Null:
				p.Cycle.Set, p.BillingOrg.Set = true, true
			case l.Set:
				p.Cycle = limitChange(l.Value.CycleACULimit)
				p.BillingOrg = usage.TextChange{Set: l.Value.BillingOrgID.Set, Value: l.Value.BillingOrgID.Ptr()}
			}
			return doneAnswer(rooms.Usage.SetUserLimits(ctx, s, p))
		})
	kit.Register(a, limitOp("deleteUserAcuLimits", http.MethodDelete, path, "Clear a user's own limit"),
		func(ctx context.Context, s access.Subject, in *UserInput) (*done, error) {
			p := usage.UserLimitParams{UserID: plainPath(ctx, in.UserID), Cycle: org.LimitChange{Set: true}, BillingOrg: usage.TextChange{Set: true}}
			return doneAnswer(rooms.Usage.SetUserLimits(ctx, s, p))
		})
}
