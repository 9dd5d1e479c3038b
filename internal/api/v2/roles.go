package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerRoles) }

// RoleResponse is a role. Its type is account for the enterprise's, org for an organization's.
type RoleResponse struct {
	RoleID   string `json:"role_id"`
	RoleName string `json:"role_name"`
	RoleType string `json:"role_type" doc:"account or org."`
}

type rolesOutput struct{ Body []RoleResponse }

func registerRoles(a *kit.API, rooms Rooms) {
	kit.Register(a, op("listRoles", http.MethodGet, prefix+"/roles", "List roles", "roles", "GET /v3/enterprise/roles"),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*rolesOutput, error) {
			roles, err := older.All(func(r page.Request) (page.Page[access.Role], error) { return rooms.Members.Roles(ctx, who, r) })
			if err != nil {
				return nil, err
			}
			out := &rolesOutput{Body: make([]RoleResponse, len(roles))}
			for i, r := range roles {
				typ := "org"
				if r.Scope == access.Enterprise {
					typ = "account"
				}
				out.Body[i] = RoleResponse{RoleID: r.ID, RoleName: r.Name, RoleType: typ}
			}
			return out, nil
		})
}
