package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/org"
)

func init() { registrations = append(registrations, registerOrgGroups) }

// OrgGroupsConfig is every group of organizations, by name.
type OrgGroupsConfig struct {
	Groups map[string]OrgGroupConfig `json:"groups"`
}

// OrgGroupConfig is one group and the limit that its organizations share in a billing cycle.
type OrgGroupConfig struct {
	OrgIDs       []string `json:"org_ids" uniqueItems:"true" doc:"An organization may be in one group only."`
	MaxCycleACUs *int64   `json:"max_cycle_acus" required:"false" minimum:"0" maximum:"1000000000000" doc:"Whole ACUs; 0 blocks, null for no limit."`
}

type orgGroupsOutput struct{ Body OrgGroupsConfig }

func orgGroupsAnswer(groups map[string]org.Group, err error) (*orgGroupsOutput, error) {
	if err != nil {
		return nil, err
	}
	out := OrgGroupsConfig{Groups: make(map[string]OrgGroupConfig, len(groups))}
	for name, g := range groups {
		out.Groups[name] = OrgGroupConfig{OrgIDs: kit.List(g.OrgIDs), MaxCycleACUs: g.MaxCycleACUs}
	}
	return &orgGroupsOutput{Body: out}, nil
}

func registerOrgGroups(a *kit.API, rooms Rooms) {
	op := func(id, method, summary, description string) kit.Op {
		return kit.Op{
			Operation: huma.Operation{
				OperationID: id, Method: method, Path: "/v3/enterprise/org-group-limits", Tags: []string{"organization groups"},
				Summary: summary, Description: description, DefaultStatus: http.StatusOK,
			},
			Any: []access.Permission{access.ManageOrganizations}, Enterprise: true,
		}
	}
	kit.Register(a, op("getOrgGroupLimits", http.MethodGet, "Read the groups of organizations and their limits", ""),
		func(ctx context.Context, s access.Subject, _ *struct{}) (*orgGroupsOutput, error) {
			return orgGroupsAnswer(rooms.Orgs.Groups(ctx, s))
		})
	kit.Register(a, op("replaceOrgGroupLimits", http.MethodPut, "Replace the groups of organizations and their limits",
		"Groups that aren't in the body go."),
		func(ctx context.Context, s access.Subject, in *struct{ Body OrgGroupsConfig }) (*orgGroupsOutput, error) {
			groups := map[string]org.Group{}
			for name, g := range in.Body.Groups {
				groups[name] = org.Group{OrgIDs: g.OrgIDs, MaxCycleACUs: g.MaxCycleACUs}
			}
			return orgGroupsAnswer(rooms.Orgs.ReplaceGroups(ctx, s, groups))
		})
}
