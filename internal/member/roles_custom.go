package member

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// CreateRoleParams make a custom role. A role of type org holds organization permissions only; one of type enterprise may hold them
// too, and they count in every organization then, as the built-in Admin's do (contract/behaviour.md §2.3).
type CreateRoleParams struct {
	Name        string
	Type        access.Scope
	Permissions []string
}

// UpdateRoleParams change a custom role; nil leaves a part as it is. A role's type stays: it decides where the role may be given.
type UpdateRoleParams struct {
	RoleID      string
	Name        *string
	Type        *access.Scope
	Permissions *[]string
}

// validate checks what needs no look at the role.
func (p UpdateRoleParams) validate() error {
	if p.Name != nil {
		if err := checkName("role_name", *p.Name); err != nil {
			return err
		}
	}
	if p.Type != nil {
		if err := checkType(*p.Type); err != nil {
			return err
		}
	}
	if p.Permissions == nil {
		return nil
	}
	_, err := permissionsOf(*p.Permissions, access.Enterprise) // any may stand there
	return err
}

// permissionsOf turns names into a set with all that they imply. A name that is unknown or doesn't fit the role's type is named.
func permissionsOf(names []string, typ access.Scope) (access.Set, error) {
	var set access.Set
	for i, name := range names {
		field := fmt.Sprintf("permissions.%d", i)
		p, ok := access.Named(name)
		if !ok {
			return 0, fault.InvalidField(field, "%q is no permission's name", name)
		}
		if typ == access.Org && p.Scope() == access.Enterprise {
			return 0, fault.InvalidField(field, "%s counts for the enterprise; a role of type org holds organization permissions only", name)
		}
		set |= access.SetOf(p)
	}
	return set, nil
}

func checkType(t access.Scope) error {
	if t != access.Enterprise && t != access.Org {
		return fault.InvalidField("role_type", "must be enterprise or org")
	}
	return nil
}

// CreateRole makes a role. Nobody makes one that holds more than they do: an organization's permission must be held in every
// organization, because the role may be given in any.
func (s *Service) CreateRole(ctx context.Context, sub access.Subject, p CreateRoleParams) (access.Role, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return access.Role{}, err
	}
	if err := checkName("role_name", p.Name); err != nil {
		return access.Role{}, err
	}
	if err := checkType(p.Type); err != nil {
		return access.Role{}, err
	}
	set, err := permissionsOf(p.Permissions, p.Type)
	if err != nil {
		return access.Role{}, err
	}
	if err := access.RequireGive(sub, set, ""); err != nil {
		return access.Role{}, err
	}
	r := access.Role{ID: id.New(id.Role), Name: p.Name, Scope: p.Type, Permissions: set}
	at := s.db.Clock().Millis()
	return r, s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := upsertRole(ctx, tx, r, at); err != nil {
			return err
		}
		return recordRoleTx(ctx, tx, sub, at, audit.CreateRole, r, nil)
	})
}

// UpdateRole changes a custom role, and with it everybody who holds it. The caller must hold what the role holds, before and after.
func (s *Service) UpdateRole(ctx context.Context, sub access.Subject, p UpdateRoleParams) (access.Role, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return access.Role{}, err
	}
	if err := p.validate(); err != nil {
		return access.Role{}, err
	}
	var r access.Role
	err := s.withRole(ctx, p.RoleID, func(ctx context.Context, tx *db.Tx, old access.Role, at int64) error {
		r = old
		if p.Name != nil {
			r.Name = *p.Name
		}
		if p.Type != nil && *p.Type != old.Scope {
			return fault.InvalidField("role_type", "is %s and can't change; make another role", old.Scope)
		}
		if p.Permissions != nil {
			set, err := permissionsOf(*p.Permissions, old.Scope)
			if err != nil {
				return err
			}
			r.Permissions = set
		}
		if err := access.RequireGive(sub, r.Permissions|old.Permissions, ""); err != nil {
			return err
		}
		if r == old {
			return nil
		}
		if _, err := upsertRole(ctx, tx, r, at); err != nil {
			return err
		}
		if err := s.endLostTx(ctx, tx, sub, at, keysOfRole(r.ID)); err != nil {
			return err
		}
		if err := s.changedTx(ctx, tx, changeAll, ""); err != nil {
			return err
		}
		return recordRoleTx(ctx, tx, sub, at, audit.UpdateRole, r, &old)
	})
	return r, err
}

// DeleteRole takes a custom role away that nobody holds. The answer to one in use says how many do.
func (s *Service) DeleteRole(ctx context.Context, sub access.Subject, roleID string) (access.Role, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return access.Role{}, err
	}
	var r access.Role
	err := s.withRole(ctx, roleID, func(ctx context.Context, tx *db.Tx, old access.Role, at int64) error {
		r = old
		if err := access.RequireGive(sub, old.Permissions, ""); err != nil {
			return err
		}
		u, err := roleUse(ctx, tx, roleID)
		if err != nil {
			return err
		}
		if u != (use{}) {
			return fault.New(fault.Conflict, "the role is held by %s; take it from them first", u)
		}
		if err := deleteRole(ctx, tx, roleID); err != nil {
			return err
		}
		return recordRoleTx(ctx, tx, sub, at, audit.DeleteRole, old, nil)
	})
	return r, err
}

// withRole runs a change of a custom role, which nobody gives or changes meanwhile.
func (s *Service) withRole(ctx context.Context, roleID string, change func(ctx context.Context, tx *db.Tx, old access.Role, at int64) error) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		old, err := lockRole(ctx, tx, roleID, ` FOR UPDATE`)
		if errors.Is(err, db.ErrNone) {
			return errNoRole
		}
		if err != nil {
			return err
		}
		if old.Builtin {
			return fault.New(fault.Conflict, "%s is a built-in role; it can be neither changed nor deleted", old.ID)
		}
		return change(ctx, tx, old, s.db.Clock().Millis())
	})
}

func recordRoleTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, action audit.Action, r access.Role, old *access.Role) error {
	data := map[string]any{"role_type": r.Scope, "permissions": r.Permissions.Names()}
	withRole(data, r)
	if old != nil {
		data["previous_role_name"], data["previous_permissions"] = old.Name, old.Permissions.Names()
	}
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: action, Data: data})
}

// withRole names a role in an audit entry; roles is the older versions' list (contract/behaviour.md §5.5).
func withRole(data map[string]any, r access.Role) {
	data["role_id"], data["role_name"], data["roles"] = r.ID, r.Name, []string{r.ID}
}

// use says how many hold a role, each counted once however often.
type use struct{ people, serviceUsers, groups int64 }

// String is the use for people: "2 people, 1 group".
func (u use) String() string {
	var parts []string
	for _, p := range []struct {
		n         int64
		one, many string
	}{{u.people, "person", "people"}, {u.serviceUsers, "service user", "service users"}, {u.groups, "group", "groups"}} {
		switch p.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+p.one)
		default:
			parts = append(parts, fmt.Sprint(p.n, " ", p.many))
		}
	}
	return strings.Join(parts, ", ")
}
