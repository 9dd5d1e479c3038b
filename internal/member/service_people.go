package member

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
)

// Invite makes members of addresses, with one enterprise role. It gives the member of each address once, in the order of the
// addresses. Those who are members already stay as they are; only one without a direct enterprise role gets this one.
func (s *Service) Invite(ctx context.Context, sub access.Subject, p InviteParams) ([]Person, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return nil, err
	}
	emails, keys, err := p.emails()
	if err != nil {
		return nil, err
	}
	var out []Person
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		role, err := giveableAs(ctx, tx, sub, "enterprise_role_id", p.RoleID, access.Enterprise, "")
		if err != nil {
			return err
		}
		known, err := knownPeople(ctx, tx, keys)
		if err != nil {
			return err
		}
		out = make([]Person, len(emails))
		for _, i := range inOrder(keys) {
			if out[i], err = s.admitTx(ctx, tx, sub, role, known[keys[i]], emails[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// knownPeople gives the members with these addresses, by the key of their address.
func knownPeople(ctx context.Context, tx *db.Tx, keys []string) (map[string]Person, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	people, err := lockPeople(ctx, tx, keys)
	if err != nil {
		return nil, err
	}
	known := make(map[string]Person, len(people))
	if err := fillDirect(ctx, tx, people); err != nil {
		return nil, err
	}
	for _, p := range people {
		known[emailKey(p.Email)] = p
	}
	return known, nil
}

// admitTx makes somebody a member with an enterprise role. p is the member with that address, or has no id.
func (s *Service) admitTx(ctx context.Context, tx *db.Tx, sub access.Subject, role access.Role, p Person, email string) (Person, error) {
	at := s.db.Clock().Millis()
	if p.ID == "" {
		p = Person{ID: id.New(id.User), Email: email, CreatedAt: db.Time(at), New: true}
		free, err := insertPerson(ctx, tx, p, emailKey(email))
		if err != nil {
			return p, err
		}
		if !free { // somebody else invited them since we looked
			known, err := knownPeople(ctx, tx, []string{emailKey(email)})
			if err != nil {
				return p, err
			}
			if p = known[emailKey(email)]; p.ID == "" {
				return p, fault.New(fault.Conflict, "a member with the address %s was removed at this moment; try again", email)
			}
			return s.admitTx(ctx, tx, sub, role, p, email)
		}
	} else if _, ok := p.roleIn(""); ok {
		return p, nil
	}
	if err := insertAssignment(ctx, tx, p.ID, kindPerson, "", role.ID, at); err != nil {
		return p, err
	}
	p.Roles = append([]RoleAssignment{{Role: role}}, p.Roles...)
	if err := s.changedTx(ctx, tx, changePrincipal, p.ID); err != nil {
		return p, err
	}
	return p, recordPersonTx(ctx, tx, sub, at, audit.AddEnterpriseMember, "", p, &role)
}

// recordPersonTx writes what happened to a person. role is nil where none was given.
func recordPersonTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, action audit.Action, orgID string, p Person, role *access.Role) error {
	data := map[string]any{"target_user_id": p.ID, "target_user_email": p.Email}
	if role != nil {
		withRole(data, *role)
	}
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: action, OrgID: orgID, Data: data})
}

// People gives one page of members with their direct roles: the enterprise's, oldest first, or with OrgID those who hold a direct role
// in an organization.
func (s *Service) People(ctx context.Context, sub access.Subject, p PeopleParams) (page.Page[Person], error) {
	if err := readMembers(sub); err != nil {
		return page.Page[Person]{}, err
	}
	return s.directPeople(ctx, p)
}

// IdpPeople gives one page of those who hold roles through groups, anywhere or with OrgID in an organization, with these roles.
func (s *Service) IdpPeople(ctx context.Context, sub access.Subject, p PeopleParams) (page.Page[Person], error) {
	if err := readMembers(sub); err != nil {
		return page.Page[Person]{}, err
	}
	return s.idpPeople(ctx, p)
}

