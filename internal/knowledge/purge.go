package knowledge

import (
	"context"

	"gantry/internal/platform/db"
)

// PurgeOrg takes some of a deleted organization's notes and folders, and says whether there was any.
func (s *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	for _, q := range purgeQueries {
		if some, err := db.Clear(ctx, s.db, q[0], q[1], orgID); err != nil || some {
			return some, err
		}
	}
	return false, nil
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
