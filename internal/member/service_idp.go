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

// RegisterGroups makes groups known and gives all that were named, once each; those that were known before stay as they are.
func (s *Service) RegisterGroups(ctx context.Context, sub access.Subject, names []string) ([]Group, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return nil, err
	}
	names, err := checkGroupNames(names)
	if err != nil {
		return nil, err
	}
	out := make([]Group, len(names))
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		at := s.db.Clock().Millis()
		for _, i := range inOrder(names) {
			n := names[i]
			out[i] = Group{Name: n, CreatedAt: db.Time(at)}
			fresh, err := insertGroup(ctx, tx, out[i])
			if err != nil {
				return err
			}
			if !fresh {
				continue
			}
			if err := recordGroupTx(ctx, tx, sub, at, audit.RegisterIdpGroup, "", n, nil); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func recordGroupTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, action audit.Action, orgID, group string, role *access.Role) error {
	data := map[string]any{"target_group_name": group}
	if role != nil {
		withRole(data, *role)
	}
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: action, OrgID: orgID, Data: data})
}

// RegisteredGroups gives one page of groups by name, without their roles.
func (s *Service) RegisteredGroups(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Group], error) {
	if err := readMembers(sub); err != nil {
		return page.Page[Group]{}, err
	}
	query, args := groupsQuery(r)
	rows, err := db.All(ctx, s.db.Reader(), scanGroup, query, args...)
	if err != nil {
		return page.Page[Group]{}, err
	}
	return page.Cut(rows, r, groupPosition), nil
}

func groupPosition(g Group) page.Position { return page.Position{g.Name} }

// UnregisterGroup forgets a group that holds no role and has no member; else it answers 409.
func (s *Service) UnregisterGroup(ctx context.Context, sub access.Subject, name string) (Group, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return Group{}, err
	}
	var g Group
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if g, err = lockGroup(ctx, tx, name); err != nil {
			return orNoGroup(err)
		}
		used, err := groupInUse(ctx, tx, name)
		if err != nil {
			return err
		}
		if used {
			return errGroupInUse
		}
		if err := deleteGroup(ctx, tx, name); err != nil {
			return err
		}
		return recordGroupTx(ctx, tx, sub, s.db.Clock().Millis(), audit.UnregisterIdpGroup, "", name, nil)
	})
	return g, err
}

func orNoGroup(err error) error {
	if errors.Is(err, db.ErrNone) {
		return errNoGroup
	}
	return err
}

// Groups gives one page of groups that hold a role, in the enterprise or in an organization, by name and with all their roles.
func (s *Service) Groups(ctx context.Context, sub access.Subject, p GroupsParams) (page.Page[Group], error) {
	if err := readMembers(sub); err != nil {
		return page.Page[Group]{}, err
	}
	q := s.db.Reader()
	if err := orgThere(ctx, q, p.OrgID); err != nil {
		return page.Page[Group]{}, err
	}
	query, args := groupsInQuery(p)
	rows, err := db.All(ctx, q, scanGroup, query, args...)
	if err != nil {
		return page.Page[Group]{}, err
	}
	cut := page.Cut(rows, p.Page, groupPosition)
	return cut, fillGroupRoles(ctx, q, cut.Items)
}

// Group reads a registered group with all its roles. With orgID it answers 404 unless one of them is there.
func (s *Service) Group(ctx context.Context, sub access.Subject, orgID, name string) (Group, error) {
	if err := readMembers(sub); err != nil {
		return Group{}, err
	}
	q := s.db.Reader()
	if err := orgThere(ctx, q, orgID); err != nil {
		return Group{}, err
	}
	g, err := readGroup(ctx, q, name)
	if err != nil {
		return g, orNoGroup(err)
	}
	if _, ok := g.roleIn(orgID); orgID != "" && !ok {
		return Group{}, errNoGroupThere
	}
	return g, nil
}