// OrgPeople is People for an organization's own readers: of what its members hold it shows what they hold there.
func (s *Service) OrgPeople(ctx context.Context, sub access.Subject, p PeopleParams) (page.Page[Person], error) {
	if err := access.Require(sub, access.ViewOrgMembership, p.OrgID); err != nil {
		return page.Page[Person]{}, err
	}
	out, err := s.directPeople(ctx, p)
	return seenIn(p.OrgID, out), err
}

// OrgIdpPeople is IdpPeople for an organization's own readers: it shows what the people hold there.
func (s *Service) OrgIdpPeople(ctx context.Context, sub access.Subject, p PeopleParams) (page.Page[Person], error) {
	if err := access.Require(sub, access.ViewOrgMembership, p.OrgID); err != nil {
		return page.Page[Person]{}, err
	}
	out, err := s.idpPeople(ctx, p)
	return seenIn(p.OrgID, out), err
}

func seenIn(orgID string, p page.Page[Person]) page.Page[Person] {
	for i := range p.Items {
		p.Items[i], _ = p.Items[i].in(orgID)
	}
	return p
}

func (s *Service) directPeople(ctx context.Context, p PeopleParams) (page.Page[Person], error) {
	query, args := peopleQuery(p)
	out, err := s.pageOfPeople(ctx, p, query, args, peoplePosition(p.OrgID), fillDirect)
	if err != nil || !p.Page.Total {
		return out, err
	}
	n := int64(len(out.Items))
	if p.Email == "" {
		n, err = countPeople(ctx, s.db.Reader(), p)
	}
	out.Total = &n
	return out, err
}

func (s *Service) idpPeople(ctx context.Context, p PeopleParams) (page.Page[Person], error) {
	query, args := idpPeopleQuery(p)
	return s.pageOfPeople(ctx, p, query, args, func(p Person) page.Position { return page.Position{p.ID} }, fillGroups)
}

func (s *Service) pageOfPeople(ctx context.Context, p PeopleParams, query string, args []any, at func(Person) page.Position,
	fill func(context.Context, db.Querier, []Person) error,
) (page.Page[Person], error) {
	q := s.db.Reader()
	if err := orgThere(ctx, q, p.OrgID); err != nil {
		return page.Page[Person]{}, err
	}
	rows, err := db.All(ctx, q, scanPerson, query, args...)
	if err != nil {
		return page.Page[Person]{}, err
	}
	cut := page.Cut(rows, p.Page, at)
	return cut, fill(ctx, q, cut.Items)
}

// Person reads a member with direct and inherited roles.
func (s *Service) Person(ctx context.Context, sub access.Subject, userID string) (Person, error) {
	if err := readMembers(sub); err != nil {
		return Person{}, err
	}
	return person(ctx, s.db.Reader(), userID)
}

// OrgPerson reads somebody who holds a role in an organization, direct or inherited, with what they hold there. Anybody else is unknown.
func (s *Service) OrgPerson(ctx context.Context, sub access.Subject, orgID, userID string) (Person, error) {
	if err := access.Require(sub, access.ViewOrgMembership, orgID); err != nil {
		return Person{}, err
	}
	if err := orgThere(ctx, s.db.Reader(), orgID); err != nil {
		return Person{}, err
	}
	p, err := person(ctx, s.db.Reader(), userID)
	if err != nil {
		return Person{}, err
	}
	seen, ok := p.in(orgID)
	if !ok {
		return Person{}, errNoUser
	}
	return seen, nil
}

// person reads a member with all roles.
func person(ctx context.Context, q db.Querier, userID string) (Person, error) {
	p, err := readLivePerson(ctx, q, userID)
	if err != nil {
		return p, orNoUser(err)
	}
	return withRoles(ctx, q, p)
}

// withRoles gives somebody with all that they hold.
func withRoles(ctx context.Context, q db.Querier, p Person) (Person, error) {
	one := []Person{p}
	if err := fillDirect(ctx, q, one); err != nil {
		return p, err
	}
	err := fillGroups(ctx, q, one)
	return one[0], err
}

func orNoUser(err error) error {
	if errors.Is(err, db.ErrNone) {
		return errNoUser
	}
	return err
}
