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
	"gantry/internal/platform/secret"
)

// CreateWorkerKey makes a key for workers of the named outposts. Its token is shown once.
func (s *Service) CreateWorkerKey(ctx context.Context, sub access.Subject, p WorkerKeyParams) (WorkerKey, secret.String, error) {
	if err := access.Require(sub, access.ManageOutpostsOrchestrator, ""); err != nil {
		return WorkerKey{}, secret.String{}, err
	}
	now := s.db.Clock().Now()
	if err := p.validate(now); err != nil {
		return WorkerKey{}, secret.String{}, err
	}
	ranges, err := parseRanges("ip_ranges", p.IPRanges)
	if err != nil {
		return WorkerKey{}, secret.String{}, err
	}
	at := now.UnixMilli()
	k := WorkerKey{ID: id.New(id.WorkerKey), Name: p.Name, Outposts: p.Outposts, Orgs: p.Orgs, CreatedAt: db.Time(at), ExpiresAt: p.ExpiresAt}
	if len(ranges) > 0 {
		k.IPRanges = ranges
	}
	token := secret.New(id.NewKey(id.KeyWorker))
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, o := range p.Orgs {
			if err := orgThere(ctx, tx, o); err != nil {
				return err
			}
		}
		if err := insertWorkerKey(ctx, tx, k, token); err != nil {
			return err
		}
		return recordWorkerKeyTx(ctx, tx, sub, at, audit.CreateWorkerKey, k)
	})
	return k, token, err
}

func recordWorkerKeyTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, action audit.Action, k WorkerKey) error {
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: action, Data: map[string]any{
		"worker_key_id": k.ID, "worker_key_name": k.Name, "outposts": k.Outposts, "org_ids": k.Orgs, "ip_ranges": k.IPRanges,
	}})
}

// ListWorkerKeys gives one page of workers' keys, oldest first, revoked ones included.
func (s *Service) ListWorkerKeys(ctx context.Context, sub access.Subject, r page.Request) (page.Page[WorkerKey], error) {
	if err := access.Require(sub, access.ManageOutpostsOrchestrator, ""); err != nil {
		return page.Page[WorkerKey]{}, err
	}
	rows, err := listWorkerKeys(ctx, s.db.Reader(), r)
	if err != nil {
		return page.Page[WorkerKey]{}, err
	}
	return page.Cut(rows, r, func(k WorkerKey) page.Position { return page.Position{k.ID} }), nil
}

// RevokeWorkerKey ends a worker's key at once, and with it the claims that were made with it: their tokens are good no more, and the
// session room, which hears of it, queues their sessions again. One that was revoked before answers 409.
func (s *Service) RevokeWorkerKey(ctx context.Context, sub access.Subject, keyID string) (WorkerKey, error) {
	if err := access.Require(sub, access.ManageOutpostsOrchestrator, ""); err != nil {
		return WorkerKey{}, err
	}
	var k WorkerKey
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		k, err = readWorkerKey(ctx, tx, keyID)
		if errors.Is(err, db.ErrNone) {
			return errNoWorkerKey
		}
		if err != nil {
			return err
		}
		at := s.db.Clock().Millis()
		n, err := revokeWorkerKey(ctx, tx, keyID, at)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Conflict, "the worker key is revoked already")
		}
		k.RevokedAt = db.Time(at)
		if err := s.changedTx(ctx, tx, changeKey, keyID); err != nil {
			return err
		}
		return recordWorkerKeyTx(ctx, tx, sub, at, audit.RevokeWorkerKey, k)
	})
	return k, err
}
