package secrets

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

var (
	errNone    = fault.New(fault.NotFound, "the secret doesn't exist")
	errNoArray = errors.New("no JSON array")
)

// Create keeps a secret. It needs ManageOrgSecrets. 409 when the organization has one with this key, or as many as it may.
func (s *Service) Create(ctx context.Context, sub access.Subject, p CreateParams) (Secret, error) {
	if err := access.Require(sub, access.ManageOrgSecrets, p.OrgID); err != nil {
		return Secret{}, err
	}
	value, err := p.validate()
	if err != nil {
		return Secret{}, err
	}
	now := db.Time(s.db.Clock().Millis())
	x := Secret{
		ID: id.New(id.Secret), OrgID: p.OrgID, Key: p.Key, Type: p.Type, Note: p.Note, Sensitive: p.Sensitive, CreatedBy: sub.ID, CreatedAt: now,
	}
	sealed, err := s.keeper.Seal(ctx, x.OrgID, place(x.ID), []byte(value)) // before the transaction: the keeper may be far away
	if err != nil {
		return Secret{}, err
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		count, size, err := held(ctx, tx, x.OrgID)
		if err != nil {
			return err
		}
		if count >= MaxPerOrg || size+int64(len(sealed)) > maxOrgBytes {
			return fault.New(fault.Conflict, "the organization holds as many secrets as fit an environment (%d, or %d KiB); delete some first",
				MaxPerOrg, maxOrgBytes>>10)
		}
		if err := insert(ctx, tx, x, sealed); err != nil {
			if errors.Is(err, db.ErrUnique) {
				return fault.Wrap(err, fault.Conflict, "key: the organization has a secret with this key; delete it first")
			}
			return err
		}
		return audit.RecordTx(ctx, tx, sub, now.UnixMilli(), audit.Entry{Action: audit.CreateSecret, OrgID: x.OrgID, Data: x.facts()})
	})
	if err != nil {
		return Secret{}, err
	}
	return x, nil
}

// facts are what an audit entry says of a secret.
func (x Secret) facts() map[string]any {
	return map[string]any{"secret_id": x.ID, "key": x.Key, "secret_type": x.Type}
}

// List gives one page of an organization's secrets, oldest first. It needs ManageOrgSecrets.
func (s *Service) List(ctx context.Context, sub access.Subject, orgID string, r page.Request) (page.Page[Secret], error) {
	if err := access.Require(sub, access.ManageOrgSecrets, orgID); err != nil {
		return page.Page[Secret]{}, err
	}
	rows, err := list(ctx, s.db.Reader(), orgID, r)
	if err != nil {
		return page.Page[Secret]{}, err
	}
	return page.Cut(rows, r, func(x Secret) page.Position { return page.Position{x.CreatedAt.UnixMilli(), x.ID} }), nil
}

// Delete takes a secret away, value and all, and gives what it was. It needs ManageOrgSecrets. Sessions that have it keep it until
// their claim ends. A second time is 404 (contract/behaviour.md §19.1).
func (s *Service) Delete(ctx context.Context, sub access.Subject, orgID, secretID string) (Secret, error) {
	if err := access.Require(sub, access.ManageOrgSecrets, orgID); err != nil {
		return Secret{}, err
	}
	var x Secret
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if x, err = remove(ctx, tx, orgID, secretID); errors.Is(err, db.ErrNone) {
			return errNone
		} else if err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{Action: audit.DeleteSecret, OrgID: orgID, Data: x.facts()})
	})
	return x, err
}

// ChooseTx gives the ids of the secrets that a new session of the organization starts with, oldest first. Nil ids choose all, an empty
// list none, another list exactly those; an id that isn't the organization's is a 404 that names it (contract/behaviour.md §3.4).
func (s *Service) ChooseTx(ctx context.Context, q db.Querier, orgID string, ids []string) ([]string, error) {
	if ids != nil && len(ids) == 0 {
		return nil, nil
	}
	have, err := idsOf(ctx, q, orgID)
	if err != nil || ids == nil {
		return have, err
	}
	wanted := map[string]bool{}
	for _, want := range ids {
		wanted[want] = true
	}
	var out []string
	for _, x := range have {
		if wanted[x] {
			out = append(out, x)
			delete(wanted, x)
		}
	}
	for i, want := range ids {
		if wanted[want] {
			return nil, fault.New(fault.NotFound, "secret_ids.%d: no such secret", i)
		}
	}
	return out, nil
}

// Open gives secrets of an organization with their values, in the order of ids; what was deleted is left out. It authorises nobody: a
// claim's release is the session room's to decide and to audit.
func (s *Service) Open(ctx context.Context, orgID string, ids []string) ([]Given, error) {
	rows, err := readSealed(ctx, s.db.Reader(), orgID, ids)
	if err != nil {
		return nil, err
	}
	var out []Given
	for _, secretID := range ids {
		r, ok := rows[secretID]
		if !ok {
			continue
		}
		plain, err := s.keeper.Open(ctx, orgID, place(secretID), r.sealed)
		if err != nil {
			return nil, err
		}
		out = append(out, Given{
			ID: secretID, Key: r.key, Value: secret.New(string(plain)), Sensitive: r.sensitive, Within: within(r.typ, string(plain)),
		})
	}
	return out, nil
}

// EndOrgTx takes an organization's secrets away in the transaction that deletes it.
func (s *Service) EndOrgTx(ctx context.Context, tx *db.Tx, orgID string) error {
	_, err := db.Exec(ctx, tx, removeOfOrg, orgID)
	return err
}

// PurgeOrg takes away what a deleted organization has all the same: a secret that was made at the moment of its deletion, or one that an
// older release left. It says whether there was any.
func (s *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.Clear(ctx, s.db, someOfOrg, removeOfOrg, orgID)
}
