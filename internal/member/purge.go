package member

import (
	"context"

	"gantry/internal/platform/db"
)

// PurgeOrg takes some of the keys that were made in a deleted organization, which ended with it, and says whether there was any. What is
// left of its service users is who they were: entries of the audit log and of the ledger name them.
func (s *Service) PurgeOrg(ctx context.Context, orgID string) (bool, error) {
	return db.ClearFirst(ctx, s.db, purgeQueries, orgID)
}

var purgeQueries = [][2]string{
	{
		`SELECT 1 FROM api_keys WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM api_keys WHERE api_key_id IN (SELECT api_key_id FROM api_keys WHERE org_id = $1 LIMIT 500)`,
	},
	{
		`SELECT 1 FROM service_users u JOIN api_keys k ON k.principal_id = u.service_user_id WHERE u.org_id = $1 LIMIT 1`,
		`DELETE FROM api_keys WHERE api_key_id IN (SELECT k.api_key_id FROM service_users u
			JOIN api_keys k ON k.principal_id = u.service_user_id WHERE u.org_id = $1 LIMIT 500)`,
	},
}
