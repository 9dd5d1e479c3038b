package member

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// roleIn gives the direct role that a person holds in an organization, or with "" in the enterprise.
func (p Person) roleIn(orgID string) (access.Role, bool) {
	for _, a := range p.Roles {
		if a.OrgID == orgID {
			return a.Role, true
		}
	}
	return access.Role{}, false
}

// AssignPersonRole makes a member of the enterprise one of an organization. Who holds a direct role there answers 409
// (contract/behaviour.md §2.5).
func (s *Service) AssignPersonRole(ctx context.Context, sub access.Subject, p PersonRoleParams) (Person, error) {
	return s.changePersonRole(ctx, sub, p, audit.AddMember, func(ctx context.Context, tx *db.Tx, at int64) error {
		err := insertAssignment(ctx, tx, p.UserID, kindPerson, p.OrgID, p.RoleID, at)
		if errors.Is(err, db.ErrUnique) {
			return fault.Wrap(err, fault.Conflict, "the user has a role there already; change it instead")
		}
		return err
	})
}

// OrgFoundedTx makes the person who makes an organization its admin; another principal belongs to none. org calls it in the transaction
// that makes the organization.
func (s *Service) OrgFoundedTx(ctx context.Context, tx *db.Tx, sub access.Subject, orgID string, at int64) error {
	if sub.Kind != access.Person {
		return nil
	}
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return err
	}
	u, err := lockPerson(ctx, tx, sub.ID)
	if err != nil {
		return orNoUser(err)
	}
	role, err := s.giveableTx(ctx, tx, sub, access.RoleOrgAdmin, scopeOf(orgID), orgID)
	if err != nil {
		return err
	}
	if err := insertAssignment(ctx, tx, u.ID, kindPerson, orgID, role.ID, at); err != nil {
		return err
	}
	if err := recordPersonTx(ctx, tx, sub, at, audit.AddMember, orgID, u, &role); err != nil {
		return err
	}
	return s.changedTx(ctx, tx, changePrincipal, u.ID)
}

// ChangePersonRole replaces the direct role that a member holds in an organization, and without one answers 404. In the enterprise, to
// which every member belongs, it gives the role to who has none.
func (s *Service) ChangePersonRole(ctx context.Context, sub access.Subject, p PersonRoleParams) (Person, error) {
	return s.changePersonRole(ctx, sub, p, audit.AssignRoles, func(ctx context.Context, tx *db.Tx, at int64) error {
		if p.OrgID == "" {
			return upsertAssignment(ctx, tx, p.UserID, kindPerson, "", p.RoleID, at)
		}
		n, err := updateAssignment(ctx, tx, p.UserID, p.OrgID, p.RoleID)
		if err == nil && n == 0 {
			return errNoRoleThere
		}
		return err
	})
}

func (s *Service) changePersonRole(ctx context.Context, sub access.Subject, p PersonRoleParams, action audit.Action,
	write func(context.Context, *db.Tx, int64) error,
) (Person, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return Person{}, err
	}
	if p.RoleID == "" {
		return Person{}, fault.InvalidField("role_id", "must not be empty")
	}
	return s.withPerson(ctx, sub, p.OrgID, p.UserID, func(ctx context.Context, tx *db.Tx, u Person, at int64) error {
		role, err := s.giveableTx(ctx, tx, sub, p.RoleID, scopeOf(p.OrgID), p.OrgID)
		if err != nil {
			return err
		}
		if err := write(ctx, tx, at); err != nil {
			return err
		}
		return recordPersonTx(ctx, tx, sub, at, action, p.OrgID, u, &role)
	})
}

// RemovePersonRole takes somebody's direct role in an organization. They stay in the enterprise, and what groups give them stays too.
func (s *Service) RemovePersonRole(ctx context.Context, sub access.Subject, orgID, userID string) (Person, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return Person{}, err
	}
	if orgID == "" {
		return Person{}, fault.New(fault.Conflict, "an enterprise role goes only with the membership itself")
	}
	return s.withPerson(ctx, sub, orgID, userID, func(ctx context.Context, tx *db.Tx, u Person, at int64) error {
		n, err := deleteAssignment(ctx, tx, userID, orgID)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoRoleThere
		}
		return recordPersonTx(ctx, tx, sub, at, audit.DeleteMember, orgID, u, nil)
	})
}

// withPerson runs a change of a member's direct roles in a transaction and gives the member as they are then.
func (s *Service) withPerson(ctx context.Context, sub access.Subject, orgID, userID string,
	change func(context.Context, *db.Tx, Person, int64) error,
) (Person, error) {
	var out []Person
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := holdOrgTx(ctx, tx, orgID); err != nil {
			return err
		}
		u, err := lockPerson(ctx, tx, userID)
		if err != nil {
			return orNoUser(err)
		}
		at := s.db.Clock().Millis()
		if err := change(ctx, tx, u, at); err != nil {
			return err
		}
		if err := s.endLostTx(ctx, tx, sub, at, keysOfPerson(userID)); err != nil {
			return err
		}
		if err := s.changedTx(ctx, tx, changePrincipal, userID); err != nil {
			return err
		}
		out = []Person{u}
		return fillDirect(ctx, tx, out)
	})
	if err != nil {
		return Person{}, err
	}
	return out[0], nil
}

// RemovePerson ends a membership of the enterprise and with it those of every organization and group; the person's keys end. It gives
// the member as they were.
func (s *Service) RemovePerson(ctx context.Context, sub access.Subject, userID string) (Person, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return Person{}, err
	}
	var u Person
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		at := s.db.Clock().Millis()
		// The row is taken before the roles are read, so that none is given in between.
		if u, err = deletePerson(ctx, tx, userID, at); err != nil {
			return orNoUser(err)
		}
		if u, err = withRoles(ctx, tx, u); err != nil {
			return err
		}
		return s.endPersonTx(ctx, tx, sub, u, at)
	})
	return u, err
}

// endPersonTx takes along what a member had. Every organization that loses them has an audit entry of its own.
func (s *Service) endPersonTx(ctx context.Context, tx *db.Tx, sub access.Subject, u Person, at int64) error {
	if err := s.endLostTx(ctx, tx, sub, at, keysOfPerson(u.ID)); err != nil {
		return err
	}
	if err := revokeAllKeys(ctx, tx, u.ID, at); err != nil {
		return err
	}
	if err := deleteAssignments(ctx, tx, u.ID); err != nil {
		return err
	}
	if err := leaveGroups(ctx, tx, u.ID); err != nil {
		return err
	}
	for _, a := range u.Roles {
		if a.OrgID == "" {
			continue
		}
		if err := recordPersonTx(ctx, tx, sub, at, audit.DeleteMember, a.OrgID, u, nil); err != nil {
			return err
		}
	}
	if err := s.changedTx(ctx, tx, changePrincipal, u.ID); err != nil {
		return err
	}
	return recordPersonTx(ctx, tx, sub, at, audit.DeleteMember, "", u, nil)
}
