package forge

import (
	"context"
	"fmt"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// maxIndexed is how many repositories one call names (contract/legacy.md §8).
const maxIndexed = 100

// IndexedRepository is a repository that an organization wants indexed.
type IndexedRepository struct {
	Name  string
	Since time.Time
}

// EnableIndexing notes that an organization wants repositories indexed. Each must be one that it may use. What is noted already stays.
// There is no index yet: the wish is kept for it. It needs IndexOrgRepositories.
func (s *Service) EnableIndexing(ctx context.Context, sub access.Subject, orgID string, names []string) error {
	if err := access.Require(sub, access.IndexOrgRepositories, orgID); err != nil {
		return err
	}
	if len(names) == 0 || len(names) > maxIndexed {
		return fault.New(fault.BadRequest, "repo_names: must have 1 to %d items", maxIndexed)
	}
	repos, err := s.Resolve(ctx, orgID, names)
	if err != nil {
		return err
	}
	at := s.db.Clock().Millis()
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, r := range repos {
			n, err := db.Exec(ctx, tx, `INSERT INTO indexed_repositories (org_id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
				orgID, r.Name, at)
			if err != nil {
				return fmt.Errorf("note a repository to be indexed: %w", err)
			}
			if n == 0 {
				continue
			}
			err = audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.EnableIndexing, OrgID: orgID, Data: map[string]any{"repository": r.Name}})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Indexed lists the repositories that an organization wants indexed, by name. It needs IndexOrgRepositories.
func (s *Service) Indexed(ctx context.Context, sub access.Subject, orgID string) ([]IndexedRepository, error) {
	if err := access.Require(sub, access.IndexOrgRepositories, orgID); err != nil {
		return nil, err
	}
	return db.All(ctx, s.db.Reader(), func(r db.Scanner) (IndexedRepository, error) {
		var x IndexedRepository
		var at int64
		err := r.Scan(&x.Name, &at)
		x.Since = db.Time(at)
		return x, err
	}, `SELECT name, created_at FROM indexed_repositories WHERE org_id = $1 ORDER BY name`, orgID)
}
