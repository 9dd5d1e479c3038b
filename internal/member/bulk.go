package member

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// maxPairs is how many roles one bulk change may give.
const maxPairs = 2000

// BulkParams give one role to many people and groups in many organizations; the organization "" is the enterprise. All of it is done,
// or nothing.
type BulkParams struct {
	OrgIDs  []string
	UserIDs []string
	Groups  []string
	RoleID  string
}

func (p BulkParams) validate() error {
	if len(p.UserIDs)+len(p.Groups) == 0 {
		return fault.InvalidField("user_ids", "must name somebody")
	}
	if len(p.OrgIDs)*(len(p.UserIDs)+len(p.Groups)) > maxPairs {
		return fault.InvalidField("user_ids", "too many at once: at most %d roles", maxPairs)
	}
	if p.RoleID == "" {
		return fault.InvalidField("role_id", "must not be empty")
	}
	return nil
}

// AddMembers makes people and groups members of organizations. Who is one already keeps the role that they have there. It needs
// ManageAccountMembership; 404 names who isn't known.
func (s *Service) AddMembers(ctx context.Context, sub access.Subject, p BulkParams) error {
	return s.bulk(ctx, sub, p, audit.AddMember, func(has bool, _ string) (bool, error) { return !has, nil })
}

// ChangeRoles replaces the roles that people hold in organizations, or in the enterprise. It needs ManageAccountMembership; who is no
// member of an organization is a 404.
func (s *Service) ChangeRoles(ctx context.Context, sub access.Subject, p BulkParams) error {
	return s.bulk(ctx, sub, p, audit.AssignRoles, func(has bool, orgID string) (bool, error) {
		if !has && orgID != "" {
			return false, errNoRoleThere
		}
		return true, nil
	})
}

// bulk gives the role to everybody whom may lets through. may is told whether they have a role there.
func (s *Service) bulk(ctx context.Context, sub access.Subject, p BulkParams, action audit.Action, may func(has bool, orgID string) (bool, error)) error {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return err
	}
	if err := p.validate(); err != nil {
		return err
	}
	orgs := slices.Compact(slices.Sorted(slices.Values(p.OrgIDs)))
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, orgID := range orgs {
			if err := holdOrgTx(ctx, tx, orgID); err != nil {
				return err
			}
			role, err := s.giveableTx(ctx, tx, sub, p.RoleID, scopeOf(orgID), orgID)
			if err != nil {
				return err
			}
			for _, i := range inOrder(p.UserIDs) {
				if err := s.bulkPersonTx(ctx, tx, sub, PersonRoleParams{OrgID: orgID, UserID: p.UserIDs[i], RoleID: role.ID}, &role, action, may); err != nil {
					return namedAt(err, "user_ids", i)
				}
			}
			for _, i := range inOrder(p.Groups) {
				if err := s.bulkGroupTx(ctx, tx, sub, GroupRoleParams{OrgID: orgID, Group: p.Groups[i], RoleID: role.ID}, &role); err != nil {
					return namedAt(err, "group_names", i)
				}
			}
		}
		return nil
	})
}

// inOrder gives the places of a list's entries in the order of their names: whoever takes many in that order waits for others that do the
// same, and never in a circle.
func inOrder(names []string) []int {
	places := make([]int, len(names))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	return places
}

// namedAt says which of a list's entries is the unknown one.
func namedAt(err error, field string, i int) error {
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(err, fault.NotFound, "%s", fmt.Sprintf("%s.%d: %s", field, i, fault.As(err).Message))
	}
	return err
}

func (s *Service) bulkPersonTx(ctx context.Context, tx *db.Tx, sub access.Subject, p PersonRoleParams, role *access.Role, action audit.Action,
	may func(bool, string) (bool, error),
) error {
	u, err := lockPerson(ctx, tx, p.UserID)
	if err != nil {
		return orNoUser(err)
	}
	one := []Person{u}
	if err := fillDirect(ctx, tx, one); err != nil {
		return err
	}
	_, has := one[0].roleIn(p.OrgID)
	if ok, err := may(has, p.OrgID); err != nil || !ok {
		return err
	}
	at := s.db.Clock().Millis()
	if err := upsertAssignment(ctx, tx, p.UserID, kindPerson, p.OrgID, p.RoleID, at); err != nil {
		return err
	}
	if err := s.endLostTx(ctx, tx, sub, at, keysOfPerson(p.UserID)); err != nil {
		return err
	}
	if err := s.changedTx(ctx, tx, changePrincipal, p.UserID); err != nil {
		return err
	}
	return recordPersonTx(ctx, tx, sub, at, action, p.OrgID, u, role)
}

func (s *Service) bulkGroupTx(ctx context.Context, tx *db.Tx, sub access.Subject, p GroupRoleParams, role *access.Role) error {
	if _, err := lockGroup(ctx, tx, p.Group); err != nil {
		return orNoGroup(err)
	}
	g, err := readGroup(ctx, tx, p.Group)
	if err != nil {
		return err
	}
	if _, has := g.roleIn(p.OrgID); has {
		return nil
	}
	at := s.db.Clock().Millis()
	if err := insertGroupRole(ctx, tx, p, at); err != nil {
		return err
	}
	if err := s.changedTx(ctx, tx, changeAll, ""); err != nil {
		return err
	}
	return recordGroupTx(ctx, tx, sub, at, audit.AddGroupMembership, p.OrgID, g.Name, role)
}
