package member

import (
	"context"
	"errors"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

// Provision makes a service user, its role and one key, which ends with it (contract/behaviour.md §1.3, §19.4).
func (s *Service) Provision(ctx context.Context, sub access.Subject, p ProvisionParams) (ServiceUser, NewKey, error) {
	perm, scope := access.ManageAccountServiceUsers, access.Enterprise
	if p.OrgID != "" {
		perm, scope = access.ManageOrgServiceUsers, access.Org
	}
	if err := access.Require(sub, perm, p.OrgID); err != nil {
		return ServiceUser{}, NewKey{}, err
	}
	if err := p.validate(); err != nil {
		return ServiceUser{}, NewKey{}, err
	}
	now := s.db.Clock().Millis()
	u := ServiceUser{ID: id.New(id.ServiceUser), Name: p.Name, OrgID: p.OrgID, CreatedAt: db.Time(now), ExpiresAt: db.Time(now + p.TTLSeconds*1000)}
	key := freshKey(u.ID, p.Name, u.CreatedAt)
	key.ExpiresAt = u.ExpiresAt
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		role, err := s.giveableTx(ctx, tx, sub, p.RoleID, scope, p.OrgID)
		if err != nil {
			return err
		}
		if err := holdOrgTx(ctx, tx, p.OrgID); err != nil {
			return err
		}
		u.Roles = []RoleAssignment{{Role: role, OrgID: p.OrgID}}
		return s.insertTx(ctx, tx, sub, u, key)
	})
	return u, key, err
}

// insertTx writes a new service user with its roles and first key, and the two audit entries.
func (s *Service) insertTx(ctx context.Context, tx *db.Tx, sub access.Subject, u ServiceUser, key NewKey) error {
	at := u.CreatedAt.UnixMilli()
	if err := insertServiceUser(ctx, tx, u); err != nil {
		return err
	}
	for _, a := range u.Roles {
		if err := insertAssignment(ctx, tx, u.ID, kindServiceUser, a.OrgID, a.Role.ID, at); err != nil {
			return err
		}
	}
	if err := insertKey(ctx, tx, key); err != nil {
		return err
	}
	data := map[string]any{"target_service_user_id": u.ID, "target_service_user_name": u.Name}
	for _, a := range u.Roles {
		withRole(data, a.Role)
	}
	if err := audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.CreateServiceUser, OrgID: u.OrgID, Data: data}); err != nil {
		return err
	}
	return recordKeyTx(ctx, tx, sub, at, audit.CreateServiceUserAPIKey, u, key.APIKey)
}

func recordKeyTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, action audit.Action, u ServiceUser, k APIKey) error {
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: action, OrgID: u.OrgID, Data: map[string]any{
		"target_service_user_id": u.ID, "target_service_user_name": u.Name, "api_key_id": k.ID, "api_key_name": k.Name,
	}})
}

// giveableTx finds a role that the subject may give within scope. org is where it will count.
func (s *Service) giveableTx(ctx context.Context, tx *db.Tx, sub access.Subject, roleID string, scope access.Scope, org string) (access.Role, error) {
	return giveableAs(ctx, tx, sub, "role_id", roleID, scope, org)
}

// giveableAs is giveableTx for a role that stands in a field of another name.
func giveableAs(ctx context.Context, tx *db.Tx, sub access.Subject, field, roleID string, scope access.Scope, org string) (access.Role, error) {
	role, err := lockRole(ctx, tx, roleID, ` FOR SHARE`)
	if errors.Is(err, db.ErrNone) {
		return role, errNoRole
	}
	if err != nil {
		return role, err
	}
	if role.Scope != scope {
		return role, fault.InvalidField(field, "is a role of type %s; this needs one of type %s", role.Scope, scope)
	}
	return role, access.RequireGive(sub, role.Permissions, org)
}

// orgThere refuses an organization that is unknown or deleted; "" is the enterprise.
func orgThere(ctx context.Context, q db.Querier, orgID string) error {
	if orgID == "" {
		return nil
	}
	err := readOrg(ctx, q, orgID)
	if errors.Is(err, db.ErrNone) {
		return errNoOrg
	}
	return err
}

// holdOrgTx is orgThere, and keeps the organization from being deleted before the transaction ends: else a role or a key could be
// made behind the back of its deletion.
func holdOrgTx(ctx context.Context, tx *db.Tx, orgID string) error {
	if orgID == "" {
		return nil
	}
	err := lockOrg(ctx, tx, orgID)
	if errors.Is(err, db.ErrNone) {
		return errNoOrg
	}
	return err
}

// readMembers is who may read members (contract/behaviour.md §2.2).
func readMembers(sub access.Subject) error {
	return access.RequireAny(sub, "", access.ManageAccountMembership, access.ViewAccountMembership)
}

