package knowledge

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

// Filter narrows a list of notes. Empty fields let everything pass. FolderPath is one folder without those below it, "/" the root.
type Filter struct {
	OrgID      string // empty on the enterprise's routes
	AccessType string // on the enterprise's routes only
	Search     string // in name, trigger or body, whatever the case
	FolderPath string
	PinnedRepo string
}

// List gives a page of notes, oldest first: an organization's own and then the enterprise's, on the enterprise's routes all there are.
// It needs ManageOrgKnowledge or ManageAccountKnowledge. A search reads the notes of the scope one by one, MaxNotes at most, and on
// the enterprise's routes without access_type=enterprise those of every organization.
func (s *Service) List(ctx context.Context, who access.Subject, f Filter, r page.Request) (page.Page[Note], error) {
	if err := require(who, f.OrgID); err != nil {
		return page.Page[Note]{}, err
	}
	if f.FolderPath != "" {
		clean, err := cleanPath(f.FolderPath)
		if err != nil {
			return page.Page[Note]{}, fault.InvalidQuery("folder_path", "%s", err.Error())
		}
		f.FolderPath = clean
	}
	rows, r, err := list(ctx, s.db.Reader(), f, r)
	if err != nil {
		return page.Page[Note]{}, err
	}
	return page.Cut(rows, r, func(n Note) page.Position {
		return page.Position{place(f.OrgID, n.OrgID), n.CreatedAt.UnixMilli(), n.ID}
	}), nil
}

// Get reads a note that the organization may see, with OrgID "" any.
func (s *Service) Get(ctx context.Context, who access.Subject, orgID, noteID string) (Note, error) {
	if err := require(who, orgID); err != nil {
		return Note{}, err
	}
	return find(ctx, s.db.Reader(), orgID, noteID)
}

// find reads a note. One that the organization must not see answers like a missing one.
func find(ctx context.Context, q db.Querier, orgID, noteID string) (Note, error) {
	n, err := read(ctx, q, noteID)
	if errors.Is(err, db.ErrNone) || (err == nil && orgID != "" && n.OrgID != "" && n.OrgID != orgID) {
		return Note{}, errNone
	}
	return n, err
}

// findOwnTx is find for a change: what an organization only sees it can't change.
func findOwnTx(ctx context.Context, tx *db.Tx, orgID, noteID string) (Note, error) {
	n, err := find(ctx, tx, orgID, noteID)
	if err == nil && orgID != "" && n.OrgID == "" {
		return Note{}, errShared
	}
	return n, err
}

// Create makes a note of the organization, with OrgID "" of the enterprise.
func (s *Service) Create(ctx context.Context, who access.Subject, p NoteParams) (Note, error) {
	if err := require(who, p.OrgID); err != nil {
		return Note{}, err
	}
	if err := p.validate(); err != nil {
		return Note{}, err
	}
	n := Note{ID: id.New(id.Note), OrgID: p.OrgID, CreatedAt: db.Time(s.db.Clock().Millis())}
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if have, err := countNotes(ctx, tx, p.OrgID); err != nil {
			return err
		} else if have >= MaxNotes {
			return fault.New(fault.Conflict, "there are %d notes already; delete some first", have)
		}
		return s.writeTx(ctx, tx, who, &n, p, audit.CreateKnowledge)
	})
	return n, macroTaken(err)
}

// Replace writes a note anew (contract/behaviour.md §3.9 23). On the enterprise's routes a note stays in its folder: they can't name one.
func (s *Service) Replace(ctx context.Context, who access.Subject, p NoteParams) (Note, error) {
	if err := require(who, p.OrgID); err != nil {
		return Note{}, err
	}
	if err := p.validate(); err != nil {
		return Note{}, err
	}
	var n Note
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if n, err = findOwnTx(ctx, tx, p.OrgID, p.NoteID); err != nil {
			return err
		}
		if p.OrgID == "" {
			p.FolderID = n.FolderID
		}
		return s.writeTx(ctx, tx, who, &n, p, audit.EditKnowledge)
	})
	return n, macroTaken(err)
}

// writeTx fills a note from the parameters and writes it with its audit entry.
func (s *Service) writeTx(ctx context.Context, tx *db.Tx, who access.Subject, n *Note, p NoteParams, action audit.Action) error {
	n.Name, n.Body, n.Trigger, n.PinnedRepo = p.Name, p.Body, p.Trigger, p.PinnedRepo
	n.Enabled = p.Enabled == nil || *p.Enabled
	if p.Macro != nil {
		n.Macro = *p.Macro
	}
	var err error
	n.FolderID = p.FolderID
	if n.FolderPath, err = holdFolderTx(ctx, tx, n.OrgID, p.FolderID); err != nil {
		return err
	}
	at := s.db.Clock().Millis()
	n.UpdatedAt = db.Time(at)
	if action == audit.CreateKnowledge {
		err = insert(ctx, tx, *n)
	} else {
		err = update(ctx, tx, *n)
	}
	if err != nil {
		return err
	}
	return n.recordTx(ctx, tx, who, at, action)
}

// recordTx writes the audit entry of a change: which note, never its text.
func (n Note) recordTx(ctx context.Context, tx *db.Tx, who access.Subject, at int64, action audit.Action) error {
	return audit.RecordTx(ctx, tx, who, at, audit.Entry{
		Action: action, OrgID: n.OrgID, Data: map[string]any{"note_id": n.ID, "name": n.Name},
	})
}

// macroTaken turns the one unique key that a caller can hit into a 409.
func macroTaken(err error) error {
	if errors.Is(err, db.ErrUnique) {
		return fault.Wrap(err, fault.Conflict, "macro: another note has it")
	}
	return err
}

// Delete removes a note and answers with it. Sessions that were given it keep its text.
func (s *Service) Delete(ctx context.Context, who access.Subject, orgID, noteID string) (Note, error) {
	if err := require(who, orgID); err != nil {
		return Note{}, err
	}
	var n Note
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if n, err = findOwnTx(ctx, tx, orgID, noteID); err != nil {
			return err
		}
		if gone, err := remove(ctx, tx, noteID); err != nil || gone == 0 {
			return errors.Join(err, errNone)
		}
		return n.recordTx(ctx, tx, who, s.db.Clock().Millis(), audit.DeleteKnowledge)
	})
	return n, err
}

// Move puts a note into a folder of its own scope, or with FolderID "" outside all: the contract's enterprise routes can't.
func (s *Service) Move(ctx context.Context, who access.Subject, orgID, noteID, folderID string) (Note, error) {
	if err := require(who, orgID); err != nil {
		return Note{}, err
	}
	var n Note
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if n, err = findOwnTx(ctx, tx, orgID, noteID); err != nil {
			return err
		}
		n.FolderID = folderID
		if n.FolderPath, err = holdFolderTx(ctx, tx, n.OrgID, folderID); err != nil {
			return err
		}
		at := s.db.Clock().Millis()
		n.UpdatedAt = db.Time(at)
		if err := update(ctx, tx, n); err != nil {
			return err
		}
		return n.recordTx(ctx, tx, who, at, audit.EditKnowledge)
	})
	return n, err
}
