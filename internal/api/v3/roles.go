package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerRoles) }

// Role names a role.
type Role struct {
	RoleID   string `json:"role_id"`
	RoleName string `json:"role_name"`
	RoleType string `json:"role_type" enum:"enterprise,org"`
}

// RoleWithPermissions is a role with the names of its permissions, those that others imply included.
type RoleWithPermissions struct {
	Role
	Permissions []string `json:"permissions"`
}

func roleOf(r access.Role) Role {
	return Role{RoleID: r.ID, RoleName: r.Name, RoleType: string(r.Scope)}
}

// readMembers is who may read members and roles (contract/behaviour.md §2.2).
var readMembers = []access.Permission{access.ManageAccountMembership, access.ViewAccountMembership}

func registerRoles(a *kit.API, rooms Rooms) {
	type listOutput struct{ Body kit.Page[Role] }
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "listRoles", Method: http.MethodGet, Path: "/v3/enterprise/roles", Tags: []string{"roles"},
			Summary: "List roles", Description: "Built-in and custom roles of both types.",
		},
		Any: readMembers, Enterprise: true,
	}, func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*listOutput, error) {
		r, err := kit.OpenPage(ctx, in.PageInput)
		if err != nil {
			return nil, err
		}
		p, err := rooms.Members.Roles(ctx, s, r)
		if err != nil {
			return nil, err
		}
		return &listOutput{Body: kit.ClosePage(ctx, p, roleOf)}, nil
	})

	type getInput struct {
		RoleID string `path:"role_id" maxLength:"256"`
	}
	type getOutput struct{ Body RoleWithPermissions }
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "getRole", Method: http.MethodGet, Path: "/v3/enterprise/roles/{role_id}", Tags: []string{"roles"},
			Summary: "Read a role with its permissions",
		},
		Any: readMembers, Enterprise: true,
	}, func(ctx context.Context, s access.Subject, in *getInput) (*getOutput, error) {
		r, err := rooms.Members.Role(ctx, s, in.RoleID)
		if err != nil {
			return nil, err
		}
		return &getOutput{Body: RoleWithPermissions{Role: roleOf(r), Permissions: r.Permissions.Names()}}, nil
	})
}
