package playbook

import (
	"context"

	"gantry/internal/platform/db"
)

// PurgeOrg takes some of a deleted organization's playbooks, and says whether there was any.
func (s *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.Clear(ctx, s.db, purgeQueries[0], purgeQueries[1], orgID)
}

var purgeQueries = [2]string{
	`SELECT 1 FROM playbooks WHERE org_id = $1 LIMIT 1`,
	`DELETE FROM playbooks WHERE playbook_id IN (SELECT playbook_id FROM playbooks WHERE org_id = $1 LIMIT 100)`,
}
