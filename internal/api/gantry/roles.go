package gantry

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
)

func init() { registrations = append(registrations, registerRoles) }

// PermissionName is a permission of the catalogue, by name.
type PermissionName string

// Schema lists every name.
func (PermissionName) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "A permission's name."}
	for _, e := range access.Catalogue() {
		s.Enum = append(s.Enum, e.Name)
	}
	s.PrecomputeMessages()
	return s
}

// CustomRole is a role with the names of its permissions, those that others imply included. Built-in ones can't be changed.
type CustomRole struct {
	RoleID      string           `json:"role_id"`
	RoleName    string           `json:"role_name"`
	RoleType    string           `json:"role_type" enum:"enterprise,org"`
	Permissions []PermissionName `json:"permissions" nullable:"false"`
	IsBuiltin   bool             `json:"is_builtin"`
}

func customRoleOf(r access.Role) CustomRole {
	out := CustomRole{RoleID: r.ID, RoleName: r.Name, RoleType: string(r.Scope), IsBuiltin: r.Builtin, Permissions: []PermissionName{}}
	for _, n := range r.Permissions.Names() {
		out.Permissions = append(out.Permissions, PermissionName(n))
	}
	return out
}

// CustomRoleCreate makes a role.
type CustomRoleCreate struct {
	RoleName    string           `json:"role_name" minLength:"1" maxLength:"256"`
	RoleType    string           `json:"role_type" enum:"enterprise,org" doc:"Where the role may be given. One of type org holds organization permissions only; those that one of type enterprise holds count in every organization."`
	Permissions []PermissionName `json:"permissions" maxItems:"256" nullable:"false" doc:"What they imply comes with them."`
}

// CustomRoleChange changes a role. What is left out stays.
type CustomRoleChange struct {
	RoleName    kit.Optional[string]           `json:"role_name,omitempty" minLength:"1" maxLength:"256"`
	RoleType    kit.Optional[string]           `json:"role_type,omitempty" enum:"enterprise,org" doc:"May be given, but not changed."`
	Permissions kit.Optional[[]PermissionName] `json:"permissions,omitempty" maxItems:"256" doc:"The whole new set."`
}

// params refuses null: no part of a role can be cleared.
func (c CustomRoleChange) params(roleID string) (member.UpdateRoleParams, error) {
	p := member.UpdateRoleParams{RoleID: roleID, Name: c.RoleName.Ptr()}
	switch {
	case c.RoleName.Null:
		return p, fault.InvalidField("role_name", "must not be null")
	case c.RoleType.Null:
		return p, fault.InvalidField("role_type", "must not be null")
	case c.Permissions.Null:
		return p, fault.InvalidField("permissions", "must not be null")
	}
	if c.RoleType.Has() {
		p.Type = new(access.Scope(c.RoleType.Value))
	}
	if c.Permissions.Has() {
		p.Permissions = new(namesOf(c.Permissions.Value))
	}
	return p, nil
}

type roleOutput struct{ Body CustomRole }

func roleOutputOf(r access.Role, err error) (*roleOutput, error) {
	if err != nil {
		return nil, err
	}
	return &roleOutput{Body: customRoleOf(r)}, nil
}

func namesOf(ps []PermissionName) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = string(p)
	}
	return out
}

// RolePath names a role.
type RolePath struct {
	RoleID string `path:"role_id" maxLength:"256"`
}

func registerRoles(a *kit.API, rooms Rooms) {
	op := func(id, method, path, summary, description string, any ...access.Permission) kit.Op {
		return kit.Op{
			Operation: huma.Operation{
				OperationID: id, Method: method, Path: "/gantry/v1/roles" + path, Tags: []string{"roles"}, Summary: summary,
				Description: description, DefaultStatus: http.StatusOK,
			},
			Any: any, Enterprise: true,
		}
	}
	const beyond = " Nobody makes or changes a role beyond their own permissions (403)."
	type listOutput struct{ Body kit.Page[CustomRole] }
	kit.Register(a, op("listCustomRoles", http.MethodGet, "", "List roles with their permissions", "Built-in and custom roles of both types.",
		access.ManageAccountMembership, access.ViewAccountMembership),
		func(ctx context.Context, s access.Subject, in *kit.PageInput) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, *in)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Members.Roles(ctx, s, r)
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, p, customRoleOf)}, nil
		})
	create := op("createCustomRole", http.MethodPost, "", "Make a role", "Names need not be unique."+beyond, access.ManageAccountMembership)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body CustomRoleCreate }) (*roleOutput, error) {
		return roleOutputOf(rooms.Members.CreateRole(ctx, s, member.CreateRoleParams{
			Name: in.Body.RoleName, Type: access.Scope(in.Body.RoleType), Permissions: namesOf(in.Body.Permissions),
		}))
	})
	kit.Register(a, op("getCustomRole", http.MethodGet, "/{role_id}", "Read a role with its permissions", "",
		access.ManageAccountMembership, access.ViewAccountMembership),
		func(ctx context.Context, s access.Subject, in *RolePath) (*roleOutput, error) {
			return roleOutputOf(rooms.Members.Role(ctx, s, in.RoleID))
		})
	registerRoleChanges(a, rooms, op)
}

func registerRoleChanges(a *kit.API, rooms Rooms, op func(id, method, path, summary, description string, any ...access.Permission) kit.Op) {
	type changeInput struct {
		RolePath
		Body CustomRoleChange
	}
	kit.Register(a, op("updateCustomRole", http.MethodPatch, "/{role_id}", "Change a role",
		"It counts for everybody who holds the role, everywhere within two seconds. A built-in role can't be changed (409). Nobody changes a role "+
			"that holds more than they do, before or after (403).", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *changeInput) (*roleOutput, error) {
			p, err := in.Body.params(in.RoleID)
			if err != nil {
				return nil, err
			}
			return roleOutputOf(rooms.Members.UpdateRole(ctx, s, p))
		})
	kit.Register(a, op("deleteCustomRole", http.MethodDelete, "/{role_id}", "Delete a role",
		"A built-in role and one that somebody holds can't be deleted (409).", access.ManageAccountMembership),
		func(ctx context.Context, s access.Subject, in *RolePath) (*roleOutput, error) {
			return roleOutputOf(rooms.Members.DeleteRole(ctx, s, in.RoleID))
		})
}
