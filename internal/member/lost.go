package member

import (
	"context"
	"errors"
	"slices"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
)

// A person's key of the older versions ends for good when they lose their access to its organization (contract/behaviour.md §1.1 6):
// when they can do nothing there any more, by a role of their own, one of a group, or one that counts in every organization. Whatever
// takes something away ends such keys in its own transaction, so that somebody who is let in again needs a new one.

// endLostTx ends the personal keys of the people that a change was about, as far as it took the last of their access.
func (s *Service) endLostTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, of keyHolders) error {
	keys, err := personalKeys(ctx, tx, of)
	if err != nil || len(keys) == 0 {
		return err
	}
	holders := make([]string, len(keys))
	for i, k := range keys {
		holders[i] = k.PrincipalID
	}
	holders = slices.Compact(holders)
	// Of two changes that each take one of two ways in, the later one to hold the person sees that both are gone.
	if err := holdPeople(ctx, tx, holders); err != nil {
		return err
	}
	var lost []endedKey
	for _, holder := range holders {
		person, err := readPerson(ctx, tx, holder)
		if err != nil && !errors.Is(err, db.ErrNone) {
			return err
		}
		for _, k := range keys {
			if k.PrincipalID == holder && (err != nil || person.In(k.OrgID) == 0) {
				lost = append(lost, k)
			}
		}
	}
	return s.endPersonalTx(ctx, tx, sub, at, lost)
}

// endPersonalTx revokes keys of people and notes each.
func (s *Service) endPersonalTx(ctx context.Context, tx *db.Tx, sub access.Subject, at int64, keys []endedKey) error {
	for _, k := range keys {
		n, err := revokeKey(ctx, tx, k.ID, at)
		if err != nil {
			return err
		}
		if n == 0 {
			continue // somebody else's change ended it at this moment
		}
		if err := s.changedTx(ctx, tx, changeKey, k.ID); err != nil {
			return err
		}
		err = audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.RevokeAPIKey, OrgID: k.OrgID, Data: map[string]any{
			"api_key_id": k.ID, "target_user_id": k.PrincipalID, "reason": "access lost",
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// keyHolders choose personal keys: those for which a condition on k holds, of one argument.
type keyHolders struct {
	condition string
	argument  string
}

func keysOfPerson(userID string) keyHolders { return keyHolders{`k.principal_id = $1`, userID} }

func keysOfGroup(name string) keyHolders {
	return keyHolders{`k.principal_id IN (SELECT m.user_id FROM idp_group_members m WHERE m.idp_group_name = $1)`, name}
}

// keysOfRole are those of everybody who holds a role, directly or through a group.
func keysOfRole(roleID string) keyHolders {
	return keyHolders{`k.principal_id IN (SELECT a.principal_id FROM role_assignments a WHERE a.role_id = $1 UNION
		SELECT m.user_id FROM idp_group_roles g JOIN idp_group_members m ON m.idp_group_name = g.idp_group_name WHERE g.role_id = $1)`, roleID}
}

func keysOfOrg(orgID string) keyHolders { return keyHolders{`k.org_id = $1`, orgID} }

func (h keyHolders) query() string {
	return `SELECT k.api_key_id, k.principal_id, k.org_id, k.form FROM api_keys k
		WHERE k.form = 'personal' AND k.revoked_at IS NULL AND ` + h.condition + ` ORDER BY k.principal_id, k.api_key_id`
}

// personalKeys gives the live ones, each person's together.
func personalKeys(ctx context.Context, q db.Querier, of keyHolders) ([]endedKey, error) {
	return db.All(ctx, q, func(s db.Scanner) (endedKey, error) {
		var k endedKey
		return k, s.Scan(&k.ID, &k.PrincipalID, &k.OrgID, &k.Form)
	}, of.query(), of.argument)
}

// holdPeople keeps others from changing what people hold until the transaction ends. SQLite has one writer.
func holdPeople(ctx context.Context, tx *db.Tx, userIDs []string) error {
	if tx.Engine() != db.Postgres {
		return nil
	}
	for some := range slices.Chunk(slices.Sorted(slices.Values(userIDs)), 500) {
		var w db.Where
		w.In("user_id", some)
		if _, err := db.All(ctx, tx, db.Text, `SELECT user_id FROM users`+w.SQL()+` ORDER BY user_id FOR UPDATE`, w.Args()...); err != nil {
			return err
		}
	}
	return nil
}

// holdWaysTx keeps a member's access as it is until the transaction ends: no role of theirs is taken, no group of theirs loses one and
// no role that they hold is changed meanwhile. Else a key could be made behind the back of a change that ends such keys.
func holdWaysTx(ctx context.Context, tx *db.Tx, userID string) error {
	if _, err := lockPerson(ctx, tx, userID); err != nil {
		return orNoUser(err)
	}
	if tx.Engine() != db.Postgres {
		return nil
	}
	for _, query := range []string{
		`SELECT i.idp_group_name FROM idp_groups i WHERE i.idp_group_name IN (SELECT m.idp_group_name FROM idp_group_members m
			WHERE m.user_id = $1) ORDER BY i.idp_group_name FOR SHARE`,
		`SELECT r.role_id FROM roles r WHERE r.role_id IN (SELECT a.role_id FROM role_assignments a WHERE a.principal_id = $1 UNION
			SELECT g.role_id FROM idp_group_members m JOIN idp_group_roles g ON g.idp_group_name = m.idp_group_name WHERE m.user_id = $1)
			ORDER BY r.role_id FOR SHARE`,
	} {
		if _, err := db.All(ctx, tx, db.Text, query, userID); err != nil {
			return err
		}
	}
	return nil
}