// List gives one page of service users, oldest first.
func (s *Service) List(ctx context.Context, sub access.Subject, p ListParams) (page.Page[ServiceUser], error) {
	var none page.Page[ServiceUser]
	if err := readMembers(sub); err != nil {
		return none, err
	}
	if err := orgThere(ctx, s.db.Reader(), p.OrgID); err != nil {
		return none, err
	}
	return s.list(ctx, p)
}

// ListOwn gives one page of the service users that an organization made for itself, oldest first, to whoever may make them: it needs
// ManageOrgServiceUsers there. It is for people (contract/behaviour.md §13.4); the API's list needs rights in the enterprise.
func (s *Service) ListOwn(ctx context.Context, sub access.Subject, orgID string, r page.Request) (page.Page[ServiceUser], error) {
	if err := access.Require(sub, access.ManageOrgServiceUsers, orgID); err != nil {
		return page.Page[ServiceUser]{}, err
	}
	return s.list(ctx, ListParams{OrgID: orgID, Page: r, own: true})
}

func (s *Service) list(ctx context.Context, p ListParams) (page.Page[ServiceUser], error) {
	var none page.Page[ServiceUser]
	q := s.db.Reader()
	rows, err := listServiceUsers(ctx, q, p, s.db.Clock().Millis())
	if err != nil {
		return none, err
	}
	cut := page.Cut(rows, p.Page, func(u ServiceUser) page.Position { return page.Position{u.CreatedAt.UnixMilli(), u.ID} })
	return cut, fillRoles(ctx, q, cut.Items)
}

// Get reads a service user, also an expired one. A deleted one is gone.
func (s *Service) Get(ctx context.Context, sub access.Subject, serviceUserID string) (ServiceUser, error) {
	if err := readMembers(sub); err != nil {
		return ServiceUser{}, err
	}
	return liveServiceUser(ctx, s.db.Reader(), serviceUserID)
}

func liveServiceUser(ctx context.Context, q db.Querier, serviceUserID string) (ServiceUser, error) {
	u, err := readServiceUser(ctx, q, serviceUserID)
	if errors.Is(err, db.ErrNone) || (err == nil && !u.DeletedAt.IsZero()) {
		return ServiceUser{}, errNoServiceUser
	}
	return u, err
}

// Delete ends a service user: its keys die with it (contract/behaviour.md §1.3.13).
func (s *Service) Delete(ctx context.Context, sub access.Subject, serviceUserID string) (ServiceUser, error) {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return ServiceUser{}, err
	}
	var u ServiceUser
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if u, err = liveServiceUser(ctx, tx, serviceUserID); err != nil {
			return err
		}
		at := s.db.Clock().Millis()
		n, err := deleteServiceUser(ctx, tx, serviceUserID, at)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoServiceUser
		}
		u.DeletedAt = db.Time(at)
		if err := revokeAllKeys(ctx, tx, serviceUserID, at); err != nil {
			return err
		}
		if err := deleteAssignments(ctx, tx, serviceUserID); err != nil {
			return err
		}
		if err := s.changedTx(ctx, tx, changePrincipal, serviceUserID); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{
			Action: audit.DeleteServiceUser, OrgID: u.OrgID,
			Data: map[string]any{"target_service_user_id": u.ID, "target_service_user_name": u.Name},
		})
	})
	return u, err
}

// OrgDeletedTx ends what an organization's end takes along: its service users with their keys, people's keys of the older versions that
// were made in it, and every role in it. org calls
// it in the transaction that deletes the organization.
func (s *Service) OrgDeletedTx(ctx context.Context, tx *db.Tx, sub access.Subject, orgID string, at int64) error {
	gone, err := serviceUsersOf(ctx, tx, orgID)
	if err != nil {
		return err
	}
	for _, u := range gone {
		if err := audit.RecordTx(ctx, tx, sub, at, audit.Entry{
			Action: audit.DeleteServiceUser, OrgID: orgID,
			Data: map[string]any{"target_service_user_id": u.ID, "target_service_user_name": u.Name},
		}); err != nil {
			return err
		}
	}
	keys, err := personalKeys(ctx, tx, keysOfOrg(orgID))
	if err != nil {
		return err
	}
	if err := s.endPersonalTx(ctx, tx, sub, at, keys); err != nil {
		return err
	}
	if err := endOrg(ctx, tx, orgID, at); err != nil {
		return err
	}
	return s.changedTx(ctx, tx, changeAll, "")
}

// freshKey makes a service user's key with its token.
func freshKey(principal, name string, at time.Time) NewKey {
	return NewKey{
		APIKey: APIKey{ID: id.New(id.APIKey), Name: name, PrincipalID: principal, CreatedAt: at, Active: true},
		Token:  secret.New(id.NewKey(id.KeyService)),
	}
}
