package session

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/secret"
	"gantry/internal/secrets"
	"gantry/internal/wire"
)

// A session's environment has two sources: the secrets that live in it alone, and its organization's. The rules, where
// contract/behaviour.md §3.11 leaves them open:
//
//   - "Started after creation" (27): a session starts when it is created. Which of the organization's secrets it gets is written down
//     then, so that a resumed session has what it began with. What was deleted since is left out; what was added since isn't given.
//   - The more specific wins (29): a session's own secret takes the place of the organization's secret with the same key.
//   - One naming for both (27): the session's own come first, in the order of the request, then the organization's, oldest first. Of two
//     different keys that make the same variable the later gets _2.

// chooseSecretsTx writes down which of the organization's secrets a new session gets: ids nil is all, empty none.
func (v *Service) chooseSecretsTx(ctx context.Context, tx *db.Tx, s *Session, ids []string) error {
	if v.OrgSecrets == nil {
		if len(ids) > 0 {
			return fault.New(fault.NotFound, "secret_ids.0: no such secret")
		}
		return nil
	}
	chosen, err := v.OrgSecrets.ChooseTx(ctx, tx, s.OrgID, ids)
	if err != nil || len(chosen) == 0 {
		return err
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO session_org_secrets (session_id, secret_ids) VALUES ($1, $2)`, s.ID, text(chosen))
	return err
}

// Secrets releases a claim's secrets, once per fence, and says so in the audit log.
func (v *Service) Secrets(ctx context.Context, who access.Subject, r fleet.Row) (*wire.SecretsReply, error) {
	own, err := v.ownSecrets(ctx, r)
	if err != nil {
		return nil, err
	}
	orgs, err := v.orgSecrets(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, g := range orgs {
		if !slices.ContainsFunc(own, func(o secrets.Given) bool { return o.Key == g.Key }) {
			own = append(own, g)
		}
	}
	reply := &wire.SecretsReply{Environment: []wire.EnvVar{}}
	if len(own) == 0 {
		return reply, nil // nothing to release, nothing to note
	}
	keys := make([]string, len(own))
	for i, g := range own {
		keys[i] = g.Key
	}
	for i, name := range envNames(keys) {
		e := wire.EnvVar{Name: name, Value: own[i].Value.Reveal(), Sensitive: own[i].Sensitive}
		for _, w := range own[i].Within {
			e.Within = append(e.Within, w.Reveal())
		}
		reply.Environment = append(reply.Environment, e)
	}
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := fleet.GiveSecretsTx(ctx, tx, r.SessionID, r.Fence); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, who, v.Clock.Millis(), audit.Entry{
			Action: audit.ReleaseSecrets, OrgID: r.OrgID,
			Data: map[string]any{"session_id": r.SessionID, "fence": r.Fence, "names": keys},
		})
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// ownSecrets are those that live in the session alone.
func (v *Service) ownSecrets(ctx context.Context, r fleet.Row) ([]secrets.Given, error) {
	rows, err := db.All(ctx, v.DB.Reader(), scanSecret, `SELECT position, name, sealed, sensitive FROM session_secrets
		WHERE session_id = $1 ORDER BY position`, r.SessionID)
	if err != nil {
		return nil, err
	}
	out := make([]secrets.Given, 0, len(rows))
	for _, s := range rows {
		plain, err := v.Keeper.Open(ctx, r.OrgID, secretPlace(r.SessionID, s.position), s.sealed)
		if err != nil {
			return nil, err
		}
		out = append(out, secrets.Given{Key: s.name, Value: secret.New(string(plain)), Sensitive: s.sensitive})
	}
	return out, nil
}

// orgSecrets are those of the organization that the session started with and that are still there.
func (v *Service) orgSecrets(ctx context.Context, r fleet.Row) ([]secrets.Given, error) {
	if v.OrgSecrets == nil {
		return nil, nil
	}
	list, err := db.One(ctx, v.DB.Reader(), db.Text, `SELECT secret_ids FROM session_org_secrets WHERE session_id = $1`, r.SessionID)
	if errors.Is(err, db.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	if err := json.Unmarshal([]byte(list), &ids); err != nil {
		return nil, err
	}
	return v.OrgSecrets.Open(ctx, r.OrgID, ids)
}

type sealedSecret struct {
	position  int64
	name      string
	sealed    []byte
	sensitive bool
}

func scanSecret(r db.Scanner) (sealedSecret, error) {
	var s sealedSecret
	err := r.Scan(&s.position, &s.name, &s.sealed, &s.sensitive)
	return s, err
}
