package member

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

// Rules for the keys of the older API versions, from contract/legacy.md §4:
//   - An `apk_` key belongs to an organization. A service user of its own stands behind it, an admin of that organization, which ends
//     with it: v1 knows no roles, the organization is the scope.
//   - An `apk_user_` key belongs to a person in one organization and can what that person can there. It ends for good when they lose
//     their access to the organization (lost.go).
//   - v1 takes both, and a `cog_` key unless the operator is strict. v2 takes an enterprise admin's personal key, and such a `cog_` key.
//     Nothing newer takes either.
//   - v1's audit log and consumption are the enterprise's: there a person's key counts for what its person may in the enterprise (package
//     kit unbinds it), so that an enterprise admin reads them also where the operator is strict.

// OlderKey is a key of the older API versions. UserID and Email are empty for an organization's.
type OlderKey struct {
	ID        string
	OrgID     string
	OrgName   string
	UserID    string
	Email     string
	CreatedAt time.Time
	// LastUsedAt is zero for never.
	LastUsedAt time.Time
}

// Service reports whether it is an organization's key rather than a person's.
func (k OlderKey) Service() bool { return k.UserID == "" }

// CreateOrgKey makes a key for an organization. The caller needs ManageAccountServiceUsers and must hold all that an organization's
// admin holds; an unknown organization is 404.
func (s *Service) CreateOrgKey(ctx context.Context, sub access.Subject, orgID string) (NewKey, error) {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return NewKey{}, err
	}
	now := db.Time(s.db.Clock().Millis())
	u := ServiceUser{ID: id.New(id.ServiceUser), Name: "API key", OrgID: orgID, CreatedAt: now}
	key := olderKey(u.ID, u.Name, now, id.KeyOrg)
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := holdOrgTx(ctx, tx, orgID); err != nil {
			return err
		}
		role, err := s.giveableTx(ctx, tx, sub, access.RoleOrgAdmin, access.Org, orgID)
		if err != nil {
			return err
		}
		if err := insertServiceUser(ctx, tx, u); err != nil {
			return err
		}
		if err := insertAssignment(ctx, tx, u.ID, kindServiceUser, orgID, role.ID, now.UnixMilli()); err != nil {
			return err
		}
		return s.insertOlderTx(ctx, tx, sub, key, access.KeyService, orgID, audit.CreateServiceAPIKey)
	})
	return key, err
}

// CreatePersonalKey makes a key for a person in an organization that they have access to. It needs ManageAccountServiceUsers, unless
// the person makes it for themselves.
func (s *Service) CreatePersonalKey(ctx context.Context, sub access.Subject, userID, orgID string) (NewKey, error) {
	if sub.Kind != access.Person || sub.ID != userID {
		if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
			return NewKey{}, err
		}
	}
	now := db.Time(s.db.Clock().Millis())
	key := olderKey(userID, "personal key", now, id.KeyPerson)
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := holdOrgTx(ctx, tx, orgID); err != nil {
			return err
		}
		if err := holdWaysTx(ctx, tx, userID); err != nil {
			return err
		}
		person, err := readPerson(ctx, tx, userID)
		if err != nil {
			return err
		}
		if person.In(orgID) == 0 {
			return fault.InvalidField("org_id", "the user has no access to this organization")
		}
		if err := errors.Join(access.RequireGive(sub, person.In(""), ""), access.RequireGive(sub, person.In(orgID), orgID)); err != nil {
			return err
		}
		return s.insertOlderTx(ctx, tx, sub, key, access.KeyPersonal, orgID, audit.CreateUserAPIKey)
	})
	return key, err
}

func olderKey(principalID, name string, now time.Time, prefix string) NewKey {
	return NewKey{
		APIKey: APIKey{ID: id.New(id.OlderKey), Name: name, PrincipalID: principalID, CreatedAt: now, Active: true},
		Token:  secret.New(id.NewKey(prefix)),
	}
}