// roleIn gives the role that a group holds in an organization, or with "" in the enterprise.
func (g Group) roleIn(orgID string) (access.Role, bool) {
	for _, a := range g.Roles {
		if a.OrgID == orgID {
			return a.Role, true
		}
	}
	return access.Role{}, false
}

// AssignGroupRole gives a role to a group that has none there; one that has answers 409. In an organization the group must hold some role
// already (contract/behaviour.md §2.5).
func (s *Service) AssignGroupRole(ctx context.Context, sub access.Subject, p GroupRoleParams) (Group, error) {
	return s.changeGroupRole(ctx, sub, p, audit.AddGroupMembership, func(ctx context.Context, tx *db.Tx, g Group, at int64) error {
		if _, ok := g.roleIn(p.OrgID); ok {
			return errGroupHasRole
		}
		if p.OrgID != "" && len(g.Roles) == 0 && !p.FirstAnywhere {
			return errGroupWithoutRole
		}
		return insertGroupRole(ctx, tx, p, at)
	})
}

// ChangeGroupRole replaces the role that a group has there; without one it answers 404.
func (s *Service) ChangeGroupRole(ctx context.Context, sub access.Subject, p GroupRoleParams) (Group, error) {
	return s.changeGroupRole(ctx, sub, p, audit.UpdateGroupMembership, func(ctx context.Context, tx *db.Tx, _ Group, _ int64) error {
		n, err := updateGroupRole(ctx, tx, p)
		if err == nil && n == 0 {
			return errNoGroupThere
		}
		return err
	})
}

func (s *Service) changeGroupRole(ctx context.Context, sub access.Subject, p GroupRoleParams, action audit.Action,
	write func(context.Context, *db.Tx, Group, int64) error,
) (Group, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return Group{}, err
	}
	if p.RoleID == "" {
		return Group{}, fault.InvalidField("role_id", "must not be empty")
	}
	return s.withGroup(ctx, sub, p.OrgID, p.Group, func(ctx context.Context, tx *db.Tx, g Group, at int64) error {
		role, err := s.giveableTx(ctx, tx, sub, p.RoleID, scopeOf(p.OrgID), p.OrgID)
		if err != nil {
			return err
		}
		if err := write(ctx, tx, g, at); err != nil {
			return err
		}
		return recordGroupTx(ctx, tx, sub, at, action, p.OrgID, g.Name, &role)
	})
}

// RemoveGroupRole takes the role that a group has in an organization, or with orgID "" in the enterprise. What it has elsewhere stays.
func (s *Service) RemoveGroupRole(ctx context.Context, sub access.Subject, orgID, name string) (Group, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return Group{}, err
	}
	return s.withGroup(ctx, sub, orgID, name, func(ctx context.Context, tx *db.Tx, g Group, at int64) error {
		n, err := deleteGroupRole(ctx, tx, orgID, name)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoGroupThere
		}
		return recordGroupTx(ctx, tx, sub, at, audit.DeleteGroupMembership, orgID, g.Name, nil)
	})
}

// withGroup runs a change of a group's roles in a transaction and gives the group as it is then. Everybody in it is concerned, so every
// process forgets all subjects.
func (s *Service) withGroup(ctx context.Context, sub access.Subject, orgID, name string,
	change func(context.Context, *db.Tx, Group, int64) error,
) (Group, error) {
	var g Group
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if err := holdOrgTx(ctx, tx, orgID); err != nil {
			return err
		}
		if _, err = lockGroup(ctx, tx, name); err != nil {
			return orNoGroup(err)
		}
		if g, err = readGroup(ctx, tx, name); err != nil {
			return err
		}
		at := s.db.Clock().Millis()
		if err := change(ctx, tx, g, at); err != nil {
			return err
		}
		if err := s.endLostTx(ctx, tx, sub, at, keysOfGroup(name)); err != nil {
			return err
		}
		if err := s.changedTx(ctx, tx, changeAll, ""); err != nil {
			return err
		}
		g, err = readGroup(ctx, tx, name)
		return err
	})
	return g, err
}
