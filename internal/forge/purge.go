package forge

import (
	"context"

	"gantry/internal/platform/db"
)

// UnbindTx forgets what sessions meant by the names of repositories.
func (s *Service) UnbindTx(ctx context.Context, tx *db.Tx, sessionIDs []string) error {
	if len(sessionIDs) == 0 {
		return nil
	}
	var w db.Where
	w.In("session_id", sessionIDs)
	_, err := db.Exec(ctx, tx, `DELETE FROM session_git`+w.SQL(), w.Args()...)
	return err
}

// PurgeOrg takes some of what a deleted organization was permitted and wanted indexed, and says whether there was any.
func (s *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.ClearFirst(ctx, s.db, purgeQueries, orgID)
}

var purgeQueries = [][2]string{
	{
		`SELECT 1 FROM git_permissions WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM git_permissions WHERE git_permission_id IN (SELECT git_permission_id FROM git_permissions WHERE org_id = $1 LIMIT 500)`,
	},
	{
		`SELECT 1 FROM indexed_repositories WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM indexed_repositories WHERE org_id = $1 AND name IN (SELECT name FROM indexed_repositories WHERE org_id = $1 LIMIT 500)`,
	},
}