func (s *Service) insertOlderTx(ctx context.Context, tx *db.Tx, sub access.Subject, k NewKey, form access.KeyForm, orgID string, action audit.Action) error {
	if err := insertKey(ctx, tx, k); err != nil {
		return err
	}
	if err := markOlder(ctx, tx, k.ID, form, orgID); err != nil {
		return err
	}
	return audit.RecordTx(ctx, tx, sub, k.CreatedAt.UnixMilli(), audit.Entry{Action: action, OrgID: orgID, Data: map[string]any{
		"api_key_id": k.ID, "target_principal_id": k.PrincipalID,
	}})
}

// ListOlderKeys gives a page of the live keys of the older versions, oldest first; an empty orgID is all. It needs
// ManageAccountServiceUsers.
func (s *Service) ListOlderKeys(ctx context.Context, sub access.Subject, orgID string, r page.Request) (page.Page[OlderKey], error) {
	var none page.Page[OlderKey]
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return none, err
	}
	rows, total, err := listOlder(ctx, s.db.Reader(), orgID, r)
	if err != nil {
		return none, err
	}
	p := page.Cut(rows, r, func(k OlderKey) page.Position { return page.Position{k.CreatedAt.UnixMilli(), k.ID} })
	p.Total = total
	return p, nil
}

// RevokeOlderKey ends one key of the older versions at once. It needs ManageAccountServiceUsers.
func (s *Service) RevokeOlderKey(ctx context.Context, sub access.Subject, keyID string) error {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		ended, err := endOlder(ctx, tx, keyID, s.db.Clock().Millis())
		if err != nil {
			return err
		}
		if len(ended) == 0 {
			return errNoKey
		}
		if err := s.endedOlderTx(ctx, tx, ended); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{
			Action: audit.RevokeAPIKey, OrgID: ended[0].OrgID, Data: map[string]any{"api_key_id": keyID},
		})
	})
}

// RevokeOlderKeys ends every key of the older versions, of all organizations and people. It needs ManageAccountServiceUsers.
func (s *Service) RevokeOlderKeys(ctx context.Context, sub access.Subject) error {
	if err := access.Require(sub, access.ManageAccountServiceUsers, ""); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		ended, err := endOlder(ctx, tx, "", s.db.Clock().Millis())
		if err != nil {
			return err
		}
		if err := s.endedOlderTx(ctx, tx, ended); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{
			Action: audit.RevokeAllAPIKeys, Data: map[string]any{"revoked": len(ended)},
		})
	})
}

