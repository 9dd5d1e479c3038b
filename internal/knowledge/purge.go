package knowledge

import (
	"context"

	"gantry/internal/platform/db"
)

// PurgeOrg takes some of a deleted organization's notes and folders, and says whether there was any.
func (s *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.ClearFirst(ctx, s.db, purgeQueries, orgID)
}

var purgeQueries = [][2]string{
	{
		`SELECT 1 FROM knowledge_notes WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM knowledge_notes WHERE note_id IN (SELECT note_id FROM knowledge_notes WHERE org_id = $1 LIMIT 100)`,
	},
	{
		`SELECT 1 FROM knowledge_folders WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM knowledge_folders WHERE folder_id IN (SELECT folder_id FROM knowledge_folders WHERE org_id = $1 LIMIT 500)`,
	},
}
