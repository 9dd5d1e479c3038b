package org

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

// Create makes an organization.
func (s *Service) Create(ctx context.Context, sub access.Subject, p CreateParams) (Org, error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return Org{}, err
	}
	if err := checkFields(&p.Name, p.SessionLimit, p.CycleLimit); err != nil {
		return Org{}, err
	}
	now := db.Time(s.db.Clock().Millis())
	o := Org{ID: id.New(id.Org), Name: p.Name, Limits: Limits{Session: s.o.SessionLimit}, CreatedAt: now, UpdatedAt: now}
	p.SessionLimit.apply(&o.Limits.Session)
	p.CycleLimit.apply(&o.Limits.Cycle)
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := insert(ctx, tx, o); err != nil {
			return err
		}
		if err := audit.RecordTx(ctx, tx, sub, now.UnixMilli(), audit.Entry{Action: audit.CreateOrg, OrgID: o.ID, Data: o.facts()}); err != nil {
			return err
		}
		if !p.Join {
			return nil
		}
		return s.members.OrgFoundedTx(ctx, tx, sub, o.ID, now.UnixMilli())
	})
	return o, err
}

// facts are what an audit entry says of an organization.
func (o Org) facts() map[string]any {
	return map[string]any{"name": o.Name, "max_session_acu_limit": o.Limits.Session, "max_cycle_acu_limit": o.Limits.Cycle}
}

// List gives one page of organizations, oldest first.
func (s *Service) List(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Org], error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return page.Page[Org]{}, err
	}
	rows, err := list(ctx, s.db.Reader(), r)
	if err != nil {
		return page.Page[Org]{}, err
	}
	p := page.Cut(rows, r, func(o Org) page.Position { return page.Position{o.CreatedAt.UnixMilli(), o.ID} })
	if r.Total {
		n, err := count(ctx, s.db.Reader())
		if err != nil {
			return page.Page[Org]{}, err
		}
		p.Total = &n
	}
	return p, nil
}

// Get reads a live organization.
func (s *Service) Get(ctx context.Context, sub access.Subject, orgID string) (Org, error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return Org{}, err
	}
	return find(ctx, s.db.Reader(), orgID)
}

func find(ctx context.Context, q db.Querier, orgID string) (Org, error) {
	o, err := read(ctx, q, orgID)
	if errors.Is(err, db.ErrNone) {
		return o, errNone
	}
	return o, err
}

// Update changes what is named and keeps the rest.
func (s *Service) Update(ctx context.Context, sub access.Subject, p UpdateParams) (Org, error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return Org{}, err
	}
	if err := checkFields(p.Name, p.SessionLimit, p.CycleLimit); err != nil {
		return Org{}, err
	}
	var o Org
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		at := s.db.Clock().Millis()
		// The row is taken before it is read, so that two changes of different fields don't undo one another.
		if n, err := touch(ctx, tx, p.OrgID, at); err != nil || n == 0 {
			return orNone(err)
		}
		if o, err = read(ctx, tx, p.OrgID); err != nil {
			return err
		}
		if p.Name != nil {
			o.Name = *p.Name
		}
		p.SessionLimit.apply(&o.Limits.Session)
		p.CycleLimit.apply(&o.Limits.Cycle)
		if err := update(ctx, tx, o); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.UpdateOrg, OrgID: o.ID, Data: o.facts()})
	})
	return o, err
}

func orNone(err error) error {
	if err != nil {
		return err
	}
	return errNone
}

// Delete ends an organization: its service users and keys die with it, at once; its sessions are ended by the session room, which
// watches for deleted organizations.
func (s *Service) Delete(ctx context.Context, sub access.Subject, orgID string) (Org, error) {
	return s.end(ctx, sub, orgID, func(context.Context, *db.Tx) error { return nil })
}

// DeleteSecondary is Delete, but never of the enterprise's primary organization, the oldest one: v2 refuses to.
func (s *Service) DeleteSecondary(ctx context.Context, sub access.Subject, orgID string) (Org, error) {
	return s.end(ctx, sub, orgID, func(ctx context.Context, tx *db.Tx) error {
		oldest, err := list(ctx, tx, page.Request{First: 1})
		if err == nil && len(oldest) > 0 && oldest[0].ID == orgID {
			return fault.New(fault.BadRequest, "the enterprise's primary organization can't be deleted")
		}
		return err
	})
}

func (s *Service) end(ctx context.Context, sub access.Subject, orgID string, may func(context.Context, *db.Tx) error) (Org, error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return Org{}, err
	}
	var o Org
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if err := may(ctx, tx); err != nil {
			return err
		}
		if o, err = find(ctx, tx, orgID); err != nil {
			return err
		}
		at := s.db.Clock().Millis()
		if n, err := markDeleted(ctx, tx, orgID, at); err != nil || n == 0 {
			return orNone(err)
		}
		o.UpdatedAt, o.DeletedAt = db.Time(at), db.Time(at)
		if err := s.members.OrgDeletedTx(ctx, tx, sub, orgID, at); err != nil {
			return err
		}
		if err := leaveGroup(ctx, tx, orgID); err != nil {
			return err
		}
		if err := s.endRemainsTx(ctx, tx, orgID); err != nil {
			return err
		}
		tx.AfterCommit(func() { s.alive.forget(orgID) })
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.DeleteOrg, OrgID: orgID, Data: map[string]any{"name": o.Name}})
	})
	return o, err
}

// Exists reports whether the organization is there and lives. It authorises nobody; kit asks it with every request of an enterprise
// credential, to tell 404 from 403. A yes is kept for a second: a replica that didn't delete the organization itself says so that much
// longer, and the use cases look for themselves.
func (s *Service) Exists(ctx context.Context, orgID string) (bool, error) {
	now := s.db.Clock().Millis()
	if s.alive.has(orgID, now) {
		return true, nil
	}
	_, err := read(ctx, s.db.Reader(), orgID)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	if err == nil {
		s.alive.note(orgID, now)
	}
	return err == nil, err
}

// Known reports whether there is or ever was the organization. Like Exists it authorises nobody.
func (s *Service) Known(ctx context.Context, orgID string) (bool, error) {
	_, err := db.One(ctx, s.db.Reader(), db.Text, `SELECT org_id FROM organizations WHERE org_id = $1`, orgID)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// Budget is what bounds the work of an organization: its own limits, and that of its group. Group is nil without one.
type Budget struct {
	Limits
	Group *GroupLimit
}

// GroupLimit is the limit that a group's organizations share, in whole ACUs of a billing cycle.
type GroupLimit struct {
	Name  string
	Cycle int64
}

// BudgetTx reads a live organization's budget within the caller's transaction. An organization that is not there is 404.
func (s *Service) BudgetTx(ctx context.Context, q db.Querier, orgID string) (Budget, error) {
	b, err := readBudget(ctx, q, orgID)
	if errors.Is(err, db.ErrNone) {
		return b, errNone
	}
	return b, err
}