// endedOlderTx has every process forget the keys, and ends the service users behind those of organizations.
func (s *Service) endedOlderTx(ctx context.Context, tx *db.Tx, ended []endedKey) error {
	for _, k := range ended {
		if k.Form == access.KeyService {
			if _, err := deleteServiceUser(ctx, tx, k.PrincipalID, s.db.Clock().Millis()); err != nil {
				return err
			}
		}
		if err := s.changedTx(ctx, tx, changeKey, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// Older is the door of the older API versions for credentials.
type Older struct {
	auth *Authenticator
	// bind narrows a person's credential to its organization, as v1 wants it; v2 takes it as it is.
	bind bool
	// strict refuses `cog_` keys, as the older versions once did.
	strict bool
}

// OlderV1 gives v1's Authenticator, OlderV2 that of v2.
func (a *Authenticator) OlderV1(strict bool) *Older {
	return &Older{auth: a, bind: true, strict: strict}
}

// OlderV2 gives v2's Authenticator. Who is no enterprise admin is refused by the operations.
func (a *Authenticator) OlderV2(strict bool) *Older { return &Older{auth: a, strict: strict} }

// Authenticate gives the subject of any key that the version takes.
func (o *Older) Authenticate(ctx context.Context, bearer string, remote netip.Addr) (access.Subject, error) {
	var none access.Subject
	if !id.WellFormed(id.KeyOrg, bearer) && !id.WellFormed(id.KeyPerson, bearer) {
		if o.strict {
			return none, errRefused
		}
		sub, err := o.auth.Authenticate(ctx, bearer, remote)
		if err != nil || !o.bind || sub.Kind != access.Person {
			return sub, err
		}
		if orgs := sub.Orgs(); len(orgs) == 1 {
			return sub.Bound(orgs[0]), nil // a person of one organization need not name it
		}
		return sub, nil
	}
	sub, err := o.auth.identify(ctx, bearer, remote)
	if err != nil {
		return none, err
	}
	if sub.KeyForm != access.KeyPersonal {
		return sub, nil
	}
	if sub.In(sub.KeyOrg) == 0 {
		return none, errRefused // it ends with the person's access (contract/behaviour.md §1.1 6)
	}
	if o.bind {
		return sub.Bound(sub.KeyOrg), nil
	}
	return sub, nil
}

// UserIDOf gives the member who has an address, empty for nobody. It authorises nobody: a filter by an address tells no more than the
// list that it filters.
func (s *Service) UserIDOf(ctx context.Context, email string) (string, error) {
	userID, err := db.One(ctx, s.db.Reader(), db.Text, `SELECT user_id FROM users WHERE email_key = $1 AND deleted_at IS NULL`, emailKey(email))
	if errors.Is(err, db.ErrNone) {
		return "", nil
	}
	return userID, err
}

// Emails gives the addresses of people, former members among them; ids that are nobody's are left out. It authorises nobody: what
// shows who did something may show their address.
func (s *Service) Emails(ctx context.Context, userIDs []string) (map[string]string, error) {
	ids := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(userIDs))), func(id string) bool { return id == "" })
	out := make(map[string]string, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		var w db.Where
		w.In("user_id", chunk)
		rows, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (p [2]string, err error) {
			return p, r.Scan(&p[0], &p[1])
		}, `SELECT user_id, email FROM users`+w.SQL(), w.Args()...)
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			out[p[0]] = p[1]
		}
	}
	return out, nil
}

// OrgCounts are how many people have a role of their own in an organization, and how many of them its admin's.
type OrgCounts struct{ Members, Admins int64 }

// CountPeople counts the people of organizations. It authorises nobody: who may read an organization may read how many it has.
func (s *Service) CountPeople(ctx context.Context, orgIDs []string) (map[string]OrgCounts, error) {
	if len(orgIDs) == 0 {
		return map[string]OrgCounts{}, nil
	}
	var w db.Where
	admin := w.Number("?", access.RoleOrgAdmin)
	w.In("a.org_id", orgIDs)
	w.Add("a.principal_kind = '" + kindPerson + "'")
	out := make(map[string]OrgCounts, len(orgIDs))
	_, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (struct{}, error) {
		var id string
		var c OrgCounts
		err := r.Scan(&id, &c.Members, &c.Admins)
		out[id] = c
		return struct{}{}, err
	}, `SELECT a.org_id, COUNT(*), COUNT(*) FILTER (WHERE a.role_id = `+admin+`) FROM role_assignments a`+w.SQL()+` GROUP BY a.org_id`, w.Args()...)
	return out, err
}

// GroupsWithRoles gives one page of all registered groups by name, with all their roles; it counts them when the request asks. It needs
// ViewAccountMembership or ManageAccountMembership.
func (s *Service) GroupsWithRoles(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Group], error) {
	p, err := s.RegisteredGroups(ctx, sub, r)
	if err != nil {
		return p, err
	}
	if err := fillGroupRoles(ctx, s.db.Reader(), p.Items); err != nil || !r.Total {
		return p, err
	}
	n, err := db.One(ctx, s.db.Reader(), db.Int, `SELECT COUNT(*) FROM idp_groups`)
	p.Total = &n
	return p, err
}

// FirstOrg gives the oldest organization, empty when there is none. It authorises nobody: an operator's command asks.
func (s *Service) FirstOrg(ctx context.Context) (string, error) {
	orgID, err := firstOrg(ctx, s.db.Reader())
	if errors.Is(err, db.ErrNone) {
		return "", nil
	}
	return orgID, err
}
