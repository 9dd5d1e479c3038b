package member

import (
	"context"
	"slices"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
)

// SyncGroups makes a member's groups those of the names that are registered, as the identity provider said them. It is for whoever may
// change members; a sign-in uses SyncGroupsTx.
func (s *Service) SyncGroups(ctx context.Context, sub access.Subject, userID string, names []string) error {
	if err := access.Require(sub, access.ManageAccountMembership, ""); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error { return s.SyncGroupsTx(ctx, tx, sub, userID, names) })
}

// SyncGroupsTx is SyncGroups within a transaction, and authorises nobody. Names that aren't registered are passed over. Nothing is
// written when nothing changes, as with most sign-ins.
func (s *Service) SyncGroupsTx(ctx context.Context, tx *db.Tx, sub access.Subject, userID string, names []string) error {
	u, err := lockPerson(ctx, tx, userID)
	if err != nil {
		return orNoUser(err)
	}
	want, err := lockRegistered(ctx, tx, slices.DeleteFunc(slices.Clone(names), unlikely))
	if err != nil {
		return err
	}
	have, err := groupsOf(ctx, tx, userID)
	if err != nil {
		return err
	}
	at := s.db.Clock().Millis()
	joined, left := []string{}, []string{}
	for _, g := range want {
		if slices.Contains(have, g) {
			continue
		}
		joined = append(joined, g)
		if err := insertGroupMember(ctx, tx, userID, g, at); err != nil {
			return err
		}
	}
	for _, g := range have {
		if slices.Contains(want, g) {
			continue
		}
		left = append(left, g)
		if err := deleteGroupMember(ctx, tx, userID, g); err != nil {
			return err
		}
	}
	if len(joined)+len(left) == 0 {
		return nil
	}
	if err := s.endLostTx(ctx, tx, sub, at, keysOfPerson(userID)); err != nil {
		return err
	}
	if err := s.changedTx(ctx, tx, changePrincipal, userID); err != nil {
		return err
	}
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.SyncIdpGroups, Data: map[string]any{
		"target_user_id": u.ID, "target_user_email": u.Email, "joined": joined, "left": left,
	}})
}

// unlikely says that a name can't be registered, so that nobody asks the database for what it may be unable to read.
func unlikely(name string) bool {
	return name == "" || utf8.RuneCountInString(name) > MaxName || !db.Storable(name)
}
