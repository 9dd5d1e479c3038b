package playbook

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

// List gives a page of playbooks, oldest first: an organization's own and then the enterprise's, or with orgID "" the enterprise's. It
// needs ManageOrgPlaybooks or ManageAccountPlaybooks.
func (s *Service) List(ctx context.Context, who access.Subject, orgID string, r page.Request) (page.Page[Playbook], error) {
	if err := require(who, orgID); err != nil {
		return page.Page[Playbook]{}, err
	}
	rows, r, err := list(ctx, s.db.Reader(), orgID, r)
	if err != nil {
		return page.Page[Playbook]{}, err
	}
	return page.Cut(rows, r, func(p Playbook) page.Position {
		return page.Position{place(orgID, p.OrgID), p.CreatedAt.UnixMilli(), p.ID}
	}), nil
}

// Get reads a playbook that the organization may see, with orgID "" one of the enterprise.
func (s *Service) Get(ctx context.Context, who access.Subject, orgID, playbookID string) (Playbook, error) {
	if err := require(who, orgID); err != nil {
		return Playbook{}, err
	}
	return find(ctx, s.db.Reader(), orgID, playbookID)
}

// find reads a playbook. One that must not be seen answers like a missing one.
func find(ctx context.Context, q db.Querier, orgID, playbookID string) (Playbook, error) {
	p, err := read(ctx, q, playbookID)
	if errors.Is(err, db.ErrNone) || (err == nil && p.OrgID != "" && p.OrgID != orgID) {
		return Playbook{}, errNone
	}
	return p, err
}

// findOwnTx is find for a change: what an organization only sees it can't change.
func findOwnTx(ctx context.Context, tx *db.Tx, orgID, playbookID string) (Playbook, error) {
	p, err := find(ctx, tx, orgID, playbookID)
	if err == nil && p.OrgID != orgID {
		return Playbook{}, errShared
	}
	return p, err
}

// Create makes a playbook of the organization, with OrgID "" of the enterprise.
func (s *Service) Create(ctx context.Context, who access.Subject, p Params) (Playbook, error) {
	if err := require(who, p.OrgID); err != nil {
		return Playbook{}, err
	}
	if err := p.validate(); err != nil {
		return Playbook{}, err
	}
	at := db.Time(s.db.Clock().Millis())
	b := Playbook{ID: id.New(id.Playbook), OrgID: p.OrgID, CreatedAt: at, CreatedBy: name(who)}
	p.apply(&b)
	b.UpdatedAt, b.UpdatedBy = at, b.CreatedBy
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if have, err := count(ctx, tx, p.OrgID); err != nil {
			return err
		} else if have >= MaxPlaybooks {
			return fault.New(fault.Conflict, "there are %d playbooks already; delete some first", have)
		}
		if err := insert(ctx, tx, b); err != nil {
			return err
		}
		return b.recordTx(ctx, tx, who, at.UnixMilli(), audit.CreatePlaybook)
	})
	return b, macroTaken(err)
}

// name is what a playbook keeps of who wrote it.
func name(who access.Subject) string {
	if who.Kind == access.System {
		return who.Name
	}
	return who.ID
}

func (p *Params) apply(b *Playbook) {
	b.Title, b.Body = p.Title, p.Body
	if p.Macro != nil {
		b.Macro = *p.Macro
	}
	if p.Schema.Set {
		b.Schema = p.Schema.Value
	}
}

// Update rewrites a playbook. Sessions that were given it keep its text.
func (s *Service) Update(ctx context.Context, who access.Subject, p Params) (Playbook, error) {
	if err := require(who, p.OrgID); err != nil {
		return Playbook{}, err
	}
	if err := p.validate(); err != nil {
		return Playbook{}, err
	}
	var b Playbook
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		at := s.db.Clock().Millis()
		// The row is taken before it is read, so that two changes of different members don't undo one another.
		if err := touch(ctx, tx, p.PlaybookID, p.OrgID); err != nil {
			return err
		}
		if b, err = findOwnTx(ctx, tx, p.OrgID, p.PlaybookID); err != nil {
			return err
		}
		p.apply(&b)
		b.UpdatedAt, b.UpdatedBy = db.Time(at), name(who)
		if err := update(ctx, tx, b); err != nil {
			return err
		}
		return b.recordTx(ctx, tx, who, at, audit.UpdatePlaybook)
	})
	return b, macroTaken(err)
}

// Delete removes a playbook and answers with it. Sessions that were given it keep its text.
func (s *Service) Delete(ctx context.Context, who access.Subject, orgID, playbookID string) (Playbook, error) {
	if err := require(who, orgID); err != nil {
		return Playbook{}, err
	}
	var b Playbook
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if b, err = findOwnTx(ctx, tx, orgID, playbookID); err != nil {
			return err
		}
		if gone, err := remove(ctx, tx, playbookID); err != nil || gone == 0 {
			return errors.Join(err, errNone)
		}
		return b.recordTx(ctx, tx, who, s.db.Clock().Millis(), audit.DeletePlaybook)
	})
	return b, err
}

// recordTx writes the audit entry of a change: which playbook, never its text.
func (p Playbook) recordTx(ctx context.Context, tx *db.Tx, who access.Subject, at int64, action audit.Action) error {
	return audit.RecordTx(ctx, tx, who, at, audit.Entry{
		Action: action, OrgID: p.OrgID, Data: map[string]any{"playbook_id": p.ID, "title": p.Title},
	})
}

// macroTaken turns the one unique key that a caller can hit into a 409.
func macroTaken(err error) error {
	if errors.Is(err, db.ErrUnique) {
		return fault.Wrap(err, fault.Conflict, "macro: another playbook has this macro")
	}
	return err
}
