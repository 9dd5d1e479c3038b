package schedule

import (
	"context"

	"gantry/internal/platform/db"
)

// PurgeOrg takes some of a deleted organization's schedules, deleted ones too, and says whether there was any.
func (v *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.ClearFirst(ctx, v.DB, purgeQueries, orgID)
}

// Each half has an index of its own.
var purgeQueries = [][2]string{
	{
		`SELECT 1 FROM schedules WHERE org_id = $1 AND deleted_at IS NULL LIMIT 1`,
		`DELETE FROM schedules WHERE schedule_id IN (SELECT schedule_id FROM schedules WHERE org_id = $1 AND deleted_at IS NULL LIMIT 500)`,
	},
	{
		`SELECT 1 FROM schedules WHERE org_id = $1 AND deleted_at IS NOT NULL LIMIT 1`,
		`DELETE FROM schedules WHERE schedule_id IN (SELECT schedule_id FROM schedules WHERE org_id = $1 AND deleted_at IS NOT NULL LIMIT 500)`,
	},
}
