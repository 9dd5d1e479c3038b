package insight

import (
	"context"

	"gantry/internal/platform/db"
)

// PurgeOrg takes some of the analyses of a deleted organization's sessions, and says whether there was any.
func (v *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.Clear(ctx, v.DB, purgeQueries[0], purgeQueries[1], orgID)
}

var purgeQueries = [2]string{
	`SELECT 1 FROM session_insights WHERE org_id = $1 LIMIT 1`,
	`DELETE FROM session_insights WHERE session_id IN (SELECT session_id FROM session_insights WHERE org_id = $1 LIMIT 100)`,
}
