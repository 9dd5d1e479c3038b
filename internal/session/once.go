package session

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"gantry/internal/access"
	"gantry/internal/platform/db"
)

// errEarlier rolls back a creation whose request got a session before.
var errEarlier = errors.New("the request has a session already")

// CreateOnce is Create for v1's idempotent requests (contract/legacy.md §2): the same request of the same principal in the same
// organization gives the session that it got before, as long as that one hasn't ended, and fresh false.
func (v *Service) CreateOnce(ctx context.Context, who access.Subject, p CreateParams) (s *Session, fresh bool, err error) {
	if err := access.RequireAny(who, p.OrgID, access.UseDevinSessions, access.ManageOrgSessions); err != nil {
		return nil, false, err
	}
	if p.once, err = requestHash(p); err != nil {
		return nil, false, err
	}
	if s, err := v.earlier(ctx, who, p); !errors.Is(err, db.ErrNone) {
		return s, false, err
	}
	s, err = v.Create(ctx, who, p)
	if errors.Is(err, errEarlier) {
		s, err = v.earlier(ctx, who, p)
		return s, false, err
	}
	return s, err == nil, err
}

// requestHash stands for all that a request asks for. Secrets are in it; a hash of the whole gives none of them away.
func requestHash(p CreateParams) ([]byte, error) {
	secrets := make([][2]string, len(p.Secrets))
	for i, s := range p.Secrets {
		secrets[i] = [2]string{s.Key, s.Value.Reveal()}
	}
	p.Secrets = nil
	text, err := json.Marshal([]any{p, secrets})
	if err != nil {
		return nil, fmt.Errorf("hash a request: %w", err)
	}
	sum := sha256.Sum256(text)
	return sum[:], nil
}

// earlier finds the live session that the request got before.
func (v *Service) earlier(ctx context.Context, who access.Subject, p CreateParams) (*Session, error) {
	return db.One(ctx, v.DB.Reader(), scan, `SELECT `+aliased+` FROM session_requests r JOIN sessions s ON s.session_id = r.session_id
		WHERE r.org_id = $1 AND r.principal_id = $2 AND r.hash = $3 AND s.ended_at IS NULL`, p.OrgID, who.ID, p.once)
}

// claimRequestTx notes that the request gets this session. It refuses when another one has it and hasn't ended.
func claimRequestTx(ctx context.Context, tx *db.Tx, who access.Subject, s *Session, hash []byte) error {
	n, err := db.Exec(ctx, tx, `INSERT INTO session_requests (org_id, principal_id, hash, session_id, created_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (org_id, principal_id, hash) DO UPDATE SET session_id = excluded.session_id, created_at = excluded.created_at
		WHERE EXISTS (SELECT 1 FROM sessions e WHERE e.session_id = session_requests.session_id AND e.ended_at IS NOT NULL)`,
		s.OrgID, who.ID, hash, s.ID, s.CreatedAt.UnixMilli())
	if err != nil {
		return err
	}
	if n == 0 {
		return errEarlier
	}
	return nil
}
