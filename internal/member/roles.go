package member

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Roles gives one page of roles, built-in and custom.
func (s *Service) Roles(ctx context.Context, sub access.Subject, r page.Request) (page.Page[access.Role], error) {
	if err := readMembers(sub); err != nil {
		return page.Page[access.Role]{}, err
	}
	rows, err := listRoles(ctx, s.db.Reader(), r)
	if err != nil {
		return page.Page[access.Role]{}, err
	}
	return page.Cut(rows, r, func(x access.Role) page.Position { return page.Position{x.ID} }), nil
}

// Role reads one role with its permissions (contract/behaviour.md §19.9).
func (s *Service) Role(ctx context.Context, sub access.Subject, roleID string) (access.Role, error) {
	if err := readMembers(sub); err != nil {
		return access.Role{}, err
	}
	role, err := readRole(ctx, s.db.Reader(), roleID)
	if errors.Is(err, db.ErrNone) {
		return role, errNoRole
	}
	return role, err
}

// AssignRole gives a role to a service user that has none there; one that has answers 409 (contract/behaviour.md §2.5).
func (s *Service) AssignRole(ctx context.Context, sub access.Subject, p RoleParams) (ServiceUser, error) {
	return s.changeRole(ctx, sub, p, func(ctx context.Context, tx *db.Tx, at int64) error {
		err := insertAssignment(ctx, tx, p.ServiceUserID, kindServiceUser, p.OrgID, p.RoleID, at)
		if errors.Is(err, db.ErrUnique) {
			return fault.Wrap(err, fault.Conflict, "the service user has a role there already; change it instead")
		}
		return err
	})
}

// ChangeRole replaces the role that a service user has there; without one it answers 404.
func (s *Service) ChangeRole(ctx context.Context, sub access.Subject, p RoleParams) (ServiceUser, error) {
	return s.changeRole(ctx, sub, p, func(ctx context.Context, tx *db.Tx, _ int64) error {
		n, err := updateAssignment(ctx, tx, p.ServiceUserID, p.OrgID, p.RoleID)
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "the service user has no role there")
		}
		return err
	})
}

func (s *Service) changeRole(ctx context.Context, sub access.Subject, p RoleParams, write func(context.Context, *db.Tx, int64) error) (ServiceUser, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return ServiceUser{}, err
	}
	if p.RoleID == "" {
		return ServiceUser{}, fault.InvalidField("role_id", "must not be empty")
	}
	scope := access.Enterprise
	if p.OrgID != "" {
		scope = access.Org
	}
	return s.withRoles(ctx, p, func(ctx context.Context, tx *db.Tx, u ServiceUser, at int64) error {
		role, err := s.giveableTx(ctx, tx, sub, p.RoleID, scope, p.OrgID)
		if err != nil {
			return err
		}
		if u.OrgID != p.OrgID && u.OrgID != "" {
			return fault.New(fault.Conflict, "the service user belongs to one organization and takes no role elsewhere")
		}
		if err := write(ctx, tx, at); err != nil {
			return err
		}
		data := map[string]any{"target_service_user_id": u.ID, "target_service_user_name": u.Name}
		withRole(data, role)
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.AssignServiceUserRole, OrgID: p.OrgID, Data: data})
	})
}

// RemoveRole takes the role that a service user has in an organization. The enterprise role goes only with the service user:
// Delete.
func (s *Service) RemoveRole(ctx context.Context, sub access.Subject, orgID, serviceUserID string) (ServiceUser, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return ServiceUser{}, err
	}
	if orgID == "" {
		return ServiceUser{}, fault.New(fault.Conflict, "an enterprise role goes only with the service user itself")
	}
	p := RoleParams{OrgID: orgID, ServiceUserID: serviceUserID}
	return s.withRoles(ctx, p, func(ctx context.Context, tx *db.Tx, u ServiceUser, at int64) error {
		n, err := deleteAssignment(ctx, tx, serviceUserID, orgID)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "the service user has no role there")
		}
		data := map[string]any{"target_service_user_id": u.ID, "target_service_user_name": u.Name}
		for _, a := range u.Roles {
			if a.OrgID == orgID {
				withRole(data, a.Role)
			}
		}
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.RemoveServiceUserRole, OrgID: orgID, Data: data})
	})
}

// withRoles runs a change of a live service user's roles in a transaction and gives the service user as it is then.
func (s *Service) withRoles(ctx context.Context, p RoleParams, change func(context.Context, *db.Tx, ServiceUser, int64) error) (ServiceUser, error) {
	var u ServiceUser
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if err := holdOrgTx(ctx, tx, p.OrgID); err != nil {
			return err
		}
		if u, err = liveServiceUser(ctx, tx, p.ServiceUserID); err != nil {
			return err
		}
		if err := change(ctx, tx, u, s.db.Clock().Millis()); err != nil {
			return err
		}
		if err := s.changedTx(ctx, tx, changePrincipal, p.ServiceUserID); err != nil {
			return err
		}
		u, err = readServiceUser(ctx, tx, p.ServiceUserID)
		return err
	})
	return u, err
}
